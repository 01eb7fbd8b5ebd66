#include "control/office_door.h"

#include "base/log.h"
#include "control/session.h"
#include "gateway.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART "office"
#define IDLE_MS 60000
#define SUM_UP_MS 1000 // while refusals stand in no record yet
#define STACK_BYTES (512 * 1024)

struct office_door {
    struct office_door_settings settings;
    pthread_t thread;
    // the thread's own
    struct flood refusals;
    int tokens;            // commands that may be looked at now
    int64_t tokens_ms;     // boot clock: when one was added last
    struct buf answer;     // scratch
    pthread_mutex_t mutex; // of
    struct office_door_status status;
};

// One command on its way through the door.
struct visit {
    struct office_door *door;
    const struct arrival *arrival;
    struct command_message message;
    struct command_key key;
    struct config *config;
    struct store *reader;
    int64_t last; // counter of the newest one executed
};

static const struct clock *clock_of(const struct office_door *door)
{
    return door->settings.context.clock;
}

// --- answers ---

static void begin_reply(struct writer *writer, struct buf *out, const struct visit *visit)
{
    bool read = visit->message.counter > 0;
    buf_clear(out);
    writer_init(writer, out);
    writer_object(writer);
    writer_key_text(writer, "schema", "reply/1");
    writer_key_text(writer, "gateway", visit->config->gateway_id);
    writer_key_time(writer, "at", clock_wall_ms(clock_of(visit->door)));
    writer_key_text(writer, "name", visit->arrival->name);
    if (read)
        writer_key_int(writer, "counter", visit->message.counter);
    else
        writer_key_null(writer, "counter");
}

static void write_refusal(struct buf *out, const struct visit *visit, const char *code,
                          const char *error)
{
    struct writer writer;
    begin_reply(&writer, out, visit);
    writer_key_bool(&writer, "ok", false);
    writer_key_text(&writer, "code", code);
    writer_key_text(&writer, "error", error);
    writer_end(&writer);
}

static void write_result(struct buf *out, const struct visit *visit, const struct buf *result)
{
    struct writer writer;
    begin_reply(&writer, out, visit);
    writer_key_bool(&writer, "ok", true);
    writer_key(&writer, "result");
    writer_raw(&writer, result->length > 0 ? result->data : "null",
               result->length > 0 ? result->length : 4);
    writer_end(&writer);
}

static void send_answer(const struct visit *visit, int64_t row)
{
    const struct buf *answer = &visit->door->answer;
    if (answer->failed || !inbox_answer(visit->door->settings.inbox, &visit->arrival->from, row,
                                        answer->data, answer->length))
        log_error(PART, "no memory for the answer to %s", visit->arrival->name);
    else
        visit->door->settings.answered(visit->door->settings.argument);
}

// --- refusals ---

struct refusal_note {
    int64_t at_ms;
    const char *name, *code, *detail;
};

static int write_refusal_note(struct store *store, void *argument, struct err *err)
{
    const struct refusal_note *note = argument;
    return store_audit_add(store, note->at_ms, "office", "command", note->name, note->code,
                           note->detail, err);
}

static void write_record(struct office_door *door, const char *name, const char *code,
                         const char *detail)
{
    struct refusal_note note = {clock_wall_ms(clock_of(door)), name, code, detail};
    struct err err;
    if (recorder_run(gateway_recorder(door->settings.context.gateway), write_refusal_note, &note,
                     &err) != 0)
        log_error(PART, "the refusal of a command could not be recorded: %s", err.text);
}

// Beyond a bound refusals are counted only.
static void record_refusal(struct office_door *door, const char *name, const char *code,
                           const char *why)
{
    if (flood_record(&door->refusals, clock_boot_ms(clock_of(door))))
        write_record(door, name, code, why);
}

// Those that were counted only, once a minute.
static void sum_up(struct office_door *door)
{
    char detail[96];
    uint64_t count = flood_count(&door->refusals, clock_boot_ms(clock_of(door)));
    if (count == 0)
        return;
    (void)snprintf(detail, sizeof detail, "%" PRIu64 " refusals were not recorded singly", count);
    write_record(door, "", "counted", detail);
}

static void count_refusals(struct office_door *door, enum command_refusal refusal, uint64_t count)
{
    (void)pthread_mutex_lock(&door->mutex);
    door->status.refused[refusal] += count;
    (void)pthread_mutex_unlock(&door->mutex);
}

static void refuse(struct visit *visit, enum command_refusal refusal, const char *why)
{
    struct office_door *door = visit->door;
    const char *code = command_refusal_text(refusal);
    count_refusals(door, refusal, 1);
    record_refusal(door, visit->arrival->name, code, why);
    if (!visit->message.authentic)
        return;
    write_refusal(&door->answer, visit, code, why);
    send_answer(visit, 0);
}

// --- execution ---

