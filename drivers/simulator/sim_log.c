#include "drivers/simulator/sim_log.h"

#include "drivers/archive.h"
#include "drivers/simulator/channel_source.h"
#include "drivers/simulator/encode.h"

#include <stdlib.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define MINUTE_MS INT64_C(60000)

struct sim_log {
    const struct profile *profile;
    const struct profile_archive *archive;
    struct profile *record;
    int64_t offset_ms; // of its wall clock
    int used, newest;  // records; place of the newest
    bool primed;       // a span has ended: what the next one adds can be told
    int64_t indices[PROFILE_ARCHIVE_CHANNELS_MAX]; // at the end of the newest
    uint16_t words[];                              // records x record_registers, as a ring
};

struct sim_log *sim_log_new(const struct profile *profile, int archive, int utc_offset_min)
{
    const struct profile_archive *of = &profile->archives[archive];
    size_t words = (size_t)of->records * of->record_registers;
    struct sim_log *log = calloc(1, sizeof *log + words * sizeof log->words[0]);
    if (log == NULL)
        return NULL;
    log->profile = profile;
    log->archive = of;
    log->newest = -1;
    log->offset_ms = utc_offset_min * MINUTE_MS;
    log->record = archive_record(profile, archive, true);
    if (log->record == NULL) {
        free(log);
        return NULL;
    }
    return log;
}

void sim_log_free(struct sim_log *log)
{
    if (log == NULL)
        return;
    free(log->record);
    free(log);
}

static int64_t length_ms(const struct sim_log *log)
{
    return log->archive->span == ARCHIVE_DAY ? DAY_MS : HOUR_MS;
}

int64_t sim_log_next_ms(const struct sim_log *log, int64_t after_ms)
{
    int64_t length = length_ms(log);
    int64_t start = log->archive->span == ARCHIVE_DAY ? SIM_LOG_DAY_MINUTES * MINUTE_MS : 0;
    int64_t wall = after_ms + log->offset_ms - start;
    return after_ms - wall % length + length;
}

static int64_t stamp_s(const struct sim_log *log, int64_t end_ms)
{
    int64_t at_ms = log->archive->time_is_start ? end_ms - length_ms(log) : end_ms;
    return (log->archive->time_is_utc ? at_ms : at_ms + log->offset_ms) / 1000;
}

// A value that the registers cannot hold leaves them at zero, as in the meter's other registers.
static void put_value(struct sim_log *log, int channel, const struct model_settings *settings,
                      const struct model_state *state, const int64_t *shift, struct image *image)
{
    const struct channel *of = log->record->channels[channel].channel;
    if (of->kind == CHANNEL_COUNTER) {
        int own = profile_channel_find(log->profile, of->name);
        int64_t index = source_counter(of->name, state) + (own >= 0 ? shift[own] : 0);
        bool added = log->archive->values[channel].increment;
        (void)encode_counter(log->record, channel, added ? index - log->indices[channel] : index,
                             image, NULL);
        log->indices[channel] = index;
    } else {
        struct model_values values;
        model_values(settings, state, state->at_ms, &values);
        (void)encode_gauge(log->record, channel,
                           source_gauge(of->name, settings, state, &values, state->at_ms), image,
                           NULL);
    }
}

static bool adds(const struct sim_log *log)
{
    for (int i = 0; i < log->archive->value_count; i++)
        if (log->archive->values[i].increment)
            return true;
    return false;
}

void sim_log_close(struct sim_log *log, const struct model_settings *settings,
                   const struct model_state *state, const int64_t *shift)
{
    struct image image = {.why = {0}};
    size_t size = log->archive->record_registers;
    for (int i = 0; i < log->record->channel_count; i++)
        put_value(log, i, settings, state, shift, &image);
    bool whole = log->primed || !adds(log);
    log->primed = true;
    if (!whole)
        return;
    archive_stamp_put(log->archive, stamp_s(log, state->at_ms), image.words);
    log->newest = (log->newest + 1) % log->archive->records;
    log->used += log->used < log->archive->records;
    memcpy(log->words + (size_t)log->newest * size, image.words, size * sizeof image.words[0]);
}

// Place in the ring of the record that stands at a place of the registers, -1: none does yet.
static int ring_place(const struct sim_log *log, int place)
{
    if (place >= log->used)
        return -1;
    int behind = log->archive->oldest_first ? log->used - 1 - place : place; // the newest
    return (log->newest - behind + log->archive->records) % log->archive->records;
}

bool sim_log_registers(const struct sim_log *log, uint8_t function, int first, int count,
                       uint16_t *words)
{
    int size = log->archive->record_registers;
    int from = first - log->archive->first_register;
    if (function != log->archive->function || from < 0 ||
        from + count > size * log->archive->records)
        return false;
    for (int i = 0; i < count; i++) {
        int place = ring_place(log, (from + i) / size);
        words[i] = place < 0 ? 0 : log->words[(ptrdiff_t)place * size + (from + i) % size];
    }
    return true;
}
