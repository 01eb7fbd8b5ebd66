// The control socket from both sides: calls, the page's door, hostile clients, slow commands, the
// lock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control_fixture.h"

#include "control/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define LIMIT_MS 20000

static struct control *control;

static int set_up(void **state)
{
    if (site_open(state) != 0)
        return -1;
    struct command_context context = {.gateway = &site, .clock = &clock_system};
    control = control_start(folder, &context, &failure);
    return control != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    control_stop(control);
    control = NULL;
    return site_close(state);
}

// --- a client of bytes ---

static int open_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/" CONTROL_SOCKET, folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_raw(int fd, const char *json)
{
    struct buf out;
    buf_init(&out, CONTROL_FRAME_MAX + FRAME_HEAD);
    frame_add(&out, json, strlen(json));
    assert_int_equal(send(fd, out.data, out.length, MSG_NOSIGNAL), (ssize_t)out.length);
    buf_release(&out);
}

// The next reply, or NULL when the other side closed.
static json_t *receive_raw(int fd)
{
    unsigned char head[FRAME_HEAD];
    size_t have = 0;
    while (have < sizeof head) {
        ssize_t got = recv(fd, head + have, sizeof head - have, 0);
        if (got <= 0) {
            assert_true(got == 0 || errno == ECONNRESET);
            return NULL;
        }
        have += (size_t)got;
    }
    size_t length = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    char *text = malloc(length);
    assert_non_null(text);
    for (have = 0; have < length;) {
        ssize_t got = recv(fd, text + have, length - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    json_t *reply = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    assert_non_null(reply);
    return reply;
}

static const char *code_of(const json_t *reply)
{
    const char *code = json_string_value(json_object_get(reply, "code"));
    return code != NULL ? code : "";
}

static void expect_code(int fd, const char *request, const char *code)
{
    send_raw(fd, request);
    json_t *reply = receive_raw(fd);
    assert_non_null(reply);
    assert_int_equal(json_is_true(json_object_get(reply, "ok")), code[0] == '\0');
    assert_string_equal(code_of(reply), code);
    json_decref(reply);
}

// --- calls ---

static void test_call(void **state)
{
    (void)state;
    json_t *result = NULL;
    struct buf text;
    must(control_call(folder, "session", NULL, LIMIT_MS, &result, &failure));
    char name[32];
    (void)snprintf(name, sizeof name, "local:%u", (unsigned)geteuid());
    assert_string_equal(json_string_value(json_object_get(result, "name")), name);
    assert_string_equal(json_string_value(json_object_get(result, "role")), "leader");
    json_decref(result);
    buf_init(&text, CONTROL_FRAME_MAX);
    must(control_call_text(folder, "live", NULL, LIMIT_MS, &text, &failure));
    assert_non_null(strstr(text.data, "9007199254740.993001"));
    buf_release(&text);
    json_t *arguments = json_pack("{s:s}", "language", "xx");
    assert_int_equal(control_call(folder, "texts", arguments, LIMIT_MS, &result, &failure), -1);
    assert_non_null(strstr(failure.text, "'xx'"));
    json_decref(arguments);
    assert_int_equal(control_call(folder, "no-such", NULL, LIMIT_MS, &result, &failure), -1);
    assert_non_null(strstr(failure.text, "no-such"));
}

static void test_nobody_listens(void **state)
{
    (void)state;
    json_t *result = NULL;
    control_stop(control);
    control = NULL;
    assert_int_equal(control_call(folder, "status", NULL, LIMIT_MS, &result, &failure),
                     CONTROL_NOT_RUNNING);
    assert_non_null(strstr(failure.text, "metergate run"));
    // A socket that a killed gateway left behind.
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/" CONTROL_SOCKET, folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(fd);
    assert_int_equal(control_call(folder, "status", NULL, LIMIT_MS, &result, &failure),
                     CONTROL_NOT_RUNNING);
    struct command_context context = {.gateway = &site, .clock = &clock_system};
    control = control_start(folder, &context, &failure);
    assert_non_null(control);
    must(control_call(folder, "status", NULL, LIMIT_MS, &result, &failure));
    json_decref(result);
}

static void test_the_page_gets_no_more_than_its_session(void **state)
{
    (void)state;
    int fd = open_raw();
    // The same process is leader without the mark, and nobody with it.
    expect_code(fd, "{\"id\":1,\"command\":\"status\"}", "");
    expect_code(fd, "{\"id\":2,\"command\":\"status\",\"door\":\"page\"}", "session");
    expect_code(fd, "{\"id\":3,\"command\":\"status\",\"token\":\"\"}", "session");
    expect_code(fd,
                "{\"id\":4,\"command\":\"status\",\"token\":\"0123456789abcdef0123456789abcdef\"}",
                "session");
    expect_code(fd, "{\"id\":5,\"command\":\"texts\",\"door\":\"page\"}", "");
    expect_code(fd,
                "{\"id\":6,\"command\":\"user-add\",\"arguments\":{\"name\":\"anna\",\"role\":"
                "\"viewer\",\"password\":\"correct horse battery\"}}",
                "");
    send_raw(fd, "{\"id\":7,\"door\":\"page\",\"command\":\"login\",\"arguments\":{\"name\":"
                 "\"anna\",\"password\":\"correct horse battery\"}}");
    json_t *reply = receive_raw(fd);
    const char *token =
        json_string_value(json_object_get(json_object_get(reply, "result"), "token"));
    assert_non_null(token);
    char request[256];
    (void)snprintf(request, sizeof request,
                   "{\"id\":8,\"door\":\"page\",\"command\":\"live\",\"token\":\"%s\"}", token);
    expect_code(fd, request, "");
    (void)snprintf(request, sizeof request,
                   "{\"id\":9,\"door\":\"page\",\"command\":\"reload\",\"token\":\"%s\"}", token);
    expect_code(fd, request, "role");
    // Also without the mark: a token is a token.
    (void)snprintf(request, sizeof request, "{\"id\":10,\"command\":\"reload\",\"token\":\"%s\"}",
                   token);
    expect_code(fd, request, "role");
    assert_int_equal(site.reloads, 0);
    expect_code(fd, "{\"id\":11,\"command\":\"user-remove\",\"arguments\":{\"name\":\"anna\"}}",
                "");
    (void)snprintf(request, sizeof request,
                   "{\"id\":12,\"door\":\"page\",\"command\":\"live\",\"token\":\"%s\"}", token);
    expect_code(fd, request, "session");
    json_decref(reply);
    (void)close(fd);
}

// --- hostile clients ---

static void test_requests_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"{",
                                      "[]",
                                      "null",
                                      "{\"command\":\"status\"}",
                                      "{\"id\":\"1\",\"command\":\"status\"}",
                                      "{\"id\":-1,\"command\":\"status\"}",
                                      "{\"id\":1}",
                                      "{\"id\":1,\"command\":7}",
                                      "{\"id\":1,\"id\":2,\"command\":\"status\"}",
                                      "{\"id\":1,\"command\":\"status\",\"arguments\":[]}",
                                      "{\"id\":1,\"command\":\"status\",\"token\":1}",
                                      "\xFF\xFE"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = open_raw();
        expect_code(fd, bad[i], "arguments");
        assert_null(receive_raw(fd)); // and closed
        (void)close(fd);
    }
    // Nested as deep as it gets.
    static char deep[200000];
    memset(deep, '[', sizeof deep - 1);
    int fd = open_raw();
    expect_code(fd, deep, "arguments");
    (void)close(fd);
    memcpy(deep, "{\"id\":1,\"command\":\"status\",\"arguments\":{\"a\":", 45);
    memset(deep + 45 + 2000, ']', 2000);
    strcpy(deep + 45 + 4000, "}}");
    fd = open_raw();
    expect_code(fd, deep, "arguments");
    (void)close(fd);
}

