// Fills a new store with closed hours, gas days and months of many meters, as a gateway would have
// written them: in the order of time, each period's start the end before it, some in doubt,
// estimated, missing, corrected, of an exchanged meter.
//
// usage: report_store STATE METERS MONTHS [SEED]: full gas months from 2025-10 on, Asia/Shanghai.
//        report_store --bare STATE FROM_MS TO_MS …: reads the rows of a report with bare SQLite and
//        prints their number, their bytes, and the milliseconds that took.
#include "store/store.h"

#include "drivers/channel.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START_MS INT64_C(1759269600000) // 2025-10-01 06:00 in Shanghai
#define HOURS_MAX 25
#define DAYS_MAX 31
#define METERS_MAX 4000
#define SPANS 3 // that a report of a month reads

struct piece {
    int64_t from_ms, to_ms;
    int64_t start[2], end[2], jump[2];
    uint8_t start_quality, end_quality;
    int64_t good, suspect, missing;
    bool exchanged, first;
};

struct meter_state {
    int number;
    int64_t index[2];
    uint8_t quality; // of the index
    struct piece hours[HOURS_MAX], days[DAYS_MAX];
};

static struct gas_calendar calendar;
static uint64_t seed = 1;
static int64_t random_below(int64_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)(seed >> 33) % bound;
}

static void must(int result, const struct err *err)
{
    if (result < 0) {
        (void)fprintf(stderr, "report_store: %s\n", err->text);
        exit(1);
    }
}

static void piece_period(const struct piece *piece, enum span span, int version, struct period *out)
{
    static const char *const names[] = {"volume_base", "volume_measured"};
    memset(out, 0, sizeof *out);
    out->span = span;
    out->version = version;
    out->from_ms = piece->from_ms;
    out->to_ms = piece->to_ms;
    out->first = piece->first;
    out->good = piece->good;
    out->suspect = piece->suspect;
    out->missing = piece->missing;
    out->expected = out->good + out->suspect + out->missing;
    reasons_add(&out->reasons, QUALITY_SUSPECT, WHY_UNVERIFIED, out->suspect);
    reasons_add(&out->reasons, QUALITY_MISSING, WHY_TIMEOUT, out->missing);
    out->channel_count = 4;
    for (int i = 0; i < 2; i++) {
        struct period_channel *channel = &out->channels[i];
        (void)snprintf(channel->name, sizeof channel->name, "%s", names[i]);
        channel->kind = CHANNEL_COUNTER;
        channel->start_quality = piece->start_quality;
        channel->end_quality = piece->end_quality;
        channel->start_known = piece->start_quality != QUALITY_MISSING;
        channel->end_known = piece->end_quality != QUALITY_MISSING;
        channel->start_micro = channel->start_known ? piece->start[i] : 0;
        channel->end_micro = channel->end_known ? piece->end[i] : 0;
        channel->exchanged = channel->jump_known = piece->exchanged;
        channel->jump_micro = piece->jump[i];
        channel->last_ms = piece->to_ms - 1;
        channel->last_micro = channel->end_micro;
        channel->last_quality = QUALITY_GOOD;
        channel->why = channel->end_known && channel->start_known ? WHY_NONE : WHY_TIMEOUT;
    }
    static const char *const gauges[] = {"pressure", "temperature"};
    for (int i = 0; i < 2; i++) {
        struct period_channel *channel = &out->channels[2 + i];
        (void)snprintf(channel->name, sizeof channel->name, "%s", gauges[i]);
        channel->kind = CHANNEL_GAUGE;
        channel->weight_ms = 60000 * piece->good;
        channel->min = 100 + 200 * (1 - i);
        channel->mean = channel->min + 0.5;
        channel->max = channel->min + 1.25;
    }
    period_judge(out);
}

