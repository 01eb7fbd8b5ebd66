#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#define MESSAGES 10

static struct store *store;

// Ten gap messages: alert 1 to 10, each telling of a hole in live that is not there.
static int open_filled(void **state)
{
    assert_int_equal(folder_make(state), 0);
    store = store_must_open();
    must(store_round_begin(store, &failure));
    for (int i = 1; i <= MESSAGES; i++) {
        struct stored_gap gap = {.lane = LANE_LIVE,
                                 .first = i,
                                 .last = i,
                                 .reason = "test",
                                 .from_ms = T0,
                                 .to_ms = T0,
                                 .at_ms = T0 + i};
        must(store_gap_add(store, &gap, &failure));
    }
    must(store_outbox_acknowledge(store, LANE_ALERT, 7, &failure));
    must(store_round_commit(store, &failure));
    return 0;
}

static int close_and_remove(void **state)
{
    store_close(store);
    return folder_remove(state);
}

static int64_t kept(struct store *of)
{
    int64_t seq = -1;
    must(store_lane_kept(of, LANE_ALERT, &seq, &failure));
    return seq;
}

static void confirm(int64_t seq)
{
    must(store_round_begin(store, &failure));
    must(store_outbox_confirm(store, LANE_ALERT, seq, &failure));
    must(store_round_commit(store, &failure));
}

static void keep_unconfirmed(bool keep)
{
    must(store_round_begin(store, &failure));
    must(store_keep_unconfirmed(store, keep, &failure));
    must(store_round_commit(store, &failure));
}

static void test_what_may_go(void **state)
{
    (void)state;
    assert_int_equal(kept(store), 7); // no policy was ever written
    keep_unconfirmed(true);
    assert_int_equal(kept(store), 0);
    confirm(3);
    assert_int_equal(kept(store), 3);
    confirm(9); // the broker's acknowledgement of 8 and 9 did not reach us
    assert_int_equal(kept(store), 7);
    struct store *reader = store_must_read();
    assert_int_equal(kept(reader), 7);
    store_close(reader);
    keep_unconfirmed(false);
    assert_int_equal(kept(store), 7);
}

static void test_confirmed_never_goes_back(void **state)
{
    (void)state;
    struct outbox_state lane;
    confirm(5);
    confirm(2);
    must(store_outbox_state(store, LANE_ALERT, &lane, &failure));
    assert_int_equal(lane.confirmed, 5);
    assert_int_equal(lane.acknowledged, 7);
    assert_int_equal(lane.last, MESSAGES);
    must(store_round_begin(store, &failure));
    assert_int_equal(store_outbox_confirm(store, LANE_ALERT, MESSAGES + 1, &failure), -1);
    assert_non_null(strstr(failure.text, "never given"));
    store_round_cancel(store);
}

static void test_range(void **state)
{
    (void)state;
    struct outbox_entry list[MESSAGES];
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 3, 5, list, MESSAGES, &failure), 3);
    assert_int_equal(list[0].seq, 3);
    assert_int_equal(list[2].seq, 5);
    assert_int_equal(list[0].kind, MESSAGE_GAP);
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 3, 5, list, 2, &failure), 2);
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 9, 99, list, MESSAGES, &failure), 2);
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 11, 99, list, MESSAGES, &failure), 0);
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 0, 3, list, MESSAGES, &failure), 0);
    assert_int_equal(store_outbox_range(store, LANE_ALERT, 5, 4, list, MESSAGES, &failure), 0);
    assert_int_equal(store_outbox_range(store, LANE_LIVE, 1, 9, list, MESSAGES, &failure), 0);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, open_filled, close_and_remove)

int main(void)
{
    random_start("test_store_delivery");
    const struct CMUnitTest tests[] = {
        with_store(test_what_may_go),
        with_store(test_confirmed_never_goes_back),
        with_store(test_range),
    };
    return cmocka_run_group_tests_name("store_delivery", tests, NULL, NULL);
}
