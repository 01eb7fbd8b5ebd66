#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/wire.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define TIMEOUT_MS 60
#define SLACK_MS 50 // F-25

static struct wire_settings settings_for(enum fake_kind kind, const struct fake_meter *fake)
{
    struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
    settings.url = (struct link_url){.kind = kind == FAKE_PTY   ? LINK_RTU
                                             : kind == FAKE_TCP ? LINK_TCP
                                                                : LINK_RTU_OVER_TCP,
                                     .address = "127.0.0.1",
                                     .port = fake_port(fake),
                                     .baud = 115200,
                                     .parity = 'N',
                                     .stop = 1};
    (void)snprintf(settings.url.device, sizeof settings.url.device, "%s", fake_device(fake));
    return settings;
}

static struct wire *open_wire(enum fake_kind kind, const struct fake_meter *fake)
{
    struct wire_settings settings = settings_for(kind, fake);
    struct wire *wire = wire_new(&settings, &clock_system);
    assert_non_null(wire);
    struct err err = {""};
    if (wire_open(wire, &err) != 0)
        fail_msg("%s", err.text);
    return wire;
}

static int64_t now_ms(void)
{
    return clock_boot_ms(&clock_system);
}

// ---- good replies -------------------------------------------------------------------------------

static void expect_good(struct wire *wire, struct request request, uint64_t tick)
{
    struct reply reply;
    wire_transact(wire, &request, &reply);
    if (reply.why != WHY_NONE)
        fail_msg("why %d: %s", reply.why, reply.detail);
    for (int i = 0; i < request.count && request.function > 2; i++)
        assert_int_equal(reply.words[i], fake_word(request.first + i, tick));
    assert_in_range(reply.elapsed_us, 0, 5000000);
}

static void test_good(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        struct fake_meter *fake = fake_start((enum fake_kind)kind, NULL, NULL);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        uint64_t tick = 0;
        for (int function = 1; function <= 4; function++) {
            expect_good(wire, (struct request){17, (uint8_t)function, 100, 1}, ++tick);
            expect_good(wire, (struct request){17, (uint8_t)function, 3, 125}, ++tick);
        }
        assert_true(wire_is_open(wire));
        wire_free(wire);
        fake_stop(fake);
    }
}

struct frames {
    int sent, received;
    uint8_t last_sent[FRAME_MAX], last_received[FRAME_MAX];
};

static void note_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct frames *frames = context;
    assert_in_range(length, 1, FRAME_MAX);
    memcpy(sent ? frames->last_sent : frames->last_received, bytes, length);
    *(sent ? &frames->sent : &frames->received) += 1;
}

static void test_trace(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        struct fake_meter *fake = fake_start((enum fake_kind)kind, NULL, NULL);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        struct frames frames = {0};
        wire_set_trace(wire, (struct wire_trace){.frame = note_frame, .context = &frames});
        expect_good(wire, (struct request){17, 3, 0x20, 1}, 1);
        assert_int_equal(frames.sent, 1);
        assert_int_equal(frames.received, 1);
        int head = kind == FAKE_TCP ? 6 : 0;
        assert_memory_equal(frames.last_sent + head, ((uint8_t[]){17, 3, 0, 0x20, 0, 1}), 6);
        assert_memory_equal(frames.last_received + head, ((uint8_t[]){17, 3, 2, 0x20, 1}), 5);
        wire_free(wire);
        fake_stop(fake);
    }
}

// ---- damage -------------------------------------------------------------------------------------

enum damage {
    SILENCE,
    WRONG_UNIT,
    WRONG_FUNCTION,
    WRONG_COUNT,
    TRUNCATED,
    DRIP,
    RESET,
    HALF_AND_RESET,
    EXCEPTION,
    WRONG_CHECK, // CRC, or transaction
    ECHOED,
    NOISE_BEFORE,
    TWO_REPLIES,
    TRAILING,
    FIRST_OF_HEADER, // of those that only the header of TCP can have
    WRONG_PROTOCOL = FIRST_OF_HEADER,
    NO_LENGTH,
    SHORT_LENGTH,
    LONG_LENGTH,
    HUGE_LENGTH,
    DAMAGE_END,
};

