// A lane of the outbox against every kind of answer: order, hold, back-off, gaps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "office/lane.h"
#include "property.h"

#include <string.h>

static struct lane_window window;

static void put_ahead(int64_t first, int count, enum message_kind kind)
{
    window.ahead_at = 0;
    window.ahead_count = count;
    for (int i = 0; i < count; i++)
        window.ahead[i] = (struct outbox_entry){LANE_LIVE, first + i, kind, first + i};
}

static int setup(void **state)
{
    (void)state;
    lane_init(&window, LANE_LIVE, 0);
    return 0;
}

// Hands the next message out and returns its seq, 0 when there is none.
static int64_t hand_out(int64_t now_ms, int *slot)
{
    *slot = lane_next(&window, now_ms);
    if (*slot < 0)
        return 0;
    lane_sent(&window, *slot, now_ms);
    return window.slots[*slot].entry.seq;
}

static void answer(int slot, int reason, int64_t now_ms)
{
    lane_answer(&window, slot, reason, false, now_ms);
    (void)lane_advance(&window);
}

// The first message goes alone; its acknowledgement opens the window.
static void test_probe_then_window(void **state)
{
    (void)state;
    int slots[6];
    put_ahead(1, 5, MESSAGE_SUMMARY);
    assert_int_equal(hand_out(0, &slots[1]), 1);
    assert_int_equal(hand_out(0, &slots[2]), 0);
    answer(slots[1], PUBACK_TAKEN, 1);
    for (int seq = 2; seq <= 5; seq++)
        assert_int_equal(hand_out(2, &slots[seq]), seq);
    assert_int_equal(hand_out(2, &slots[0]), 0);
    assert_true(lane_hungry(&window));
    answer(slots[4], PUBACK_TAKEN, 3);
    answer(slots[3], PUBACK_TAKEN, 3);
    assert_int_equal(window.acknowledged, 1); // 2 has no answer
    answer(slots[2], PUBACK_TAKEN, 3);
    assert_int_equal(window.acknowledged, 4);
    answer(slots[2], PUBACK_TAKEN, 3); // twice: the slot is free, or another message's
    assert_int_equal(window.acknowledged, 4);
    assert_int_equal(lane_oldest_ms(&window), 2);
    answer(slots[5], PUBACK_TAKEN, 3);
    assert_int_equal(lane_oldest_ms(&window), INT64_MAX);
}

// Nobody is subscribed: the first message is asked again after 1, 2, 4 … 30 s, and nothing else
// appears; once it is taken, the others follow at once.
static void test_no_subscriber(void **state)
{
    (void)state;
    static const int waits_s[] = {1, 2, 4, 8, 16, 30, 30};
    int64_t now = 1000;
    int slot;
    put_ahead(1, 3, MESSAGE_SUMMARY);
    assert_int_equal(hand_out(now, &slot), 1);
    for (size_t i = 0; i < sizeof waits_s / sizeof waits_s[0]; i++) {
        answer(slot, PUBACK_NO_SUBSCRIBER, now);
        assert_int_equal(window.hold, PUBACK_NO_SUBSCRIBER);
        assert_int_equal(lane_deadline_ms(&window), now + waits_s[i] * 1000);
        now += waits_s[i] * 1000;
        int other;
        assert_int_equal(hand_out(now - 1, &other), 0);
        assert_int_equal(hand_out(now, &slot), 1);
        assert_int_equal(hand_out(now, &other), 0);
    }
    answer(slot, PUBACK_TAKEN, now);
    assert_int_equal(window.hold, 0);
    assert_int_equal(window.acknowledged, 1);
    assert_int_equal(hand_out(now, &slot), 2);
}

