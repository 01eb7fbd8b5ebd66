#include "record/dating.h"

#include "base/log.h"
#include "base/timetext.h"

#include <inttypes.h>
#include <stdio.h>

int dating_open(struct dating *dating, struct store *store, struct err *err)
{
    *dating = (struct dating){.loads = true};
    clock_boot_id(dating->boot);
    if (store_undated_count(store, dating->boot, &dating->waiting, &dating->lost, err) != 0)
        return -1;
    if (dating->lost > 0) {
        log_warn("recorder",
                 "%" PRId64
                 " readings of an earlier boot were taken before the clock was known and "
                 "cannot be dated: they stay undated",
                 dating->lost);
    }
    return 0;
}

int64_t dating_first_boot_ms(const struct dating *dating, struct store *store, int64_t otherwise)
{
    struct undated row;
    int found = store_undated_next(store, dating->boot, 0, &row, NULL);
    return found == 1 && row.boot_ms < otherwise ? row.boot_ms : otherwise;
}

static int keep_all(struct dating *dating, struct store *store, struct reading *const *readings,
                    int count, struct err *err)
{
    for (int i = 0; i < count; i++) {
        int decoder;
        if (store_decoder(store, readings[i]->meter, &decoder, err) != 0 ||
            store_undated_add(store, dating->boot, decoder, readings[i], err) != 0)
            return -1;
    }
    return 0;
}

int dating_keep(struct dating *dating, struct store *store, struct reading *const *readings,
                int count, struct err *err)
{
    if (store_round_begin(store, err) != 0)
        return -1;
    if (keep_all(dating, store, readings, count, err) != 0) {
        store_round_cancel(store);
        return -1;
    }
    if (store_round_commit(store, err) != 0)
        return -1;
    dating->waiting += count;
    return 0;
}

// NULL without a message: the row fits no meter as it is read now, and stays; with one: -1.
static int make_reading(struct store *store, struct config *config, const struct undated *row,
                        struct reading **out, struct err *err)
{
    int place = row->damaged ? -1 : config_meter_find(config, row->meter);
    int decoder = 0;
    *out = NULL;
    if (place < 0)
        return 0;
    const struct meter *meter = &config->meters[place];
    if (store_decoder(store, meter, &decoder, err) != 0)
        return -1;
    if (decoder != row->decoder)
        return 0;
    struct reading *reading = reading_new(config, meter);
    if (reading == NULL)
        return err_set(err, "out of memory for the readings that wait undated");
    reading->boot_ms = row->boot_ms;
    reading->answered = row->answered;
    reading->image = row->image;
    reading->undated = row->row;
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
    *out = reading;
    return 0;
}

static void date(struct dating *dating, struct reading *reading, int64_t offset_ms, int64_t late_ms)
{
    reading->at_ms = reading->boot_ms + offset_ms;
    reading->due_ms = reading->at_ms - late_ms;
    dating->first_ms = dating->dated == 0 ? reading->at_ms : dating->first_ms;
    dating->last_ms = reading->at_ms;
    dating->dated++;
    dating->waiting--;
}

// How many there are stands in *count also when it fails.
static int load_rows(struct dating *dating, struct store *store, struct config *config,
                     int64_t offset_ms, struct reading **readings, int max, int *count,
                     struct err *err)
{
    int found = 1;
    struct undated row;
    while (*count < max &&
           (found = store_undated_next(store, dating->boot, dating->after, &row, err)) == 1) {
        struct reading *reading;
        if (make_reading(store, config, &row, &reading, err) != 0)
            return -1;
        dating->after = row.row;
        if (reading == NULL) {
            dating->waiting--;
            dating->lost++;
            continue;
        }
        date(dating, reading, offset_ms, row.late_ms);
        readings[(*count)++] = reading;
    }
    dating->loads = found == 1;
    return found < 0 ? -1 : 0;
}

static int tell(const struct dating *dating, struct store *store, int64_t now_ms, struct err *err)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    char detail[192];
    if (dating->loads || dating->dated == 0)
        return 0;
    (void)time_print(dating->first_ms, from);
    (void)time_print(dating->last_ms, to);
    (void)snprintf(detail, sizeof detail,
                   "%" PRId64 " readings of before the clock was known, from %s to %s",
                   dating->dated, from, to);
    return store_audit_add(store, now_ms, "gateway", "dated", "", "done", detail, err);
}

int dating_load(struct dating *dating, struct store *store, struct config *config,
                int64_t offset_ms, int64_t now_ms, struct reading **readings, int max,
                struct err *err)
{
    struct dating before = *dating;
    int count = 0;
    if (store_round_begin(store, err) != 0)
        return -1;
    if (load_rows(dating, store, config, offset_ms, readings, max, &count, err) == 0 &&
        tell(dating, store, now_ms, err) == 0 && store_round_commit(store, err) == 0)
        return count;
    store_round_cancel(store);
    for (int i = 0; i < count; i++)
        reading_free(readings[i]);
    *dating = before;
    return -1;
}