static void hour_make(struct meter_state *meter, struct piece *hour, int64_t from_ms, bool first)
{
    *hour = (struct piece){.from_ms = from_ms,
                           .to_ms = from_ms + 3600000,
                           .start_quality = meter->quality,
                           .end_quality = QUALITY_GOOD,
                           .good = 60,
                           .first = first};
    int64_t flow = random_below(4) == 0 ? 0 : random_below(90000000);
    int64_t kind = random_below(400);
    memcpy(hour->start, meter->index, sizeof hour->start);
    if (kind == 0) {
        hour->end_quality = QUALITY_MISSING;
        hour->good = 0;
        hour->missing = 60;
    } else if (kind < 4) {
        hour->end_quality = QUALITY_ESTIMATED;
        hour->good = 40;
        hour->missing = 20;
    } else if (kind < 7) {
        hour->end_quality = QUALITY_SUSPECT;
        hour->good = 57;
        hour->suspect = 3;
    }
    for (int i = 0; i < 2; i++) {
        meter->index[i] += i == 0 ? flow : flow / 3 + 7;
        if (kind == 399 && random_below(20) == 0) { // another meter: it begins at a few m3
            int64_t begins = random_below(5000000);
            hour->exchanged = true;
            hour->jump[i] = begins - meter->index[i];
            meter->index[i] = begins;
        } else if (hour->exchanged) {
            hour->jump[i] = -meter->index[i];
            meter->index[i] = 0;
        }
    }
    memcpy(hour->end, meter->index, sizeof hour->end);
    meter->quality = hour->end_quality;
}

static void piece_sum(const struct piece *parts, int count, struct piece *out)
{
    *out = parts[0];
    out->to_ms = parts[count - 1].to_ms;
    out->end_quality = parts[count - 1].end_quality;
    memcpy(out->end, parts[count - 1].end, sizeof out->end);
    for (int i = 1; i < count; i++) {
        out->good += parts[i].good;
        out->suspect += parts[i].suspect;
        out->missing += parts[i].missing;
        out->exchanged = out->exchanged || parts[i].exchanged;
        for (int k = 0; k < 2; k++)
            out->jump[k] += parts[i].jump[k];
    }
}

static void piece_store(struct store *store, int number, const struct piece *piece, enum span span)
{
    struct period period;
    struct err err;
    int versions = random_below(span == SPAN_HOUR ? 700 : 50) == 0 ? 2 : 1;
    for (int version = 1; version <= versions; version++) {
        struct piece told = *piece;
        if (version < versions) { // what was known at first: less
            told.missing += told.good / 2;
            told.good -= told.good / 2;
        }
        piece_period(&told, span, version, &period);
        must(store_period_add(store, number, &period, piece->to_ms + 1000, LANE_LIVE,
                              (enum message_kind)0, &err),
             &err);
    }
}

static int64_t day_fill(struct store *store, struct meter_state *meters, int count, int day,
                        int64_t from_ms)
{
    struct err err;
    int64_t to_ms = period_end(&calendar, SPAN_DAY, from_ms);
    int hours = 0;
    must(store_round_begin(store, &err), &err);
    for (int64_t at_ms = from_ms; at_ms < to_ms; at_ms += 3600000, hours++)
        for (int i = 0; i < count; i++) {
            hour_make(&meters[i], &meters[i].hours[hours], at_ms, at_ms == START_MS);
            piece_store(store, meters[i].number, &meters[i].hours[hours], SPAN_HOUR);
        }
    for (int i = 0; i < count; i++) {
        piece_sum(meters[i].hours, hours, &meters[i].days[day]);
        piece_store(store, meters[i].number, &meters[i].days[day], SPAN_DAY);
    }
    must(store_round_commit(store, &err), &err);
    return to_ms;
}

static void fill(struct store *store, struct meter_state *meters, int count, int months)
{
    struct err err;
    int64_t at_ms = START_MS;
    for (int month = 0; month < months; month++) {
        int64_t end_ms = period_end(&calendar, SPAN_MONTH, at_ms);
        int days = 0;
        while (at_ms < end_ms)
            at_ms = day_fill(store, meters, count, days++, at_ms);
        must(store_round_begin(store, &err), &err);
        for (int i = 0; i < count; i++) {
            struct piece whole;
            piece_sum(meters[i].days, days, &whole);
            piece_store(store, meters[i].number, &whole, SPAN_MONTH);
        }
        must(store_round_commit(store, &err), &err);
    }
    // A day and some hours more, so that there is a month that is not over.
    at_ms = day_fill(store, meters, count, 0, at_ms);
    must(store_round_begin(store, &err), &err);
    for (int hour = 0; hour < 5; hour++)
        for (int i = 0; i < count; i++) {
            hour_make(&meters[i], &meters[i].hours[hour], at_ms + hour * 3600000, false);
            piece_store(store, meters[i].number, &meters[i].hours[hour], SPAN_HOUR);
        }
    must(store_round_commit(store, &err), &err);
}

