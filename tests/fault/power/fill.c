// What a round of the script holds.
#include "script.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUARTER_MS (15 * 60000)
#define LARGE_PAGES 1100 // more than the log may have before it is brought home

static int64_t between(struct script *script, int64_t low, int64_t high)
{
    return chance_between(&script->chance, low, high);
}

struct given *script_give(struct script *script, enum given_kind kind, uint64_t key,
                          uint64_t content)
{
    if (script->given_count == SCRIPT_GIVEN)
        abort();
    struct given *given = &script->given[script->given_count++];
    *given = (struct given){.kind = kind,
                            .key = key,
                            .content = content,
                            .at_ms = script->now_ms,
                            .born = script->round,
                            .died = INT_MAX,
                            .gone = INT_MAX};
    return given;
}

// As give, of what is there once: the one before is replaced.
static struct given *replace(struct script *script, enum given_kind kind, uint64_t key,
                             uint64_t content)
{
    for (int i = 0; i < script->given_count; i++) {
        struct given *given = &script->given[i];
        if (given->kind == kind && given->key == key && given->died == INT_MAX)
            given->died = script->round;
    }
    return script_give(script, kind, key, content);
}

static void send(struct script *script, struct given *given, enum lane lane)
{
    given->lane = lane;
    given->seq = lane == 0 ? 0 : ++script->after[script->round].last[lane];
}

static enum lane any_lane(struct script *script)
{
    return (enum lane[]){0, LANE_LIVE, LANE_LIVE, LANE_BACKFILL}[between(script, 0, 3)];
}

static int add_reading(struct script *script, struct err *err)
{
    int n = (int)between(script, 0, SCRIPT_METERS - 1);
    const struct meter *meter = script->meters[n];
    struct reading *reading = reading_new(NULL, meter);
    if (reading == NULL)
        abort();
    script->now_ms += between(script, 1, 1000);
    reading->at_ms = script->now_ms;
    reading->due_ms = script->now_ms - between(script, 0, 500);
    reading->answered = between(script, 0, 9) > 0;
    for (int i = 0; i < meter->profile->field_count; i++) {
        const struct field *field = &meter->profile->fields[i];
        bool missing = !reading->answered || between(script, 0, 4) == 0;
        reading->image.why[i] = missing ? WHY_TIMEOUT : 0;
        for (int word = 0; !missing && word < field->words; word++)
            reading->image.words[field->place + word] = (uint16_t)between(script, 0, 65535);
    }
    enum lane lane = any_lane(script);
    int result =
        store_reading_add(script->store, script->numbers[n], script->decoder, reading, lane, err);
    struct given *given = script_give(
        script, GIVEN_READING, given_key(GIVEN_READING, meter->id, reading->at_ms, reading->due_ms),
        image_hash(meter->profile, &reading->image));
    send(script, given, lane);
    reading_free(reading);
    return result;
}

// A closed quarter hour: each starts where the one before ended, the index is the time.
static void period_make(struct script *script, int64_t from_ms, int version, struct period *out)
{
    *out = (struct period){.span = SPAN_15MIN,
                           .version = version,
                           .from_ms = from_ms,
                           .to_ms = from_ms + QUARTER_MS,
                           .expected = 15,
                           .missing = between(script, 0, 15),
                           .quality = QUALITY_GOOD,
                           .channel_count = 1};
    out->good = 15 - out->missing;
    out->reasons.count = 0;
    reasons_add(&out->reasons, QUALITY_MISSING, WHY_TIMEOUT, out->missing);
    struct period_channel *channel = &out->channels[0];
    strcpy(channel->name, "volume_base");
    channel->kind = CHANNEL_COUNTER;
    channel->start_known = channel->end_known = true;
    channel->start_micro = out->from_ms;
    channel->end_micro = out->to_ms;
}

