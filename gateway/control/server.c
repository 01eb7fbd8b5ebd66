// The server's side of the control socket: one thread with poll(2) owns the connections; commands
// that may wait run in workers. Bounds are in control.h.
#include "base/log.h"
#include "control/access.h"
#include "control/address.h"
#include "control/control.h"
#include "control/frame.h"
#include "control/workers.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 16384
#define STACK_BYTES (2 * 1024 * 1024) // JSON is taken apart by recursion
#define OUT_MAX (2 * (CONTROL_FRAME_MAX + FRAME_HEAD))
#define ACCEPT_REST_MS 100 // no descriptor was free: rest before the next try

struct client {
    int fd; // -1: free
    uint64_t number;
    struct principal local; // by SO_PEERCRED
    struct buf in, out;
    size_t sent;         // of out
    int64_t progress_ms; // boot time at which it last took something, or owed nothing
    int jobs;            // that run or wait
    bool closing;        // as soon as all is sent
};

struct control {
    int listener;
    int wake; // eventfd: a job is done, or the end
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    struct command_context context;
    struct access *access;
    struct workers *workers;
    pthread_t thread;
    bool started;
    uint64_t clients_seen;
    bool resting; // the listener, for ACCEPT_REST_MS
    struct client clients[CONTROL_CLIENTS_MAX];
    pthread_mutex_t mutex; // guards what is below
    struct job *done, **done_end;
    bool stopping;
};

static int64_t now_ms(const struct control *control)
{
    return clock_boot_ms(control->context.clock);
}

static void drop_client(struct control *control, struct client *client)
{
    if (control->workers != NULL)
        (void)workers_cancel(control->workers, client->number, 0, NULL);
    (void)close(client->fd);
    client->fd = -1;
    buf_release(&client->in);
    buf_release(&client->out);
}

// --- replies ---

static void wake(struct control *control)
{
    uint64_t one = 1;
    (void)!write(control->wake, &one, sizeof one);
}

static void job_done(void *context, struct job *job)
{
    struct control *control = context;
    (void)pthread_mutex_lock(&control->mutex);
    job->next = NULL;
    *control->done_end = job; // in the order in which they came: the last answer comes last
    control->done_end = &job->next;
    (void)pthread_mutex_unlock(&control->mutex);
    wake(control);
}

static void reply(struct control *control, struct client *client, const struct job *job)
{
    if (client->out.length == client->sent)
        client->progress_ms = now_ms(control);
    if (client->sent > 0) {
        frame_drop(&client->out, client->sent);
        client->sent = 0;
    }
    frame_add(&client->out, job->reply.data, job->reply.length);
    if (client->out.failed) {
        log_warn("control", "%s does not take its answers: connection dropped", client->local.name);
        drop_client(control, client);
    }
}

static struct client *find_client(struct control *control, uint64_t number)
{
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0 && control->clients[i].number == number)
            return &control->clients[i];
    return NULL;
}

static void deliver(struct control *control)
{
    uint64_t count;
    (void)!read(control->wake, &count, sizeof count);
    (void)pthread_mutex_lock(&control->mutex);
    struct job *job = control->done;
    control->done = NULL;
    control->done_end = &control->done;
    (void)pthread_mutex_unlock(&control->mutex);
    while (job != NULL) {
        struct job *next = job->next;
        struct client *client = find_client(control, job->client);
        if (client != NULL) {
            client->jobs -= job->more ? 0 : 1;
            reply(control, client, job);
        }
        job_free(job);
        job = next;
    }
}

// --- requests ---

// Who asks: a session's account, or the local user.
static void fill_principal(struct control *control, const struct client *client,
                           const json_t *request, struct job *job)
{
    const char *token = json_string_value(json_object_get(request, "token"));
    bool page = json_object_get(request, "door") != NULL;
    if (token == NULL && !page) {
        job->who = client->local;
        return;
    }
    struct session session;
    bool background = json_is_true(json_object_get(request, "background"));
    job->who = (struct principal){.name = "page", .role = ROLE_NONE};
    if (token != NULL && access_find(control->access, token, !background, &session)) {
        (void)snprintf(job->who.name, sizeof job->who.name, "%s", session.account);
        job->who.role = session.role;
        (void)snprintf(job->token, sizeof job->token, "%s", session.token);
        job->who.token = job->token;
    }
    OPENSSL_cleanse(&session, sizeof session);
}

