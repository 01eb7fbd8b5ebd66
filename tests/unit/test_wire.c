#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/late.h"
#include "drivers/wire.h"

#include "../support/fake_meter.h"
#include "property.h"

#include <fcntl.h>
#include <modbus/modbus.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
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
    assert_in_range(reply.elapsed_us, 0, 1000000);
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
    case TWO_REPLIES: return tcp ? WHY_NONE : WHY_FRAME;
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
    struct wire *wire = wire_new(&settings, &clock_system);
    struct err err;
    assert_int_equal(wire_open(wire, &err), 0);
    expect_good(wire, (struct request){17, 3, 100, 2}, 1);
    int64_t start_ns = clock_boot_ns(&clock_system);
    for (uint64_t i = 0; i < 10; i++)
        expect_good(wire, (struct request){17, 3, 100, 2}, 2 + i);
    int64_t each_us = (clock_boot_ns(&clock_system) - start_ns) / 10000;
    assert_in_range(each_us, 10000 + least_us, 100000);
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
    assert_in_range(now_ms() - start_ms, TIMEOUT_MS, 6 * TIMEOUT_MS + SLACK_MS);
    assert_int_equal(fake_ticks(fake), 1);
    wire_free(wire);
    fake_stop(fake);
}

// ---- late replies -------------------------------------------------------------------------------

static void test_late_list(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    struct request asked = {7, 3, 100, 4};
    assert_false(late_blocks(&late, &asked, 0));
    late_add(&late, &asked, 0);
    assert_true(late_blocks(&late, &asked, 1));
    assert_true(late_blocks(&late, &(struct request){7, 3, 500, 4}, 1)); // another register
    assert_false(late_blocks(&late, &(struct request){7, 3, 100, 5}, 1));
    assert_false(late_blocks(&late, &(struct request){7, 4, 100, 4}, 1));
    assert_false(late_blocks(&late, &(struct request){8, 3, 100, 4}, 1));
    assert_true(late_blocks(&late, &asked, 2999999999));
    assert_false(late_blocks(&late, &asked, 3000000000)); // 12 time-outs, 3 s at least

    // Bits: requests of 1 to 8 have replies of one shape.
    late_add(&late, &(struct request){7, 1, 0, 3}, 0);
    assert_true(late_blocks(&late, &(struct request){7, 1, 0, 8}, 1));
    assert_false(late_blocks(&late, &(struct request){7, 1, 0, 9}, 1));
}

// A reply of the shape that was seen need not be the one that was waited for.
static void test_late_reply_seen(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    struct request asked = {7, 3, 100, 4};
    uint8_t reply[24] = {7, 3, 8};
    size_t length = fake_seal(reply, 11);
    assert_int_equal(late_reply_size(&late, reply, length), 0);
    late_add(&late, &asked, 0);
    assert_int_equal(late_reply_size(&late, reply, 2), 0);
    assert_int_equal(late_reply_size(&late, reply, 3), length);
    assert_true(late_reply_is_whole(reply, length));
    reply[4] ^= 1;
    assert_false(late_reply_is_whole(reply, length));
    assert_true(late_blocks(&late, &asked, 1));
    uint8_t exception[8] = {7, 0x83, 2};
    length = fake_seal(exception, 3);
    assert_int_equal(late_reply_size(&late, exception, length), 5);
    assert_true(late_reply_is_whole(exception, 5));
    assert_true(late_expects(&late, &(struct request){7, 3, 0, 1}));
    assert_false(late_expects(&late, &(struct request){7, 4, 0, 1}));
}

// While the list is full nothing is asked, so that nothing is forgotten.
static void test_late_full(void **state)
{
    (void)state;
    struct late late;
    late_init(&late, 100);
    for (int i = 0; i <= LATE_MAX; i++)
        late_add(&late, &(struct request){(uint8_t)(i + 1), 3, 100, 4}, 0);
    assert_true(late_blocks(&late, &(struct request){200, 4, 0, 1}, 1));
    assert_false(late_blocks(&late, &(struct request){200, 4, 0, 1}, 3000000001));
}

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

struct lateness {
    unsigned short seed[3];
    double most; // time-outs
};