// The next quarter hour, or the newest one again, as its next version.
static int add_period(struct script *script, struct err *err)
{
    static struct period period;
    int n = (int)between(script, 0, SCRIPT_METERS - 1);
    int number = script->numbers[n];
    int found = store_period_last(script->store, number, SPAN_15MIN, &period, err);
    if (found < 0)
        return -1;
    if (found == 1 && between(script, 0, 2) == 0) {
        period_make(script, period.from_ms, period.version + 1, &period);
    } else {
        script->now_ms = (script->now_ms / QUARTER_MS + 1) * QUARTER_MS;
        period_make(script, script->now_ms - QUARTER_MS, 1, &period);
    }
    enum lane lane = any_lane(script);
    uint64_t key = given_key(GIVEN_PERIOD, script->meters[n]->id, period.from_ms, SPAN_15MIN);
    struct given *given = replace(script, GIVEN_PERIOD, key, period_hash(&period));
    given->at_ms = period.from_ms;
    send(script, given, lane);
    return store_period_add(script->store, number, &period, script->now_ms,
                            lane == 0 ? LANE_LIVE : lane, lane == 0 ? 0 : MESSAGE_SUMMARY, err);
}

static int add_change(struct script *script, struct err *err)
{
    int n = (int)between(script, 0, SCRIPT_METERS - 1);
    enum alert_kind kind = (enum alert_kind)between(script, 1, ALERT_KINDS - 1);
    bool *open = &script->after[script->round].open[n][kind];
    struct alert_change change = {.kind = kind,
                                  .severity = SEVERITY_MAJOR,
                                  .state = *open ? ALERT_CLOSED : ALERT_OPEN,
                                  .at_ms = ++script->now_ms,
                                  .since_ms = script->now_ms,
                                  .evidence = {.observed = 4.25,
                                               .expected_low = (double)NAN,
                                               .expected_high = 0.3,
                                               .unit = "m3/h",
                                               .rule = "flow_measured > 1.2 x qmax",
                                               .from_ms = script->now_ms - between(script, 0, 99),
                                               .to_ms = script->now_ms,
                                               .why = WHY_TIMEOUT}};
    (void)snprintf(change.subject, sizeof change.subject, "%s", script->meters[n]->id);
    bool sends = between(script, 0, 3) > 0;
    char id[UUID_SIZE];
    struct given *given = script_give(script, GIVEN_CHANGE,
                                      given_key(GIVEN_CHANGE, change.subject, change.at_ms,
                                                (int64_t)change.kind << 8 | change.state),
                                      change_hash(&change));
    send(script, given, sends ? LANE_ALERT : 0);
    *open = !*open;
    return store_alert_add(script->store, &change, sends, id, err);
}

static int add_audit(struct script *script, struct err *err)
{
    char detail[128];
    (void)snprintf(detail, sizeof detail, "%d of %.*s", ++script->after[script->round].audits,
                   (int)between(script, 0, 100),
                   "a long detail, a long detail, a long detail, a long detail, a long detail, a "
                   "long detail, a long detail");
    (void)script_give(script, GIVEN_AUDIT, given_key(GIVEN_AUDIT, detail, script->now_ms, 0), 0);
    return store_audit_add(script->store, script->now_ms, SCRIPT_WHO, "changed", "site", "ok",
                           detail, err);
}

static int add_account(struct script *script, struct err *err)
{
    struct account account = {.role = (enum role)between(script, 1, 4)};
    (void)snprintf(account.name, sizeof account.name, "user-%d", (int)between(script, 1, 5));
    (void)snprintf(account.hash, sizeof account.hash, "scrypt$%lld",
                   (long long)between(script, 0, 1 << 30));
    (void)replace(script, GIVEN_ACCOUNT, given_key(GIVEN_ACCOUNT, account.name, 0, 0),
                  account.role);
    return store_account_put(script->store, &account, err);
}

// Of messages on their way, which the broker refused.
static int add_gap(struct script *script, struct err *err)
{
    enum lane lane = (enum lane)between(script, LANE_ALERT, LANE_BACKFILL);
    struct script_after *after = &script->after[script->round];
    if (after->last[lane] == after->acknowledged[lane])
        return 0;
    struct stored_gap gap = {.lane = lane,
                             .first =
                                 between(script, after->acknowledged[lane] + 1, after->last[lane]),
                             .reason = "refused",
                             .from_ms = script->now_ms - 5,
                             .to_ms = script->now_ms,
                             .at_ms = ++script->now_ms};
    gap.last = between(script, gap.first, after->last[lane]);
    struct given *given = script_give(
        script, GIVEN_GAP, given_key(GIVEN_GAP, gap.reason, after->last[LANE_ALERT] + 1, gap.first),
        (uint64_t)gap.at_ms);
    send(script, given, LANE_ALERT);
    return store_gap_add(script->store, &gap, err);
}

