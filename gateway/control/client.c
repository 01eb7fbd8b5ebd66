// The client's side of the control socket: one call, then the connection is closed.
#include "control/address.h"
#include "control/control.h"
#include "control/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 16384
#define WATCH_MS 1000 // how often who watches is asked while nothing comes

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Waits for `events`; -1 when the time is over.
static int wait_for(int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left_ms = until_ms - now_ms();
        struct pollfd wait = {.fd = fd, .events = events};
        if (left_ms <= 0)
            return -1;
        int ready = poll(&wait, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -1;
    }
}

static int connect_socket(const char *directory, int *fd, struct err *err)
{
    struct control_address address;
    if (control_address_file(directory, &address, err) != 0)
        return -1;
    int made = control_connect(directory);
    if (made < 0) {
        int why = errno;
        if (why == ENOENT || why == ECONNREFUSED) {
            (void)err_set(err,
                          "no gateway runs on %s: start it with 'metergate run --config FILE "
                          "--state %s'",
                          directory, directory);
            return CONTROL_NOT_RUNNING;
        }
        return err_set(err, "%s: %s%s", address.name.sun_path, strerror(why),
                       why == EACCES ? "; run this as root or as the gateway's user" : "");
    }
    *fd = made;
    return 0;
}

static int send_all(int fd, const struct buf *out, int64_t until_ms, struct err *err)
{
    size_t sent = 0;
    while (sent < out->length) {
        ssize_t step = send(fd, out->data + sent, out->length - sent, MSG_NOSIGNAL);
        if (step >= 0) {
            sent += (size_t)step;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, until_ms) != 0)
                return err_set(err, "the gateway takes no request: try again later");
        } else if (errno != EINTR) {
            return err_set(err, "the gateway closed the connection: %s", strerror(errno));
        }
    }
    return 0;
}

// Reads until one frame is whole; it then stands in `in`.
static int receive(int fd, struct buf *in, const char **text, size_t *length, int64_t until_ms,
                   struct err *err)
{
    char chunk[CHUNK];
    for (;;) {
        int found = frame_next(in->data, in->length, CONTROL_FRAME_MAX, text, length);
        if (found > 0)
            return 0;
        if (found < 0 || in->failed)
            return err_set(err, "the gateway's answer is no answer: is it another version?");
        if (wait_for(fd, POLLIN, until_ms) != 0)
            return err_set(err, "the gateway did not answer in time");
        ssize_t got = recv(fd, chunk, sizeof chunk, 0);
        if (got == 0)
            return err_set(err, "the gateway closed the connection before it answered");
        if (got > 0)
            buf_add(in, chunk, (size_t)got);
        else if (errno != EINTR && errno != EAGAIN)
            return err_set(err, "the gateway's answer broke off: %s", strerror(errno));
    }
}

// The result of a good reply begins after this; our own server writes it so.
static const char good_head[] = "{\"id\":1,\"ok\":true,\"result\":";
static const char more_head[] = "{\"id\":1,\"ok\":true,\"more\":true,\"result\":";
static const char cancel_head[] = "{\"id\":2,"; // the answer to our own cancel

// ---- a call -------------------------------------------------------------------------------------

// One call over its own connection.
struct call {
    int fd;
    struct buf in; // the last frame received stands at its beginning
    const char *text;
    size_t length;
    const struct control_watch *watch; // NULL: only the answer counts
    bool cancelled;
};

static int send_request(int fd, const char *request, int64_t until_ms, struct err *err)
{
    struct buf out;
    buf_init(&out, CONTROL_FRAME_MAX + FRAME_HEAD);
    frame_add(&out, request, strlen(request));
    int result =
        out.failed ? err_set(err, "the request is too long") : send_all(fd, &out, until_ms, err);
    buf_release(&out);
    return result;
}

// Asks who watches whether to go on; a call is cancelled once.
static int watch_call(struct call *call, const char *json, int64_t until_ms, struct err *err)
{
    if (call->watch == NULL || call->watch->more(call->watch->context, json) || call->cancelled)
        return 0;
    call->cancelled = true;
    return send_request(call->fd, "{\"id\":2,\"command\":\"cancel\",\"arguments\":{\"id\":1}}",
                        until_ms, err);
}

