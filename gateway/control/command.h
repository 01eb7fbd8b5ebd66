// The one command table: page, command line and head office come through here, and it writes the
// audit record.
#ifndef METERGATE_CONTROL_COMMAND_H
#define METERGATE_CONTROL_COMMAND_H

#include "base/writer.h"
#include "record/recorder.h"
#include "store/store.h"

#include <jansson.h>

struct gateway;
struct access;

// Who asks.
struct principal {
    char name[64]; // account, "local:UID", "office", "page" for a page without a session
    enum role role;
    const char *token; // of a page session, NULL for others
};

// Where a command that takes long tells how far it is, and learns that nobody waits for it any
// more.
struct command_stream {
    void (*more)(void *context, const struct buf *json); // one JSON value
    bool (*is_cancelled)(void *context);
    void *context;
};

// What head office's door keeps of a command (its counter, its answer): written in the round of the
// command's effect and audit record, so that all of it is durable, or nothing.
struct command_seal {
    // In the recorder's thread. `result`: the whole answer where `status` is COMMAND_DONE.
    int (*write)(void *context, struct store *store, int status, const char *message,
                 const struct buf *result, struct err *err);
    void *context;
};

// What a command works on: a running gateway, or (gateway NULL) the store alone, opened for writing
// under the lock.
struct command_context {
    struct gateway *gateway;
    struct store *store; // only where gateway is NULL
    const struct clock *clock;
    struct access *access;               // sessions of the page; NULL where only the store is there
    const struct command_stream *stream; // NULL where nobody watches
    const struct command_seal *seal;     // NULL: there is none

    // Set by command_call for the command that runs.
    const struct command *command;
    const struct buf *result;
    bool noted; // its audit record has been written together with its effect
};

// What command_call and the commands return. The text of each goes to the page, which shows its own
// words for it.
enum command_result {
    COMMAND_DONE = 0,
    COMMAND_FAILED = -1,
    COMMAND_UNKNOWN = -2,    // no such command
    COMMAND_ARGUMENTS = -3,  // wrong arguments
    COMMAND_NO_SESSION = -4, // nobody is logged in
    COMMAND_ROLE = -5,       // logged in, but the role is too small
    COMMAND_DENIED = -6,     // wrong name or password, wrong claim code
    COMMAND_THROTTLED = -7,  // too many tries
    COMMAND_BUSY = -8        // too much waits already
};
const char *command_result_text(int result); // "failed", "unknown", …

struct command {
    const char *name;      // "status"
    enum role least;       // ROLE_NONE: also without an account
    bool audited;          // every call and its result goes to the audit chain; refusals always do
    bool slow;             // may wait for a bus, the disk or a hash: runs in a worker
    const char *help;      // one line
    const char *arguments; // form, for messages: "{meter: ID, frames: bool}"
    // Writes its result as one JSON value. Below 0 with a message; `result` is then dropped.
    int (*run)(struct command_context *context, const struct principal *who,
               const json_t *arguments, struct writer *result, struct err *err);
    bool offered; // head office may call it. What such a command commits with command_commit writes
                  // the result as well, within the round: it is kept with it
};

extern const struct command command_table[]; // ends with name NULL
const struct command *command_find(const char *name);

// Finds, checks the role, runs, audits. `result` holds one JSON value on success. Returns an enum
// command_result. `arguments` NULL: none.
int command_call(const struct command_context *context, const struct principal *who,
                 const char *name, const json_t *arguments, struct buf *result, struct err *err);

// Writes how many calls and refusals of a minute that is over were counted only: one record each.
// Called now and then, from any thread that may wait for the store.
void command_tell_counted(const struct command_context *context);

// --- for the commands themselves ---

// Takes the arguments apart as json_unpack does (end the format with "!": unknown names are
// refused). COMMAND_ARGUMENTS with a message that says the form.
int command_unpack(const struct command_context *context, const json_t *arguments, struct err *err,
                   const char *format, ...);

// Runs `task` and writes the command's audit record in the same round: both are durable, or
// neither.
int command_commit(struct command_context *context, const struct principal *who,
                   const char *subject, recorder_task *task, void *argument, struct err *err);

// 0 where a gateway runs, else COMMAND_FAILED with a message.
int command_need_gateway(const struct command_context *context, struct err *err);

// The store to read from: the context's own, or a new read-only connection. Give it back with
// command_reader_close.
int command_reader_open(const struct command_context *context, struct store **store,
                        struct err *err);
void command_reader_close(const struct command_context *context, struct store *store);

typedef int command_run(struct command_context *context, const struct principal *who,
                        const json_t *arguments, struct writer *result, struct err *err);
command_run command_bus, command_metrics;
command_run command_status, command_live, command_alerts, command_read, command_reload,
    command_texts, command_config_get, command_audit, command_page_settings, command_scan;
command_run command_completeness;
command_run command_backup, command_backup_read;
command_run command_resend, command_resend_cancel, command_feed_acknowledge;
command_run command_login, command_logout, command_session, command_claim_state, command_claim;
command_run command_user_add, command_user_remove, command_user_list, command_user_passwd;

#endif
