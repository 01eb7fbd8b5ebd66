// Verify: readings have their numbers without a hole, their messages in the same order, and words
// that can be decoded.
#include "store/pack.h"
#include "store/query.h"
#include "store/reading_chain.h"
#include "store/segment.h"
#include "store/tail.h"
#include "store/verify_heads.h"

#include <inttypes.h>
#include <string.h>

struct check {
    struct verify *verify;
    int64_t next;            // number that comes next
    int64_t seqs[LANES_END]; // newest of each lane
    struct rows rows;
    struct reading_hash run;  // along the rows
    struct chain_state head;  // of the chain
    bool head_met, head_same; // its row was there, with its hash
    bool out_of_memory;
};

// --- chain ---

static void hash_show(struct check *check)
{
    if (check->run.number == check->head.number) {
        check->head_met = true;
        check->head_same = memcmp(check->run.hash, check->head.hash, AUDIT_HASH_SIZE) == 0;
    }
    heads_pass(check->verify->heads, CHAIN_READING, check->run.number, check->run.hash);
}

static void hash_row(struct check *check, const struct row *row)
{
    struct err err;
    if (check->run.digest == NULL)
        return; // without its head the chain cannot be followed
    if (reading_hash_row(&check->run, row, &err) != 0)
        check->out_of_memory = true;
    else if (row->number > check->run.begun)
        hash_show(check);
}

// After the rows of a segment: what the chain had there when it was closed.
static int hash_segment(struct check *check, int64_t segment, int64_t last, bool kept,
                        struct err *err)
{
    uint8_t hash[AUDIT_HASH_SIZE];
    if (check->run.digest == NULL)
        return 0;
    int found = reading_chain_of(check->verify->store, segment, hash, err);
    if (found < 0)
        return -1;
    if (found == 0) {
        if (last > check->run.begun)
            verify_fault(check->verify, "segment %" PRId64 " has no hash", segment);
        return 0;
    }
    if (kept && memcmp(hash, check->run.hash, AUDIT_HASH_SIZE) != 0) {
        verify_fault(check->verify,
                     "segment %" PRId64 ": its readings were changed, or those before them",
                     segment);
    }
    memcpy(check->run.hash, hash, AUDIT_HASH_SIZE); // so that one change is one fault
    if (!kept && last > check->run.begun) {
        check->run.number = last;
        hash_show(check);
    }
    return 0;
}

static int chain_check_begin(struct check *check, struct err *err)
{
    int found = chain_read(check->verify->store, CHAIN_READING, &check->head, err);
    if (found != 1) { // verify_chains has named it
        check->head = (struct chain_state){.number = 0};
        return found < 0 ? -1 : 0;
    }
    if (reading_hash_begin(check->verify->store, &check->run, err) != 0)
        return -1;
    hash_show(check);
    return 0;
}

static int chain_check_end(struct check *check, struct err *err)
{
    if (check->out_of_memory)
        return err_set(err, "out of memory for a check sum");
    int64_t last = check->next - 1;
    if (check->run.digest == NULL) {
        check->head.number = 0;
    } else if (check->head.number > last) {
        verify_fault(check->verify,
                     "reading: the chain has had %" PRId64 " rows, the store ends at %" PRId64
                     ": its end was cut off",
                     check->head.number, last);
    } else if (!check->head_met || !check->head_same) {
        verify_fault(check->verify,
                     "reading %" PRId64 ": it was changed, or one before it, or the chain's head",
                     check->head.number);
    }
    heads_end(check->verify->heads, CHAIN_READING, last);
    int64_t strangers;
    if (store_ask(check->verify->store,
                  "SELECT (SELECT count(*) FROM reading_chain WHERE segment NOT IN"
                  " (SELECT first FROM segment)) + (SELECT count(*) FROM segment WHERE first < 1)",
                  &strangers, err) != 0)
        return -1;
    if (strangers != 0)
        verify_fault(check->verify, "segment: %" PRId64 " rows cannot be there", strangers);
    return 0;
}

// --- rows ---

static void row_check(struct check *check, const struct row *row)
{
    struct verify *verify = check->verify;
    struct image image;
    struct err why = {.text = "its words do not fit its profile"};
    if (store_meter_name(verify->store, row->meter, &why) == NULL) {
        verify_fault(verify, "reading %" PRId64 ": %s", row->number, why.text);
        return;
    }
    const struct profile *profile =
        store_row_profile(verify->store, row->decoder, row->flags, &why);
    if (profile == NULL || image_unpack(profile, row->words, row->word_bytes, row->marks,
                                        row->mark_bytes, &image) != 0)
        verify_fault(verify, "reading %" PRId64 ": %s", row->number, why.text);
    if (row->lane == 0)
        return;
    if (row->seq <= check->seqs[row->lane]) {
        verify_fault(verify, "reading %" PRId64 ": message %" PRId64 " of lane %s comes too late",
                     row->number, row->seq, lane_text(row->lane));
    }
    check->seqs[row->lane] = row->seq;
}

