#include "cli/local_call.h"

#include "base/clock.h"
#include "control/control.h"

#include <stdio.h>
#include <unistd.h>

// Under the lock nobody else writes: the store is ours for this one command.
int local_call_stopped(const char *directory, const char *command, json_t *arguments,
                       struct buf *result, struct err *err)
{
    int lock = -1;
    struct store *store = NULL;
    if (control_lock(directory, &lock, err) != 0)
        return -1;
    int status = store_open(directory, &store, err);
    if (status == 0) {
        const struct command_context context = {.store = store, .clock = &clock_system};
        // Who can write the store's file may do everything.
        struct principal who = {.role = ROLE_LEADER};
        (void)snprintf(who.name, sizeof who.name, "local:%u", (unsigned)geteuid());
        status = command_call(&context, &who, command, arguments, result, err);
        store_close(store);
    }
    (void)close(lock);
    return status == 0 ? 0 : -1;
}

int local_call(const char *directory, const char *command, json_t *arguments, struct buf *result,
               struct err *err)
{
    int status =
        control_call_text(directory, command, arguments, LOCAL_CALL_TIMEOUT_MS, result, err);
    if (status == CONTROL_NOT_RUNNING)
        status = local_call_stopped(directory, command, arguments, result, err);
    return status == 0 ? 0 : -1;
}