static void delay_a_fifth(void *context, struct fake_answer *answer)
{
    struct lateness *lateness = context;
    if (erand48(lateness->seed) < 0.2) {
        double timeouts = 1.05 + erand48(lateness->seed) * (lateness->most - 1.05);
        answer->delay_ms = (int)(TIMEOUT_MS * timeouts);
    }
}

static struct lateness random_lateness(double most)
{
    return (struct lateness){{(unsigned short)random_u64(), (unsigned short)random_u64(), 1}, most};
}

// What one poll does to a line: ask, and again in other shapes until something answers. Returns 1
// for a good reply, with the register that its words claim in `first`.
static int ask_around(struct wire *wire, struct request request, struct reply *reply)
{
    for (int i = 0; i < 3; i++) {
        while (!wire_may_ask(wire, &request) && request.count < 60)
            request.count++;
        wire_transact(wire, &request, reply);
        if (reply->why == WHY_NONE)
            return 1;
    }
    return 0;
}

// 20 % of the replies come 1 to 10 time-outs late. A good reply is of the register that was asked
// and of the very request: its tick is the last one that the meter has seen.
static void test_late_replies(void **state)
{
    (void)state;
    struct lateness lateness = random_lateness(10);
    struct fake_meter *fake = fake_start(FAKE_PTY, delay_a_fifth, &lateness);
    struct wire *wire = open_wire(FAKE_PTY, fake);
    int good = 0;
    int late = 0;
    for (int round = 0; round < 150; round++) {
        struct request request = {17, 3, (uint16_t)random_between(0, 200), 4};
        struct reply reply;
        uint64_t before = fake_ticks(fake);
        int answered = ask_around(wire, request, &reply);
        uint64_t after = fake_ticks(fake);
        late += answered == 0 || after > before + 1 ? 1 : 0;
        if (answered == 1) {
            good++;
            assert_int_equal(reply.words[0], fake_word(request.first, after));
            assert_int_equal(reply.words[3], fake_word(request.first + 3, after));
        }
    }
    (void)fprintf(stderr, "late replies: %d of 150 polls good, %d met a late one, 0 wrong\n", good,
                  late);
    assert_in_range(good, 100, 150);
    assert_in_range(late, 10, 80);
    wire_free(wire);
    fake_stop(fake);
}

// The same meter read by libmodbus alone takes late replies for answers: the test above can see
// what it looks for.
static void test_late_replies_seen_by_libmodbus(void **state)
{
    (void)state;
    struct lateness lateness = random_lateness(2);
    struct fake_meter *fake = fake_start(FAKE_PTY, delay_a_fifth, &lateness);
    modbus_t *context = modbus_new_rtu(fake_device(fake), 115200, 'N', 8, 1);
    assert_int_equal(modbus_set_slave(context, 17), 0);
    assert_int_equal(modbus_set_response_timeout(context, 0, TIMEOUT_MS * 1000), 0);
    assert_int_equal(modbus_connect(context), 0);
    int wrong = 0;
    for (int round = 0; round < 60; round++) {
        uint16_t words[4] = {0};
        int first = (int)random_between(0, 200);
        if (modbus_read_registers(context, first, 4, words) == 4 && words[0] >> 8 != first)
            wrong++;
    }
    (void)fprintf(stderr, "late replies: libmodbus alone took %d of 60 wrong\n", wrong);
    assert_in_range(wrong, 1, 60);
    modbus_close(context);
    modbus_free(context);
    fake_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_trace),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_bytewise),
        cmocka_unit_test(test_idle_close),    cmocka_unit_test(test_unplugged),
        cmocka_unit_test(test_device_in_use), cmocka_unit_test(test_high_descriptor),
        cmocka_unit_test(test_interrupt),     cmocka_unit_test(test_silence),
        cmocka_unit_test(test_bauds),         cmocka_unit_test(test_babble),
        cmocka_unit_test(test_late_list),     cmocka_unit_test(test_late_reply_seen),
        cmocka_unit_test(test_late_full),     cmocka_unit_test(test_held_back),
        cmocka_unit_test(test_late_replies),  cmocka_unit_test(test_late_replies_seen_by_libmodbus),
    };
    random_start("test_wire");
    return cmocka_run_group_tests_name("drivers/wire", tests, NULL, NULL);
}