static int acknowledge(struct script *script, struct err *err)
{
    enum lane lane = (enum lane)between(script, LANE_ALERT, LANE_BACKFILL);
    struct script_after *after = &script->after[script->round];
    if (after->last[lane] == after->acknowledged[lane])
        return 0;
    after->acknowledged[lane] = between(script, after->acknowledged[lane] + 1, after->last[lane]);
    return store_outbox_acknowledge(script->store, lane, after->acknowledged[lane], err);
}

// Head office says what its own database has.
static int confirm(struct script *script, struct err *err)
{
    enum lane lane = (enum lane)between(script, LANE_ALERT, LANE_BACKFILL);
    struct script_after *after = &script->after[script->round];
    if (after->acknowledged[lane] <= after->confirmed[lane])
        return 0;
    after->confirmed[lane] = between(script, after->confirmed[lane] + 1, after->acknowledged[lane]);
    return store_outbox_confirm(script->store, lane, after->confirmed[lane], err);
}

static int add_revision(struct script *script, struct err *err)
{
    static char text[4096 * LARGE_PAGES];
    bool large = script->large && script->round % 8 == 5;
    size_t length = large ? sizeof text : (size_t)between(script, 100, 9000);
    memset(text, 'a' + (int)between(script, 0, 25), length);
    char revision[24];
    (void)snprintf(revision, sizeof revision, "r%lld", (long long)between(script, 0, 1 << 30));
    return store_revision_add(script->store, revision, text, length, "local:0", script->now_ms,
                              err);
}

static int retain(struct script *script, struct err *err)
{
    static const int64_t keeps_ms[] = {20000, QUARTER_MS, 4 * QUARTER_MS, 20 * QUARTER_MS};
    int64_t before_ms = script->now_ms - between(script, 0, keeps_ms[between(script, 0, 3)]);
    int max = (int)between(script, 1, 200);
    struct store_shed shed = {.unsent = between(script, 0, 1) == 1,
                              .before_ms = before_ms,
                              .now_ms = script->now_ms,
                              .max = max};
    int count = 0;
    switch (between(script, 0, 6)) {
    case 0: count = store_retain(script->store, before_ms, max, err); break;
    case 1: count = store_period_retain(script->store, SPAN_15MIN, before_ms, max, err); break;
    case 2: count = store_alert_retain(script->store, before_ms, max, err); break;
    case 3: count = store_gap_retain(script->store, before_ms, max, err); break;
    case 4: count = store_reading_shed(script->store, &shed, err); break;
    default: count = store_reading_pack(script->store, err); break; // often: only packs are shed
    }
    return count < 0 ? -1 : script_retained(script, before_ms);
}

// Some of each kind in one round, one in so many rounds.
static const struct ingredient {
    int (*add)(struct script *script, struct err *err);
    int one_in, most;
} ingredients[] = {{add_reading, 1, 8}, {add_period, 2, 2},   {add_change, 2, 2},
                   {acknowledge, 2, 3}, {confirm, 4, 1},      {add_audit, 3, 3},
                   {add_account, 5, 1}, {add_revision, 8, 1}, {add_gap, 8, 1},
                   {retain, 3, 2}};

int script_fill(struct script *script)
{
    struct err err = {.text = ""};
    char text[16];
    (void)snprintf(text, sizeof text, "%d", script->round);
    (void)replace(script, GIVEN_SETTING, given_key(GIVEN_SETTING, "round", 0, 0),
                  (uint64_t)script->round);
    int result = store_setting_put(script->store, "round", text, &err);
    for (size_t i = 0; i < sizeof ingredients / sizeof ingredients[0] && result == 0; i++) {
        bool wanted =
            between(script, 1, ingredients[i].one_in) == 1 ||
            (script->large && ingredients[i].add == add_revision && script->round % 8 == 5);
        int64_t count = wanted ? between(script, 1, ingredients[i].most) : 0;
        for (int64_t k = 0; k < count && result == 0; k++)
            result = ingredients[i].add(script, &err);
    }
    if (result == 0)
        return 0;
    return script->why[0] != '\0' ? -1 : script_fail(script, "a write failed: %s", err.text);
}
