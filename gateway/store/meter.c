// Numbers of meters, and which meter has stood there since when.
#include "store/chain.h"

#include <stdlib.h>

#define METERS_MAX 65535 // what a reading's id has room for

static int meter_find(struct store *store, const char *id, int *number, int64_t *configured_ms,
                      struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_METER_FIND,
                    "SELECT number, configured_ms FROM meter WHERE id = ?1", err) != 0)
        return -1;
    query_text(&query, id);
    int found = query_row(&query, err);
    if (found == 1) {
        *number = (int)query_get_int(&query, 0);
        *configured_ms = query_get_int(&query, 1);
        query_end(&query);
    }
    return found;
}

int store_meter_find(struct store *store, const char *id, int *number, struct err *err)
{
    int64_t configured_ms;
    return meter_find(store, id, number, &configured_ms, err);
}

int store_meter(struct store *store, const char *id, int64_t now_ms, int *number,
                int64_t *configured_ms, struct err *err)
{
    int found = meter_find(store, id, number, configured_ms, err);
    if (found != 0)
        return found == 1 ? 0 : -1;
    int64_t last;
    if (store_ask(store, "SELECT coalesce(max(number), 0) FROM meter", &last, err) != 0)
        return -1;
    if (last >= METERS_MAX) {
        return err_set(err,
                       "%s has known %d meters and has no number left for %s: begin a new "
                       "state folder",
                       store->path, METERS_MAX, id);
    }
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_METER_ADD, "INSERT INTO meter VALUES (?1, ?2, ?3)", err) !=
            0)
        return -1;
    query_int(&query, last + 1);
    query_text(&query, id);
    query_int(&query, now_ms);
    if (query_run(&query, err) != 0)
        return -1;
    *number = (int)(last + 1);
    *configured_ms = now_ms;
    return 0;
}

int store_series_add(struct store *store, int meter_number, int64_t from_ms, const char *serial,
                     struct err *err)
{
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_SERIES_ADD,
                    "INSERT INTO series VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET serial = ?3",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, from_ms);
    query_text(&query, serial);
    return query_run(&query, err);
}

int store_series_at(struct store *store, int meter_number, int64_t at_ms,
                    char serial[static VALUE_TEXT_MAX], struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_SERIES_AT,
                    "SELECT serial FROM series WHERE meter = ?1 AND from_ms <= ?2"
                    " ORDER BY from_ms DESC LIMIT 1",
                    err) != 0)
        return -1;
    query_int(&query, meter_number);
    query_int(&query, at_ms);
    int found = query_row(&query, err);
    if (found == 1) {
        query_get_text(&query, 0, serial, VALUE_TEXT_MAX);
        query_end(&query);
    }
    return found;
}

int store_series_last(struct store *store, int meter_number, char serial[static VALUE_TEXT_MAX],
                      struct err *err)
{
    struct query query;
    int found =
        query_find(&query, store, SLOT_SERIES_LAST,
                   "SELECT serial FROM series WHERE meter = ?1 ORDER BY from_ms DESC LIMIT 1",
                   meter_number, err);
    if (found == 1) {
        query_get_text(&query, 0, serial, VALUE_TEXT_MAX);
        query_end(&query);
    }
    return found;
}

const char *store_meter_name(struct store *store, int number, struct err *err)
{
    if (number >= store->meter_count) {
        int count = number + 64;
        char(*grown)[ID_SIZE] = reallocarray(store->meters, (size_t)count, sizeof *grown);
        if (grown == NULL) {
            (void)err_set(err, "out of memory for %d meters", count);
            return NULL;
        }
        for (int i = store->meter_count; i < count; i++)
            grown[i][0] = '\0';
        store->meters = grown;
        store->meter_count = count;
    }
    if (store->meters[number][0] != '\0')
        return store->meters[number];
    struct query query;
    if (query_begin(&query, store, SLOT_METER_NAME, "SELECT id FROM meter WHERE number = ?1",
                    err) != 0)
        return NULL;
    query_int(&query, number);
    int found = query_row(&query, err);
    if (found == 0)
        (void)err_set(err, "there is no meter %d", number);
    if (found != 1)
        return NULL;
    query_get_text(&query, 0, store->meters[number], ID_SIZE);
    query_end(&query);
    return store->meters[number];
}

void store_meters_forget(struct store *store)
{
    free(store->meters);
    store->meters = NULL;
    store->meter_count = 0;
}