static void numbers_check(struct check *check, int64_t number)
{
    if (number > check->next) {
        verify_fault(check->verify, "readings %" PRId64 " to %" PRId64 " are not there",
                     check->next, number - 1);
    } else if (number < check->next) {
        verify_fault(check->verify, "reading %" PRId64 " is there twice", number);
    }
    check->next = number + 1;
}

static void rows_check(struct check *check)
{
    rows_sort_by_number(&check->rows);
    for (int i = 0; i < check->rows.count; i++) {
        struct row row = rows_get(&check->rows, i);
        numbers_check(check, row.number);
        row_check(check, &row);
        hash_row(check, &row);
    }
}

// --- segments ---

struct segment {
    int64_t first, count, from_ms, to_ms;
    bool kept;
};

static int packs_check(struct check *check, const struct segment *segment, struct err *err)
{
    struct query query;
    struct verify *verify = check->verify;
    if (packs_begin(&query, verify->store, segment->first, 0, err) != 0)
        return -1;
    int more;
    rows_clear(&check->rows);
    while ((more = query_row(&query, err)) == 1) {
        struct err why = {.text = ""};
        int64_t id = query_get_int(&query, 0);
        if (pack_rows(segment->first, (int)(id & ROW_METER_MAX), 0,
                      sqlite3_column_blob(query.statement, 1),
                      (size_t)sqlite3_column_bytes(query.statement, 1), &check->rows, &why) != 0)
            verify_fault(verify, "pack %" PRId64 ": %s", id, why.text);
    }
    return more;
}

static void instants_check(struct check *check, const struct segment *segment)
{
    int64_t from_ms = INT64_MAX;
    int64_t to_ms = 0;
    for (int i = 0; i < check->rows.count; i++) {
        int64_t at_ms = check->rows.list[i].at_ms;
        from_ms = at_ms < from_ms ? at_ms : from_ms;
        to_ms = at_ms > to_ms ? at_ms : to_ms;
    }
    if (from_ms != segment->from_ms || to_ms != segment->to_ms) {
        verify_fault(check->verify, "segment %" PRId64 " is not of the time that it names",
                     segment->first);
    }
}

// Its rows, told as segment_lane tells them.
static int lanes_check(struct check *check, const struct segment *segment, struct err *err)
{
    int64_t count[LANES_END] = {0};
    int64_t first[LANES_END] = {0};
    int64_t last[LANES_END] = {0};
    for (int i = 0; i < check->rows.count; i++) {
        const struct rows_entry *row = &check->rows.list[i];
        first[row->lane] = count[row->lane]++ == 0 ? row->seq : first[row->lane];
        last[row->lane] = row->seq;
    }
    struct query query;
    if (query_begin(&query, check->verify->store, SLOT_ONCE,
                    "SELECT lane, first, last, count FROM segment_lane WHERE segment = ?1",
                    err) != 0)
        return -1;
    query_int(&query, segment->first);
    int more;
    bool same = true;
    count[0] = 0;
    while ((more = query_row(&query, err)) == 1) {
        int64_t lane = query_get_int(&query, 0);
        same = same && lane >= LANE_ALERT && lane < LANES_END &&
               query_get_int(&query, 1) == first[lane] && query_get_int(&query, 2) == last[lane] &&
               query_get_int(&query, 3) == count[lane];
        if (same)
            count[lane] = 0;
    }
    for (int lane = LANE_ALERT; lane < LANES_END; lane++)
        same = same && count[lane] == 0;
    if (more == 0 && !same) {
        verify_fault(check->verify, "segment %" PRId64 " does not have the messages that it names",
                     segment->first);
    }
    return more;
}

