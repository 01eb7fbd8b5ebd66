// What the meters' own logs make of the gaps of the stored periods.
#include "record/book_inside.h"

#include "base/log.h"
#include "drivers/archive.h"
#include "record/gap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what we have -------------------------------------------------------------------------------

// One counter of the archive over the slots of an answer.
struct side {
    const struct archive_value *value;
    bool exchanged; // another meter stands there since an instant in the gap
    enum gap_verdict verdict;
    struct gap gap;
    struct gap_slot slots[ARCHIVE_SLOTS_MAX];
};

struct filling {
    struct book *book;
    struct tracked *tracked;
    const struct profile_archive *archive;
    const struct archive_rows *rows;
    int amended;
    bool failed;
    struct err err;
    int side_count;
    struct side sides[];
};

static int slot_of(const struct filling *filling, int64_t end_ms)
{
    const struct archive_rows *rows = filling->rows;
    for (int i = 0; i < rows->count; i++)
        if (rows->ends_ms[i] == end_ms)
            return i;
    return -1;
}

static struct gap_point last_of(const struct period_channel *channel)
{
    if (channel->last_ms == 0 || channel->last_quality == QUALITY_MISSING)
        return (struct gap_point){.at_ms = 0};
    return (struct gap_point){channel->last_ms, channel->last_micro, channel->last_quality};
}

// A period of the archive's span: the index at its end, and the newest reading before.
static bool take_slot(void *context, const struct stored_period *stored)
{
    struct filling *filling = context;
    const struct period *period = &stored->period;
    int end = slot_of(filling, period->to_ms);
    int start = slot_of(filling, period->from_ms);
    for (int i = 0; i < filling->side_count; i++) {
        struct side *side = &filling->sides[i];
        const struct period_channel *channel = period_counter(period, side->value->channel->name);
        if (channel == NULL)
            continue;
        if (end >= 0) {
            struct gap_slot *slot = &side->slots[end];
            slot->known = channel->end_known;
            slot->quality = channel->end_quality;
            slot->micro = channel->end_micro;
            slot->before = last_of(channel);
        }
        if (start == 0 && !side->slots[0].known && channel->start_known && !period->first) {
            side->slots[0].known = true;
            side->slots[0].quality = channel->start_quality;
            side->slots[0].micro = channel->start_micro;
        }
        side->exchanged = side->exchanged || (start >= 0 && channel->exchanged);
    }
    return true;
}

// A period of the meter's shortest span: what is known soonest after a slot's end.
static bool take_next(void *context, const struct stored_period *stored)
{
    struct filling *filling = context;
    const struct period *period = &stored->period;
    int at = filling->rows->count - 1;
    while (at >= 0 && filling->rows->ends_ms[at] > period->from_ms)
        at--;
    for (int i = 0; i < filling->side_count && at >= 0; i++) {
        struct gap_slot *slot = &filling->sides[i].slots[at];
        const struct period_channel *channel =
            period_counter(period, filling->sides[i].value->channel->name);
        if (channel == NULL || slot->next.at_ms != 0)
            continue;
        struct gap_point last = last_of(channel);
        if (period->from_ms > slot->end_ms &&
            gap_is_settled(channel->start_known, channel->start_quality))
            slot->next =
                (struct gap_point){period->from_ms, channel->start_micro, channel->start_quality};
        else if (last.at_ms >= slot->end_ms)
            slot->next = last;
    }
    return true;
}

static int take_periods(struct filling *filling, struct err *err)
{
    const struct archive_rows *rows = filling->rows;
    struct book *book = filling->book;
    const char *id = filling->tracked->meter->id;
    enum span span = archive_span(filling->archive);
    int64_t from = period_start(&book->calendar, span, rows->ends_ms[0] - 1);
    int64_t to = rows->ends_ms[rows->count - 1];
    if (store_periods(book->store, id, span, from, to, take_slot, filling, err) != 0)
        return -1;
    return store_periods(book->store, id, filling->tracked->spans[0], rows->ends_ms[0],
                         period_end(&book->calendar, span, to), take_next, filling, err);
}

// ---- what the log says --------------------------------------------------------------------------

// Bits of a binary float's mantissa that a total of that size cannot show.
static int64_t float_step(uint8_t type, int64_t micro)
{
    uint64_t size = micro < 0 ? -(uint64_t)micro : (uint64_t)micro;
    if (type == RAW_F32)
        return (int64_t)(size >> 22);
    return type == RAW_F64 ? (int64_t)(size >> 51) : 0;
}

