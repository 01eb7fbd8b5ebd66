// What was given to the store and acknowledged, against what its readers find.
#include "script.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct look {
    struct script *script;
    int round;
    bool failed;
};

uint64_t given_key(enum given_kind kind, const char *name, int64_t first, int64_t second)
{
    int number = kind;
    uint64_t hash = hash_bytes(HASH_BEGIN, &number, sizeof number);
    hash = hash_bytes(hash, name, strlen(name));
    hash = hash_bytes(hash, &first, sizeof first);
    return hash_bytes(hash, &second, sizeof second);
}

// What was not read has no words.
uint64_t image_hash(const struct profile *profile, const struct image *image)
{
    uint64_t hash = HASH_BEGIN;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        hash = hash_bytes(hash, &image->why[i], sizeof image->why[i]);
        if (image->why[i] == 0)
            hash = hash_bytes(hash, &image->words[field->place],
                              (size_t)field->words * sizeof image->words[0]);
    }
    return hash;
}

uint64_t period_hash(const struct period *period)
{
    int64_t figures[] = {period->version,
                         period->to_ms,
                         period->good,
                         period->missing,
                         period->channels[0].start_micro,
                         period->channels[0].end_micro};
    return hash_bytes(HASH_BEGIN, figures, sizeof figures);
}

uint64_t change_hash(const struct alert_change *change)
{
    int64_t figures[] = {change->severity, change->evidence.from_ms, change->evidence.why};
    uint64_t hash = hash_bytes(HASH_BEGIN, figures, sizeof figures);
    return hash_bytes(hash, change->evidence.rule, strlen(change->evidence.rule));
}

static bool lives(const struct given *given, int round)
{
    return given->born <= round && given->died > round;
}

// Something that the store has: it was given, is the same, and comes once.
static bool found(struct look *look, enum given_kind kind, uint64_t key, uint64_t content,
                  enum lane lane, int64_t seq)
{
    static const char *const names[] = {"reading", "period",  "alert change", "gap",
                                        "audit",   "account", "setting"};
    for (int i = 0; i < look->script->given_count; i++) {
        struct given *given = &look->script->given[i];
        if (given->kind != kind || given->key != key || !lives(given, look->round) || given->seen)
            continue;
        given->seen = true;
        if (given->content == content && given->lane == lane && given->seq == seq)
            return true;
        look->failed = true;
        (void)script_fail(look->script,
                          "%s of round %d has changed: lane %d seq %" PRId64
                          ", not lane %d seq %" PRId64,
                          names[kind], given->born, lane, seq, given->lane, given->seq);
        return false;
    }
    look->failed = true;
    (void)script_fail(look->script, "%s with seq %" PRId64 " was never given, or comes twice",
                      names[kind], seq);
    return false;
}

static bool see_reading(void *context, const struct stored_reading *reading)
{
    return found(context, GIVEN_READING,
                 given_key(GIVEN_READING, reading->meter, reading->at_ms, reading->due_ms),
                 image_hash(reading->profile, &reading->image), reading->lane, reading->seq);
}

static bool see_period(void *context, const struct stored_period *period)
{
    return found(
        context, GIVEN_PERIOD,
        given_key(GIVEN_PERIOD, period->meter, period->period.from_ms, period->period.span),
        period_hash(&period->period), period->lane, period->seq);
}

static bool see_change(void *context, const struct stored_alert *alert)
{
    return found(context, GIVEN_CHANGE,
                 given_key(GIVEN_CHANGE, alert->change.subject, alert->change.at_ms,
                           (int64_t)alert->change.kind << 8 | alert->change.state),
                 change_hash(&alert->change), alert->lane, alert->seq);
}

// The store has records of its own between them.
static bool see_audit(void *context, const struct audit_record *record)
{
    return strcmp(record->who, SCRIPT_WHO) != 0 ||
           found(context, GIVEN_AUDIT, given_key(GIVEN_AUDIT, record->detail, record->at_ms, 0), 0,
                 0, 0);
}

