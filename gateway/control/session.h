// Sessions of the page, and how often somebody may try to log in. Both live in memory only, take
// the time as an argument (boot time, milliseconds) and are guarded by their owner (access.h).
#ifndef METERGATE_CONTROL_SESSION_H
#define METERGATE_CONTROL_SESSION_H

#include "store/store.h"

#define SESSIONS_MAX 64 // a further one ends the session that was idle longest
#define SESSION_IDLE_MS (15 * INT64_C(60000))
#define SESSION_LIFE_MS (12 * INT64_C(3600000))
#define TOKEN_SIZE 33 // 128 random bits in hex, with NUL

struct session {
    char token[TOKEN_SIZE]; // "" for a free row
    char account[33];
    enum role role;
    int64_t begun_ms, used_ms;
};

struct session_table {
    struct session rows[SESSIONS_MAX];
};

// Begins a session under `token` (random, made by the caller).
void session_begin(struct session_table *table, const char *token, const struct account *account,
                   int64_t now_ms);
// The session of a token, or NULL when there is none or its time is over. `touch`: a person did
// something, so the idle time begins anew.
const struct session *session_find(struct session_table *table, const char *token, int64_t now_ms,
                                   bool touch);
void session_end(struct session_table *table, const char *token);
// Ends all sessions of an account: its password or role changed, or it is gone.
void session_end_account(struct session_table *table, const char *account);

#define THROTTLE_MINUTE_MAX 10        // tries in any minute, of everybody together
#define THROTTLE_ACCOUNT_HOUR_MAX 100 // tries in any hour for one account
#define THROTTLE_TRIES (THROTTLE_MINUTE_MAX * 60)

struct throttle {
    struct {
        int64_t at_ms;
        uint64_t account;    // hash of the name that was given, whether it exists or not
    } tries[THROTTLE_TRIES]; // a ring: all tries of an hour fit
    int next, count;
};

// Whether a try may be made now; counts it when it may. Else *wait_s says when to come back.
bool throttle_try(struct throttle *throttle, const char *account, int64_t now_ms, int *wait_s);

// Refusals, and calls that change nothing, go to the audit chain one by one, but whoever knocks a
// thousand times a second must not fill the store: the first of a minute and of an hour are
// recorded, the others counted, and one record for each minute says how many (at most 4 MB a day in
// all).
#define REFUSALS_MINUTE_MAX 20
#define REFUSALS_HOUR_MAX 120
#define CALLS_MINUTE_MAX 60
#define CALLS_HOUR_MAX 600
struct flood {
    int minute_max, hour_max;
    int64_t minute_ms, hour_ms; // when the running ones began
    int in_minute, in_hour;     // recorded
    uint64_t dropped;           // counted only, not told yet
    int64_t dropped_ms;         // the first of them
};
// Whether this one may be recorded; else it is counted.
bool flood_record(struct flood *flood, int64_t now_ms);
// Whether the next one may not be recorded.
bool flood_is_full(const struct flood *flood, int64_t now_ms);
// How many were counted only, once the minute that began with the first of them is over; 0 before.
// They are told then: it begins anew.
uint64_t flood_count(struct flood *flood, int64_t now_ms);

#endif
