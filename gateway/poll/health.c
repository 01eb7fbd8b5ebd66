#include "poll/health.h"

#include "config/config.h"
#include "drivers/frame_text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_MS 10000 // of the load
#define SLOTS 7       // a whole minute and the slot that runs
#define SENTENCE_MAX 256

const int health_bucket_ms[HEALTH_BUCKETS - 1] = {1,   2,   5,   10,   20,   50,
                                                  100, 200, 500, 1000, 2000, 5000};

struct unit_counts {
    int unit;
    struct health_counts counts;
};

// Stands before the bytes of a frame in the ring.
struct frame_head {
    int64_t at_ms; // wall clock
    uint16_t length;
    bool sent;
};

struct health {
    atomic_int references;
    const struct clock *clock;
    bool tcp;
    pthread_mutex_t mutex; // guards all below
    int64_t started_ms;    // boot clock
    int64_t slot;          // number of the newest load slot
    int64_t busy_us[SLOTS];
    struct health_counts others; // units that no meter has
    size_t frames_length;
    uint8_t frames[HEALTH_FRAMES_SIZE]; // heads and bytes, oldest first
    int unit_count;
    struct unit_counts units[];
};

struct health *health_new(const struct config *config, int link, const struct clock *clock)
{
    int count = 0;
    for (int i = 0; i < config->meter_count; i++)
        count += config->meters[i].link == link;
    struct health *health = calloc(1, sizeof *health + (size_t)count * sizeof health->units[0]);
    if (health == NULL)
        return NULL;
    atomic_init(&health->references, 1);
    health->clock = clock;
    health->tcp = config->links[link].url.kind == LINK_TCP;
    health->started_ms = clock_boot_ms(clock);
    health->slot = health->started_ms / SLOT_MS;
    (void)pthread_mutex_init(&health->mutex, NULL);
    for (int i = 0; i < config->meter_count; i++)
        if (config->meters[i].link == link)
            health->units[health->unit_count++].unit = config->meters[i].unit;
    return health;
}

struct health *health_ref(struct health *health)
{
    atomic_fetch_add(&health->references, 1);
    return health;
}

void health_unref(struct health *health)
{
    if (health == NULL || atomic_fetch_sub(&health->references, 1) > 1)
        return;
    (void)pthread_mutex_destroy(&health->mutex);
    free(health);
}

// ---- what the bus tells -------------------------------------------------------------------------

static void drop_oldest(struct health *health)
{
    struct frame_head head;
    memcpy(&head, health->frames, sizeof head);
    size_t size = sizeof head + head.length;
    health->frames_length -= size;
    memmove(health->frames, health->frames + size, health->frames_length);
}

void health_frame(struct health *health, bool sent, const uint8_t *bytes, size_t length)
{
    struct frame_head head;
    memset(&head, 0, sizeof head); // its padding goes into the ring too
    head.at_ms = clock_wall_ms(health->clock);
    head.length = (uint16_t)(length < FRAME_MAX ? length : FRAME_MAX);
    head.sent = sent;
    size_t size = sizeof head + head.length;
    (void)pthread_mutex_lock(&health->mutex);
    while (health->frames_length + size > HEALTH_FRAMES_SIZE)
        drop_oldest(health);
    memcpy(health->frames + health->frames_length, &head, sizeof head);
    memcpy(health->frames + health->frames_length + sizeof head, bytes, head.length);
    health->frames_length += size;
    (void)pthread_mutex_unlock(&health->mutex);
}

static struct health_counts *counts_of(struct health *health, int unit)
{
    for (int i = 0; i < health->unit_count; i++)
        if (health->units[i].unit == unit)
            return &health->units[i].counts;
    return &health->others;
}

static void count_answer(struct health_counts *counts, int64_t elapsed_us)
{
    int bucket = 0;
    while (bucket < HEALTH_BUCKETS - 1 && elapsed_us > health_bucket_ms[bucket] * INT64_C(1000))
        bucket++;
    counts->response[bucket]++;
    counts->response_us += elapsed_us;
}