// The first request meets the damage, all others a good answer.
struct order {
    enum fake_kind kind;
    enum damage damage;
    uint64_t until_tick;
};

static void reseal(const struct order *order, struct fake_answer *answer)
{
    if (order->kind != FAKE_TCP)
        (void)fake_seal(answer->frame, answer->length - 2);
}

static void damage_head(const struct order *order, struct fake_answer *answer)
{
    uint8_t *pdu = answer->frame + (order->kind == FAKE_TCP ? 6 : 0);
    switch (order->damage) {
    case WRONG_UNIT: pdu[0]++; break;
    case WRONG_FUNCTION: pdu[1]++; break;
    case WRONG_COUNT: pdu[2] = (uint8_t)(pdu[2] - 2); break;
    case EXCEPTION:
        pdu[1] |= 0x80;
        pdu[2] = 2;
        answer->length = order->kind == FAKE_TCP ? 9 : 5;
        answer->frame[5] = order->kind == FAKE_TCP ? 3 : answer->frame[5];
        break;
    default: return;
    }
    reseal(order, answer);
}

static void misbehave(void *context, struct fake_answer *answer)
{
    const struct order *order = context;
    if (answer->tick > order->until_tick)
        return;
    damage_head(order, answer);
    switch (order->damage) {
    case SILENCE: answer->length = 0; break;
    case TRUNCATED: answer->length -= 3; break;
    case DRIP: answer->drip_ms = TIMEOUT_MS / 2; break;
    case RESET:
        answer->length = 0;
        answer->hang_up = true;
        break;
    case HALF_AND_RESET:
        answer->length = 6;
        answer->hang_up = true;
        break;
    case WRONG_CHECK: answer->frame[order->kind == FAKE_TCP ? 1 : answer->length - 1] ^= 1; break;
    case ECHOED:
        answer->length = order->kind == FAKE_TCP ? 12 : 8;
        memcpy(answer->frame, answer->request, answer->length);
        break;
    case NOISE_BEFORE:
        memmove(answer->frame + 2, answer->frame, answer->length);
        answer->frame[0] = answer->frame[1] = 0xA5;
        answer->length += 2;
        break;
    case TWO_REPLIES:
        memcpy(answer->frame + answer->length, answer->frame, answer->length);
        answer->length *= 2;
        break;
    case TRAILING:
        answer->frame[answer->length++] = 0;
        answer->frame[answer->length++] = 0;
        break;
    case WRONG_PROTOCOL: answer->frame[3] ^= 1; break;
    case NO_LENGTH: answer->frame[5] = 0; break;
    case SHORT_LENGTH: answer->frame[5]--; break;
    case LONG_LENGTH: answer->frame[5]++; break;
    case HUGE_LENGTH: answer->frame[4] = 0xFF; break;
    default: break;
    }
}

static int expected_why(enum fake_kind kind, enum damage damage)
{
    bool tcp = kind == FAKE_TCP;
    switch (damage) {
    case SILENCE: return WHY_TIMEOUT;
    case EXCEPTION: return WHY_EXCEPTION + 2;
    case WRONG_CHECK:
    case NOISE_BEFORE: return tcp ? WHY_FRAME : WHY_CRC;
    case RESET:
    case HALF_AND_RESET: return WHY_LINK_DOWN;
    // Bytes behind a TCP reply whose transaction and length are right do not touch it; on a serial
    // line nothing tells which of the bytes are the reply.
    case TWO_REPLIES:
    case TRAILING: return tcp ? WHY_NONE : WHY_FRAME;
    default: return WHY_FRAME;
    }
}

