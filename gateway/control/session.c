#include "control/session.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)

static void clear(struct session *session)
{
    OPENSSL_cleanse(session, sizeof *session);
}

void session_begin(struct session_table *table, const char *token, const struct account *account,
                   int64_t now_ms)
{
    struct session *place = &table->rows[0];
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *row = &table->rows[i];
        if (row->token[0] == '\0') {
            place = row;
            break;
        }
        if (row->used_ms < place->used_ms)
            place = row;
    }
    clear(place);
    (void)snprintf(place->token, sizeof place->token, "%s", token);
    (void)snprintf(place->account, sizeof place->account, "%s", account->name);
    place->role = account->role;
    place->begun_ms = now_ms;
    place->used_ms = now_ms;
}

// Compares with every row, in constant time each: the time tells nothing about a token.
static struct session *find(struct session_table *table, const char *token)
{
    struct session *found = NULL;
    if (strlen(token) != TOKEN_SIZE - 1)
        return NULL;
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (CRYPTO_memcmp(table->rows[i].token, token, TOKEN_SIZE) == 0)
            found = &table->rows[i];
    return found;
}

const struct session *session_find(struct session_table *table, const char *token, int64_t now_ms,
                                   bool touch)
{
    struct session *session = find(table, token);
    if (session == NULL)
        return NULL;
    if (now_ms - session->used_ms >= SESSION_IDLE_MS ||
        now_ms - session->begun_ms >= SESSION_LIFE_MS) {
        clear(session);
        return NULL;
    }
    if (touch)
        session->used_ms = now_ms;
    return session;
}

void session_end(struct session_table *table, const char *token)
{
    struct session *session = find(table, token);
    if (session != NULL)
        clear(session);
}

void session_end_account(struct session_table *table, const char *account)
{
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (strcmp(table->rows[i].account, account) == 0)
            clear(&table->rows[i]);
}

// FNV-1a, 64 bits.
static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const unsigned char *at = (const unsigned char *)name; *at != '\0'; at++)
        hash = (hash ^ *at) * UINT64_C(1099511628211);
    return hash;
}

bool throttle_try(struct throttle *throttle, const char *account, int64_t now_ms, int *wait_s)
{
    uint64_t name = hash_name(account);
    int in_minute = 0;
    int in_hour = 0;
    int64_t minute_first = now_ms; // oldest try that counts against each bound
    int64_t hour_first = now_ms;
    for (int i = 0; i < throttle->count; i++) {
        int64_t at_ms = throttle->tries[i].at_ms;
        if (now_ms - at_ms < MINUTE_MS) {
            in_minute++;
            minute_first = at_ms < minute_first ? at_ms : minute_first;
        }
        if (now_ms - at_ms < HOUR_MS && throttle->tries[i].account == name) {
            in_hour++;
            hour_first = at_ms < hour_first ? at_ms : hour_first;
        }
    }
    int64_t wait_ms = 0;
    if (in_minute >= THROTTLE_MINUTE_MAX)
        wait_ms = minute_first + MINUTE_MS - now_ms;
    if (in_hour >= THROTTLE_ACCOUNT_HOUR_MAX && hour_first + HOUR_MS - now_ms > wait_ms)
        wait_ms = hour_first + HOUR_MS - now_ms;
    if (wait_ms > 0) {
        *wait_s = (int)((wait_ms + 999) / 1000);
        return false;
    }
    throttle->tries[throttle->next].at_ms = now_ms;
    throttle->tries[throttle->next].account = name;
    throttle->next = (throttle->next + 1) % THROTTLE_TRIES;
    throttle->count += throttle->count < THROTTLE_TRIES ? 1 : 0;
    return true;
}

static bool has_room(const struct flood *flood, int64_t now_ms)
{
    bool minute = now_ms - flood->minute_ms >= MINUTE_MS || flood->in_minute < flood->minute_max;
    bool hour = now_ms - flood->hour_ms >= HOUR_MS || flood->in_hour < flood->hour_max;
    return minute && hour;
}

bool flood_record(struct flood *flood, int64_t now_ms)
{
    if (!has_room(flood, now_ms)) {
        flood->dropped_ms = flood->dropped == 0 ? now_ms : flood->dropped_ms;
        flood->dropped++;
        return false;
    }
    if (now_ms - flood->minute_ms >= MINUTE_MS) {
        flood->minute_ms = now_ms;
        flood->in_minute = 0;
    }
    if (now_ms - flood->hour_ms >= HOUR_MS) {
        flood->hour_ms = now_ms;
        flood->in_hour = 0;
    }
    flood->in_minute++;
    flood->in_hour++;
    return true;
}

bool flood_is_full(const struct flood *flood, int64_t now_ms)
{
    return !has_room(flood, now_ms);
}

uint64_t flood_count(struct flood *flood, int64_t now_ms)
{
    if (flood->dropped == 0 || now_ms - flood->dropped_ms < MINUTE_MS)
        return 0;
    uint64_t count = flood->dropped;
    flood->dropped = 0;
    return count;
}