static void count(struct health_counts *counts, const struct reply *reply)
{
    counts->requests++;
    if (reply->why >= WHY_EXCEPTION) {
        int code = reply->why - WHY_EXCEPTION;
        counts->exceptions[code < HEALTH_EXCEPTIONS ? code : 0]++;
        count_answer(counts, reply->elapsed_us);
        return;
    }
    switch (reply->why) {
    case WHY_NONE:
        counts->replies++;
        count_answer(counts, reply->elapsed_us);
        break;
    case WHY_TIMEOUT: counts->timeouts++; break;
    case WHY_CRC: counts->crc_errors++; break;
    case WHY_LINK_DOWN: counts->link_down++; break;
    default: counts->frame_errors++; break;
    }
}

// Makes the slot of this instant the newest; those between were idle.
static void reach_slot(struct health *health, int64_t now_ms)
{
    int64_t slot = now_ms / SLOT_MS;
    for (int i = 0; i < SLOTS && health->slot < slot; i++)
        health->busy_us[++health->slot % SLOTS] = 0;
    health->slot = slot;
}

void health_note(struct health *health, const struct request *request, const struct reply *reply,
                 int64_t busy_us)
{
    (void)pthread_mutex_lock(&health->mutex);
    count(counts_of(health, request->unit), reply);
    reach_slot(health, clock_boot_ms(health->clock));
    health->busy_us[health->slot % SLOTS] += busy_us;
    (void)pthread_mutex_unlock(&health->mutex);
}

// ---- what others ask ----------------------------------------------------------------------------

void health_counts_of(struct health *health, int unit, struct health_counts *out)
{
    (void)pthread_mutex_lock(&health->mutex);
    const struct health_counts *counts = counts_of(health, unit);
    *out = counts != &health->others ? *counts : (struct health_counts){0};
    (void)pthread_mutex_unlock(&health->mutex);
}

static void add(struct health_counts *sum, const struct health_counts *part)
{
    sum->requests += part->requests;
    sum->replies += part->replies;
    sum->timeouts += part->timeouts;
    sum->crc_errors += part->crc_errors;
    sum->frame_errors += part->frame_errors;
    sum->link_down += part->link_down;
    for (int i = 0; i < HEALTH_EXCEPTIONS; i++)
        sum->exceptions[i] += part->exceptions[i];
    for (int i = 0; i < HEALTH_BUCKETS; i++)
        sum->response[i] += part->response[i];
    sum->response_us += part->response_us;
}

void health_counts_all(struct health *health, struct health_counts *out)
{
    (void)pthread_mutex_lock(&health->mutex);
    *out = health->others;
    for (int i = 0; i < health->unit_count; i++)
        add(out, &health->units[i].counts);
    (void)pthread_mutex_unlock(&health->mutex);
}

double health_busy_percent(struct health *health)
{
    (void)pthread_mutex_lock(&health->mutex);
    int64_t now_ms = clock_boot_ms(health->clock);
    reach_slot(health, now_ms);
    int64_t busy_us = 0;
    for (int i = 0; i < SLOTS; i++)
        busy_us += health->busy_us[i];
    int64_t from_ms = (health->slot - (SLOTS - 1)) * SLOT_MS;
    from_ms = from_ms > health->started_ms ? from_ms : health->started_ms;
    (void)pthread_mutex_unlock(&health->mutex);
    double percent = now_ms > from_ms ? (double)busy_us / 10 / (double)(now_ms - from_ms) : 0;
    return percent < 100 ? percent : 100;
}

int health_response_ms(const struct health_counts *counts, double share)
{
    uint64_t answers = 0;
    for (int i = 0; i < HEALTH_BUCKETS; i++)
        answers += counts->response[i];
    if (answers == 0)
        return 0;
    uint64_t seen = 0;
    for (int i = 0; i < HEALTH_BUCKETS - 1; i++) {
        seen += counts->response[i];
        if ((double)seen >= share * (double)answers)
            return health_bucket_ms[i];
    }
    return -1;
}

// ---- printing -----------------------------------------------------------------------------------

static void print_exceptions(struct writer *writer, const struct health_counts *counts)
{
    writer_key(writer, "exceptions");
    writer_object(writer);
    for (int i = 1; i <= HEALTH_EXCEPTIONS; i++) {
        int code = i % HEALTH_EXCEPTIONS; // the others last
        char key[16];
        (void)snprintf(key, sizeof key, "%d", code);
        if (counts->exceptions[code] > 0)
            writer_key_int(writer, code != 0 ? key : "other", (int64_t)counts->exceptions[code]);
    }
    writer_end(writer);
}