// In the round of the effect.
static int seal(void *context, struct store *store, int status, const char *message,
                const struct buf *result, struct err *err)
{
    struct visit *visit = context;
    struct buf *answer = &visit->door->answer;
    struct stored_command command = {.counter = visit->message.counter,
                                     .at_ms = clock_wall_ms(clock_of(visit->door))};
    if (status == COMMAND_DONE)
        write_result(answer, visit, result);
    else
        write_refusal(answer, visit, command_result_text(status), message);
    if (answer->failed)
        return err_set(err, "out of memory for the answer");
    const struct answer_address *to = &visit->arrival->from;
    memcpy(command.key, visit->key.id, sizeof command.key);
    memcpy(command.digest, visit->message.digest, sizeof command.digest);
    memcpy(command.name, visit->message.name, sizeof command.name);
    memcpy(command.response, to->topic, sizeof command.response);
    memcpy(command.correlation, to->correlation, to->correlation_length);
    command.correlation_length = to->correlation_length;
    command.answer = answer->data;
    command.answer_length = answer->length;
    return store_command_add(store, &command, err);
}

// Sends what is stored for this command; false when there is nothing.
static bool send_stored(struct visit *visit)
{
    struct err err;
    int64_t row = 0;
    int found = store_command_find(visit->reader, visit->key.id, visit->message.digest, &row,
                                   &visit->door->answer, &err);
    if (found < 0)
        log_error(PART, "stored answers cannot be read: %s", err.text);
    if (found == 1)
        send_answer(visit, row);
    return found == 1;
}

static void execute(struct visit *visit)
{
    struct office_door *door = visit->door;
    const struct principal office = {.name = "office", .role = ROLE_OFFICE};
    const struct command_seal sealed = {seal, visit};
    struct command_context context = door->settings.context;
    struct err err = {.text = ""};
    struct buf result;
    buf_init(&result, DOOR_RESULT_MAX);
    context.seal = &sealed;
    int status = command_call(&context, &office, visit->message.name, visit->message.arguments,
                              &result, &err);
    buf_release(&result);
    if (send_stored(visit)) {
        (void)pthread_mutex_lock(&door->mutex);
        door->status.executed++;
        door->status.last_ms = clock_wall_ms(clock_of(door));
        (void)pthread_mutex_unlock(&door->mutex);
        return;
    }
    // Not durable, so it did not happen: its counter may come again.
    status = status == COMMAND_DONE ? COMMAND_FAILED : status;
    write_refusal(&door->answer, visit, command_result_text(status), err.text);
    send_answer(visit, 0);
}

// --- the way in ---

// The key as its file has it now: changing it needs no restart.
static void load_key(struct visit *visit)
{
    struct office_door *door = visit->door;
    const char *path = visit->config->office.command_key;
    struct err err = {.text = ""};
    if (path[0] != '\0')
        (void)command_key_load(path, &visit->key, &err);
    (void)pthread_mutex_lock(&door->mutex);
    memcpy(door->status.key, visit->key.id, sizeof door->status.key);
    memcpy(door->status.error, err.text, sizeof door->status.error);
    (void)pthread_mutex_unlock(&door->mutex);
}

static enum command_refusal check(struct visit *visit, bool *repeated, struct err *err)
{
    struct office_door *door = visit->door;
    const struct arrival *arrival = visit->arrival;
    *repeated = false;
    if (arrival->oversized) {
        (void)err_set(err, "%zu bytes, or their properties, are more than is allowed",
                      arrival->length);
        return REJECT_OVERSIZED;
    }
    enum command_refusal refusal = command_message_read(
        arrival->payload, arrival->length, arrival->name, &visit->key, &visit->message, err);
    if (refusal != REJECT_NONE)
        return refusal;
    if (arrival->retained) {
        (void)err_set(err, "the broker kept it: publish commands without the retain flag");
        return REJECT_RETAINED;
    }
    if (store_open_reader(gateway_directory(door->settings.context.gateway), &visit->reader, err) !=
            0 ||
        store_command_last(visit->reader, visit->key.id, clock_wall_ms(clock_of(door)),
                           &visit->last, err) != 0)
        return REJECT_BUSY;
    *repeated = send_stored(visit);
    if (*repeated)
        return REJECT_NONE;
    struct recorder_status recorder;
    recorder_status(gateway_recorder(door->settings.context.gateway), &recorder);
    return command_message_judge(&visit->message, visit->config->gateway_id, recorder.clock_known,
                                 clock_wall_ms(clock_of(door)), visit->last, err);
}

static void take(struct office_door *door, const struct arrival *arrival)
{
    struct visit visit = {.door = door, .arrival = arrival};
    struct err err = {.text = ""};
    bool repeated;
    visit.config = gateway_config(door->settings.context.gateway);
    load_key(&visit);
    enum command_refusal refusal = check(&visit, &repeated, &err);
    if (refusal != REJECT_NONE) {
        refuse(&visit, refusal, err.text);
    } else if (repeated) {
        (void)pthread_mutex_lock(&door->mutex);
        door->status.repeated++;
        (void)pthread_mutex_unlock(&door->mutex);
    } else {
        execute(&visit);
    }
    store_close(visit.reader);
    command_message_release(&visit.message);
    command_key_release(&visit.key);
    config_unref(visit.config);
}