static void take_row(struct filling *filling, const struct profile *record, int slot)
{
    const struct archive_rows *rows = filling->rows;
    size_t size = filling->archive->record_registers;
    struct image image = {.why = {0}};
    struct value values[PROFILE_CHANNELS_MAX];
    memcpy(image.words, rows->words + (size_t)slot * size, size * sizeof image.words[0]);
    image_decode(record, &image, rows->meter->unverified, values);
    for (int i = 0; i < filling->side_count; i++) {
        struct side *side = &filling->sides[i];
        int channel = (int)(side->value - filling->archive->values);
        if (!value_is_usable(&values[channel]))
            continue;
        int64_t micro = values[channel].micro;
        int64_t step = float_step(side->value->type, micro);
        side->slots[slot].has = true;
        side->slots[slot].log = micro;
        side->gap.resolution = step > side->gap.resolution ? step : side->gap.resolution;
    }
}

static int take_rows(struct filling *filling, struct err *err)
{
    const struct archive_rows *rows = filling->rows;
    struct profile *record = archive_record(rows->meter->profile, rows->ask.archive, true);
    if (record == NULL)
        return err_set(err, "out of memory for the log of %s", rows->meter->id);
    for (int i = 0; i < filling->side_count; i++) {
        struct side *side = &filling->sides[i];
        int channel = (int)(side->value - filling->archive->values);
        side->gap.resolution = profile_resolution(record, &record->channels[channel]);
    }
    for (int i = 0; i < rows->count; i++)
        if (rows->has[i])
            take_row(filling, record, i);
    free(record);
    return 0;
}

// ---- judgement ----------------------------------------------------------------------------------

static void set_after(const struct filling *filling, struct side *side)
{
    struct gap_point *after = &side->gap.after;
    const struct gap_slot *last = &side->slots[side->gap.count - 1];
    if (gap_is_settled(last->known, last->quality))
        *after = (struct gap_point){last->end_ms, last->micro, last->quality};
    else if (!period_builder_last(filling->tracked->builder, side->value->channel->name,
                                  &after->at_ms, &after->micro, &after->quality) ||
             after->at_ms < last->end_ms)
        after->at_ms = 0;
}

// 1: another meter stands there than before the gap, 0, -1.
static int was_exchanged(const struct filling *filling, const struct side *side, struct err *err)
{
    char before[VALUE_TEXT_MAX] = "";
    char after[VALUE_TEXT_MAX] = "";
    const struct gap_slot *slot = &side->slots[side->gap.count > 1];
    int number = filling->tracked->number;
    int found = store_series_at(filling->book->store, number, slot->before.at_ms, before, err);
    if (found == 1)
        found = store_series_at(filling->book->store, number, side->gap.after.at_ms, after, err);
    if (found < 0)
        return -1;
    return side->exchanged || (found == 1 && strcmp(before, after) != 0);
}

static int prepare_side(struct filling *filling, struct side *side, struct err *err)
{
    const struct profile *profile = filling->tracked->meter->profile;
    int channel = profile_channel_find(profile, side->value->channel->name);
    side->gap.counter_resolution =
        channel >= 0 ? profile_resolution(profile, &profile->channels[channel]) : 1;
    side->gap.increments = side->value->increment;
    side->gap.quality = filling->rows->meter->unverified ? QUALITY_SUSPECT : QUALITY_ARCHIVE;
    set_after(filling, side);
    side->verdict = GAP_NOTHING;
    if (side->gap.after.at_ms == 0)
        return 0;
    int exchanged = was_exchanged(filling, side, err);
    side->exchanged = exchanged == 1;
    return exchanged < 0 ? -1 : 0;
}

// `is_last`: no anchor will come on the right any more.
static int judge(struct filling *filling, bool is_last, struct err *err)
{
    bool telling = false;
    for (int i = 0; i < filling->side_count; i++) {
        if (prepare_side(filling, &filling->sides[i], err) != 0)
            return -1;
        telling = telling || gap_is_telling(&filling->sides[i].gap);
    }
    for (int i = 0; i < filling->side_count; i++) {
        struct side *side = &filling->sides[i];
        if (side->gap.after.at_ms != 0 && !side->exchanged)
            side->verdict = gap_close(&side->gap, is_last || telling);
    }
    return 0;
}

// ---- what comes of it ---------------------------------------------------------------------------

// An estimate of a shorter period's boundary, brought between the slots around it: it was linear
// over more than the log now shows.
static bool fit_estimate(const struct side *side, int64_t at_ms, bool known, uint8_t quality,
                         int64_t *micro)
{
    if (!known || quality != QUALITY_ESTIMATED)
        return false;
    int64_t fitted = *micro;
    for (int i = side->gap.count - 1; i >= 0; i--)
        if (side->slots[i].known && side->slots[i].end_ms > at_ms && side->slots[i].micro < fitted)
            fitted = side->slots[i].micro;
    for (int i = 0; i < side->gap.count; i++)
        if (side->slots[i].known && side->slots[i].end_ms < at_ms && side->slots[i].micro > fitted)
            fitted = side->slots[i].micro;
    bool changed = fitted != *micro;
    *micro = fitted;
    return changed;
}

