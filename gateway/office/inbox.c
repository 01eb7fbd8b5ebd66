#include "office/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct inbox {
    pthread_mutex_t mutex;
    pthread_cond_t came;
    struct arrival *first, *last;
    int waiting;
    uint64_t dropped;
    struct answer *answers, *last_answer;
    int answer_count;
    int64_t told[INBOX_ANSWERS_MAX];
    int told_count;
    bool stop;
};

struct inbox *inbox_new(struct err *err)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox == NULL) {
        (void)err_set(err, "out of memory for commands");
        return NULL;
    }
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&inbox->mutex, NULL);
    (void)pthread_cond_init(&inbox->came, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return inbox;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL)
        return;
    while (inbox->first != NULL) {
        struct arrival *next = inbox->first->next;
        free(inbox->first);
        inbox->first = next;
    }
    while (inbox->answers != NULL) {
        struct answer *next = inbox->answers->next;
        free(inbox->answers);
        inbox->answers = next;
    }
    (void)pthread_cond_destroy(&inbox->came);
    (void)pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

// --- the session's side ---

static void append(struct inbox *inbox, struct arrival *arrival)
{
    if (inbox->last != NULL)
        inbox->last->next = arrival;
    else
        inbox->first = arrival;
    inbox->last = arrival;
    inbox->waiting++;
}

void inbox_deliver(struct inbox *inbox, const struct arrival *head, const void *payload)
{
    (void)pthread_mutex_lock(&inbox->mutex);
    size_t length = head->oversized ? 0 : head->length;
    struct arrival *arrival =
        inbox->waiting < INBOX_WAITING_MAX ? malloc(sizeof *arrival + length) : NULL;
    if (arrival != NULL) {
        *arrival = *head;
        arrival->next = NULL;
        if (length > 0)
            memcpy(arrival->payload, payload, length);
        append(inbox, arrival);
    } else {
        inbox->dropped++;
    }
    (void)pthread_cond_signal(&inbox->came);
    (void)pthread_mutex_unlock(&inbox->mutex);
}

static struct answer *take_answer(struct inbox *inbox)
{
    struct answer *answer = inbox->answers;
    if (answer != NULL) {
        inbox->answers = answer->next;
        inbox->last_answer = inbox->answers != NULL ? inbox->last_answer : NULL;
        inbox->answer_count--;
        answer->next = NULL;
    }
    return answer;
}

struct answer *inbox_next_answer(struct inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->mutex);
    struct answer *answer = take_answer(inbox);
    (void)pthread_mutex_unlock(&inbox->mutex);
    return answer;
}

void inbox_put_back(struct inbox *inbox, struct answer *answer)
{
    (void)pthread_mutex_lock(&inbox->mutex);
    answer->next = inbox->answers;
    inbox->answers = answer;
    inbox->last_answer = inbox->last_answer != NULL ? inbox->last_answer : answer;
    inbox->answer_count++;
    (void)pthread_mutex_unlock(&inbox->mutex);
}

void inbox_told(struct inbox *inbox, int64_t row)
{
    (void)pthread_mutex_lock(&inbox->mutex);
    if (inbox->told_count < INBOX_ANSWERS_MAX)
        inbox->told[inbox->told_count++] = row;
    (void)pthread_cond_signal(&inbox->came);
    (void)pthread_mutex_unlock(&inbox->mutex);
}

// --- the executing side ---

static struct timespec after_ms(int ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static struct arrival *take_first(struct inbox *inbox)
{
    struct arrival *arrival = inbox->first;
    if (arrival != NULL) {
        inbox->first = arrival->next;
        inbox->last = inbox->first != NULL ? inbox->last : NULL;
        inbox->waiting--;
    }
    return arrival;
}

struct arrival *inbox_wait(struct inbox *inbox, int timeout_ms, bool take,
                           struct inbox_signals *signals)
{
    struct timespec until = after_ms(timeout_ms);
    int late = 0;
    (void)pthread_mutex_lock(&inbox->mutex);
    while (!inbox->stop && inbox->told_count == 0 && !(take && inbox->first != NULL) &&
           late != ETIMEDOUT)
        late = pthread_cond_timedwait(&inbox->came, &inbox->mutex, &until);
    struct arrival *arrival = take && !inbox->stop ? take_first(inbox) : NULL;
    *signals = (struct inbox_signals){
        .dropped = inbox->dropped, .told_count = inbox->told_count, .stop = inbox->stop};
    memcpy(signals->told, inbox->told, sizeof inbox->told);
    inbox->dropped = 0;
    inbox->told_count = 0;
    (void)pthread_mutex_unlock(&inbox->mutex);
    return arrival;
}

bool inbox_answer(struct inbox *inbox, const struct answer_address *to, int64_t row,
                  const char *payload, size_t length)
{
    struct answer *answer = malloc(sizeof *answer + length);
    if (answer == NULL)
        return false;
    *answer = (struct answer){.to = *to, .row = row, .length = length};
    memcpy(answer->payload, payload, length);
    (void)pthread_mutex_lock(&inbox->mutex);
    if (inbox->answer_count == INBOX_ANSWERS_MAX)
        free(take_answer(inbox));
    if (inbox->last_answer != NULL)
        inbox->last_answer->next = answer;
    else
        inbox->answers = answer;
    inbox->last_answer = answer;
    inbox->answer_count++;
    (void)pthread_mutex_unlock(&inbox->mutex);
    return true;
}

void inbox_stop(struct inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->mutex);
    inbox->stop = true;
    (void)pthread_cond_signal(&inbox->came);
    (void)pthread_mutex_unlock(&inbox->mutex);
}