// One damaged reply, then a good one: the error is named, nothing takes longer than the time-out,
// and the path is in step again with the next request.
static void check_damage(enum fake_kind kind, enum damage damage)
{
    struct order order = {kind, damage, 1};
    struct fake_meter *fake = fake_start(kind, misbehave, &order);
    struct wire *wire = open_wire(kind, fake);
    struct request request = {17, 3, 100, 1};
    struct reply reply;
    int64_t start_ms = now_ms();
    wire_transact(wire, &request, &reply);
    int64_t took_ms = now_ms() - start_ms;
    int why = expected_why(kind, damage);
    if (reply.why != why || took_ms > 2 * TIMEOUT_MS + SLACK_MS) {
        fail_msg("kind %d damage %d: why %d (%s) in %d ms, expected %d", kind, damage, reply.why,
                 reply.detail, (int)took_ms, why);
    }
    bool stays = kind != FAKE_TCP ? why != WHY_LINK_DOWN : why >= WHY_EXCEPTION;
    assert_int_equal(wire_is_open(wire), stays);
    struct err err;
    assert_int_equal(wire_open(wire, &err), 0);
    expect_good(wire, (struct request){17, 3, 100, 2}, 2);
    wire_free(wire);
    fake_stop(fake);
}

static void test_damage(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        for (int damage = SILENCE; damage < DAMAGE_END; damage++) {
            bool hang_up = damage == RESET || damage == HALF_AND_RESET;
            if (kind != FAKE_TCP && damage >= FIRST_OF_HEADER)
                break;
            if (kind != FAKE_PTY || !hang_up) // a terminal's other end: test_unplugged
                check_damage((enum fake_kind)kind, (enum damage)damage);
        }
    }
}

// A TCP reply in segments of a byte is a good reply, as long as it is whole in time.
static void slow_bytes(void *context, struct fake_answer *answer)
{
    (void)context;
    answer->drip_ms = 2;
}

static void test_bytewise(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        struct fake_meter *fake = fake_start((enum fake_kind)kind, slow_bytes, NULL);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        expect_good(wire, (struct request){17, 3, 100, 4}, 1);
        wire_free(wire);
        fake_stop(fake);
    }
}

// A peer that went away while nobody asked is noticed before the next request.
static void hang_up_after(void *context, struct fake_answer *answer)
{
    (void)context;
    answer->hang_up = answer->tick == 1;
}

static void wait_for_end(struct fake_meter *fake, struct wire *wire)
{
    // The reset is on its way: a new connection shows that it came.
    int64_t limit_ms = now_ms() + 5000;
    struct err err;
    while (fake_connections(fake) < 2 && now_ms() < limit_ms) {
        assert_int_equal(wire_open(wire, &err), 0);
        (void)usleep(1000);
    }
    assert_int_equal(fake_connections(fake), 2);
}

static void test_idle_close(void **state)
{
    (void)state;
    struct fake_meter *fake = fake_start(FAKE_TCP, hang_up_after, NULL);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    expect_good(wire, (struct request){17, 3, 100, 8}, 1);
    wait_for_end(fake, wire);
    expect_good(wire, (struct request){17, 3, 100, 8}, 2);
    wire_free(wire);
    fake_stop(fake);
}

// A port that takes no connection and refuses none: the wait for it has the same end as one for a
// reply.
static void test_no_handshake(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    int others[4]; // more than the backlog holds
    for (int i = 0; i < 4; i++) {
        others[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(others[i], (struct sockaddr *)&address, size);
    }
    struct wire_settings settings = {
        .url = {.kind = LINK_TCP, .address = "127.0.0.1", .port = ntohs(address.sin_port)},
        .response_timeout_ms = TIMEOUT_MS};
    struct wire *wire = wire_new(&settings, &clock_system);
    assert_non_null(wire);
    struct err err = {""};
    int64_t start_ms = now_ms();
    assert_int_equal(wire_open(wire, &err), -1);
    assert_in_range(now_ms() - start_ms, TIMEOUT_MS - 1, TIMEOUT_MS + SLACK_MS);
    assert_non_null(strstr(err.text, "timed out"));
    wire_free(wire);
    for (int i = 0; i < 4; i++)
        close(others[i]);
    close(listener);
}

// ---- links that are not there -------------------------------------------------------------------

static void test_unplugged(void **state)
{
    (void)state;
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        struct fake_meter *fake = fake_start((enum fake_kind)kind, NULL, NULL);
        struct wire *wire = open_wire((enum fake_kind)kind, fake);
        expect_good(wire, (struct request){17, 3, 100, 8}, 1);
        fake_unplug(fake);
        struct reply reply = {0};
        struct err err = {""};
        int64_t limit_ms = now_ms() + 5000;
        while (wire_open(wire, &err) == 0 && now_ms() < limit_ms)
            wire_transact(wire, &(struct request){17, 3, 100, 9}, &reply);
        assert_false(wire_is_open(wire));
        const char *place = kind == FAKE_PTY ? fake_device(fake) : "127.0.0.1";
        if (strstr(err.text, place) == NULL)
            fail_msg("'%s' does not say '%s'", err.text, place);
        wire_transact(wire, &(struct request){17, 3, 100, 8}, &reply);
        assert_int_equal(reply.why, WHY_LINK_DOWN);
        wire_free(wire);
        fake_stop(fake);
    }
}