// What is wrong with a request, or NULL.
static const char *check_request(const json_t *request)
{
    const json_t *arguments = json_object_get(request, "arguments");
    const json_t *token = json_object_get(request, "token");
    if (!json_is_object(request))
        return "a request is a JSON object";
    if (!json_is_integer(json_object_get(request, "id")) ||
        json_integer_value(json_object_get(request, "id")) < 0)
        return "a request needs a whole number as its id";
    if (!json_is_string(json_object_get(request, "command")))
        return "a request needs the name of a command";
    if (arguments != NULL && !json_is_object(arguments))
        return "the arguments of a command are a JSON object";
    if (token != NULL && !json_is_string(token))
        return "a token is text";
    return NULL;
}

// Ends another command of the same connection early; not in the table, as it works on none of the
// gateway's parts.
static void cancel(struct control *control, struct client *client, struct job *job)
{
    json_int_t id = -1;
    if (json_unpack(job->arguments, "{s:I}", "id", &id) != 0) {
        job_refuse(job, COMMAND_ARGUMENTS, "the arguments of cancel are {id: NUMBER}");
    } else {
        bool any = workers_cancel(control->workers, client->number, id, job->who.name);
        buf_addf(&job->reply, "{\"id\":%" JSON_INTEGER_FORMAT ",\"ok\":true,\"result\":%s}",
                 job->id, any ? "true" : "false");
    }
    reply(control, client, job);
    job_free(job);
}

// Runs the job now, or hands it to a worker.
static void dispatch(struct control *control, struct client *client, struct job *job)
{
    const struct command *command = command_find(job->command);
    bool refused = command == NULL || job->who.role < command->least;
    bool quick = refused ? access_refusals_full(control->access) : !command->slow;
    if (quick) {
        job_run(job, &control->context, NULL);
    } else if (workers_offer(control->workers, job)) {
        client->jobs++;
        return;
    } else {
        job_refuse(job, COMMAND_BUSY, "the gateway has too much to do: try again in a moment");
    }
    reply(control, client, job);
    job_free(job);
}

static void take_request(struct control *control, struct client *client, const char *text,
                         size_t length)
{
    json_t *request = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *fault = check_request(request);
    struct job *job = job_new();
    if (job == NULL) {
        client->closing = true;
    } else if (fault != NULL) {
        job_refuse(job, COMMAND_ARGUMENTS, fault);
        client->closing = true; // what follows cannot be trusted either
        reply(control, client, job);
        job_free(job);
    } else {
        job->client = client->number;
        job->id = json_integer_value(json_object_get(request, "id"));
        job->arguments = json_incref(json_object_get(request, "arguments"));
        (void)snprintf(job->command, sizeof job->command, "%s",
                       json_string_value(json_object_get(request, "command")));
        fill_principal(control, client, request, job);
        if (strcmp(job->command, "cancel") == 0)
            cancel(control, client, job);
        else
            dispatch(control, client, job);
    }
    json_decref(request);
}

// --- connections ---

static void take_frames(struct control *control, struct client *client)
{
    const char *text = NULL;
    size_t length = 0;
    while (client->fd >= 0 && !client->closing && client->jobs < CONTROL_CLIENT_JOBS_MAX) {
        int found =
            frame_next(client->in.data, client->in.length, CONTROL_FRAME_MAX, &text, &length);
        if (found < 0) {
            log_warn("control", "%s sent a frame that is empty or too long: connection dropped",
                     client->local.name);
            drop_client(control, client);
            return;
        }
        if (found == 0)
            return;
        take_request(control, client, text, length);
        if (client->fd >= 0)
            frame_drop(&client->in, length + FRAME_HEAD);
    }
}