static void test_frames_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"\0\0\0\0", "\0\x40\0\x01", "\xFF\xFF\xFF\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = open_raw();
        assert_int_equal(send(fd, bad[i], 4, MSG_NOSIGNAL), 4);
        assert_null(receive_raw(fd));
        (void)close(fd);
    }
    // Half a frame, then gone.
    int fd = open_raw();
    assert_int_equal(send(fd, "\0\0\0\x40{\"id", 8, MSG_NOSIGNAL), 8);
    (void)close(fd);
    fd = open_raw();
    expect_code(fd, "{\"id\":1,\"command\":\"status\"}", "");
    (void)close(fd);
}

static void test_many_clients(void **state)
{
    (void)state;
    int fds[CONTROL_CLIENTS_MAX];
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fds[i] = open_raw();
        expect_code(fds[i], "{\"id\":1,\"command\":\"session\"}", "");
    }
    int more = open_raw();
    assert_null(receive_raw(more)); // closed at once
    (void)close(more);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        expect_code(fds[i], "{\"id\":2,\"command\":\"session\"}", "");
        (void)close(fds[i]);
    }
    // And there is room again, as soon as the ends were seen.
    json_t *reply = NULL;
    for (int tries = 0; reply == NULL && tries < 1000; tries++) {
        more = open_raw();
        static const char request[] = "\0\0\0\x1C{\"id\":1,\"command\":\"session\"}";
        (void)send(more, request, sizeof request - 1, MSG_NOSIGNAL); // may be closed already
        reply = receive_raw(more);
        (void)close(more);
    }
    assert_non_null(reply);
    json_decref(reply);
}

