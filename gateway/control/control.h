// The control socket DIR/control.sock (mode 0660: the gateway's own user, and the group that the
// page's process may run in): frames (frame.h) of JSON.
//   request  {"id": N, "command": NAME, "arguments": {…}, "token": TEXT, "door": "page",
//             "background": true}
//   reply    {"id": N, "ok": true, "result": …}
//            {"id": N, "ok": false, "code": CODE, "error": TEXT}   codes: enum command_result
// Replies come when they are ready, not in the order of the requests. A command that takes long may
// tell how far it is before:
//   {"id": N, "ok": true, "more": true, "result": …}
// {"command": "cancel", "arguments": {"id": N}} ends a command of the same connection and the same
// person early; it then answers with what it has. So does the end of the connection, to nobody.
//
// Local callers are known by SO_PEERCRED: root and the gateway's own user act as leader. A request
// with a token, or through the door "page", gets what its session's role allows and nothing else.
// `background`: no person did this (the page refreshes itself), so the session's idle time runs on.
#ifndef METERGATE_CONTROL_CONTROL_H
#define METERGATE_CONTROL_CONTROL_H

#include "control/command.h"

#define CONTROL_SOCKET "control.sock"
#define CONTROL_FRAME_MAX (4 * 1024 * 1024) // a longer frame closes the connection
#define CONTROL_CLIENTS_MAX 64              // a further one is closed at once
#define CONTROL_CLIENT_JOBS_MAX 32          // slow commands of one client; more wait in its socket
#define CONTROL_JOBS_MAX 64                 // slow commands that wait; a further one is told `busy`
#define CONTROL_WORKERS 8                   // slow commands that run at once
#define CONTROL_SLOW_MS 30000 // a client that takes nothing of its answer for so long is dropped

struct control;
// Takes its own copy of the context and makes its sessions. NULL with a message on failure.
struct control *control_start(const char *directory, const struct command_context *context,
                              struct err *err);
// Ends the thread and the workers (waits for the commands that run), removes the socket. NULL is
// fine.
void control_stop(struct control *control);

// Client side, blocking: calls one command of a running gateway. *result (jansson) is the caller's.
// Returns 0, CONTROL_NOT_RUNNING when no gateway listens there, else -1. `arguments` stays the
// caller's; NULL: none.
enum { CONTROL_NOT_RUNNING = -20 };
int control_call(const char *directory, const char *command, json_t *arguments, int timeout_ms,
                 json_t **result, struct err *err);
// The same; `result` receives the JSON text itself, so that decimals keep all their digits.
int control_call_text(const char *directory, const char *command, json_t *arguments, int timeout_ms,
                      struct buf *result, struct err *err);

// The same for a command that tells how far it is: `more` gets each such value's text, and false
// from it cancels the command, whose answer is still waited for. It is called at least once a
// second with NULL while nothing comes. `timeout_ms` runs from the last frame on.
struct control_watch {
    bool (*more)(void *context, const char *json);
    void *context;
};
int control_call_stream(const char *directory, const char *command, json_t *arguments,
                        int timeout_ms, const struct control_watch *watch, struct buf *result,
                        struct err *err);

// DIR/lock, held by the process that may write the store. -1 with a message that names the holder's
// pid. Given back by close(*fd).
int control_lock(const char *directory, int *fd, struct err *err);

#endif
