#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

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

struct gaps_seen {
    int count, most;
    int64_t first;
};

static bool see_gap(void *context, const struct stored_gap *gap)
{
    struct gaps_seen *seen = context;
    seen->first = seen->count == 0 ? gap->first : seen->first;
    assert_int_equal(gap->first, seen->first + seen->count);
    assert_string_equal(gap->reason, "test");
    assert_int_equal(gap->lane, LANE_LIVE);
    return ++seen->count < seen->most;
}

static int gaps_between(int64_t from_ms, int64_t to_ms, int most)
{
    struct gaps_seen seen = {.most = most};
    must(store_gaps(store, from_ms, to_ms, see_gap, &seen, &failure));
    return seen.count;
}

// All of them tell of one instant.
static void test_gaps_of_a_time(void **state)
{
    (void)state;
    assert_int_equal(gaps_between(T0, T0 + 1, 100), MESSAGES);
    assert_int_equal(gaps_between(T0, T0 + 1, 3), 3);
    assert_int_equal(gaps_between(T0 - 1, T0, 100), 0);
    assert_int_equal(gaps_between(T0 + 1, INT64_MAX, 100), 0);
    assert_int_equal(gaps_between(0, INT64_MAX, 100), MESSAGES);
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

// --- commands that were executed ---

#define KEY "0123456789abcdef"

static struct stored_command command_of(int64_t counter, const char *answer)
{
    struct stored_command command = {
        .key = KEY, .counter = counter, .at_ms = counter, .name = "status", .response = "a/b"};
    memcpy(command.digest, &counter, sizeof counter);
    memcpy(command.correlation, "4711", 4);
    command.correlation_length = 4;
    command.answer = answer;
    command.answer_length = strlen(answer);
    return command;
}

static int add(const struct stored_command *command)
{
    must(store_round_begin(store, &failure));
    int result = store_command_add(store, command, &failure);
    if (result == 0)
        must(store_round_commit(store, &failure));
    else
        store_round_cancel(store);
    return result;
}

struct told {
    int count;
    int64_t last_row;
};

static bool see_untold(void *context, const struct stored_command *command)
{
    struct told *told = context;
    assert_string_equal(command->response, "a/b");
    assert_int_equal(command->correlation_length, 4);
    assert_memory_equal(command->answer, "answer", command->answer_length);
    told->count++;
    told->last_row = command->row;
    return true;
}

static int64_t last_counter(int64_t now_ms)
{
    int64_t last = -1;
    must(store_command_last(store, KEY, now_ms, &last, &failure));
    return last;
}

static void test_commands_and_their_answers(void **state)
{
    (void)state;
    const int64_t begin = clock_wall_ms(&clock_system) + 1;
    struct told told = {0};
    struct buf answer;
    int64_t row = 0;
    buf_init(&answer, 64);
    for (int i = 0; i < STORE_COMMANDS_MAX + 10; i++) {
        struct stored_command command = command_of(begin + i, "answer");
        assert_int_equal(add(&command), 0);
    }
    struct stored_command old = command_of(begin + 5, "other");
    struct stored_command last = command_of(begin + STORE_COMMANDS_MAX + 9, "other");
    assert_int_equal(add(&last), -1);
    assert_int_equal(last_counter(begin), begin + STORE_COMMANDS_MAX + 9);
    assert_int_equal(store_command_find(store, KEY, last.digest, &row, &answer, &failure), 1);
    assert_string_equal(answer.data, "answer");
    assert_int_equal(store_command_find(store, KEY, old.digest, &row, &answer, &failure), 0);
    assert_int_equal(store_command_find(store, "other", last.digest, &row, &answer, &failure), 0);
    must(store_commands_untold(store, see_untold, &told, &failure));
    assert_int_equal(told.count, STORE_COMMANDS_MAX);
    must(store_round_begin(store, &failure));
    must(store_command_told(store, told.last_row, &failure));
    must(store_round_commit(store, &failure));
    told.count = 0;
    must(store_commands_untold(store, see_untold, &told, &failure));
    assert_int_equal(told.count, STORE_COMMANDS_MAX - 1);
    buf_release(&answer);
}

// What a store that is new, or came from a backup, cannot know is not executed again.
static void test_nothing_from_before_the_store(void **state)
{
    (void)state;
    const int64_t now = clock_wall_ms(&clock_system);
    struct told told = {0};
    assert_in_range(last_counter(now + 60000), now - 60000, now);
    struct stored_command early = command_of(now - 60000, "answer");
    early.at_ms = now + 60000;
    assert_int_equal(add(&early), -1);
    struct stored_command good = command_of(now + 60000, "answer");
    assert_int_equal(add(&good), 0);
    must(store_round_begin(store, &failure));
    must(store_command_forget_before(store, now + 120000, &failure));
    must(store_round_commit(store, &failure));
    assert_int_equal(last_counter(now + 120000), now + 120000);
    assert_int_equal(last_counter(now + 119999), now + 60000); // a floor ahead of the clock is none
    must(store_commands_untold(store, see_untold, &told, &failure));
    assert_int_equal(told.count, 0);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, open_filled, close_and_remove)

int main(void)
{
    random_start("test_store_delivery");
    const struct CMUnitTest tests[] = {
        with_store(test_what_may_go),
        with_store(test_confirmed_never_goes_back),
        with_store(test_gaps_of_a_time),
        with_store(test_range),
        with_store(test_commands_and_their_answers),
        with_store(test_nothing_from_before_the_store),
    };
    return cmocka_run_group_tests_name("store_delivery", tests, NULL, NULL);
}