// Requests in one heap, byte by byte, answered each.
static void test_requests_in_pieces(void **state)
{
    (void)state;
    int fd = open_raw();
    struct buf out;
    buf_init(&out, 100000);
    for (int i = 1; i <= 200; i++) {
        char request[64];
        (void)snprintf(request, sizeof request, "{\"id\":%d,\"command\":\"%s\"}", i,
                       i % 2 ? "session" : "status");
        frame_add(&out, request, strlen(request));
    }
    for (size_t at = 0; at < out.length;) {
        size_t step = at < 300 ? 1 : 777;
        step = step < out.length - at ? step : out.length - at;
        assert_int_equal(send(fd, out.data + at, step, MSG_NOSIGNAL), (ssize_t)step);
        at += step;
    }
    bool seen[201] = {false};
    for (int i = 1; i <= 200; i++) {
        json_t *reply = receive_raw(fd);
        assert_true(json_is_true(json_object_get(reply, "ok")));
        json_int_t id = json_integer_value(json_object_get(reply, "id"));
        assert_in_range(id, 1, 200);
        assert_false(seen[id]);
        seen[id] = true;
        json_decref(reply);
    }
    buf_release(&out);
    (void)close(fd);
}

// --- slow commands ---

static void test_waiting_for_a_bus_holds_nobody_up(void **state)
{
    (void)state;
    pthread_mutex_lock(&site.bus); // no meter answers
    int slow = open_raw();
    int count = CONTROL_WORKERS - 1;
    for (int i = 1; i <= count; i++) {
        char request[96];
        (void)snprintf(request, sizeof request,
                       "{\"id\":%d,\"command\":\"read\",\"arguments\":{\"meter\":\"m1\"}}", i);
        send_raw(slow, request);
    }
    int other = open_raw();
    expect_code(other, "{\"id\":1,\"command\":\"live\"}", "");
    expect_code(other, "{\"id\":2,\"command\":\"status\"}", "");
    expect_code(other, "{\"id\":3,\"command\":\"user-list\"}", "");
    struct pollfd nothing = {.fd = slow, .events = POLLIN};
    assert_int_equal(poll(&nothing, 1, 0), 0); // still waiting
    pthread_mutex_unlock(&site.bus);
    for (int i = 1; i <= count; i++) {
        json_t *reply = receive_raw(slow);
        assert_string_equal(code_of(reply), "failed");
        json_decref(reply);
    }
    (void)close(slow);
    (void)close(other);
}

static void test_too_many_slow_commands(void **state)
{
    (void)state;
    pthread_mutex_lock(&site.bus);
    enum { CLIENTS = 5, EACH = CONTROL_CLIENT_JOBS_MAX };
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = open_raw();
        for (int k = 0; k < EACH; k++)
            send_raw(fds[i], "{\"id\":1,\"command\":\"read\",\"arguments\":{\"meter\":\"m1\"}}");
    }
    int busy = 0;
    // What does not fit is told at once; what fits waits for the bus.
    while (busy < CLIENTS * EACH - CONTROL_JOBS_MAX - CONTROL_WORKERS) {
        struct pollfd ready[CLIENTS];
        for (int i = 0; i < CLIENTS; i++)
            ready[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        assert_true(poll(ready, CLIENTS, LIMIT_MS) > 0);
        for (int i = 0; i < CLIENTS; i++) {
            if (ready[i].revents & POLLIN) {
                json_t *reply = receive_raw(fds[i]);
                assert_string_equal(code_of(reply), "busy");
                json_decref(reply);
                busy++;
            }
        }
    }
    pthread_mutex_unlock(&site.bus);
    for (int i = 0; i < CLIENTS; i++)
        (void)close(fds[i]); // their answers find nobody
}

static void test_stop_waits_for_what_runs(void **state)
{
    (void)state;
    int fd = open_raw();
    send_raw(fd, "{\"id\":1,\"command\":\"user-add\",\"arguments\":{\"name\":\"anna\",\"role\":"
                 "\"viewer\",\"password\":\"correct horse battery\"}}");
    expect_code(fd, "{\"id\":2,\"command\":\"session\"}", "");
    control_stop(control);
    control = NULL;
    assert_null(receive_raw(fd));
    (void)close(fd);
    struct stat status;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/" CONTROL_SOCKET, folder);
    assert_int_equal(stat(path, &status), -1);
}

// --- the lock ---

static void test_lock(void **state)
{
    (void)state;
    int first = -1;
    int second = -1;
    char pid[32];
    must(control_lock(folder, &first, &failure));
    pid_t child = fork();
    if (child == 0)
        _exit(control_lock(folder, &second, &failure) == -1 ? 7 : 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(control_lock(folder, &second, &failure), -1);
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(failure.text, pid));
    (void)close(first);
    must(control_lock(folder, &second, &failure));
    (void)close(second);
    assert_int_equal(control_lock("/no/such/folder", &second, &failure), -1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "hash") == 0) // the helper of password.c
        return hash_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_listens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_page_gets_no_more_than_its_session, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_requests_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_requests_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waiting_for_a_bus_holds_nobody_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_slow_commands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_waits_for_what_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