static bool amend_channel(struct tracked *tracked, struct period *period, const struct side *side,
                          int start, int end)
{
    const char *name = side->value->channel->name;
    const struct period_channel *found = period_counter(period, name);
    if (found == NULL)
        return false;
    struct period_channel *channel = &period->channels[found - period->channels];
    bool starts = start >= 0 && side->slots[start].changed && !period->first;
    bool ends = end >= 0 && side->slots[end].changed;
    if (starts) {
        channel->start_known = true;
        channel->start_micro = side->slots[start].micro;
        channel->start_quality = side->slots[start].quality;
    } else if (start < 0 && fit_estimate(side, period->from_ms, channel->start_known,
                                         channel->start_quality, &channel->start_micro)) {
        starts = true;
    }
    if (ends) {
        channel->end_known = true;
        channel->end_micro = side->slots[end].micro;
        channel->end_quality = side->slots[end].quality;
    } else if (end < 0 && fit_estimate(side, period->to_ms, channel->end_known,
                                       channel->end_quality, &channel->end_micro)) {
        ends = true;
    }
    if (ends)
        period_builder_amend(tracked->builder, period->to_ms, name, channel->end_micro,
                             channel->end_quality);
    return starts || ends;
}

// A stored period with another index than it had, at its begin or its end: its next version.
static bool amend_period(void *context, const struct stored_period *stored)
{
    struct filling *filling = context;
    struct book *book = filling->book;
    struct period period = stored->period;
    int start = slot_of(filling, period.from_ms);
    int end = slot_of(filling, period.to_ms);
    bool amended = false;
    for (int i = 0; i < filling->side_count; i++)
        if (filling->sides[i].verdict == GAP_FILLED || filling->sides[i].verdict == GAP_ESTIMATED)
            amended =
                amend_channel(filling->tracked, &period, &filling->sides[i], start, end) || amended;
    if (!amended)
        return true;
    period.version++;
    period_judge(&period);
    enum message_kind message = book_message(book, filling->tracked, period.span);
    if (store_period_add(book->store, filling->tracked->number, &period, book->now_ms,
                         LANE_BACKFILL, message, &filling->err) != 0) {
        filling->failed = true;
        return false;
    }
    filling->amended++;
    book->closed++;
    book->sent += message != 0;
    return true;
}

static int amend_periods(struct filling *filling, struct err *err)
{
    const struct archive_rows *rows = filling->rows;
    struct book *book = filling->book;
    int64_t end =
        period_end(&book->calendar, archive_span(filling->archive), rows->ends_ms[rows->count - 1]);
    for (enum span span = SPAN_1MIN; span <= SPAN_MONTH; span++) {
        int64_t from = period_start(&book->calendar, span, rows->ends_ms[0]);
        if (store_periods(book->store, filling->tracked->meter->id, span, from, end, amend_period,
                          filling, err) != 0)
            return -1;
        if (filling->failed)
            return err_set(err, "%s", filling->err.text);
    }
    return book_amend_ledgers(book, filling->tracked, rows->ends_ms[0], end, err);
}

static bool is_filled(const struct filling *filling, int slot)
{
    for (int i = 0; i < filling->side_count; i++)
        if (filling->sides[i].verdict == GAP_FILLED && filling->sides[i].slots[slot].changed)
            return true;
    return false;
}

// The records themselves, as readings at the boundaries that they gave an index. Increments are no
// reading of anything: they are in the periods alone.
static int keep_rows(struct filling *filling, struct err *err)
{
    const struct archive_rows *rows = filling->rows;
    struct book *book = filling->book;
    bool sent = book->config->office.present && book->config->office.raw_readings;
    bool indices = false;
    for (int i = 0; i < filling->archive->value_count; i++)
        indices = indices || !filling->archive->values[i].increment;
    int decoder;
    if (store_decoder(book->store, rows->meter, &decoder, err) != 0)
        return -1;
    for (int i = 0; i < rows->count; i++) {
        struct archive_words words = {.meter = rows->meter,
                                      .archive = rows->ask.archive,
                                      .at_ms = rows->ends_ms[i],
                                      .words = rows->words +
                                               (size_t)i * filling->archive->record_registers};
        if (!indices || !rows->has[i] || !is_filled(filling, i))
            continue;
        if (store_archive_add(book->store, filling->tracked->number, decoder, &words,
                              sent ? LANE_BACKFILL : (enum lane)0, err) != 0)
            return -1;
        book->sent += sent;
    }
    return 0;
}

