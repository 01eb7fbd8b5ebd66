#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/simulator/due_heap.h"
#include "drivers/simulator/line.h"

#include "property.h"

#include <string.h>

#define MS INT64_C(1000000)
#define CHAR_9600 INT64_C(1041666) // 10 bits

static struct line line;
static struct wire_speed speed;
static struct answer answer;

static void start(enum link_kind kind, int baud, int bits)
{
    line_release(&line);
    speed = wire_speed_make(baud, bits);
    line_init(&line, kind, &speed);
    answer = (struct answer){.length = 45};
    for (size_t i = 0; i < answer.length; i++)
        answer.bytes[i] = (uint8_t)i;
}

static void send_request(int64_t now_ns)
{
    const struct request request = {.unit = 1, .function = 3, .first = 0, .count = 20};
    struct ask ask;
    size_t size = 0;
    uint8_t frame[FRAME_MAX];
    size_t length = line.kind == LINK_TCP ? frame_tcp_request(&request, 1, frame)
                                          : frame_rtu_request(&request, frame);
    uint8_t *space = line_space(&line, &size);
    assert_true(size >= length);
    memcpy(space, frame, length);
    line_came(&line, length, now_ns);
    assert_int_equal(line_ask(&line, now_ns, &ask), ASK_FRAME);
    line_used(&line, &ask, now_ns);
    assert_int_equal(line_ask(&line, now_ns, &ask), ASK_MORE);
}

// Runs the line by its own due times until it is quiet; the time of the first and the last byte.
static int64_t run(int64_t *now_ns, uint8_t *bytes, size_t *count, int64_t *first_ns)
{
    int64_t last_ns = 0;
    *count = 0;
    for (int turn = 0; turn < 100000; turn++) {
        size_t length = 0;
        struct waiting *waiting = NULL;
        while ((waiting = line_ready(&line, *now_ns, &length)) != NULL) {
            *first_ns = *count == 0 ? *now_ns : *first_ns;
            last_ns = *now_ns;
            memcpy(bytes + *count, waiting->answer.bytes + waiting->sent, length);
            *count += length;
            if (line_sent(waiting, length))
                line_drop(&line, waiting);
        }
        int64_t due_ns = line_due_ns(&line, *now_ns);
        if (due_ns == DUE_NEVER)
            return last_ns;
        assert_true(due_ns > *now_ns);
        *now_ns = due_ns;
    }
    fail_msg("the line never got quiet");
    return 0;
}

