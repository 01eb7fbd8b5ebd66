#include "poll/archive.h"

#include "base/log.h"
#include "drivers/archive.h"
#include "poll/bus.h"
#include "poll/cost.h"

#include <stdlib.h>
#include <string.h>

#define STEP_SLACK_MS 10
#define SEARCHES_MAX                                                                               \
    4 // the log moves on while it is read: then what is missing is looked for again
#define PART "archive"

enum stage { STAGE_IDLE, STAGE_SEARCH, STAGE_READ, STAGE_DELIVER };

// A meter of the link that keeps a log.
struct source {
    const struct meter *meter;
    int64_t rests_until_ms; // boot clock
};

struct task {
    struct archive_settings settings;
    int step_ms;
    int turn; // in sources: whom to ask for next
    // What is under way:
    enum stage stage;
    struct source *source;
    const struct profile_archive *archive;
    struct archive_rows *rows;
    int64_t clocks_s[ARCHIVE_SLOTS_MAX]; // the time in a slot's record; 0: it cannot be told
    int target;                          // slot that is looked for
    int low, high;                       // ages, while it is looked for
    int age;                             // the next record to be read
    int searches, failures;
    int missing;         // first slot without a record after the last pass, -1: there was no pass
    bool one_by_one;     // several records in a request are refused
    int64_t answered_ms; // boot clock: the last record of this ask, 0: none yet
    uint16_t words[FRAME_WORDS_MAX];
    int source_count;
    struct source sources[];
};

enum span archive_span(const struct profile_archive *archive)
{
    return archive->span == ARCHIVE_DAY ? SPAN_DAY : SPAN_HOUR;
}

void archive_rows_free(struct archive_rows *rows)
{
    if (rows == NULL)
        return;
    config_unref(rows->config);
    free(rows);
}

// ---- what is wanted -----------------------------------------------------------------------------

static int64_t clock_of(const struct task *task, int64_t at_ms)
{
    if (task->archive->time_is_utc)
        return at_ms / 1000;
    int64_t clock_s = wall_clock_s(&task->settings.calendar, at_ms);
    int64_t offset_s = clock_s - at_ms / 1000;
    for (int64_t near = at_ms - 7200000; near <= at_ms + 7200000; near += 1800000)
        if (wall_clock_s(&task->settings.calendar, near) - near / 1000 != offset_s)
            return 0;
    return clock_s;
}

// The slots of the ask, and what stands in their records.
static void fill_slots(struct task *task)
{
    struct archive_rows *rows = task->rows;
    const struct gas_calendar *calendar = &task->settings.calendar;
    enum span span = archive_span(task->archive);
    rows->count = 0;
    for (int64_t at = rows->ask.from_ms; at <= rows->ask.to_ms && rows->count < ARCHIVE_SLOTS_MAX;
         at = period_end(calendar, span, at)) {
        int64_t start = period_start(calendar, span, at - 1);
        task->clocks_s[rows->count] = clock_of(task, task->archive->time_is_start ? start : at);
        rows->ends_ms[rows->count++] = at;
    }
}

static int first_missing(const struct task *task)
{
    for (int i = 0; i < task->rows->count; i++)
        if (!task->rows->has[i] && task->clocks_s[i] != 0)
            return i;
    return -1;
}

static void begin_search(struct task *task, int slot)
{
    task->target = slot;
    task->low = 0;
    task->high = task->archive->records;
    task->searches++;
    task->stage = STAGE_SEARCH;
}

static void drop_rows(struct task *task)
{
    archive_rows_free(task->rows);
    task->rows = NULL;
    task->stage = STAGE_IDLE;
}

static void begin(struct task *task, struct source *source, const struct archive_ask *ask)
{
    const struct profile *profile = source->meter->profile;
    if (ask->archive >= profile->archive_count)
        return; // of another configuration
    const struct profile_archive *archive = &profile->archives[ask->archive];
    size_t words = (size_t)ARCHIVE_SLOTS_MAX * archive->record_registers;
    task->rows = calloc(1, sizeof *task->rows + words * sizeof task->rows->words[0]);
    if (task->rows == NULL) {
        log_error(PART, "no memory to read the log of %s", source->meter->id);
        return;
    }
    task->rows->config = config_ref(task->settings.config);
    task->rows->meter = source->meter;
    task->rows->ask = *ask;
    task->source = source;
    task->archive = archive;
    task->searches = task->failures = 0;
    task->missing = -1;
    task->one_by_one = false;
    task->answered_ms = 0;
    fill_slots(task);
    task->stage = STAGE_DELIVER; // nothing of it can be told
    int slot = first_missing(task);
    if (slot >= 0)
        begin_search(task, slot);
}

