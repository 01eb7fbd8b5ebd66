#include "record/round_inside.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

// how long a clock that is behind the newest row is waited for
#define CLOCK_BEHIND_WAIT_MS (INT64_C(15) * 60 * 1000)

// A clock behind the newest row may be one that nobody has set yet, or one that was set back while
// the gateway was away: after CLOCK_BEHIND_WAIT_MS, or when the kernel vouches for it, it is taken.
static bool is_clock_known(const struct round *round)
{
    const struct clock *clock = round->settings.clock;
    if (clock_is_known(clock, round->floor_ms))
        return true;
    return clock_is_known(clock, clock_floor_ms()) &&
           (clock_is_synchronized(clock) ||
            round_boot_ms(round) - round->started_boot_ms >= CLOCK_BEHIND_WAIT_MS);
}

static void say_unknown(struct round *round)
{
    (void)snprintf(round->status.error, sizeof round->status.error,
                   "the time is not known yet: readings wait for it");
}

static void count_undated(struct round *round)
{
    round->status.undated = round->dating.waiting;
    round->status.undated_lost = round->dating.lost;
}

void round_clock_begin(struct round *round)
{
    int64_t newest = store_newest_ms(round->store);
    round->floor_ms = newest > clock_floor_ms() ? newest : clock_floor_ms();
    round->status.clock_known = is_clock_known(round);
    count_undated(round);
    if (round->status.clock_known)
        return;
    say_unknown(round);
    log_warn("recorder", "the clock is behind the newest stored row or this program's build: "
                         "readings wait undated until it is set");
}

void round_clock_date(const struct round *round, struct reading *reading)
{
    if (!round->status.clock_known || reading->at_ms >= round->floor_ms)
        return;
    int64_t at = reading->boot_ms + clock_offset_ms(round->settings.clock);
    reading->due_ms += at - reading->at_ms;
    reading->at_ms = at;
}

static int flush(struct round *round, struct err *err)
{
    if (dating_keep(&round->dating, round->store, round->held.reading, round->held.count, err) != 0)
        return -1;
    held_drop(&round->held, round->held.count);
    return 0;
}

void round_clock_wait(struct round *round, bool hurry)
{
    struct err err;
    const struct held *held = &round->held;
    int64_t now = round_boot_ms(round);
    if (held->count == 0 || (round->trouble.now && now < round->trouble.retry_boot_ms))
        return;
    if (!hurry && held->count < RECORDER_ROUND_MAX &&
        now - held->reading[0]->boot_ms < round->config->store_commit_ms)
        return;
    if (flush(round, &err) != 0) {
        round_fail(round, &err);
    } else if (round->trouble.now) {
        round_recovered(round);
        say_unknown(round);
    }
    count_undated(round);
}

int round_clock_load(struct round *round, struct err *err)
{
    struct held *held = &round->held;
    if (round_commit(round, err) != 0)
        return -1;
    int count = dating_load(&round->dating, round->store, round->config,
                            clock_offset_ms(round->settings.clock), round_wall_ms(round),
                            held->reading, RECORDER_ROUND_MAX, err);
    held->count = count > 0 ? count : 0;
    count_undated(round);
    return count < 0 ? -1 : 0;
}

int64_t round_clock_configured_ms(const struct round *round)
{
    int64_t first = dating_first_boot_ms(&round->dating, round->store, round->started_boot_ms);
    return round_wall_ms(round) - (round_boot_ms(round) - first);
}

void round_clock_learn(struct round *round)
{
    struct err err;
    if (round->status.clock_known || !is_clock_known(round))
        return;
    round->status.clock_known = true;
    // After those that are kept already; where that fails they are dated here, ahead of them.
    if (round->held.count > 0 && flush(round, &err) != 0)
        for (int i = 0; i < round->held.count; i++)
            round_clock_date(round, round->held.reading[i]);
    count_undated(round);
    round->trouble.now = false;
    memset(round->status.error, 0, sizeof round->status.error);
    if (round_book_make(round, round_clock_configured_ms(round), &err) != 0)
        round_fail(round, &err);
}