// What stands between a head and the last brace.
static char *copy_result(const struct call *call, size_t head)
{
    return strndup(call->text + head, call->length - head - 1);
}

// Waits for the next frame, and asks who watches each second meanwhile.
static int next_frame(struct call *call, int timeout_ms, struct err *err)
{
    int64_t until_ms = now_ms() + timeout_ms;
    while (call->watch != NULL &&
           frame_next(call->in.data, call->in.length, CONTROL_FRAME_MAX, &call->text,
                      &call->length) == 0 &&
           wait_for(call->fd, POLLIN, now_ms() + WATCH_MS) != 0) {
        if (now_ms() >= until_ms)
            break;
        if (watch_call(call, NULL, until_ms, err) != 0)
            return -1;
    }
    return receive(call->fd, &call->in, &call->text, &call->length, until_ms, err);
}

static bool begins(const struct call *call, const char *head)
{
    size_t length = strlen(head);
    return call->length > length && memcmp(call->text, head, length) == 0;
}

// Frames until the answer; it stands in `call`.
static int await_answer(struct call *call, int timeout_ms, struct err *err)
{
    for (;;) {
        if (next_frame(call, timeout_ms, err) != 0)
            return -1;
        bool more = begins(call, more_head);
        if (!more && !begins(call, cancel_head))
            return 0;
        if (more) {
            char *json = copy_result(call, sizeof more_head - 1);
            int result = json == NULL ? err_set(err, "not enough memory for the answer")
                                      : watch_call(call, json, now_ms() + timeout_ms, err);
            free(json);
            if (result != 0)
                return -1;
        }
        frame_drop(&call->in, call->length + FRAME_HEAD);
    }
}

static char *print_request(const char *command, json_t *arguments)
{
    json_t *request =
        json_pack("{s:i, s:s, s:O?}", "id", 1, "command", command, "arguments", arguments);
    if (request != NULL && arguments == NULL)
        (void)json_object_del(request, "arguments");
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

// Takes the answer apart.
static int take_answer(const struct call *call, struct buf *result, struct err *err)
{
    int status = -1;
    json_t *reply = json_loadb(call->text, call->length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_true(json_object_get(reply, "ok")) && begins(call, good_head)) {
        const size_t head = sizeof good_head - 1;
        buf_clear(result);
        buf_add(result, call->text + head, call->length - head - 1); // without the last brace
        status = result->failed ? err_set(err, "the answer is too long") : 0;
    } else {
        const char *error = json_string_value(json_object_get(reply, "error"));
        (void)err_set(err, "%s", error != NULL ? error : "the gateway gave no answer");
    }
    json_decref(reply);
    return status;
}

int control_call_stream(const char *directory, const char *command, json_t *arguments,
                        int timeout_ms, const struct control_watch *watch, struct buf *result,
                        struct err *err)
{
    struct call call = {.fd = -1, .watch = watch};
    char *request = print_request(command, arguments);
    if (request == NULL)
        return err_set(err, "not enough memory, or a text that is not UTF-8");
    buf_init(&call.in, CONTROL_FRAME_MAX + FRAME_HEAD);
    int status = connect_socket(directory, &call.fd, err);
    if (status == 0) {
        status = send_request(call.fd, request, now_ms() + timeout_ms, err);
        if (status == 0)
            status = await_answer(&call, timeout_ms, err);
        if (status == 0)
            status = take_answer(&call, result, err);
        (void)close(call.fd);
    }
    free(request);
    buf_release(&call.in);
    return status;
}

int control_call_text(const char *directory, const char *command, json_t *arguments, int timeout_ms,
                      struct buf *result, struct err *err)
{
    return control_call_stream(directory, command, arguments, timeout_ms, NULL, result, err);
}

int control_call(const char *directory, const char *command, json_t *arguments, int timeout_ms,
                 json_t **result, struct err *err)
{
    struct buf text;
    buf_init(&text, CONTROL_FRAME_MAX);
    int status = control_call_text(directory, command, arguments, timeout_ms, &text, err);
    if (status == 0) {
        json_t *value = json_loadb(text.data, text.length, JSON_DECODE_ANY, NULL);
        if (value == NULL)
            status = err_set(err, "the gateway's answer cannot be read");
        else
            *result = value;
    }
    buf_release(&text);
    return status;
}