// 0x10 in the middle of a full window, mixed with messages that are taken: no answer of a later
// message ends the hold, and the cursor waits.
static void test_hold_inside_the_window(void **state)
{
    (void)state;
    int slots[7];
    put_ahead(1, 6, MESSAGE_SUMMARY);
    assert_int_equal(hand_out(0, &slots[1]), 1);
    answer(slots[1], PUBACK_TAKEN, 0);
    for (int seq = 2; seq <= 5; seq++)
        assert_int_equal(hand_out(0, &slots[seq]), seq);
    answer(slots[2], PUBACK_NO_SUBSCRIBER, 10);
    answer(slots[3], PUBACK_TAKEN, 10);
    answer(slots[4], PUBACK_NO_SUBSCRIBER, 10);
    assert_int_equal(window.hold, PUBACK_NO_SUBSCRIBER);
    assert_int_equal(hand_out(5000, &slots[0]), 0); // 5 still flies
    answer(slots[5], PUBACK_TAKEN, 10);
    assert_int_equal(window.acknowledged, 1);
    assert_int_equal(hand_out(1009, &slots[0]), 0);
    assert_int_equal(hand_out(1010, &slots[2]), 2);
    assert_int_equal(hand_out(1010, &slots[0]), 0);
    answer(slots[2], PUBACK_TAKEN, 1011);
    assert_int_equal(window.acknowledged, 3);
    assert_int_equal(hand_out(1011, &slots[4]), 4);
    assert_int_equal(hand_out(1011, &slots[6]), 6);
    answer(slots[4], PUBACK_TAKEN, 1012);
    assert_int_equal(window.acknowledged, 5);
}

static void test_accept_unsubscribed(void **state)
{
    (void)state;
    int slot;
    put_ahead(1, 1, MESSAGE_SUMMARY);
    (void)hand_out(0, &slot);
    lane_answer(&window, slot, PUBACK_NO_SUBSCRIBER, true, 0);
    assert_true(lane_advance(&window));
    assert_int_equal(window.acknowledged, 1);
    assert_int_equal(window.hold, 0);
}

// Refused for ever: neighbours of one reason make one gap; the cursor passes when it is durable.
static void test_refused(void **state)
{
    (void)state;
    int slots[5];
    struct stored_gap gap;
    put_ahead(1, 4, MESSAGE_SUMMARY);
    (void)hand_out(0, &slots[1]);
    answer(slots[1], PUBACK_TAKEN, 0);
    for (int seq = 2; seq <= 4; seq++) {
        assert_int_equal(hand_out(0, &slots[seq]), seq);
        window.slots[slots[seq]].from_ms = 1000 * seq;
        window.slots[slots[seq]].to_ms = 1000 * seq + 500;
    }
    answer(slots[3], PUBACK_PAYLOAD_INVALID, 0);
    assert_false(lane_gap(&window, &gap)); // 2 has no answer
    answer(slots[2], PUBACK_TOPIC_INVALID, 0);
    assert_true(lane_gap(&window, &gap));
    assert_int_equal(gap.lane, LANE_LIVE);
    assert_int_equal(gap.first, 2);
    assert_int_equal(gap.last, 3);
    assert_int_equal(gap.from_ms, 2000);
    assert_int_equal(gap.to_ms, 3500);
    assert_string_equal(gap.reason, "refused");
    assert_int_equal(window.acknowledged, 1);
    lane_gap_done(&window, &gap);
    assert_true(lane_advance(&window));
    assert_int_equal(window.acknowledged, 3);
    assert_false(lane_gap(&window, &gap));
}

// What tells of a gap cannot become one: it stays.
static void test_refused_gap_message(void **state)
{
    (void)state;
    int slot;
    struct stored_gap gap;
    put_ahead(1, 1, MESSAGE_GAP);
    (void)hand_out(0, &slot);
    answer(slot, PUBACK_PAYLOAD_INVALID, 0);
    assert_false(lane_gap(&window, &gap));
    assert_int_equal(window.hold, PUBACK_PAYLOAD_INVALID);
    assert_int_equal(hand_out(LANE_RETRY_FIRST_MS, &slot), 1);
}

static void test_too_large(void **state)
{
    (void)state;
    struct stored_gap gap;
    put_ahead(7, 1, MESSAGE_READING);
    int slot = lane_next(&window, 0);
    lane_refuse(&window, slot, "too-large");
    assert_true(lane_gap(&window, &gap));
    assert_string_equal(gap.reason, "too-large");
    assert_int_equal(gap.first, 7);
}