static void receive(struct control *control, struct client *client)
{
    char chunk[CHUNK];
    ssize_t got = recv(client->fd, chunk, sizeof chunk, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        buf_add(&client->in, chunk, (size_t)got);
    OPENSSL_cleanse(chunk, sizeof chunk); // passwords pass here
    if (got <= 0 || client->in.failed) {
        drop_client(control, client);
        return;
    }
    take_frames(control, client);
}

static void flush(struct control *control, struct client *client)
{
    ssize_t sent = send(client->fd, client->out.data + client->sent,
                        client->out.length - client->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        drop_client(control, client);
        return;
    }
    if (sent > 0) {
        client->sent += (size_t)sent;
        client->progress_ms = now_ms(control);
    }
    if (client->sent == client->out.length) {
        buf_release(&client->out); // a big answer's memory is not kept
        client->sent = 0;
    }
}

static int know_peer(int fd, struct principal *who)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return -1;
    *who = (struct principal){.role = ROLE_NONE};
    (void)snprintf(who->name, sizeof who->name, "local:%u", (unsigned)peer.uid);
    if (peer.uid == 0 || peer.uid == geteuid())
        who->role = ROLE_LEADER;
    return 0;
}

static void accept_client(struct control *control)
{
    int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        control->resting = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        return;
    }
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0)
            continue;
        *client = (struct client){.fd = fd, .number = ++control->clients_seen};
        buf_init(&client->in, CONTROL_FRAME_MAX + FRAME_HEAD + CHUNK);
        buf_init(&client->out, OUT_MAX);
        if (know_peer(fd, &client->local) != 0)
            drop_client(control, client);
        return;
    }
    (void)close(fd);
}

// What to wait for on a connection.
static short events_of(const struct client *client)
{
    bool owes = client->out.length > client->sent;
    short events = owes ? POLLOUT : 0;
    // Nothing more is read from whom answers wait for, or who has enough running.
    if (!owes && !client->closing && client->jobs < CONTROL_CLIENT_JOBS_MAX)
        events |= POLLIN;
    return events;
}

static void serve_client(struct control *control, struct client *client, short events)
{
    if (events & POLLOUT)
        flush(control, client);
    if (client->fd >= 0 && (events & POLLIN))
        receive(control, client);
    else if (client->fd >= 0 && (events & (POLLERR | POLLHUP | POLLNVAL)))
        drop_client(control, client);
}

// Frames that waited for room, clients that are done or too slow.
static void tend_clients(struct control *control)
{
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *client = &control->clients[i];
        if (client->fd >= 0 && client->out.length == client->sent)
            take_frames(control, client);
        if (client->fd < 0)
            continue;
        bool owes = client->out.length > client->sent;
        if (client->closing && !owes) {
            drop_client(control, client);
        } else if (owes && now_ms(control) - client->progress_ms >= CONTROL_SLOW_MS) {
            log_warn("control", "%s takes nothing of its answer: connection dropped",
                     client->local.name);
            drop_client(control, client);
        }
    }
}

static bool is_stopping(struct control *control)
{
    (void)pthread_mutex_lock(&control->mutex);
    bool stopping = control->stopping;
    (void)pthread_mutex_unlock(&control->mutex);
    return stopping;
}

static void *serve(void *argument)
{
    struct control *control = argument;
    struct pollfd polled[CONTROL_CLIENTS_MAX + 2];
    while (!is_stopping(control)) {
        bool owes = false;
        for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
            const struct client *client = &control->clients[i];
            polled[i] = (struct pollfd){.fd = client->fd,
                                        .events = client->fd >= 0 ? events_of(client) : (short)0};
            owes = owes || (polled[i].events & POLLOUT) != 0;
        }
        polled[CONTROL_CLIENTS_MAX] = (struct pollfd){.fd = control->wake, .events = POLLIN};
        polled[CONTROL_CLIENTS_MAX + 1] =
            (struct pollfd){.fd = control->resting ? -1 : control->listener, .events = POLLIN};
        int wait_ms = control->resting ? ACCEPT_REST_MS : (owes ? CONTROL_SLOW_MS / 4 : -1);
        control->resting = false;
        if (poll(polled, CONTROL_CLIENTS_MAX + 2, wait_ms) < 0) {
            assert(errno == EINTR || errno == ENOMEM);
            continue;
        }
        for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
            if (polled[i].fd >= 0 && polled[i].revents != 0)
                serve_client(control, &control->clients[i], polled[i].revents);
        if (polled[CONTROL_CLIENTS_MAX].revents != 0)
            deliver(control);
        if (polled[CONTROL_CLIENTS_MAX + 1].revents != 0)
            accept_client(control);
        tend_clients(control);
    }
    return NULL;
}

