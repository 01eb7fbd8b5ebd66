#include "control/command.h"

#include "base/log.h"
#include "control/access.h"
#include "gateway.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Roles grow: who may do something, a higher role may do as well.
const struct command command_table[] = {
    {"status", ROLE_VIEWER, false, true, "state of the gateway and all its parts", "{}",
     command_status, true},
    {"live", ROLE_VIEWER, false, false, "values of all meters now", "{}", command_live, true},
    {"bus", ROLE_VIEWER, false, false, "how a link does: counts, response times, newest frames",
     "{link: ID}", command_bus, true},
    {"metrics", ROLE_NONE, false, true, "all figures for Prometheus",
     "{token: TEXT}, not needed by a viewer", command_metrics},
    {"alerts", ROLE_VIEWER, false, true, "what is wrong now, and what was in the last day", "{}",
     command_alerts, true},
    {"completeness", ROLE_VIEWER, false, true,
     "of a gas day: what was due of each meter, what came, and the holes",
     "{days_back: 0 for the gas day that runs, 1 for the last one that ended}",
     command_completeness, true},
    {"read", ROLE_TECHNICIAN, true, true, "one test reading of a meter",
     "{meter: ID, frames: true or false}", command_read, true},
    {"scan", ROLE_TECHNICIAN, true, true,
     "look for meters on a link that are not configured, and what they are",
     "{link: ID or URL, units: \"A-B\"}", command_scan},
    {"config-get", ROLE_TECHNICIAN, false, false, "the configuration in force", "{}",
     command_config_get, true},
    {"reload", ROLE_SPECIALIST, true, true, "read the configuration file again", "{}",
     command_reload},
    {"audit", ROLE_LEADER, false, true, "the newest records of the audit chain",
     "{limit: 1 to 500}", command_audit, true},
    {"backup", ROLE_LEADER, true, true,
     "the whole state in one file, in backups of the state folder", "{}", command_backup, true},
    {"backup-read", ROLE_LEADER, false, true, "a piece of a backup, to fetch it",
     "{file: NAME, offset: BYTES}", command_backup_read},
    {"resend", ROLE_SPECIALIST, true, true, "send messages again that head office had already",
     "{lane: LANE, first: SEQ, last: SEQ}, or {from: TIME, to: TIME} and, if wanted, lane",
     command_resend, true},
    {"resend-cancel", ROLE_SPECIALIST, true, true, "end a resend early", "{id: NUMBER}",
     command_resend_cancel, true},
    {"feed-acknowledge", ROLE_LEADER, true, true,
     "head office's database has a lane up to and with seq", "{stream: UUID, lane: LANE, seq: SEQ}",
     command_feed_acknowledge, true},
    {"user-list", ROLE_LEADER, false, true, "all accounts", "{}", command_user_list},
    {"user-add", ROLE_LEADER, true, true, "make an account",
     "{name: NAME, role: ROLE, password: TEXT}", command_user_add},
    {"user-remove", ROLE_LEADER, true, true, "remove an account", "{name: NAME}",
     command_user_remove},
    {"user-passwd", ROLE_LEADER, true, true, "set the password of an account",
     "{name: NAME, password: TEXT}", command_user_passwd},
    {"texts", ROLE_NONE, false, false, "all texts in a language", "{language: en or zh}",
     command_texts},
    {"page-settings", ROLE_NONE, false, false, "where the page listens, and its certificate", "{}",
     command_page_settings},
    {"claim-state", ROLE_NONE, false, true, "whether an account exists yet", "{}",
     command_claim_state},
    {"claim", ROLE_NONE, true, true, "make the first account with the claim code",
     "{code: TEXT, name: NAME, password: TEXT}", command_claim},
    {"login", ROLE_NONE, true, true, "begin a session of the page", "{name: NAME, password: TEXT}",
     command_login},
    {"logout", ROLE_NONE, true, true, "end the session", "{}", command_logout},
    {"session", ROLE_NONE, false, false, "who is logged in", "{}", command_session},
    {NULL, ROLE_NONE, false, false, NULL, NULL, NULL},
};