static bool find_ask(struct task *task, int64_t now_ms)
{
    for (int i = 0; i < task->source_count; i++) {
        struct source *source = &task->sources[task->turn];
        struct archive_ask ask;
        task->turn = (task->turn + 1) % task->source_count;
        if (now_ms >= source->rests_until_ms &&
            task->settings.desk.ask(task->settings.desk.context, source->meter->id, &ask)) {
            begin(task, source, &ask);
            return task->stage != STAGE_IDLE;
        }
    }
    return false;
}

// ---- records ------------------------------------------------------------------------------------

enum outcome { OUTCOME_READ, OUTCOME_REFUSED, OUTCOME_FAILED };

// A request that a sleeping meter may lose. Of one register: no record's shape.
static void wake_meter(const struct task *task, struct wire *wire)
{
    const struct meter *meter = task->source->meter;
    const struct profile_limits *limits = &meter->profile->limits;
    int64_t rest_ms = clock_boot_ms(task->settings.clock) - task->answered_ms;
    const struct request request = {.unit = (uint8_t)meter->unit,
                                    .function = task->archive->function,
                                    .first = task->archive->first_register,
                                    .count = 1};
    if (limits->wake_request && wire_may_ask(wire, &request) &&
        (task->answered_ms == 0 || rest_ms >= limits->wake_after_s * INT64_C(1000)))
        (void)wire_wake(wire, &request, limits->wake_wait_ms);
}

// Asks for the records of ages [age, age + count); their words stand in the order of registers.
static enum outcome ask_records(struct task *task, struct wire *wire, int age, int count)
{
    const struct meter *meter = task->source->meter;
    int first = archive_register(task->archive, age);
    int last = archive_register(task->archive, age + count - 1);
    struct request request = {.unit = (uint8_t)meter->unit,
                              .function = task->archive->function,
                              .first = (uint16_t)(first < last ? first : last),
                              .count = (uint16_t)(count * task->archive->record_registers)};
    struct reply reply;
    wire_set_pause(wire, meter->profile->limits.pause_ms);
    wake_meter(task, wire);
    if (!wire_may_ask(wire, &request))
        return OUTCOME_FAILED; // later: a late reply may still come
    wire_transact(wire, &request, &reply);
    if (reply.why >= WHY_EXCEPTION)
        return OUTCOME_REFUSED;
    if (reply.why != WHY_NONE)
        return OUTCOME_FAILED;
    task->answered_ms = clock_boot_ms(task->settings.clock);
    memcpy(task->words, reply.words, request.count * sizeof task->words[0]);
    return OUTCOME_READ;
}

// The words of one of `count` records that were asked for, the oldest first.
static const uint16_t *words_of(const struct task *task, int count, int which)
{
    int place = task->archive->oldest_first ? which : count - 1 - which;
    return task->words + (ptrdiff_t)place * task->archive->record_registers;
}

static int last_slot(const struct task *task)
{
    int last = task->rows->count - 1;
    while (last > 0 && task->clocks_s[last] == 0)
        last--;
    return last;
}

static void keep_record(struct task *task, int64_t clock_s, const uint16_t *words)
{
    struct archive_rows *rows = task->rows;
    for (int i = 0; i < rows->count; i++) {
        int64_t error = clock_s - task->clocks_s[i];
        if (task->clocks_s[i] == 0 || rows->has[i] || error > ARCHIVE_STAMP_TOLERANCE_S ||
            error < -ARCHIVE_STAMP_TOLERANCE_S)
            continue;
        size_t size = task->archive->record_registers;
        memcpy(rows->words + (size_t)i * size, words, size * sizeof words[0]);
        rows->has[i] = true;
    }
}

// The log moves on by a record each hour, also while it is read: what is missing is looked for
// again, until a pass finds nothing more.
static void finish_pass(struct task *task)
{
    int missing = first_missing(task);
    bool again = missing >= 0 && missing != task->missing && task->searches < SEARCHES_MAX;
    task->missing = missing;
    if (again)
        begin_search(task, missing);
    else
        task->stage = STAGE_DELIVER;
}

static void begin_read(struct task *task)
{
    task->age = task->low;
    task->stage = STAGE_READ;
    if (task->age >= task->archive->records)
        finish_pass(task);
}

// ---- steps --------------------------------------------------------------------------------------

static enum outcome search_step(struct task *task, struct wire *wire)
{
    int middle = task->low + (task->high - task->low) / 2;
    enum outcome outcome = ask_records(task, wire, middle, 1);
    int64_t clock_s;
    // Records that were never written: before all others where the newest stands first, else after.
    bool is_older = !task->archive->oldest_first;
    if (outcome == OUTCOME_FAILED)
        return outcome;
    if (outcome == OUTCOME_READ && archive_stamp(task->archive, task->words, &clock_s) == 0)
        is_older = clock_s < task->clocks_s[task->target] - ARCHIVE_STAMP_TOLERANCE_S;
    if (is_older)
        task->low = middle + 1;
    else
        task->high = middle;
    if (task->low >= task->high)
        begin_read(task);
    return outcome;
}