static void print_bound(struct writer *writer, const char *key, int ms)
{
    if (ms > 0)
        writer_key_int(writer, key, ms);
    else
        writer_key_null(writer, key);
}

static void print_response(struct writer *writer, const struct health_counts *counts)
{
    writer_key(writer, "response_ms");
    writer_object(writer);
    print_bound(writer, "p50", health_response_ms(counts, 0.5));
    print_bound(writer, "p99", health_response_ms(counts, 0.99));
    writer_end(writer);
}

static void print_histogram(struct writer *writer, const struct health_counts *counts)
{
    writer_key(writer, "histogram");
    writer_array(writer);
    for (int i = 0; i < HEALTH_BUCKETS; i++) {
        writer_object(writer);
        print_bound(writer, "up_to", i < HEALTH_BUCKETS - 1 ? health_bucket_ms[i] : 0);
        writer_key_int(writer, "count", (int64_t)counts->response[i]);
        writer_end(writer);
    }
    writer_end(writer);
}

static void print_figures(struct writer *writer, const struct health_counts *counts)
{
    writer_key_int(writer, "requests", (int64_t)counts->requests);
    writer_key_int(writer, "replies", (int64_t)counts->replies);
    writer_key_int(writer, "timeouts", (int64_t)counts->timeouts);
    writer_key_int(writer, "crc_errors", (int64_t)counts->crc_errors);
    writer_key_int(writer, "frame_errors", (int64_t)counts->frame_errors);
    writer_key_int(writer, "link_down", (int64_t)counts->link_down);
    print_exceptions(writer, counts);
    print_response(writer, counts);
}

void health_print_summary(struct writer *writer, const struct health_counts *counts)
{
    writer_object(writer);
    print_figures(writer, counts);
    writer_end(writer);
}

void health_print_counts(struct writer *writer, const struct health_counts *counts)
{
    writer_object(writer);
    print_figures(writer, counts);
    print_histogram(writer, counts);
    writer_end(writer);
}

static void print_sentence(struct writer *writer, const char *key, enum language language,
                           const struct frame_meaning *meaning)
{
    struct buf text;
    buf_init(&text, SENTENCE_MAX);
    frame_meaning_text(meaning, language, &text);
    writer_key_text(writer, key, text.data != NULL ? text.data : "");
    buf_release(&text);
}

static void print_frame(struct writer *writer, bool tcp, const struct frame_head *head,
                        const uint8_t *bytes)
{
    char hex[3 * FRAME_MAX + 1] = "";
    for (int i = 0; i < head->length; i++)
        (void)snprintf(hex + (ptrdiff_t)3 * i, 4, "%02X%s", bytes[i],
                       i + 1 < head->length ? " " : "");
    struct frame_meaning meaning;
    frame_mean(tcp, head->sent, bytes, head->length, &meaning);
    writer_object(writer);
    writer_key_time(writer, "at", head->at_ms);
    writer_key_bool(writer, "sent", head->sent);
    writer_key_text(writer, "bytes", hex);
    writer_key_text(writer, "kind", frame_kind_text(meaning.kind));
    if (meaning.kind != FRAME_DAMAGED)
        writer_key_int(writer, "unit", meaning.unit);
    writer_key(writer, "text");
    writer_object(writer);
    print_sentence(writer, "en", LANGUAGE_EN, &meaning);
    print_sentence(writer, "zh", LANGUAGE_ZH, &meaning);
    writer_end(writer);
    writer_end(writer);
}

void health_print_frames(struct health *health, struct writer *writer)
{
    uint8_t frames[HEALTH_FRAMES_SIZE];
    (void)pthread_mutex_lock(&health->mutex);
    size_t length = health->frames_length;
    memcpy(frames, health->frames, length);
    (void)pthread_mutex_unlock(&health->mutex);
    writer_array(writer);
    struct frame_head head;
    for (size_t at = 0; at < length; at += sizeof head + head.length) {
        memcpy(&head, frames + at, sizeof head);
        print_frame(writer, health->tcp, &head, frames + at + sizeof head);
    }
    writer_end(writer);
}
