// Readings: raw words in, decoded when they are read back.
#include "store/pack.h"
#include "store/query.h"
#include "store/reading_find.h"
#include "store/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TIES_MAX 10000 // milliseconds that a reading may move on to find a free instant

// Whether what decodes the words is in the store: asked once for rows of one decoder in a row.
static int decoder_find(struct store *store, int64_t decoder, struct err *err)
{
    struct query query;
    if (decoder == store->decoder_known)
        return 0;
    int found = query_find(&query, store, SLOT_DECODER_KNOWN,
                           "SELECT 1 FROM decoder WHERE revision = ?1", decoder, err);
    if (found == 1)
        query_end(&query);
    if (found == 0)
        (void)err_set(err, "there is no decoder %" PRId64, decoder);
    store->decoder_known = found == 1 ? decoder : 0;
    store->round_broken = store->round_broken || found == 0;
    return found == 1 ? 0 : -1;
}

// Adds the row whose words and marks are packed already; row->at_ms becomes where it lies.
static int row_add(struct store *store, const char *meter, struct row *row, struct err *err)
{
    if (row->at_ms < 0 || row->at_ms >= READING_AT_MAX - TIES_MAX) {
        return err_set(err, "a reading of %s has the time %" PRId64 ", which no clock shows", meter,
                       row->at_ms);
    }
    if (store->words.failed || store->marks.failed)
        return err_set(err, "out of memory for a reading of %s", meter);
    row->words = (const uint8_t *)store->words.data;
    row->word_bytes = store->words.length;
    row->marks = (const uint8_t *)store->marks.data;
    row->mark_bytes = store->marks.length;
    if (decoder_find(store, row->decoder, err) != 0)
        return -1;
    int found = tail_free_instant(store, row->meter, row->at_ms, TIES_MAX, &row->at_ms, err);
    if (found == 0)
        return err_set(err, "%d readings of %s have the same second: the clock stands still",
                       TIES_MAX, meter);
    if (found < 0 || (row->lane != 0 && outbox_give(store, row->lane, &row->seq, err) != 0))
        return -1;
    if (tail_add(store, row, err) == 0)
        return 0;
    store->round_broken = true; // the seq is given, but has no row
    return -1;
}

int store_reading_add(struct store *store, int meter_number, int decoder, struct reading *reading,
                      enum lane lane, struct err *err)
{
    struct row row = {.meter = meter_number,
                      .decoder = decoder,
                      .at_ms = reading->at_ms,
                      .due_ms = reading->due_ms,
                      .flags = (reading->answered ? READING_ANSWERED : 0) |
                               (reading->meter->unverified ? READING_UNVERIFIED : 0) |
                               (reading->begins ? READING_BEGINS : 0),
                      .lane = lane};
    image_pack(reading->meter->profile, &reading->image, &store->words, &store->marks);
    if (row_add(store, reading->meter->id, &row, err) != 0)
        return -1;
    reading->at_ms = row.at_ms;
    return 0;
}

int store_archive_add(struct store *store, int meter_number, int decoder,
                      const struct archive_words *words, enum lane lane, struct err *err)
{
    struct row row = {.meter = meter_number,
                      .decoder = decoder,
                      .at_ms = words->at_ms,
                      .flags = READING_ANSWERED | READING_ARCHIVE |
                               (int64_t)words->archive << READING_ARCHIVE_SHIFT |
                               (words->meter->unverified ? READING_UNVERIFIED : 0),
                      .lane = lane};
    const struct profile *record = store_record(store, decoder, words->archive, err);
    if (record == NULL)
        return -1;
    struct image image = {.why = {0}};
    memcpy(image.words, words->words, record->word_count * sizeof image.words[0]);
    image_pack(record, &image, &store->words, &store->marks);
    return row_add(store, words->meter->id, &row, err);
}

// What the meter's log says is never as good as what was read at its time.
static void mark_archive(struct stored_reading *reading)
{
    for (int i = 0; i < reading->value_count; i++) {
        if (reading->values[i].quality == QUALITY_GOOD) {
            reading->values[i].quality = QUALITY_ARCHIVE;
            reading->values[i].why = WHY_READ_BACK;
        }
    }
}

int reading_decode(struct store *store, const struct row *row, struct stored_reading *out,
                   struct err *err)
{
    const char *meter = store_meter_name(store, row->meter, err);
    out->row = reading_id(row->number, row->meter);
    out->at_ms = row->at_ms;
    out->due_ms = row->due_ms;
    out->answered = (row->flags & READING_ANSWERED) != 0;
    out->begins = (row->flags & READING_BEGINS) != 0;
    out->lane = row->lane;
    out->seq = row->seq;
    out->profile = meter == NULL ? NULL : store_row_profile(store, row->decoder, row->flags, err);
    if (out->profile == NULL)
        return -1;
    (void)snprintf(out->meter, sizeof out->meter, "%s", meter);
    if (image_unpack(out->profile, row->words, row->word_bytes, row->marks, row->mark_bytes,
                     &out->image) != 0) {
        return err_set(err,
                       "reading %" PRId64 " of %s is damaged: its words do not fit its profile",
                       row->number, out->meter);
    }
    out->value_count = out->profile->channel_count;
    image_decode(out->profile, &out->image, (row->flags & READING_UNVERIFIED) != 0, out->values);
    if ((row->flags & READING_ARCHIVE) != 0)
        mark_archive(out);
    return 0;
}

int store_reading_get(struct store *store, int64_t row, struct stored_reading *out, struct err *err)
{
    struct row found_row;
    struct stored_reading reading;
    int found = reading_find(store, row, &found_row, err);
    if (found != 1)
        return found;
    if (reading_decode(store, &found_row, &reading, err) != 0)
        return -1;
    *out = reading;
    return 1;
}

static bool note_newest(const void *context, const struct row *row)
{
    int64_t *newest_ms = *(int64_t *const *)context;
    *newest_ms = row->at_ms > *newest_ms ? row->at_ms : *newest_ms;
    return false; // seen is enough
}

int store_reading_newest(struct store *store, int64_t *at_ms, struct err *err)
{
    struct rows none;
    int64_t newest_ms = 0;
    int64_t *place = &newest_ms;
    rows_init(&none);
    if (store->in_round && tail_flush(store, err) != 0)
        return -1;
    bool began = store_glance_begin(store);
    int result = store_ask(store, "SELECT coalesce(max(to_ms), 0) FROM segment WHERE kept = 1",
                           &newest_ms, err) != 0 ||
                         tail_rows(store, note_newest, &place, &none, err) != 0
                     ? -1
                     : 0;
    store_glance_end(store, began);
    rows_release(&none);
    if (result == 0)
        *at_ms = newest_ms;
    return result;
}
