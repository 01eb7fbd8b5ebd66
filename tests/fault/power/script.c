#include "script.h"

#include "disk.h"

#include "base/file.h"
#include "store/database.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARTS 3
#define SQL_MAX (1 << 20)
#define BEGIN_MS INT64_C(1795420800000) // 2026-11-23T08:00:00Z

static const char profile_text[] =
    "model: Test meter\n"
    "source: tests/fault/power\n"
    "verified: true\n"
    "medium: gas\n"
    "channels:\n"
    "  volume_base: {register: 0, function: 3, type: bcd12, scale: 0.0001, unit: m3}\n"
    "  flow_base: {register: 3, function: 3, type: f32, unit: m3/h}\n"
    "  pressure: {register: 5, function: 3, type: f32, unit: config}\n";

int script_fail(struct script *script, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(script->why, sizeof script->why, format, arguments);
    va_end(arguments);
    return -1;
}

static struct meter *meter_new(int number)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct meter *meter = calloc(1, sizeof *meter);
    struct err err;
    if (faults == NULL || meter == NULL ||
        profile_load_text("power.yaml", profile_text, sizeof profile_text - 1, &meter->profile,
                          faults) != 0)
        abort();
    free(faults);
    (void)snprintf(meter->id, sizeof meter->id, "meter-%d", number);
    int pressure = profile_channel_find(meter->profile, "pressure");
    strcpy(meter->units[pressure], "bar");
    if (profile_set_unit(meter->profile, pressure, "bar", &err) != 0)
        abort();
    return meter;
}

struct script *script_new(struct chance chance, enum script_sync sync, bool large)
{
    struct script *script = calloc(1, sizeof *script);
    if (script == NULL)
        abort();
    script->chance = chance;
    script->sync = sync;
    script->large = large;
    script->now_ms = BEGIN_MS;
    script->state_count = 1;
    for (int i = 0; i < SCRIPT_METERS; i++)
        script->meters[i] = meter_new(i + 1);
    return script;
}

void script_free(struct script *script)
{
    if (script == NULL)
        return;
    store_close(script->store);
    for (int i = 0; i < SCRIPT_METERS; i++) {
        profile_free(script->meters[i]->profile);
        free(script->meters[i]);
    }
    free(script);
}

// What the tables hold now, after what was acknowledged: a state that is there from now on.
static int state_take(struct script *script)
{
    static struct dump dump;
    struct script_state *last = &script->states[script->acknowledged];
    char differ[SCRIPT_WHY];
    script->state_count = script->acknowledged + 1;
    disk_hold(true);
    int result = dump_take(script->store->db, &dump, script->why, sizeof script->why);
    disk_hold(false);
    if (result != 0)
        return -1;
    if (dump_compare(&last->dump, &dump, differ, sizeof differ) != 0) {
        if (script->state_count == SCRIPT_STATES)
            abort();
        script->states[script->state_count++] = (struct script_state){script->round, dump};
    }
    script->acknowledged = script->state_count - 1;
    disk_mark(script->acknowledged);
    return 0;
}