static bool see_account(void *context, const struct account *account)
{
    return found(context, GIVEN_ACCOUNT, given_key(GIVEN_ACCOUNT, account->name, 0, 0),
                 account->role, 0, 0);
}

// Gaps have no reader of their own: they are found through the outbox.
static int look_at_gaps(struct look *look, struct err *err)
{
    static struct outbox_entry entries[SCRIPT_GIVEN];
    int count = store_outbox_next(look->script->store, LANE_ALERT, 0, entries, SCRIPT_GIVEN, err);
    for (int i = 0; i < count; i++) {
        struct stored_gap gap;
        if (entries[i].kind != MESSAGE_GAP)
            continue;
        if (store_gap_get(look->script->store, entries[i].row, &gap, err) != 1)
            return -1;
        if (!found(look, GIVEN_GAP, given_key(GIVEN_GAP, gap.reason, gap.seq, gap.first),
                   (uint64_t)gap.at_ms, LANE_ALERT, gap.seq))
            return 0;
    }
    return count < 0 ? -1 : 0;
}

static int look_at_rows(struct look *look, struct err *err)
{
    struct store *store = look->script->store;
    char value[16];
    if (store_readings(store, NULL, 0, INT64_MAX, see_reading, look, err) != 0 ||
        store_periods(store, NULL, 0, 0, INT64_MAX, see_period, look, err) != 0 ||
        store_alerts(store, NULL, 0, INT64_MAX, see_change, look, err) != 0 ||
        store_audits(store, 0, INT64_MAX, see_audit, look, err) != 0 ||
        store_accounts(store, see_account, look, err) != 0 || look_at_gaps(look, err) != 0)
        return -1;
    int there = look->round == 0 ? 0 : store_setting_get(store, "round", value, sizeof value, err);
    if (there == 1 && !look->failed)
        (void)found(look, GIVEN_SETTING, given_key(GIVEN_SETTING, "round", 0, 0),
                    (uint64_t)atoll(value), 0, 0);
    return there < 0 ? -1 : 0;
}

static int64_t gone_from_lane(const struct script *script, enum lane lane, int round)
{
    int64_t count = 0;
    for (int i = 0; i < script->given_count; i++)
        count += script->given[i].lane == lane && script->given[i].born <= round &&
                 script->given[i].gone <= round;
    return count;
}

// Every message of a lane has its pointer, one after the other, but for those that
// retention took.
static int look_at_lane(struct script *script, enum lane lane, int round, struct err *err)
{
    static struct outbox_entry entries[SCRIPT_GIVEN];
    struct outbox_state state;
    if (store_outbox_state(script->store, lane, &state, err) != 0)
        return -1;
    const struct script_after *after = &script->after[round];
    if (state.last != after->last[lane] || state.acknowledged != after->acknowledged[lane] ||
        state.confirmed != after->confirmed[lane])
        return script_fail(
            script, "lane %d stands at %" PRId64 "/%" PRId64 ", not %" PRId64 "/%" PRId64, lane,
            state.acknowledged, state.last, after->acknowledged[lane], after->last[lane]);
    int count = store_outbox_next(script->store, lane, 0, entries, SCRIPT_GIVEN, err);
    if (count < 0)
        return -1;
    for (int i = 0; i < count; i++)
        if (entries[i].seq > state.last || (i > 0 && entries[i].seq <= entries[i - 1].seq))
            return script_fail(script, "lane %d has seq %" PRId64 " out of place", lane,
                               entries[i].seq);
    int64_t expected = state.last - gone_from_lane(script, lane, round);
    return count == expected ? 0
                             : script_fail(script, "lane %d has %d messages, not %" PRId64, lane,
                                           count, expected);
}

