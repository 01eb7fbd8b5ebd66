// What happens to the feed after the broker has it: sending again, and head office's own
// acknowledgement.
#include "base/timetext.h"
#include "control/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESEND_MAX 100000 // messages of one command
#define PAGE 256

static enum lane lane_find(const char *text)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        if (text != NULL && strcmp(text, lane_text(lane)) == 0)
            return lane;
    return (enum lane)0;
}

// --- resend ---

struct lane_wish {
    struct stored_resend job; // first 0: nothing of this lane
    int64_t stored;           // messages of it that are there
};

struct wish {
    struct lane_wish parts[LANES_END];
    int64_t acknowledged[LANES_END];
    int64_t total;
    enum lane only; // 0: all
    struct writer *result;
};

static int read_lanes(struct store *store, struct wish *wish, struct err *err)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct outbox_state state;
        if (store_outbox_state(store, lane, &state, err) != 0)
            return COMMAND_FAILED;
        wish->acknowledged[lane] = state.acknowledged;
    }
    return 0;
}

// By seq: what has not been acknowledged yet comes by itself.
static int wish_seqs(struct wish *wish, enum lane lane, int64_t first, int64_t last,
                     struct err *err)
{
    int64_t end = last < wish->acknowledged[lane] ? last : wish->acknowledged[lane];
    if (first < 1 || last < first) {
        (void)err_set(err, "first and last are seqs, 1 and above, in this order");
        return COMMAND_ARGUMENTS;
    }
    if (first > end) {
        (void)err_set(err,
                      "lane %s was sent up to %" PRId64 " only: what is behind it comes anyway",
                      lane_text(lane), wish->acknowledged[lane]);
        return COMMAND_FAILED;
    }
    wish->parts[lane].job = (struct stored_resend){.lane = lane, .first = first, .last = end};
    return 0;
}

// By time: from the first to the last message that tells of it. The sender looks at each of them.
static bool take_in(struct wish *wish, enum lane lane, int64_t seq)
{
    struct stored_resend *job = &wish->parts[lane].job;
    if (lane == 0 || seq > wish->acknowledged[lane] || (wish->only != 0 && lane != wish->only))
        return true;
    if (job->first == 0)
        *job = (struct stored_resend){.lane = lane, .first = seq, .last = seq};
    job->first = seq < job->first ? seq : job->first;
    job->last = seq > job->last ? seq : job->last;
    return ++wish->total <= RESEND_MAX;
}

static bool take_reading(void *context, const struct stored_reading *reading)
{
    return take_in(context, reading->lane, reading->seq);
}

static bool take_period(void *context, const struct stored_period *period)
{
    return take_in(context, period->lane, period->seq);
}

static bool take_alert(void *context, const struct stored_alert *alert)
{
    return take_in(context, alert->lane, alert->seq);
}

static int wish_time(struct store *store, struct wish *wish, int64_t from_ms, int64_t to_ms,
                     struct err *err)
{
    if (store_readings(store, NULL, from_ms, to_ms, take_reading, wish, err) != 0 ||
        store_periods(store, NULL, (enum span)0, from_ms, to_ms, take_period, wish, err) != 0 ||
        store_alerts(store, NULL, from_ms, to_ms, take_alert, wish, err) != 0)
        return COMMAND_FAILED;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct stored_resend *job = &wish->parts[lane].job;
        job->from_ms = from_ms;
        job->to_ms = to_ms;
    }
    return 0;
}

// How many of the range are stored.
static int count_stored(struct store *store, struct lane_wish *part, struct err *err)
{
    struct outbox_entry entries[PAGE];
    int64_t at = part->job.first;
    int count = PAGE;
    while (count == PAGE) {
        count = store_outbox_range(store, part->job.lane, at, part->job.last, entries, PAGE, err);
        if (count < 0)
            return COMMAND_FAILED;
        part->stored += count;
        at = count > 0 ? entries[count - 1].seq + 1 : at;
    }
    return 0;
}

static int measure(struct store *store, struct wish *wish, struct err *err)
{
    int64_t sum = 0;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        const struct stored_resend *job = &wish->parts[lane].job;
        sum += job->first == 0 ? 0 : job->last - job->first + 1;
        if (sum > RESEND_MAX || wish->total > RESEND_MAX) {
            (void)err_set(err, "that is more than the %d messages of one command: ask in parts",
                          RESEND_MAX);
            return COMMAND_ARGUMENTS;
        }
        if (job->first != 0 && count_stored(store, &wish->parts[lane], err) != 0)
            return COMMAND_FAILED;
    }
    return 0;
}

// In the recorder's round, with the answer.
static int store_wish(struct store *store, void *argument, struct err *err)
{
    struct wish *wish = argument;
    struct writer *result = wish->result;
    writer_object(result);
    writer_key(result, "resends");
    writer_array(result);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct lane_wish *part = &wish->parts[lane];
        if (part->job.first == 0)
            continue;
        if (store_resend_add(store, &part->job, err) != 0)
            return -1;
        writer_object(result);
        writer_key_int(result, "id", part->job.id);
        writer_key_text(result, "lane", lane_text(lane));
        writer_key_int(result, "first", part->job.first);
        writer_key_int(result, "last", part->job.last);
        writer_key_int(result, "stored", part->stored);
        writer_end(result);
    }
    writer_end(result);
    writer_end(result);
    return 0;
}

