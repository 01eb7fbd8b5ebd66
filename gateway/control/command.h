// The one command table: page, command line and head office come through here, and it writes the
// audit record.
#ifndef METERGATE_CONTROL_COMMAND_H
#define METERGATE_CONTROL_COMMAND_H

#include "base/writer.h"
#include "store/store.h"

#include <jansson.h>

struct gateway;

// Who asks.
struct principal {
    char name[64]; // account, "local:UID", "office"
    enum role role;
};

// What a command works on: a running gateway, or (gateway NULL) the store alone, opened for writing
// under the lock.
struct command_context {
    struct gateway *gateway;
    struct store *store; // only where gateway is NULL
    const struct clock *clock;
};

struct command {
    const char *name;      // "status"
    enum role least;       // ROLE_NONE: also without an account
    bool audited;          // every call and its result goes to the audit chain; refusals always do
    const char *help;      // one line
    const char *arguments; // form, for messages: "{meter: ID, frames: bool}"
    // Writes its result as one JSON value. -1 with a message; `result` is then dropped.
    int (*run)(struct command_context *context, const struct principal *who,
               const json_t *arguments, struct writer *result, struct err *err);
};

extern const struct command command_table[]; // ends with name NULL
const struct command *command_find(const char *name);

// Finds, checks the role, runs, audits. `result` holds one JSON value on success.
int command_call(struct command_context *context, const struct principal *who, const char *name,
                 const json_t *arguments, struct buf *result, struct err *err);

#endif