int script_check(struct script *script, int round)
{
    struct look look = {.script = script, .round = round};
    struct err err = {.text = ""};
    if (script->older) // what was in it is in no list: the check sums of the tables hold it
        return 0;
    for (int i = 0; i < script->given_count; i++)
        script->given[i].seen = false;
    if (look_at_rows(&look, &err) != 0)
        return script_fail(script, "cannot be read: %s", err.text);
    if (look.failed)
        return -1;
    for (int i = 0; i < script->given_count; i++) {
        const struct given *given = &script->given[i];
        if (lives(given, round) && !given->seen)
            return script_fail(script,
                               "acknowledged with round %d and gone: kind %d, lane %d seq %" PRId64,
                               given->born, given->kind, given->lane, given->seq);
    }
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        if (look_at_lane(script, lane, round, &err) != 0)
            return err.text[0] == '\0' ? -1 : script_fail(script, "cannot be read: %s", err.text);
    return 0;
}

// In a look that only finds out what is there: what it does not know is no fault yet.
static void mark_seen(struct script *script, enum given_kind kind, uint64_t key)
{
    for (int i = 0; i < script->given_count; i++)
        if (script->given[i].kind == kind && script->given[i].key == key)
            script->given[i].seen = true;
}

static bool reading_left(void *context, const struct stored_reading *reading)
{
    mark_seen(context, GIVEN_READING,
              given_key(GIVEN_READING, reading->meter, reading->at_ms, reading->due_ms));
    return true;
}

static bool period_left(void *context, const struct stored_period *period)
{
    mark_seen(context, GIVEN_PERIOD,
              given_key(GIVEN_PERIOD, period->meter, period->period.from_ms, period->period.span));
    return true;
}

static bool change_left(void *context, const struct stored_alert *alert)
{
    mark_seen(context, GIVEN_CHANGE,
              given_key(GIVEN_CHANGE, alert->change.subject, alert->change.at_ms,
                        (int64_t)alert->change.kind << 8 | alert->change.state));
    return true;
}

static int gaps_left(struct script *script, struct err *err)
{
    static struct outbox_entry entries[SCRIPT_GIVEN];
    int count = store_outbox_next(script->store, LANE_ALERT, 0, entries, SCRIPT_GIVEN, err);
    for (int i = 0; i < count; i++) {
        struct stored_gap gap;
        if (entries[i].kind == MESSAGE_GAP) {
            if (store_gap_get(script->store, entries[i].row, &gap, err) != 1)
                return -1;
            mark_seen(script, GIVEN_GAP, given_key(GIVEN_GAP, gap.reason, gap.seq, gap.first));
        }
    }
    return count < 0 ? -1 : 0;
}

static bool may_go(const struct script *script, const struct given *given, int64_t before_ms)
{
    const struct script_after *after = &script->after[script->round];
    return given->at_ms < before_ms &&
           (given->lane == 0 || given->seq <= after->acknowledged[given->lane]);
}

int script_retained(struct script *script, int64_t before_ms)
{
    struct err err = {.text = ""};
    if (script->older)
        return 0;
    for (int i = 0; i < script->given_count; i++)
        script->given[i].seen = false;
    if (store_readings(script->store, NULL, 0, INT64_MAX, reading_left, script, &err) != 0 ||
        store_periods(script->store, NULL, 0, 0, INT64_MAX, period_left, script, &err) != 0 ||
        store_alerts(script->store, NULL, 0, INT64_MAX, change_left, script, &err) != 0 ||
        gaps_left(script, &err) != 0)
        return script_fail(script, "cannot be read: %s", err.text);
    for (int i = 0; i < script->given_count; i++) {
        struct given *given = &script->given[i];
        if (given->kind > GIVEN_GAP || given->seen || given->gone != INT_MAX)
            continue;
        if (!may_go(script, given, before_ms))
            return script_fail(script, "retention took what is not old, or not sent: kind %d",
                               given->kind);
        given->gone = script->round;
        given->died = given->died < script->round ? given->died : script->round;
    }
    return 0;
}
