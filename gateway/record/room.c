#include "record/room.h"

#define MIB (INT64_C(1) << 20)
#define LOG_MAX (8 * MIB)
#define LOG_USUAL (4 * MIB)
#define DISK_SPARE MIB
#define FILE_SHARE 16
#define HOUR_MS INT64_C(3600000)
#define READING_AGE_MS HOUR_MS
#define PERIOD_AGE_MS (48 * HOUR_MS)
#define DAY_AGE_MS (62 * 24 * HOUR_MS)
#define READING_ROWS 1000
#define OTHER_ROWS 200

static const struct {
    enum room_kind kind;
    enum span span, longer;
    bool unsent;
    int64_t age_ms;
} stages[] = {
    {ROOM_READINGS, 0, 0, false, READING_AGE_MS},
    {ROOM_READINGS, 0, 0, true, READING_AGE_MS},
    {ROOM_PERIODS, SPAN_1MIN, SPAN_HOUR, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_5MIN, SPAN_HOUR, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_15MIN, SPAN_HOUR, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_30MIN, SPAN_HOUR, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_1MIN, SPAN_HOUR, true, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_5MIN, SPAN_HOUR, true, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_15MIN, SPAN_HOUR, true, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_30MIN, SPAN_HOUR, true, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_HOUR, SPAN_DAY, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_HOUR, SPAN_DAY, true, PERIOD_AGE_MS},
    {ROOM_ALERTS, 0, 0, false, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_DAY, SPAN_MONTH, false, DAY_AGE_MS},
    {ROOM_ALERTS, 0, 0, true, PERIOD_AGE_MS},
    {ROOM_PERIODS, SPAN_DAY, SPAN_MONTH, true, DAY_AGE_MS},
};
#define STAGES ((int)(sizeof stages / sizeof stages[0]))

int64_t room_file_max(int64_t max_bytes)
{
    return max_bytes - (max_bytes / 4 < LOG_MAX ? max_bytes / 4 : LOG_MAX);
}

static int64_t used(const struct room_facts *facts)
{
    return facts->file_bytes - facts->free_bytes;
}

static int64_t limit(const struct room_facts *facts)
{
    int64_t most = room_file_max(facts->max_bytes);
    if (facts->disk_free_bytes < 0)
        return most;
    int64_t log = facts->log_bytes < LOG_USUAL ? LOG_USUAL - facts->log_bytes : 0;
    int64_t more = facts->disk_free_bytes - log - DISK_SPARE;
    int64_t least = -facts->file_bytes / FILE_SHARE; // others' files are no reason to keep nothing
    int64_t by_disk = facts->file_bytes + (more > least ? more : least);
    return by_disk < most ? by_disk : most;
}

static bool is_wanted(struct room *room, const struct room_facts *facts)
{
    int64_t most = limit(facts);
    if (room->forced_bytes != 0 && used(facts) < room->forced_bytes)
        room->forced_bytes = 0;
    int64_t from = room->making ? most - most / 8 : most - most / 16;
    return room->forced_bytes != 0 || used(facts) > from;
}

void room_force(struct room *room, const struct room_facts *facts)
{
    int64_t to = used(facts) - used(facts) / 16;
    room->forced_bytes = to > 0 ? to : 1;
    room->exhausted = false;
}

struct room_step room_next(struct room *room, const struct room_facts *facts)
{
    bool wanted = is_wanted(room, facts);
    if (!wanted || room->exhausted || !room->making)
        room->stage = 0; // looked at again from the first stage on
    room->exhausted = false;
    room->making = wanted;
    room->by_disk = wanted && limit(facts) < room_file_max(facts->max_bytes);
    if (!wanted)
        return (struct room_step){.kind = ROOM_NOTHING};
    bool reading = stages[room->stage].kind == ROOM_READINGS;
    return (struct room_step){.kind = stages[room->stage].kind,
                              .span = stages[room->stage].span,
                              .longer = stages[room->stage].longer,
                              .unsent = stages[room->stage].unsent,
                              .before_ms = facts->wall_ms - stages[room->stage].age_ms,
                              .max = reading ? READING_ROWS : OTHER_ROWS};
}

void room_done(struct room *room, int gone)
{
    if (gone > 0)
        return;
    room->stage++;
    if (room->stage == STAGES) {
        room->exhausted = true;
        room->forced_bytes = 0;
        room->stage = 0;
    }
}