static int chunk_of(const struct task *task)
{
    int most = task->source->meter->profile->limits.max_registers / task->archive->record_registers;
    int wanted = task->rows->count - task->target;
    int left = task->archive->records - task->age;
    most = most < wanted ? most : wanted;
    most = most < left ? most : left;
    return most < 1 || task->one_by_one ? 1 : most;
}

static void take_records(struct task *task, int count)
{
    bool over = false;
    for (int i = 0; i < count && !over; i++) {
        int64_t clock_s;
        const uint16_t *words = words_of(task, count, i);
        if (archive_stamp(task->archive, words, &clock_s) != 0) {
            over = task->archive->oldest_first; // the end of what was written
            continue;
        }
        keep_record(task, clock_s, words);
        over = clock_s >= task->clocks_s[last_slot(task)] - ARCHIVE_STAMP_TOLERANCE_S;
    }
    task->age += count;
    if (over || task->age >= task->archive->records)
        finish_pass(task);
}

static enum outcome read_step(struct task *task, struct wire *wire)
{
    int count = chunk_of(task);
    enum outcome outcome = ask_records(task, wire, task->age, count);
    if (outcome == OUTCOME_READ) {
        take_records(task, count);
    } else if (outcome == OUTCOME_REFUSED && count > 1) {
        task->one_by_one = true;
    } else if (outcome == OUTCOME_REFUSED) {
        task->age++;
        if (task->archive->oldest_first || task->age >= task->archive->records)
            finish_pass(task);
    }
    return outcome;
}

static int64_t after_failure(struct task *task, int64_t now_ms)
{
    if (++task->failures < ARCHIVE_TRIES_MAX)
        return now_ms + ARCHIVE_RETRY_MS;
    log_warn(PART, "the log of %s does not answer; it is tried again in %d minutes",
             task->source->meter->id, ARCHIVE_REST_MS / 60000);
    task->source->rests_until_ms = now_ms + ARCHIVE_REST_MS;
    drop_rows(task);
    return now_ms + ARCHIVE_LOOK_MS;
}

static int64_t deliver(struct task *task, int64_t now_ms)
{
    const struct archive_rows *rows = task->rows;
    int found = 0;
    for (int i = 0; i < rows->count; i++)
        found += rows->has[i];
    int count = rows->count;
    const char *meter = rows->meter->id;
    if (!task->settings.desk.deliver(task->settings.desk.context, task->rows))
        return now_ms + ARCHIVE_LOOK_MS;
    log_info(PART, "%s: %d of %d records read back from its log", meter, found, count);
    task->rows = NULL;
    task->stage = STAGE_IDLE;
    return now_ms;
}

static int64_t step(void *context, struct wire *wire, int64_t now_ms)
{
    struct task *task = context;
    if (task->stage == STAGE_DELIVER)
        return deliver(task, now_ms);
    if (task->stage == STAGE_IDLE && !find_ask(task, now_ms))
        return now_ms + ARCHIVE_LOOK_MS;
    if (task->stage == STAGE_DELIVER)
        return now_ms;
    if (wire == NULL)
        return now_ms + ARCHIVE_RETRY_MS;
    enum outcome outcome =
        task->stage == STAGE_SEARCH ? search_step(task, wire) : read_step(task, wire);
    if (outcome == OUTCOME_FAILED)
        return after_failure(task, now_ms);
    task->failures = 0;
    int64_t done_ms = clock_boot_ms(task->settings.clock);
    return done_ms + ARCHIVE_SHARE * (done_ms - now_ms) + 1;
}

// ---- life ---------------------------------------------------------------------------------------

static void release(void *context)
{
    struct task *task = context;
    archive_rows_free(task->rows);
    config_unref(task->settings.config);
    free(task);
}

// What a request of the largest size takes, where the meter answers.
static int step_ms_of(const struct config_link *link)
{
    struct link_cost cost;
    const struct request largest = {.function = 3, .count = FRAME_WORDS_MAX};
    link_cost_of(&link->url, link->pause_ms, &cost);
    return (int)(cost_request_ns(&cost, &largest) / 1000000) + STEP_SLACK_MS;
}

int archive_task(const struct archive_settings *settings, struct bus_task *out)
{
    const struct config *config = settings->config;
    int count = 0;
    for (int i = 0; i < config->meter_count; i++)
        count += config->meters[i].link == settings->link &&
                 config->meters[i].profile->archive_count > 0;
    if (count == 0)
        return 0;
    struct task *task = calloc(1, sizeof *task + (size_t)count * sizeof task->sources[0]);
    if (task == NULL)
        return -1;
    task->settings = *settings;
    task->settings.config = config_ref(settings->config);
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        if (meter->link == settings->link && meter->profile->archive_count > 0)
            task->sources[task->source_count++] = (struct source){.meter = meter};
    }
    task->step_ms = step_ms_of(&config->links[settings->link]);
    *out = (struct bus_task){step, release, task, task->step_ms};
    return 1;
}