// --- the thread ---

static int write_told(struct store *store, void *argument, struct err *err)
{
    const struct inbox_signals *signals = argument;
    for (int i = 0; i < signals->told_count; i++)
        if (store_command_told(store, signals->told[i], err) != 0)
            return -1;
    return 0;
}

static void take_signals(struct office_door *door, struct inbox_signals *signals)
{
    struct err err;
    char why[80];
    if (signals->told_count > 0 && recorder_run(gateway_recorder(door->settings.context.gateway),
                                                write_told, signals, &err) != 0)
        log_warn(PART, "answers that were sent are sent again after a restart: %s", err.text);
    if (signals->dropped == 0)
        return;
    count_refusals(door, REJECT_BUSY, signals->dropped);
    (void)snprintf(why, sizeof why, "%" PRIu64 " commands came faster than they are taken",
                   signals->dropped);
    record_refusal(door, "", command_refusal_text(REJECT_BUSY), why);
}

static void add_tokens(struct office_door *door)
{
    int64_t now = clock_boot_ms(clock_of(door));
    int64_t more = (now - door->tokens_ms) / DOOR_EVERY_MS;
    if (more <= 0)
        return;
    door->tokens_ms += more * DOOR_EVERY_MS;
    door->tokens = more > DOOR_BURST - door->tokens ? DOOR_BURST : door->tokens + (int)more;
}

// What was executed before the process ended, and whose answer may not have gone out.
static bool answer_again(void *context, const struct stored_command *command)
{
    struct office_door *door = context;
    struct answer_address to = {.correlation_length = command->correlation_length};
    memcpy(to.topic, command->response, sizeof to.topic);
    memcpy(to.correlation, command->correlation, sizeof to.correlation);
    return inbox_answer(door->settings.inbox, &to, command->row, command->answer,
                        command->answer_length);
}

static void answer_untold(struct office_door *door)
{
    struct store *reader = NULL;
    struct err err;
    if (store_open_reader(gateway_directory(door->settings.context.gateway), &reader, &err) != 0 ||
        store_commands_untold(reader, answer_again, door, &err) != 0)
        log_warn(PART, "answers of the last run cannot be read: %s", err.text);
    store_close(reader);
}

static void *stand_at_door(void *argument)
{
    struct office_door *door = argument;
    struct inbox_signals signals;
    (void)pthread_setname_np(pthread_self(), "office-door");
    answer_untold(door);
    do {
        add_tokens(door);
        int idle_ms = door->refusals.dropped > 0 ? SUM_UP_MS : IDLE_MS;
        int wait_ms = door->tokens > 0 ? idle_ms : DOOR_EVERY_MS;
        struct arrival *arrival =
            inbox_wait(door->settings.inbox, wait_ms, door->tokens > 0, &signals);
        take_signals(door, &signals);
        if (arrival != NULL) {
            door->tokens--;
            take(door, arrival);
        }
        sum_up(door);
        free(arrival);
    } while (!signals.stop);
    return NULL;
}

static int start_thread(struct office_door *door, struct err *err)
{
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int why = pthread_create(&door->thread, &attributes, stand_at_door, door);
    (void)pthread_attr_destroy(&attributes);
    return why == 0 ? 0 : err_set(err, "no thread for head office's commands: %s", strerror(why));
}

struct office_door *office_door_start(const struct office_door_settings *settings, struct err *err)
{
    struct office_door *door = calloc(1, sizeof *door);
    if (door == NULL) {
        (void)err_set(err, "not enough memory for head office's commands");
        return NULL;
    }
    door->settings = *settings;
    door->tokens = DOOR_BURST;
    door->tokens_ms = clock_boot_ms(clock_of(door));
    door->refusals =
        (struct flood){.minute_max = REFUSALS_MINUTE_MAX, .hour_max = REFUSALS_HOUR_MAX};
    buf_init(&door->answer, STORE_ANSWER_MAX);
    (void)pthread_mutex_init(&door->mutex, NULL);
    if (start_thread(door, err) != 0) {
        (void)pthread_mutex_destroy(&door->mutex);
        free(door);
        return NULL;
    }
    return door;
}

void office_door_stop(struct office_door *door)
{
    if (door == NULL)
        return;
    inbox_stop(door->settings.inbox);
    (void)pthread_join(door->thread, NULL);
    buf_release(&door->answer);
    (void)pthread_mutex_destroy(&door->mutex);
    free(door);
}

void office_door_status(struct office_door *door, struct office_door_status *out)
{
    (void)pthread_mutex_lock(&door->mutex);
    *out = door->status;
    (void)pthread_mutex_unlock(&door->mutex);
}