static void test_device_in_use(void **state)
{
    (void)state;
    struct fake_meter *fake = fake_start(FAKE_PTY, NULL, NULL);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    struct wire_settings settings = settings_for(FAKE_PTY, fake);
    struct wire *second = wire_new(&settings, &clock_system);
    struct err err = {""};
    assert_int_equal(wire_open(second, &err), -1);
    assert_non_null(strstr(err.text, "in use by another program"));
    wire_free(wire);
    assert_int_equal(wire_open(second, &err), 0);
    wire_free(second);
    fake_stop(fake);
}

// libmodbus ends the process at a descriptor of 1024: it never gets to see one.
static void test_high_descriptor(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 1200)
        skip();
    struct rlimit raised = {.rlim_cur = 1200, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &raised), 0);
    int fds[1200];
    int count = 0;
    for (int fd = 0; fd < FD_SETSIZE; count++) {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        fds[count] = fd;
    }
    for (int kind = FAKE_TCP; kind <= FAKE_PTY; kind++) {
        struct fake_meter *fake = fake_start((enum fake_kind)kind, NULL, NULL);
        struct wire_settings settings = settings_for((enum fake_kind)kind, fake);
        struct wire *wire = wire_new(&settings, &clock_system);
        struct err err = {""};
        assert_int_equal(wire_open(wire, &err), -1);
        assert_non_null(strstr(err.text, "too many open files"));
        wire_free(wire);
        fake_stop(fake);
    }
    for (int i = 0; i < count; i++)
        close(fds[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_interrupt(void **state)
{
    (void)state;
    struct fake_meter *fake = fake_start(FAKE_TCP, NULL, NULL);
    struct wire *wire = open_wire(FAKE_TCP, fake);
    wire_interrupt(wire);
    struct reply reply;
    wire_transact(wire, &(struct request){17, 3, 100, 8}, &reply);
    assert_int_equal(reply.why, WHY_LINK_DOWN);
    assert_int_equal(fake_ticks(fake), 0);
    wire_free(wire);
    fake_stop(fake);
}

// ---- the silence between frames -----------------------------------------------------------------

// From the reply to the next request: 3.5 characters of what is really on the line, and the pause.
static void check_silence(int baud, int stop, int64_t least_us)
{
    struct fake_meter *fake = fake_start(FAKE_PTY, NULL, NULL);
    struct wire_settings settings = settings_for(FAKE_PTY, fake);
    settings.url.baud = baud;
    settings.url.stop = stop;
    settings.pause_ms = 10;
    settings.response_timeout_ms = 5000; // a busy machine may take its time to answer
    struct wire *wire = wire_new(&settings, &clock_system);
    struct err err;
    assert_int_equal(wire_open(wire, &err), 0);
    expect_good(wire, (struct request){17, 3, 100, 2}, 1);
    int64_t start_ns = clock_boot_ns(&clock_system);
    int64_t fastest_us = INT64_MAX;
    for (uint64_t i = 0; i < 10; i++) {
        int64_t before_ns = clock_boot_ns(&clock_system);
        expect_good(wire, (struct request){17, 3, 100, 2}, 2 + i);
        int64_t took_us = (clock_boot_ns(&clock_system) - before_ns) / 1000;
        fastest_us = took_us < fastest_us ? took_us : fastest_us;
    }
    int64_t each_us = (clock_boot_ns(&clock_system) - start_ns) / 10000;
    assert_true(each_us >= 10000 + least_us);
    assert_true(fastest_us <= 100000); // what comes on top is the machine's
    wire_free(wire);
    fake_stop(fake);
}

static void test_silence(void **state)
{
    (void)state;
    check_silence(9600, 1, 3645); // 10 bits
    check_silence(9600, 2, 4010); // 11 bits
    check_silence(19200, 2, 2005);
    check_silence(38400, 1, 1750); // fixed above 19200 Bd
}

// libmodbus takes 9600 for a rate that it does not know, without a word.
static void test_bauds(void **state)
{
    (void)state;
    static const struct {
        int baud;
        speed_t speed;
    } rates[] = {{300, B300},     {600, B600},      {1200, B1200},   {2400, B2400},
                 {4800, B4800},   {9600, B9600},    {19200, B19200}, {38400, B38400},
                 {57600, B57600}, {115200, B115200}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct fake_meter *fake = fake_start(FAKE_PTY, NULL, NULL);
        char text[100];
        (void)snprintf(text, sizeof text, "rtu://%s?baud=%d", fake_device(fake), rates[i].baud);
        struct wire_settings settings = {.response_timeout_ms = TIMEOUT_MS};
        struct err err = {""};
        if (link_url_parse(text, &settings.url, &err) != 0)
            fail_msg("%s", err.text);
        struct wire *wire = wire_new(&settings, &clock_system);
        assert_int_equal(wire_open(wire, &err), 0);
        expect_good(wire, (struct request){17, 3, 100, 2}, 1);
        struct termios termios;
        int fd = open(fake_device(fake), O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_int_equal(tcgetattr(fd, &termios), 0);
        close(fd);
        assert_int_equal(cfgetospeed(&termios), rates[i].speed);
        assert_int_equal(cfgetispeed(&termios), rates[i].speed);
        wire_free(wire);
        fake_stop(fake);
    }
}

// A line on which something else talks is not asked; the wait has an end.
static void babble(void *context, struct fake_answer *answer)
{
    (void)context;
    memset(answer->frame, 0x55, FAKE_FRAME_MAX);
    answer->length = 500;
    answer->drip_ms = 5;
}

static void test_babble(void **state)
{
    (void)state;
    struct fake_meter *fake = fake_start(FAKE_PTY, babble, NULL);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    struct reply reply;
    wire_transact(wire, &(struct request){17, 3, 100, 2}, &reply);
    assert_int_equal(reply.why, WHY_CRC);
    int64_t start_ms = now_ms();
    wire_transact(wire, &(struct request){17, 3, 100, 3}, &reply);
    assert_int_equal(reply.why, WHY_FRAME);
    assert_non_null(strstr(reply.detail, "does not fall silent"));
    assert_in_range(now_ms() - start_ms, TIMEOUT_MS, 2000); // while 2.5 s of it are on their way
    assert_int_equal(fake_ticks(fake), 1);
    wire_free(wire);
    fake_stop(fake);
}

// ---- late replies -------------------------------------------------------------------------------

// A request of the shape that may still be answered is not sent at all.
static void test_held_back(void **state)
{
    (void)state;
    struct order order = {FAKE_PTY, SILENCE, 1};
    struct fake_meter *fake = fake_start(FAKE_PTY, misbehave, &order);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    struct request request = {17, 3, 100, 8};
    struct reply reply;
    wire_transact(wire, &request, &reply);
    assert_int_equal(reply.why, WHY_TIMEOUT);
    assert_false(wire_may_ask(wire, &request));
    wire_transact(wire, &request, &reply);
    assert_int_equal(reply.why, WHY_TIMEOUT);
    assert_non_null(strstr(reply.detail, "held back"));
    assert_int_equal(fake_ticks(fake), 1);
    wire_free(wire);
    fake_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_bytewise),
        cmocka_unit_test(test_idle_close),
        cmocka_unit_test(test_no_handshake),
        cmocka_unit_test(test_unplugged),
        cmocka_unit_test(test_device_in_use),
        cmocka_unit_test(test_high_descriptor),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_bauds),
        cmocka_unit_test(test_babble),

        cmocka_unit_test(test_held_back),

    };
    random_start("test_wire");
    return cmocka_run_group_tests_name("drivers/wire", tests, NULL, NULL);
}