static int read_wish(struct command_context *context, const json_t *arguments, struct wish *wish,
                     struct store *store, struct err *err)
{
    const char *lane_name = NULL;
    const char *from = NULL;
    const char *to = NULL;
    json_int_t first = 0;
    json_int_t last = 0;
    int64_t from_ms = 0;
    int64_t to_ms = 0;
    int fault =
        command_unpack(context, arguments, err, "{s?s, s?I, s?I, s?s, s?s !}", "lane", &lane_name,
                       "first", &first, "last", &last, "from", &from, "to", &to);
    if (fault != 0 || (fault = read_lanes(store, wish, err)) != 0)
        return fault;
    enum lane lane = lane_find(lane_name);
    bool by_time = from != NULL && to != NULL && first == 0 && last == 0;
    bool by_seq = from == NULL && to == NULL && lane != 0;
    if ((lane_name != NULL && lane == 0) || (!by_time && !by_seq)) {
        (void)err_set(err, "the arguments of resend are %s; a lane is alert, live or backfill",
                      context->command->arguments);
        return COMMAND_ARGUMENTS;
    }
    if (by_seq)
        return wish_seqs(wish, lane, first, last, err);
    if (time_parse(from, &from_ms) != 0 || time_parse(to, &to_ms) != 0 || from_ms >= to_ms) {
        (void)err_set(err, "from and to are instants like 2026-11-23T08:15:00Z, in this order");
        return COMMAND_ARGUMENTS;
    }
    wish->only = lane;
    return wish_time(store, wish, from_ms, to_ms, err);
}

int command_resend(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    struct wish wish = {.result = result};
    struct store *store = NULL;
    if (command_reader_open(context, &store, err) != 0)
        return COMMAND_FAILED;
    int fault = read_wish(context, arguments, &wish, store, err);
    if (fault == 0)
        fault = measure(store, &wish, err);
    command_reader_close(context, store);
    if (fault != 0)
        return fault;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        struct stored_resend *job = &wish.parts[lane].job;
        (void)snprintf(job->who, sizeof job->who, "%s", who->name);
        job->at_ms = clock_wall_ms(context->clock);
    }
    return command_commit(context, who, "outbox", store_wish, &wish, err);
}

// --- cancel ---

struct cancel {
    int64_t id;
    struct writer *result;
};

static int store_cancel(struct store *store, void *argument, struct err *err)
{
    const struct cancel *cancel = argument;
    struct stored_resend job;
    int done = store_resend_cancel(store, cancel->id, err);
    if (done == 0)
        return err_set(err, "there is no open request %" PRId64, cancel->id);
    if (done < 0 || store_resend_get(store, cancel->id, &job, err) != 1)
        return -1;
    writer_object(cancel->result);
    writer_key_int(cancel->result, "id", job.id);
    writer_key_int(cancel->result, "sent", job.sent);
    writer_end(cancel->result);
    return 0;
}

int command_resend_cancel(struct command_context *context, const struct principal *who,
                          const json_t *arguments, struct writer *result, struct err *err)
{
    json_int_t id = 0;
    char subject[32];
    int fault = command_unpack(context, arguments, err, "{s:I !}", "id", &id);
    if (fault != 0)
        return fault;
    struct cancel cancel = {id, result};
    (void)snprintf(subject, sizeof subject, "%" JSON_INTEGER_FORMAT, id);
    return command_commit(context, who, subject, store_cancel, &cancel, err);
}

// --- feed-acknowledge ---

struct confirmation {
    const char *stream;
    enum lane lane;
    int64_t seq;
    struct writer *result;
};

static int store_confirmation(struct store *store, void *argument, struct err *err)
{
    const struct confirmation *given = argument;
    struct outbox_state state;
    if (strcmp(given->stream, store_stream(store)) != 0) {
        return err_set(err, "the stream here is %s, not %.40s: another store's messages",
                       store_stream(store), given->stream);
    }
    if (store_outbox_confirm(store, given->lane, given->seq, err) != 0 ||
        store_outbox_state(store, given->lane, &state, err) != 0)
        return -1;
    writer_object(given->result);
    writer_key_text(given->result, "lane", lane_text(given->lane));
    writer_key_int(given->result, "last", state.last);
    writer_key_int(given->result, "acknowledged", state.acknowledged);
    writer_key_int(given->result, "confirmed", state.confirmed);
    writer_end(given->result);
    return 0;
}

int command_feed_acknowledge(struct command_context *context, const struct principal *who,
                             const json_t *arguments, struct writer *result, struct err *err)
{
    const char *lane_name = NULL;
    json_int_t seq = 0;
    struct confirmation given = {.result = result};
    int fault = command_unpack(context, arguments, err, "{s:s, s:s, s:I !}", "stream",
                               &given.stream, "lane", &lane_name, "seq", &seq);
    if (fault != 0)
        return fault;
    given.lane = lane_find(lane_name);
    given.seq = seq;
    if (given.lane == 0 || seq < 0) {
        (void)err_set(err, "a lane is alert, live or backfill, and a seq is not negative");
        return COMMAND_ARGUMENTS;
    }
    return command_commit(context, who, lane_text(given.lane), store_confirmation, &given, err);
}
