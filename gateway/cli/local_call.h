// A command of the command table, called from the command line: through the running gateway, or,
// while none runs, on the store itself under DIR/lock.
#ifndef METERGATE_CLI_LOCAL_CALL_H
#define METERGATE_CLI_LOCAL_CALL_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define LOCAL_CALL_TIMEOUT_MS 60000 // a hash on a busy small machine takes seconds

// `result` receives the JSON text of the answer. -1 with a message. `arguments` stays the caller's;
// NULL: none.
int local_call(const char *directory, const char *command, json_t *arguments, struct buf *result,
               struct err *err);
// The same where no gateway runs: on the store, under the lock.
int local_call_stopped(const char *directory, const char *command, json_t *arguments,
                       struct buf *result, struct err *err);

#endif