// Worse than the product, to show that the harness sees it.
static int weaken(struct script *script)
{
    sqlite3 *db = script->store->db;
    const char *sql = "PRAGMA synchronous = NORMAL";
    if (script->sync == SCRIPT_NO_JOURNAL) { // which SQLite would refuse the product
        (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
        sql = "PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF";
    } else if (script->sync != SCRIPT_NORMAL) {
        return 0;
    }
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : script_fail(script, "%s", sqlite3_errmsg(db));
}

static int start(struct script *script)
{
    struct err err = {.text = ""};
    if (store_open(script->folder, &script->store, &err) != 0)
        return script_fail(script, "does not start: %s", err.text);
    return weaken(script) != 0 || state_take(script) != 0 ? -1 : 0;
}

void script_close(struct script *script)
{
    store_close(script->store);
    script->store = NULL;
}

// A round that is broken off: nothing of it is ever there.
static int cancelled(struct script *script)
{
    struct err err = {.text = ""};
    if (store_round_begin(script->store, &err) != 0 ||
        store_setting_put(script->store, "broken-off", "1", &err) != 0 ||
        store_audit_add(script->store, script->now_ms, "local:0", "broken-off", "", "", "", &err) !=
            0)
        return script_fail(script, "a write failed: %s", err.text);
    store_round_cancel(script->store);
    return 0;
}

static int meters_enter(struct script *script, struct err *err)
{
    int64_t configured_ms;
    for (int i = 0; i < SCRIPT_METERS; i++)
        if (store_meter(script->store, script->meters[i]->id, script->now_ms, &script->numbers[i],
                        &configured_ms, err) != 0)
            return -1;
    return store_decoder(script->store, script->meters[0], &script->decoder, err);
}

static int round_do(struct script *script)
{
    struct err err = {.text = ""};
    if (++script->round == SCRIPT_LYING_FROM && script->sync == SCRIPT_LYING)
        disk_lie();
    script->after[script->round] = script->after[script->round - 1];
    if (store_round_begin(script->store, &err) != 0)
        return script_fail(script, "no round: %s", err.text);
    if (meters_enter(script, &err) != 0)
        return script_fail(script, "a write failed: %s", err.text);
    if (script_fill(script) != 0)
        return -1;
    script->in_flight = true;
    int result = store_round_commit(script->store, &err);
    script->in_flight = false;
    if (result != 0)
        return script_fail(script, "a commit failed: %s", err.text);
    return state_take(script);
}

// What happens between rounds. The passive checkpoint is the one that the product makes when its
// log is long.
static int between_rounds(struct script *script)
{
    struct err err = {.text = ""};
    int result = 0;
    switch (chance_between(&script->chance, 0, 19)) {
    case 0: script_close(script); return start(script);
    case 1: return cancelled(script);
    case 2:
        result = sqlite3_wal_checkpoint_v2(script->store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                           NULL);
        break;
    case 3: result = store_bring_home(script->store, false, &err); break;
    case 4:
        result = store_vacuum(script->store, (int)chance_between(&script->chance, 1, 20), &err);
        break;
    default: break;
    }
    return result == 0 ? 0 : script_fail(script, "%s", sqlite3_errmsg(script->store->db));
}

// Rounds after it are forgotten: they never were.
static void forget(struct script *script, int round)
{
    int kept = 0;
    for (int i = 0; i < script->given_count; i++) {
        struct given given = script->given[i];
        if (given.born > round)
            continue;
        if (given.died > round)
            given.died = INT_MAX;
        if (given.gone > round)
            given.gone = INT_MAX;
        script->given[kept++] = given;
    }
    script->given_count = kept;
    script->round = round;
}

static void verify_fault_seen(void *context, const char *text)
{
    struct script *script = context;
    (void)script_fail(script, "verify: %s", text);
}

static int verify_count(struct script *script)
{
    struct err err = {.text = ""};
    int count = store_verify(script->store, verify_fault_seen, script, &err);
    if (count < 0)
        return script_fail(script, "verify cannot be done: %s", err.text);
    return count == 0 ? 0 : -1;
}

int script_older(struct script *script, const char *folder, const char *sql_path)
{
    struct buf sql;
    struct err err = {.text = ""};
    char path[256];
    sqlite3 *db = NULL;
    buf_init(&sql, SQL_MAX);
    if (file_read(sql_path, &sql, &err) != 0)
        return script_fail(script, "%s", err.text);
    (void)snprintf(path, sizeof path, "%s/" STORE_FILE, folder);
    int code = sqlite3_open(path, &db);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, sql.data, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        (void)script_fail(script, "%s: %s", sql_path, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    buf_release(&sql);
    script->older = true;
    return code == SQLITE_OK ? 0 : -1;
}

int script_run(struct script *script, const char *folder, int rounds)
{
    script->folder = folder;
    if (start(script) != 0)
        return -1;
    for (int i = 0; i < rounds; i++)
        if (round_do(script) != 0 || between_rounds(script) != 0)
            return -1;
    if (verify_count(script) != 0 || script_check(script, script->round) != 0)
        return -1;
    script_close(script);
    return 0;
}

// A start that fails is tried again, as a service manager does.
static bool start_again(struct script *script)
{
    for (int i = 0; i < STARTS; i++) {
        if (start(script) == 0)
            return true;
        script_close(script);
        script->refused++;
    }
    return false;
}

// All that the product does between rounds, one after the other.
static bool care(struct script *script, int step)
{
    struct err err;
    sqlite3 *db = script->store->db;
    switch (step % 5) {
    case 0:
        (void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        return true;
    case 1: (void)store_vacuum(script->store, 5, &err); return true;
    case 2: (void)store_bring_home(script->store, false, &err); return true;
    case 3: script_close(script); return start_again(script);
    default: return true;
    }
}

bool script_endure(struct script *script, const char *folder, int rounds)
{
    script->folder = folder;
    if (!start_again(script))
        return false;
    for (int i = 0; i < rounds; i++) {
        int before = script->round;
        if (round_do(script) != 0) {
            store_round_cancel(script->store);
            forget(script, before);
            script->refused++;
        }
        if (!care(script, i))
            return false;
    }
    script_close(script);
    return true;
}

// Which of the states it is, -1.
static int state_find(struct script *script, int first, int last)
{
    static struct dump dump;
    if (dump_take(script->store->db, &dump, script->why, sizeof script->why) != 0)
        return -1;
    for (int i = last; i >= first; i--)
        if (dump_compare(&script->states[i].dump, &dump, script->why, sizeof script->why) == 0)
            return i;
    for (int i = script->state_count - 1; i > 0; i--) {
        char differ[SCRIPT_WHY];
        if (dump_compare(&script->states[i].dump, &dump, differ, sizeof differ) == 0)
            return script_fail(
                script, "lost: what was acknowledged is state %d (round %d), it is %d (round %d)",
                first, script->states[first].round, i, script->states[i].round);
    }
    char differ[SCRIPT_WHY];
    (void)snprintf(differ, sizeof differ, "%s", script->why);
    return script_fail(script, "it is no state that ever was; from that of round %d: %.1900s",
                       script->states[first].round, differ);
}

static bool is_belated(struct script *script, int first)
{
    static struct dump dump;
    char why[SCRIPT_WHY];
    return script->has_belated && script->states[first].round + 1 == script->belated.round &&
           dump_take(script->store->db, &dump, why, sizeof why) == 0 &&
           dump_compare(&script->belated.dump, &dump, why, sizeof why) == 0;
}

int script_reopen(struct script *script, const char *folder, int first, int last)
{
    struct err err = {.text = ""};
    script->folder = folder;
    if (store_open(folder, &script->store, &err) != 0)
        return script_fail(script, "does not start: %s", err.text);
    script->store->disk_error_ends = false; // damage is told, not an end
    if (dump_integrity(script->store->db, script->why, sizeof script->why) != 0 ||
        verify_count(script) != 0)
        return -1;
    // Cut off before the first start was done: it is new, or what that would have made of the
    // older.
    if (first == 0 && !script->older)
        return 0;
    first = first > 0 ? first : 1;
    last = last > 0 ? last : 1;
    // A round on its way when the process ended: whole, by the list.
    if (script->in_flight && script_check(script, script->states[first].round + 1) == 0)
        return state_take(script) == 0 ? script->acknowledged : -1;
    if (is_belated(script, first))
        return first;
    int state = state_find(script, first, last);
    return state < 0 || script_check(script, script->states[state].round) != 0 ? -1 : state;
}

bool script_is_new(struct script *script)
{
    sqlite3_stmt *statement = NULL;
    bool is_new = sqlite3_prepare_v2(script->store->db,
                                     "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM meter)"
                                     " AND NOT EXISTS (SELECT 1 FROM audit)"
                                     " AND NOT EXISTS (SELECT 1 FROM outbox)",
                                     -1, &statement, NULL) == SQLITE_OK &&
                  sqlite3_step(statement) == SQLITE_ROW;
    (void)sqlite3_finalize(statement);
    return is_new;
}

int script_go_on(struct script *script, int state)
{
    script->has_belated = state + 1 < script->state_count;
    if (script->has_belated)
        script->belated = script->states[state + 1];
    forget(script, script->states[state].round);
    script->state_count = state + 1;
    script->acknowledged = state;
    disk_mark(state);
    if (round_do(script) != 0)
        return -1;
    script_close(script);
    return 0;
}