// --- start and stop ---

// 0, or why the address cannot be listened at.
static int listen_at(int fd, const struct control_address *address, bool is_file)
{
    // The mode is set before listen(2): until then nobody can connect.
    if (bind(fd, (const struct sockaddr *)&address->name, address->length) != 0 ||
        (is_file && chmod(address->name.sun_path, 0660) != 0) ||
        listen(fd, CONTROL_CLIENTS_MAX) != 0)
        return errno;
    return 0;
}

static int open_listener(struct control *control, const char *directory, struct err *err)
{
    struct control_address address;
    if (control_address_file(directory, &address, err) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, "no socket: %s", strerror(errno));
    // Whoever starts holds DIR/lock: a socket that is there belongs to nobody any more.
    (void)unlink(address.name.sun_path);
    int why = listen_at(fd, &address, true);
    if (why == 0) {
        memcpy(control->path, address.name.sun_path, sizeof control->path);
    } else if (why == EROFS || why == ENOSPC || why == EDQUOT || why == EIO || why == EADDRINUSE) {
        // A disk that takes no file: the folder's abstract address instead (address.h).
        log_warn("control", "%s: %s: listening without a file", address.name.sun_path,
                 strerror(why));
        why = control_address_abstract(directory, "control", &address) == 0
                  ? listen_at(fd, &address, false)
                  : errno;
    }
    if (why != 0) {
        (void)close(fd);
        return err_set(err, "%s/%s: %s", directory, CONTROL_SOCKET, strerror(why));
    }
    control->listener = fd;
    return 0;
}

static int start_thread(struct control *control, struct err *err)
{
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int why = pthread_create(&control->thread, &attributes, serve, control);
    (void)pthread_attr_destroy(&attributes);
    if (why != 0)
        return err_set(err, "no thread for the control socket: %s", strerror(why));
    (void)pthread_setname_np(control->thread, "control");
    control->started = true;
    return 0;
}

struct control *control_start(const char *directory, const struct command_context *context,
                              struct err *err)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        (void)err_set(err, "not enough memory for the control socket");
        return NULL;
    }
    (void)pthread_mutex_init(&control->mutex, NULL);
    control->listener = -1;
    control->done_end = &control->done;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control->clients[i].fd = -1;
    control->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    control->access = access_new(context->clock);
    control->context = *context;
    control->context.access = control->access;
    if (control->wake < 0 || control->access == NULL) {
        (void)err_set(err, "not enough memory for the control socket");
    } else {
        control->workers = workers_start(&control->context, job_done, control, err);
        if (control->workers != NULL && open_listener(control, directory, err) == 0 &&
            start_thread(control, err) == 0)
            return control;
    }
    control_stop(control);
    return NULL;
}

void control_stop(struct control *control)
{
    if (control == NULL)
        return;
    if (control->started) {
        (void)pthread_mutex_lock(&control->mutex);
        control->stopping = true;
        (void)pthread_mutex_unlock(&control->mutex);
        wake(control);
        (void)pthread_join(control->thread, NULL);
    }
    if (control->listener >= 0) {
        (void)close(control->listener);
        if (control->path[0] != '\0')
            (void)unlink(control->path);
    }
    workers_stop(control->workers);
    control->workers = NULL;
    while (control->done != NULL) {
        struct job *job = control->done;
        control->done = job->next;
        job_free(job);
    }
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            drop_client(control, &control->clients[i]);
    access_free(control->access);
    if (control->wake >= 0)
        (void)close(control->wake);
    (void)pthread_mutex_destroy(&control->mutex);
    free(control);
}