static int segment_check(struct check *check, const struct segment *segment, struct err *err)
{
    struct verify *verify = check->verify;
    if (packs_check(check, segment, err) != 0)
        return -1;
    if (segment->first != check->next)
        numbers_check(check, segment->first);
    check->next = segment->first;
    if (!segment->kept) {
        if (check->rows.count > 0)
            verify_fault(verify, "segment %" PRId64 " is gone, but has packs", segment->first);
        check->next += segment->count;
        return hash_segment(check, segment->first, check->next - 1, false, err);
    }
    rows_check(check);
    if (check->next != segment->first + segment->count)
        numbers_check(check, segment->first + segment->count);
    check->next = segment->first + segment->count;
    if (hash_segment(check, segment->first, check->next - 1, true, err) != 0)
        return -1;
    instants_check(check, segment);
    return lanes_check(check, segment, err);
}

static int segments_check(struct check *check, struct err *err)
{
    struct query query;
    struct segment segment = {.first = 0};
    for (;;) {
        if (query_begin(&query, check->verify->store, SLOT_ONCE,
                        "SELECT first, count, from_ms, to_ms, kept FROM segment WHERE first > ?1"
                        " ORDER BY first LIMIT 1",
                        err) != 0)
            return -1;
        query_int(&query, segment.first);
        int found = query_row(&query, err);
        if (found != 1)
            return found;
        int64_t before = segment.first;
        segment = (struct segment){query_get_int(&query, 0), query_get_int(&query, 1),
                                   query_get_int(&query, 2), query_get_int(&query, 3),
                                   query_get_int(&query, 4) != 0};
        query_end(&query);
        if (segment.first <= before) { // of a damaged table: it would never end
            verify_fault(check->verify, "segment %" PRId64 " stands out of order", segment.first);
            return 0;
        }
        if (segment.first >= ROW_NUMBER_MAX || segment.count < 1 ||
            segment.count >= ROW_NUMBER_MAX) {
            verify_fault(check->verify, "segment %" PRId64 " cannot be one", segment.first);
            continue;
        }
        if (segment_check(check, &segment, err) != 0)
            return -1;
    }
}

static int strangers_check(struct check *check, struct err *err)
{
    static const struct {
        const char *sql, *text;
    } checks[] = {{"SELECT id FROM pack WHERE NOT EXISTS (SELECT 1 FROM segment"
                   " WHERE first = id >> 16 AND kept = 1)",
                   "is of no segment"},
                  {"SELECT segment FROM segment_lane AS l WHERE NOT EXISTS (SELECT 1 FROM segment"
                   " AS s WHERE s.first = l.segment AND kept = 1)",
                   "is not there, but its messages are named"}};
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        struct query query;
        if (query_begin(&query, check->verify->store, SLOT_ONCE, checks[i].sql, err) != 0)
            return -1;
        int more;
        while ((more = query_row(&query, err)) == 1) {
            verify_fault(check->verify, "%s %" PRId64 " %s", i == 0 ? "pack" : "segment",
                         query_get_int(&query, 0), checks[i].text);
        }
        if (more < 0)
            return -1;
    }
    return 0;
}

// --- tail ---

#define TAIL_SLOTS_CHECKED 65536 // far more than there can be

static int tail_check(struct check *check, struct err *err)
{
    struct store *store = check->verify->store;
    struct tail_page page;
    int64_t begins;
    int64_t slots;
    bool ended = false;
    if (tail_begins(store, &begins, err) != 0 ||
        store_ask(store, "SELECT coalesce(max(slot) + 1, 0) FROM tail", &slots, err) != 0)
        return -1;
    if (slots > TAIL_SLOTS_CHECKED)
        verify_fault(check->verify, "tail: it has %" PRId64 " pages", slots);
    for (int slot = 0; slot < slots && slot < TAIL_SLOTS_CHECKED; slot++) {
        int found = tail_page(store, slot, begins, &page, err);
        if (found < 0)
            return -1;
        ended = ended || found == 0;
        if (found == 0)
            continue;
        struct err why = {.text = ""};
        rows_clear(&check->rows);
        if (ended)
            verify_fault(check->verify, "tail: page %d stands behind its end", slot);
        else if (tail_page_rows(&page, &check->rows, &why) != 0)
            verify_fault(check->verify, "tail: page %d: %s", slot, why.text);
        else
            rows_check(check);
    }
    return 0;
}

int verify_readings(struct verify *verify, struct err *err)
{
    struct check check = {.verify = verify, .next = 1};
    rows_init(&check.rows);
    int result = chain_check_begin(&check, err) != 0 || segments_check(&check, err) != 0 ||
                         strangers_check(&check, err) != 0 || tail_check(&check, err) != 0 ||
                         chain_check_end(&check, err) != 0
                     ? -1
                     : 0;
    rows_release(&check.rows);
    reading_hash_end(&check.run);
    return result;
}