const char *command_result_text(int result)
{
    switch ((enum command_result)result) {
    case COMMAND_DONE: return "done";
    case COMMAND_FAILED: return "failed";
    case COMMAND_UNKNOWN: return "unknown";
    case COMMAND_ARGUMENTS: return "arguments";
    case COMMAND_NO_SESSION: return "session";
    case COMMAND_ROLE: return "role";
    case COMMAND_DENIED: return "denied";
    case COMMAND_THROTTLED: return "throttled";
    case COMMAND_BUSY: return "busy";
    }
    return "failed";
}

const struct command *command_find(const char *name)
{
    for (const struct command *row = command_table; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

int command_unpack(const struct command_context *context, const json_t *arguments, struct err *err,
                   const char *format, ...)
{
    json_error_t fault;
    va_list values;
    va_start(values, format);
    // jansson takes a non-const value here, and changes nothing of it.
    int result = json_vunpack_ex((json_t *)arguments, &fault, 0, format, values);
    va_end(values);
    if (result != 0) {
        (void)err_set(err, "the arguments of %s are %s: %s", context->command->name,
                      context->command->arguments, fault.text);
        return COMMAND_ARGUMENTS;
    }
    return 0;
}

int command_need_gateway(const struct command_context *context, struct err *err)
{
    if (context->gateway != NULL)
        return 0;
    (void)err_set(err, "%s needs a running gateway: start it with 'metergate run'",
                  context->command->name);
    return COMMAND_FAILED;
}

int command_reader_open(const struct command_context *context, struct store **store,
                        struct err *err)
{
    if (context->gateway == NULL) {
        *store = context->store;
        return 0;
    }
    return store_open_reader(gateway_directory(context->gateway), store, err);
}

void command_reader_close(const struct command_context *context, struct store *store)
{
    if (context->gateway != NULL)
        store_close(store);
}

// One record of the audit chain.
struct note {
    int64_t at_ms;
    const char *who, *action, *subject, *result, *detail;
    recorder_task *task; // what it tells of, in the same round; NULL when that is over already
    void *argument;
    const struct command_seal *seal;
    int status;
    const struct buf *answer;
};

static int write_note(struct store *store, void *argument, struct err *err)
{
    const struct note *note = argument;
    if (note->task != NULL && note->task(store, note->argument, err) != 0)
        return -1;
    if (store_audit_add(store, note->at_ms, note->who, note->action, note->subject, note->result,
                        note->detail, err) != 0)
        return -1;
    const struct command_seal *seal = note->seal;
    return seal == NULL
               ? 0
               : seal->write(seal->context, store, note->status, note->detail, note->answer, err);
}

static int commit_alone(struct store *store, struct note *note, struct err *err)
{
    if (store_round_begin(store, err) != 0)
        return -1;
    if (write_note(store, note, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    return store_round_commit(store, err);
}

static int commit_note(const struct command_context *context, struct note *note, struct err *err)
{
    note->at_ms = clock_wall_ms(context->clock);
    note->seal = context->seal;
    note->answer = context->result;
    if (context->gateway == NULL)
        return commit_alone(context->store, note, err);
    return recorder_run(gateway_recorder(context->gateway), write_note, note, err);
}

int command_commit(struct command_context *context, const struct principal *who,
                   const char *subject, recorder_task *task, void *argument, struct err *err)
{
    struct note note = {.who = who->name,
                        .action = context->command->name,
                        .subject = subject,
                        .result = "done",
                        .detail = "",
                        .task = task,
                        .argument = argument};
    if (commit_note(context, &note, err) != 0)
        return COMMAND_FAILED;
    context->noted = true;
    return 0;
}

// What the command is about, as far as its arguments name it.
static const char *subject_of(const json_t *arguments)
{
    const char *name = json_string_value(json_object_get(arguments, "name"));
    if (name == NULL)
        name = json_string_value(json_object_get(arguments, "meter"));
    if (name == NULL)
        name = json_string_value(json_object_get(arguments, "link"));
    return name != NULL ? name : "";
}

// -1 when it could not be written.
static int write_record(const struct command_context *context, struct note *note)
{
    struct err err;
    if (commit_note(context, note, &err) == 0)
        return 0;
    // A leader must be able to come in and mend a full disk: the command goes on.
    log_error("control", "audit record of %s by %s could not be written: %s", note->action,
              note->who, err.text);
    return -1;
}

// Knocking must not fill the store: beyond a bound calls are counted (session.h).
static int audit(const struct command_context *context, const struct principal *who,
                 const char *action, const json_t *arguments, int result, const char *message)
{
    char subject[128];
    bool done = result == COMMAND_DONE;
    if (context->access != NULL && !access_note(context->access, !done))
        return 0;
    (void)snprintf(subject, sizeof subject, "%s", subject_of(arguments));
    struct note note = {.who = who->name,
                        .action = action,
                        .subject = subject,
                        .result = done ? "done" : command_result_text(result),
                        .detail = done ? "" : message,
                        .status = result};
    return write_record(context, &note);
}

void command_tell_counted(const struct command_context *context)
{
    if (context->access == NULL)
        return;
    for (int refused = 0; refused <= 1; refused++) {
        uint64_t count = access_counted(context->access, refused != 0);
        if (count == 0)
            continue;
        char detail[96];
        (void)snprintf(detail, sizeof detail, "%" PRIu64 " %s were not recorded singly", count,
                       refused != 0 ? "refusals" : "calls");
        struct note note = {.who = "gateway",
                            .action = refused != 0 ? "refusals" : "calls",
                            .subject = "",
                            .result = "counted",
                            .detail = detail};
        (void)write_record(context, &note);
    }
}

// Whether `who` may call it; the message names the role that may.
static int check_role(const struct command *command, const struct principal *who, struct err *err)
{
    if (who->role == ROLE_OFFICE && !command->offered) {
        (void)err_set(err, "%s is not offered to head office", command->name);
        return COMMAND_ROLE;
    }
    if (who->role >= command->least)
        return COMMAND_DONE;
    if (who->role == ROLE_NONE) {
        (void)err_set(err, "%s needs an account: log in first", command->name);
        return COMMAND_NO_SESSION;
    }
    (void)err_set(err, "%s needs the role %s; %s is %s", command->name, role_text(command->least),
                  who->name, role_text(who->role));
    return COMMAND_ROLE;
}

static int run(struct command_context *context, const struct principal *who,
               const json_t *arguments, struct buf *result, struct err *err)
{
    struct writer writer;
    writer_init(&writer, result);
    int status = context->command->run(context, who, arguments, &writer, err);
    if (status == 0 && result->failed) {
        (void)err_set(err, "the answer of %s is larger than the %zu bytes that are allowed",
                      context->command->name, result->max);
        status = COMMAND_FAILED;
    }
    if (status != 0)
        buf_clear(result);
    return status;
}

// The end of every call: audit record and seal, unless they were written with the effect. What is
// sealed has happened only when that is durable.
static int conclude(struct command_context *context, const struct principal *who,
                    const char *action, const json_t *arguments, int status, struct err *message)
{
    const struct command *command = context->command;
    bool refused = command == NULL || status == COMMAND_ROLE || status == COMMAND_NO_SESSION ||
                   status == COMMAND_DENIED;
    bool wanted = refused || command->audited || context->seal != NULL;
    if (context->noted || !wanted ||
        audit(context, who, action, arguments, status, message->text) == 0 || context->seal == NULL)
        return status;
    (void)err_set(message, "the store takes nothing now: nothing was done");
    return COMMAND_FAILED;
}

static int find_and_run(struct command_context *context, const struct principal *who,
                        const char *name, const json_t *arguments, struct buf *result,
                        struct err *err)
{
    if (context->command == NULL) {
        (void)err_set(err, "there is no command '%.32s'", name);
        return COMMAND_UNKNOWN;
    }
    int status = check_role(context->command, who, err);
    if (status != 0)
        return status;
    json_t *none = arguments == NULL ? json_object() : NULL;
    status = run(context, who, arguments != NULL ? arguments : none, result, err);
    json_decref(none);
    return status;
}

int command_call(const struct command_context *context, const struct principal *who,
                 const char *name, const json_t *arguments, struct buf *result, struct err *err)
{
    struct err own = {0};
    struct err *message = err != NULL ? err : &own;
    struct command_context copy = *context;
    copy.command = command_find(name);
    copy.result = result;
    copy.noted = false;
    int status = find_and_run(&copy, who, name, arguments, result, message);
    const char *action = copy.command != NULL ? copy.command->name : "unknown";
    status = conclude(&copy, who, action, copy.command != NULL ? arguments : NULL, status, message);
    if (status != 0)
        buf_clear(result);
    return status;
}