static void test_restart(void **state)
{
    (void)state;
    int slots[6];
    put_ahead(1, 4, MESSAGE_SUMMARY);
    (void)hand_out(0, &slots[1]);
    answer(slots[1], PUBACK_TAKEN, 0);
    for (int seq = 2; seq <= 4; seq++)
        (void)hand_out(0, &slots[seq]);
    answer(slots[3], PUBACK_TAKEN, 0);
    lane_restart(&window);
    assert_int_equal(lane_oldest_ms(&window), INT64_MAX);
    assert_int_equal(hand_out(0, &slots[2]), 2);
    assert_int_equal(hand_out(0, &slots[5]), 0); // alone again
    answer(slots[2], PUBACK_TAKEN, 0);
    assert_int_equal(window.acknowledged, 3);
    assert_int_equal(hand_out(0, &slots[4]), 4); // 3 was acknowledged before: not again
}

// A broker that answers anything at any time, and breaks off: first appearances stay in order, the
// cursor never passes what was not taken, and in the end everything is taken or in a gap.
static void test_any_answers(void **state)
{
    (void)state;
    enum { MESSAGES = 3000 };
    static const int reasons[] = {0, 0, 0, 0, 0x10, 0x80, 0x83, 0x87, 0x97, 0x90, 0x99, 0x91};
    static char fate[MESSAGES + 1]; // 't'aken, 'g'ap
    random_start("test_office_lane");
    memset(fate, 0, sizeof fate);
    int64_t appeared = 0;
    int64_t now = 0;
    for (int step = 0; window.acknowledged < MESSAGES; step++) {
        assert_true(step < 5000000);
        bool calm = step > 20000; // in the end the broker is kind
        if (lane_hungry(&window) && window.handed < MESSAGES) {
            int64_t left = MESSAGES - window.handed;
            int count = (int)(left < LANE_AHEAD_MAX ? left : LANE_AHEAD_MAX);
            put_ahead(window.handed + 1, count, MESSAGE_SUMMARY);
        }
        int slot;
        int64_t seq = hand_out(now, &slot);
        if (seq > appeared) {
            assert_int_equal(seq, appeared + 1);
            appeared = seq;
        }
        int flying[OFFICE_WINDOW_MAX];
        int count = 0;
        for (int i = 0; i < OFFICE_WINDOW_MAX; i++)
            if (window.slots[i].state == SLOT_FLIES)
                flying[count++] = i;
        assert_int_equal(count, window.flying);
        if (count > 0 && (calm || random_between(0, 2) == 0)) {
            int chosen = flying[random_between(0, count - 1)];
            int reason = calm ? 0 : reasons[random_between(0, 11)];
            int64_t of = window.slots[chosen].entry.seq;
            if (reason == 0)
                fate[of] = 't';
            lane_answer(&window, chosen, reason, false, now);
        }
        (void)lane_advance(&window);
        struct stored_gap gap;
        while (lane_gap(&window, &gap)) {
            for (int64_t of = gap.first; of <= gap.last; of++) {
                assert_int_equal(fate[of], 0);
                fate[of] = 'g';
            }
            lane_gap_done(&window, &gap);
            (void)lane_advance(&window);
        }
        for (int64_t of = 1; of <= window.acknowledged && step % 64 == 0; of++)
            assert_int_not_equal(fate[of], 0);
        if (!calm && random_between(0, 300) == 0)
            lane_restart(&window);
        now += random_between(0, 200);
    }
    for (int of = 1; of <= MESSAGES; of++)
        assert_int_not_equal(fate[of], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_probe_then_window, setup),
        cmocka_unit_test_setup(test_no_subscriber, setup),
        cmocka_unit_test_setup(test_hold_inside_the_window, setup),
        cmocka_unit_test_setup(test_accept_unsubscribed, setup),
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_refused_gap_message, setup),
        cmocka_unit_test_setup(test_too_large, setup),
        cmocka_unit_test_setup(test_restart, setup),
        cmocka_unit_test_setup(test_any_answers, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