static void test_pace(void **state)
{
    (void)state;
    static const struct {
        int baud, bits;
        int64_t char_ns, silent_ns;
    } rows[] = {
        {9600, 10, CHAR_9600, 3645831}, {9600, 11, 1145833, 4010415},
        {19200, 11, 572916, 2005206},   {38400, 11, 286458, 1750000},
        {115200, 11, 95486, 1750000},   {300, 12, 40000000, 140000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[ANSWER_MAX];
        size_t count = 0;
        int64_t first_ns = 0;
        int64_t now_ns = 5000 * MS;
        start(LINK_RTU, rows[i].baud, rows[i].bits);
        send_request(now_ns);
        assert_int_equal(line_reply(&line, &answer, 0, now_ns), 0);
        int64_t begin_ns = 5000 * MS + 8 * rows[i].char_ns + rows[i].silent_ns;
        int64_t last_ns = run(&now_ns, bytes, &count, &first_ns);
        assert_int_equal(count, 45);
        assert_memory_equal(bytes, answer.bytes, 45);
        assert_true(last_ns - (begin_ns + 45 * rows[i].char_ns) <= 1);
        assert_true(last_ns - (begin_ns + 45 * rows[i].char_ns) >= -1);
        assert_true(first_ns >= begin_ns + rows[i].char_ns - 1);
    }
}

// Two requests at once share the wire: one frame after the other, none inside another.
static void test_one_frame_at_a_time(void **state)
{
    (void)state;
    uint8_t bytes[2 * ANSWER_MAX];
    size_t count = 0;
    int64_t first_ns = 0;
    int64_t now_ns = 1000 * MS;
    start(LINK_RTU, 9600, 10);
    send_request(now_ns);
    answer.delay_ms = 100; // late
    memset(answer.bytes, 0xAA, 45);
    assert_int_equal(line_reply(&line, &answer, 0, now_ns), 0);
    send_request(now_ns);
    answer.delay_ms = 80;
    memset(answer.bytes, 0xBB, 45);
    assert_int_equal(line_reply(&line, &answer, 1, now_ns), 0);
    int64_t last_ns = run(&now_ns, bytes, &count, &first_ns);
    assert_int_equal(count, 90);
    for (int i = 0; i < 90; i++)
        assert_int_equal(bytes[i], i < 45 ? 0xBB : 0xAA);
    // 89 characters from the end of the first one, and the silence between the frames.
    assert_true(last_ns - first_ns >= 89 * CHAR_9600 + 7 * CHAR_9600 / 2 - 2 * MS);
}

static void test_tcp_is_at_once_and_late_is_late(void **state)
{
    (void)state;
    uint8_t bytes[ANSWER_MAX];
    size_t count = 0;
    int64_t first_ns = 0;
    int64_t now_ns = 1000 * MS;
    start(LINK_TCP, 0, 10);
    send_request(now_ns);
    assert_int_equal(line_reply(&line, &answer, 0, now_ns), 0);
    assert_int_equal(run(&now_ns, bytes, &count, &first_ns), 1000 * MS);
    answer.delay_ms = 250;
    send_request(now_ns);
    assert_int_equal(line_reply(&line, &answer, 0, now_ns), 0);
    assert_int_equal(run(&now_ns, bytes, &count, &first_ns), 1250 * MS);
    answer.delay_ms = 0;
    answer.byte_ms = 40;
    send_request(now_ns);
    assert_int_equal(line_reply(&line, &answer, 0, now_ns), 0);
    assert_int_equal(run(&now_ns, bytes, &count, &first_ns), 1250 * MS + 45 * 40 * MS);
    assert_int_equal(first_ns, 1250 * MS + 40 * MS);
}

static void test_queue_is_bounded(void **state)
{
    (void)state;
    start(LINK_TCP, 0, 10);
    answer.delay_ms = 1000;
    for (int i = 0; i < LINE_REPLIES_MAX; i++)
        assert_int_equal(line_reply(&line, &answer, 0, 0), 0);
    assert_int_equal(line_reply(&line, &answer, 0, 0), -1);
    line_release(&line);
    assert_int_equal(line_reply(&line, &answer, 0, 0), 0);
    line_release(&line);
}

// What is no frame is forgotten after a silence, and the next request is heard.
static void test_rubbish_ends_with_silence(void **state)
{
    (void)state;
    struct ask ask;
    size_t size = 0;
    start(LINK_RTU, 9600, 10);
    memcpy(line_space(&line, &size), "\x01\x03\x00", 3);
    line_came(&line, 3, 0);
    assert_int_equal(line_ask(&line, 0, &ask), ASK_MORE);
    int64_t due_ns = line_due_ns(&line, 0);
    assert_true(due_ns > 3 * CHAR_9600 && due_ns < 100 * MS);
    assert_int_equal(line_ask(&line, due_ns - 1, &ask), ASK_MORE);
    assert_int_equal(line_ask(&line, due_ns, &ask), ASK_GARBAGE);
    assert_int_equal(ask.length, 3);
    line_used(&line, &ask, due_ns);
    assert_int_equal(line_due_ns(&line, due_ns), DUE_NEVER);
    send_request(due_ns);
}

// A meter that drips a byte each 400 ms: another one is answered at its own time meanwhile, and the
// drip goes on.
static void test_a_drip_holds_no_bus(void **state)
{
    (void)state;
    start(LINK_RTU, 9600, 10);
    send_request(0);
    answer.byte_ms = 400;
    assert_int_equal(line_reply(&line, &answer, 1, 0), 0);
    send_request(500 * MS);
    assert_int_equal(line_reply(&line, &answer, 1, 500 * MS), -1); // it hears nothing meanwhile
    send_request(1000 * MS);
    answer.byte_ms = 0;
    answer.length = 9;
    assert_int_equal(line_reply(&line, &answer, 2, 1000 * MS), 0);
    size_t of[3] = {0};
    int64_t end_ns[3] = {0};
    int64_t now_ns = 0;
    while (now_ns != DUE_NEVER) {
        size_t length = 0;
        struct waiting *waiting = NULL;
        while ((waiting = line_ready(&line, now_ns, &length)) != NULL) {
            of[waiting->meter] += length;
            end_ns[waiting->meter] = now_ns;
            if (line_sent(waiting, length))
                line_drop(&line, waiting);
        }
        now_ns = line_due_ns(&line, now_ns);
    }
    assert_int_equal(of[1], 45);
    assert_int_equal(of[2], 9);
    int64_t asked_ns = 1000 * MS + 8 * CHAR_9600 + speed.silent_ns;
    assert_in_range(end_ns[2], asked_ns + 9 * CHAR_9600, asked_ns + 9 * CHAR_9600 + 2 * MS);
    assert_in_range(end_ns[1], 45 * 400 * MS, 45 * 400 * MS + 100 * MS);
}

static void test_heap(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static struct due dues[COUNT];
    int64_t at[COUNT];
    struct due_heap heap = {0};
    for (int i = 0; i < COUNT; i++) {
        dues[i].index = -1;
        at[i] = DUE_NEVER;
    }
    for (int round = 0; round < 20000; round++) {
        int i = (int)random_between(0, COUNT - 1);
        at[i] = random_between(0, 3) == 0 ? DUE_NEVER : random_between(0, 1000);
        assert_int_equal(due_heap_set(&heap, &dues[i], at[i]), 0);
        int64_t first = DUE_NEVER;
        for (int j = 0; j < COUNT; j++)
            first = at[j] < first ? at[j] : first;
        const struct due *found = due_heap_first(&heap);
        assert_int_equal(found != NULL ? found->at_ns : DUE_NEVER, first);
    }
    due_heap_release(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_one_frame_at_a_time),
        cmocka_unit_test(test_tcp_is_at_once_and_late_is_late),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_rubbish_ends_with_silence),
        cmocka_unit_test(test_a_drip_holds_no_bus),
        cmocka_unit_test(test_heap),
    };
    random_start("test_simulator_line");
    return cmocka_run_group_tests_name("simulator/line", tests, NULL, NULL);
}
