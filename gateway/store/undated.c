// Readings from before the clock was known: kept by boot and boot time, so that they survive a
// restart, and taken again in their order once the time is known.
#include "store/pack.h"
#include "store/query.h"

int store_undated_add(struct store *store, const char *boot, int decoder,
                      const struct reading *reading, struct err *err)
{
    struct query query;
    image_pack(reading->meter->profile, &reading->image, &store->words, &store->marks);
    if (store->words.failed || store->marks.failed)
        return err_set(err, "out of memory for a reading of %s", reading->meter->id);
    if (query_begin(&query, store, SLOT_UNDATED_ADD,
                    "INSERT INTO undated(boot, meter, boot_ms, late_ms, decoder, answered, words,"
                    " marks) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    err) != 0)
        return -1;
    query_text(&query, boot);
    query_text(&query, reading->meter->id);
    query_int(&query, reading->boot_ms);
    query_int(&query, reading->at_ms - reading->due_ms);
    query_int(&query, decoder);
    query_int(&query, reading->answered);
    query_blob(&query, store->words.data, store->words.length);
    query_blob(&query, store->marks.data, store->marks.length);
    return query_run(&query, err);
}

static int row_read(struct store *store, const struct query *query, struct undated *out,
                    struct err *err)
{
    out->row = query_get_int(query, 0);
    query_get_text(query, 1, out->meter, sizeof out->meter);
    out->boot_ms = query_get_int(query, 2);
    out->late_ms = query_get_int(query, 3);
    out->decoder = (int)query_get_int(query, 4);
    out->answered = query_get_int(query, 5) != 0;
    const struct profile *profile = store_profile(store, out->decoder, err);
    if (profile == NULL)
        return -1;
    if (image_unpack(profile, sqlite3_column_blob(query->statement, 6),
                     (size_t)sqlite3_column_bytes(query->statement, 6),
                     sqlite3_column_blob(query->statement, 7),
                     (size_t)sqlite3_column_bytes(query->statement, 7), &out->image) != 0)
        return err_set(err, "its words do not fit its profile");
    return 0;
}

int store_undated_next(struct store *store, const char *boot, int64_t after, struct undated *out,
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_UNDATED_NEXT,
                    "SELECT id, meter, boot_ms, late_ms, decoder, answered, words, marks"
                    " FROM undated WHERE boot = ?1 AND id > ?2 ORDER BY id LIMIT 1",
                    err) != 0)
        return -1;
    query_text(&query, boot);
    query_int(&query, after);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    struct err why;
    *out = (struct undated){.row = 0};
    out->damaged = row_read(store, &query, out, &why) != 0;
    if (out->damaged)
        store_row_damaged(store, "undated", out->row, &why);
    query_end(&query);
    return 1;
}

int store_undated_remove(struct store *store, int64_t row, struct err *err)
{
    return query_do(store, SLOT_UNDATED_REMOVE, "DELETE FROM undated WHERE id = ?1",
                    (const int64_t[]){row}, 1, err);
}

int store_undated_count(struct store *store, const char *boot, int64_t *own, int64_t *others,
                        struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_UNDATED_COUNT,
                    "SELECT count(*) FILTER (WHERE boot = ?1), count(*) FILTER (WHERE boot <> ?1)"
                    " FROM undated",
                    err) != 0)
        return -1;
    query_text(&query, boot);
    int found = query_row(&query, err);
    if (found != 1)
        return found < 0 ? -1 : err_set(err, "%s: no answer", store->path);
    *own = query_get_int(&query, 0);
    *others = query_get_int(&query, 1);
    query_end(&query);
    return 0;
}
