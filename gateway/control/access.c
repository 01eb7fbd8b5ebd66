#include "control/access.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct access {
    pthread_mutex_t mutex; // guards all below
    const struct clock *clock;
    struct session_table sessions;
    struct throttle throttle;
    struct flood refusals, calls;
};

struct access *access_new(const struct clock *clock)
{
    struct access *access = calloc(1, sizeof *access);
    if (access == NULL)
        return NULL;
    (void)pthread_mutex_init(&access->mutex, NULL);
    access->clock = clock;
    int64_t now_ms = clock_boot_ms(clock);
    access->refusals = (struct flood){.minute_max = REFUSALS_MINUTE_MAX,
                                      .hour_max = REFUSALS_HOUR_MAX,
                                      .minute_ms = now_ms,
                                      .hour_ms = now_ms};
    access->calls = (struct flood){.minute_max = CALLS_MINUTE_MAX,
                                   .hour_max = CALLS_HOUR_MAX,
                                   .minute_ms = now_ms,
                                   .hour_ms = now_ms};
    return access;
}

void access_free(struct access *access)
{
    if (access == NULL)
        return;
    (void)pthread_mutex_destroy(&access->mutex);
    OPENSSL_cleanse(access, sizeof *access);
    free(access);
}

int access_begin(struct access *access, const struct account *account,
                 char token[static TOKEN_SIZE], struct err *err)
{
    unsigned char random[(TOKEN_SIZE - 1) / 2];
    if (RAND_bytes(random, sizeof random) != 1)
        return err_set(err, "the machine gives no random numbers");
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(token + 2 * i, 3, "%02x", random[i]);
    (void)pthread_mutex_lock(&access->mutex);
    session_begin(&access->sessions, token, account, clock_boot_ms(access->clock));
    (void)pthread_mutex_unlock(&access->mutex);
    return 0;
}

bool access_find(struct access *access, const char *token, bool touch, struct session *out)
{
    (void)pthread_mutex_lock(&access->mutex);
    const struct session *session =
        session_find(&access->sessions, token, clock_boot_ms(access->clock), touch);
    if (session != NULL)
        *out = *session;
    (void)pthread_mutex_unlock(&access->mutex);
    return session != NULL;
}

void access_end(struct access *access, const char *token)
{
    (void)pthread_mutex_lock(&access->mutex);
    session_end(&access->sessions, token);
    (void)pthread_mutex_unlock(&access->mutex);
}

void access_end_account(struct access *access, const char *account)
{
    (void)pthread_mutex_lock(&access->mutex);
    session_end_account(&access->sessions, account);
    (void)pthread_mutex_unlock(&access->mutex);
}

bool access_try(struct access *access, const char *account, int *wait_s)
{
    (void)pthread_mutex_lock(&access->mutex);
    bool may = throttle_try(&access->throttle, account, clock_boot_ms(access->clock), wait_s);
    (void)pthread_mutex_unlock(&access->mutex);
    return may;
}

bool access_note(struct access *access, bool refused)
{
    (void)pthread_mutex_lock(&access->mutex);
    bool may =
        flood_record(refused ? &access->refusals : &access->calls, clock_boot_ms(access->clock));
    (void)pthread_mutex_unlock(&access->mutex);
    return may;
}

uint64_t access_counted(struct access *access, bool refused)
{
    (void)pthread_mutex_lock(&access->mutex);
    uint64_t count =
        flood_count(refused ? &access->refusals : &access->calls, clock_boot_ms(access->clock));
    (void)pthread_mutex_unlock(&access->mutex);
    return count;
}

bool access_refusals_full(struct access *access)
{
    (void)pthread_mutex_lock(&access->mutex);
    bool full = flood_is_full(&access->refusals, clock_boot_ms(access->clock));
    (void)pthread_mutex_unlock(&access->mutex);
    return full;
}