// The least that a report of all meters can cost: each row found and its bytes touched, once.
static int read_bare(const char *directory, char **ranges, int count)
{
    static const enum span spans[SPANS] = {SPAN_MONTH, SPAN_DAY, SPAN_HOUR};
    char path[4096];
    sqlite3 *db;
    sqlite3_stmt *statement;
    struct timespec begin;
    struct timespec end;
    int64_t rows = 0;
    int64_t bytes = 0;
    unsigned sum = 0;
    (void)snprintf(path, sizeof path, "%s/%s", directory, STORE_FILE);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "SELECT body FROM period WHERE from_ms >= ?1 AND from_ms < ?2 AND span ="
                           " ?3 ORDER BY from_ms, meter, version",
                           -1, &statement, NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "report_store: %s\n", sqlite3_errmsg(db));
        return 1;
    }
    for (int i = 0; i < count * SPANS; i++) {
        (void)sqlite3_bind_int64(statement, 1, strtoll(ranges[i / SPANS * 2], NULL, 10));
        (void)sqlite3_bind_int64(statement, 2, strtoll(ranges[i / SPANS * 2 + 1], NULL, 10));
        (void)sqlite3_bind_int(statement, 3, spans[i % SPANS]);
        for (; sqlite3_step(statement) == SQLITE_ROW; rows++) {
            const uint8_t *body = sqlite3_column_blob(statement, 0);
            int length = sqlite3_column_bytes(statement, 0);
            bytes += length;
            for (int k = 0; k < length; k++)
                sum += body[k];
        }
        (void)sqlite3_reset(statement);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    printf("%lld %lld %.3f %u\n", (long long)rows, (long long)bytes,
           1e3 * (double)(end.tv_sec - begin.tv_sec) + 1e-6 * (double)(end.tv_nsec - begin.tv_nsec),
           sum);
    return rows > 0 ? 0 : 1;
}

// The configuration that such a gateway had: customers of two meters each, every third meter with a
// gas of its own.
static void configure(struct store *store, int count)
{
    struct buf text;
    struct err err;
    buf_init(&text, CONFIG_TEXT_MAX);
    buf_add_text(&text, "gateway: {id: bench, timezone: Asia/Shanghai}\n"
                        "gas: {heating_value_mj_m3: 40.66}\n"
                        "links: [{id: hall, url: \"tcp://127.0.0.1:502\"}]\nmeters:\n");
    for (int i = 0; i < count; i++)
        buf_addf(&text,
                 "  - {id: meter-%d, name: Meter %d, link: hall, unit: %d, profile: x.y, %s%s%d}\n",
                 i + 1, i + 1, i % 255,
                 i % 3 == 2 ? "gas: {heating_value_mj_m3: 39.5, relative_density: 0.6}, " : "",
                 "customer: 10", i / 2);
    must(text.failed ? -1 : 0, &(struct err){.text = "out of memory"});
    must(store_revision_add(store, "0123456789abcdef", text.data, text.length, "start", START_MS,
                            &err),
         &err);
    buf_release(&text);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "--bare") == 0)
        return read_bare(argv[2], argv + 3, (argc - 3) / 2);
    int count = argc > 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    int months = argc > 3 ? (int)strtol(argv[3], NULL, 10) : -1;
    if (count < 1 || count > METERS_MAX || months < 0) {
        (void)fputs("usage: report_store STATE METERS MONTHS [SEED]\n", stderr);
        return 2;
    }
    if (argc > 4)
        seed = strtoull(argv[4], NULL, 10);
    struct err err;
    struct store *store;
    struct meter_state *meters = calloc((size_t)count, sizeof *meters);
    must(meters == NULL ? -1 : 0, &(struct err){.text = "out of memory"});
    must(gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err), &err);
    must(store_open(argv[1], &store, &err), &err);
    must(store_round_begin(store, &err), &err);
    must(store_setting_put(store, "gateway", "bench", &err), &err);
    must(store_setting_put(store, "gas_day", "360 Asia/Shanghai", &err), &err);
    configure(store, count);
    for (int i = 0; i < count; i++) {
        char id[ID_SIZE];
        int64_t configured_ms;
        (void)snprintf(id, sizeof id, "meter-%d", i + 1);
        must(store_meter(store, id, START_MS, &meters[i].number, &configured_ms, &err), &err);
        meters[i].index[0] = INT64_C(9007199254740993) + i;
        meters[i].index[1] = INT64_C(1000000) * i;
    }
    must(store_round_commit(store, &err), &err);
    fill(store, meters, count, months);
    store_close(store);
    free(meters);
    return 0;
}
