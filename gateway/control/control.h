// The control socket DIR/control.sock (mode 0600 but group-readable by the page's user): frames of
// a 4-byte big-endian length and a JSON text.
//   request  {"id": N, "command": NAME, "arguments": {…}, "token": TEXT}   token: of a page
//   session; without one the caller is its Unix user reply    {"id": N, "ok": true, "result": …} or
//   {"id": N, "ok": false, "error": TEXT}
// Local callers are known by SO_PEERCRED: root and the gateway's own user act as leader.
#ifndef METERGATE_CONTROL_CONTROL_H
#define METERGATE_CONTROL_CONTROL_H

#include "control/command.h"

#define CONTROL_SOCKET "control.sock"
#define CONTROL_FRAME_MAX (4 * 1024 * 1024) // a longer frame closes the connection
#define CONTROL_CLIENTS_MAX 64              // a further one is closed at once

struct control;
struct control *control_start(const char *directory, const struct command_context *context,
                              struct err *err);
void control_stop(struct control *control);

// Client side, blocking: calls one command of a running gateway. *result (jansson) is the caller's.
// CONTROL_NOT_RUNNING when no gateway listens there.
enum { CONTROL_NOT_RUNNING = -2 };
int control_call(const char *directory, const char *command, json_t *arguments, int timeout_ms,
                 json_t **result, struct err *err);

// DIR/lock, held by the process that may write the store. -1 with a message that names the holder's
// pid.
int control_lock(const char *directory, int *fd, struct err *err);

#endif