// ---- all ----------------------------------------------------------------------------------------

static int changed_of(const struct filling *filling, enum gap_verdict verdict)
{
    int count = 0;
    for (int i = 0; i < filling->side_count; i++)
        for (int slot = 0; slot < filling->sides[i].gap.count; slot++)
            count += filling->sides[i].verdict == verdict && filling->sides[i].slots[slot].changed;
    return count;
}

static bool any_side(const struct filling *filling, enum gap_verdict verdict, bool exchanged)
{
    for (int i = 0; i < filling->side_count; i++)
        if (exchanged ? filling->sides[i].exchanged : filling->sides[i].verdict == verdict)
            return true;
    return false;
}

static void tell(const struct filling *filling, struct backfill_status *status)
{
    int filled = changed_of(filling, GAP_FILLED);
    int estimated = changed_of(filling, GAP_ESTIMATED);
    const char *id = filling->tracked->meter->id;
    const char *span = span_text(archive_span(filling->archive));
    char *text = status->last;
    size_t size = sizeof status->last;
    status->filled += (uint64_t)filled;
    status->estimated += (uint64_t)estimated;
    status->refused += filled == 0;
    if (any_side(filling, GAP_NOTHING, true))
        (void)snprintf(text, size, "%s: another meter stands there: its log is not used", id);
    else if (any_side(filling, GAP_ESTIMATED, false))
        (void)snprintf(text, size,
                       "%s: its log does not agree with its index: %d %s boundaries are estimated",
                       id, estimated, span);
    else if (filled > 0)
        (void)snprintf(text, size, "%s: %d %s boundaries read back from its log", id, filled, span);
    else if (any_side(filling, GAP_WAITS, false))
        (void)snprintf(text, size, "%s: its log is compared again after the next %s", id, span);
    else
        (void)snprintf(text, size, "%s: its log has nothing of the missing %ss", id, span);
    if (any_side(filling, GAP_ESTIMATED, false) || any_side(filling, GAP_NOTHING, true))
        log_warn("recorder", "%s", text);
    else
        log_info("recorder", "%s", text);
}

static int fill(struct filling *filling, struct backfill_status *status, struct err *err)
{
    const struct archive_rows *rows = filling->rows;
    int number = rows->ask.archive;
    struct tracked *tracked = filling->tracked;
    const struct gap_slot *last = &filling->sides[0].slots[rows->count - 1];
    if (take_periods(filling, err) != 0 || take_rows(filling, err) != 0)
        return -1;
    bool has_right = gap_is_settled(last->known, last->quality);
    bool is_last = has_right || rows->count > RUN_OF_INDICES_MAX;
    if (judge(filling, is_last, err) != 0)
        return -1;
    if (amend_periods(filling, err) != 0 || keep_rows(filling, err) != 0)
        return -1;
    tracked->archives[number].needs_right = any_side(filling, GAP_WAITS, false);
    if (!tracked->archives[number].needs_right)
        tracked->archives[number].judged_to_ms = rows->ends_ms[rows->count - 1 - has_right];
    tell(filling, status);
    return 0;
}

int book_backfill(struct book *book, const struct archive_rows *rows,
                  struct backfill_status *status, struct err *err)
{
    int place = book_find(book, rows->meter->id);
    int number = rows->ask.archive;
    if (place < 0 || rows->count < 2)
        return 0;
    struct tracked *tracked = &book->tracked[place];
    const struct profile *profile = rows->meter->profile;
    if (number >= tracked->meter->profile->archive_count || number >= profile->archive_count)
        return 0; // the configuration is another one by now
    const struct profile_archive *archive = &profile->archives[number];
    struct filling *filling =
        calloc(1, sizeof *filling + (size_t)archive->value_count * sizeof filling->sides[0]);
    if (filling == NULL)
        return err_set(err, "out of memory for the log of %s", rows->meter->id);
    filling->book = book;
    filling->tracked = tracked;
    filling->archive = archive;
    filling->rows = rows;
    for (int i = 0; i < archive->value_count; i++) {
        if (archive->values[i].channel->kind != CHANNEL_COUNTER)
            continue;
        struct side *side = &filling->sides[filling->side_count++];
        side->value = &archive->values[i];
        side->gap.slots = side->slots;
        side->gap.count = rows->count;
        for (int slot = 0; slot < rows->count; slot++)
            side->slots[slot].end_ms = rows->ends_ms[slot];
    }
    int result = filling->side_count > 0 ? fill(filling, status, err) : 0;
    free(filling);
    return result;
}
