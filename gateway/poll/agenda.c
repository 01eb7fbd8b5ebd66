#include "poll/agenda.h"

#include "drivers/value.h"

#define HOUR_US INT64_C(3600000000)
// Of the link's time, for polls while it is overloaded: the rest lets it catch up.
#define OVERLOAD_BUDGET_PERCENT 95
#define OVERLOAD_ENDS_PERMILLE 900
#define OVERLOAD_JUDGED 2   // in a row: a few slow polls are no overload
#define CALM_TIMEOUTS 9     // after a lost request, for polls that wait
#define SERVICE_SMOOTHING 8 // a poll counts one part in so many

// ---- due times ----------------------------------------------------------------------------------

static int64_t following_ms(const struct agenda_entry *entry)
{
    int64_t next_ms = entry->due.at_ms + entry->schedule.interval_ms;
    int64_t next_from_ms = entry->due.to_ms + entry->schedule.phase_ms;
    return next_ms < next_from_ms ? next_ms : next_from_ms;
}

static void set_due(struct agenda *agenda, struct agenda_entry *entry, struct due due)
{
    entry->due = due;
    entry->deadline_ms = schedule_deadline_ms(&entry->schedule, &due);
    entry->next_ms = following_ms(entry);
    const struct share *share = &agenda->shares[entry - agenda->entries];
    entry->dropped = false;
    if (share->stretch > 1 && !entry->owed) {
        int64_t number = schedule_number(&entry->schedule, agenda->calendar, &due);
        entry->dropped = number % share->stretch != share->offset && number % share->per_hour != 0;
    }
}

static void advance(struct agenda *agenda, struct agenda_entry *entry)
{
    set_due(agenda, entry, schedule_following(&entry->schedule, agenda->calendar, &entry->due));
}

void agenda_restart(struct agenda *agenda, int64_t wall_ms)
{
    for (int i = 0; i < agenda->count; i++) {
        struct agenda_entry *entry = &agenda->entries[i];
        set_due(agenda, entry, schedule_due(&entry->schedule, agenda->calendar, wall_ms));
    }
}

void agenda_init(struct agenda *agenda, int64_t wall_ms, int64_t boot_ms)
{
    agenda->judge_at_ms = boot_ms + AGENDA_JUDGE_MS;
    for (int i = 0; i < agenda->count; i++) {
        agenda->shares[i].per_hour = schedule_per_hour(&agenda->entries[i].schedule);
        agenda->shares[i].stretch = 1;
    }
    agenda_restart(agenda, wall_ms);
}

// ---- the load -----------------------------------------------------------------------------------

// What probes of meters that do not answer take of an hour, once their pause has grown.
static int64_t probes_us(const struct agenda *agenda)
{
    int64_t sum_us = 0;
    for (int i = 0; i < agenda->count; i++)
        if (probe_is_silent(&agenda->entries[i].probe, agenda->retries))
            sum_us += HOUR_US / (agenda->timeout_ms + PROBE_MOST_MS) * agenda->timeout_ms;
    return sum_us;
}

static void judge_load(struct agenda *agenda, int64_t boot_ms)
{
    agenda->judge_at_ms = boot_ms + AGENDA_JUDGE_MS;
    int64_t lost_us = probes_us(agenda);
    int64_t wanted_us = share_wanted_us(agenda->shares, agenda->count) + lost_us;
    agenda->load_permille = (int)(wanted_us / (HOUR_US / 1000));
    bool before = agenda->overloaded;
    bool over = agenda->load_permille > (before ? OVERLOAD_ENDS_PERMILLE : 1000);
    agenda->over_row = over ? agenda->over_row + (agenda->over_row < OVERLOAD_JUDGED ? 1 : 0) : 0;
    agenda->overloaded = agenda->over_row == OVERLOAD_JUDGED || (before && over);
    if (agenda->overloaded) {
        int64_t hour_us = HOUR_US / 100 * OVERLOAD_BUDGET_PERCENT - lost_us;
        share_out(agenda->shares, agenda->count, hour_us);
    } else if (before) {
        for (int i = 0; i < agenda->count; i++)
            agenda->shares[i].stretch = 1;
    }
}

int agenda_stretched(const struct agenda *agenda)
{
    int count = 0;
    for (int i = 0; i < agenda->count; i++)
        count += agenda->shares[i].stretch > 1 ? 1 : 0;
    return count;
}

// ---- what is next -------------------------------------------------------------------------------

// Why a due time that has come will not be asked; WHY_NONE when it may be.
static uint16_t miss_reason(const struct agenda *agenda, const struct agenda_entry *entry,
                            int64_t wall_ms, int64_t boot_ms)
{
    bool doubted = entry->probe.misses > 0;
    if (entry->next_ms <= wall_ms)
        return doubted ? entry->why : WHY_OVERLOAD;
    if (probe_is_silent(&entry->probe, agenda->retries) && entry->probe.at_ms > boot_ms)
        return entry->why;
    return entry->dropped && !doubted ? WHY_OVERLOAD : WHY_NONE;
}

// What a look through the entries finds.
struct found {
    struct agenda_entry *poll;  // due, by deadline
    struct agenda_entry *probe; // whose time has come, the one that has waited longest
    struct agenda_entry *look;
    int64_t due_ms;   // wall clock: the next due time
    int64_t ask_ms;   // wall clock: the next one of a meter that answers
    int64_t probe_ms; // boot clock: the next probe
};

static bool goes_before(const struct agenda *agenda, const struct agenda_entry *a,
                        const struct agenda_entry *b)
{
    int priority = agenda->shares[a - agenda->entries].priority;
    int other = agenda->shares[b - agenda->entries].priority;
    if (agenda->overloaded && priority != other)
        return priority > other;
    if (a->deadline_ms != b->deadline_ms)
        return a->deadline_ms < b->deadline_ms;
    if (priority != other)
        return priority > other;
    return a->next_ms < b->next_ms; // at one boundary, the shorter interval
}

static void look_at(const struct agenda *agenda, struct agenda_entry *entry, int64_t wall_ms,
                    int64_t boot_ms, struct found *found)
{
    bool doubted = entry->probe.misses > 0;
    bool due = entry->due.at_ms <= wall_ms;
    if (!due && entry->due.at_ms < found->due_ms)
        found->due_ms = entry->due.at_ms;
    if (doubted) {
        if (entry->probe.at_ms > boot_ms)
            found->probe_ms =
                entry->probe.at_ms < found->probe_ms ? entry->probe.at_ms : found->probe_ms;
        else if (found->probe == NULL || entry->probe.at_ms < found->probe->probe.at_ms)
            found->probe = entry;
    } else if (due) {
        if (found->poll == NULL || goes_before(agenda, entry, found->poll))
            found->poll = entry;
    } else {
        found->ask_ms = entry->due.at_ms < found->ask_ms ? entry->due.at_ms : found->ask_ms;
        if (!entry->seen && found->look == NULL && entry->due.at_ms - wall_ms > AGENDA_LOOK_MS)
            found->look = entry;
    }
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// From when on a probe may delay a poll.
static int64_t impatient_ms(const struct agenda *agenda, const struct agenda_entry *entry)
{
    return most(probe_impatient_ms(&entry->probe), agenda->calm_ms);
}

// Whether a probe may have the link now: where it delays no poll, or when it has waited for long
// enough and the last lost request is long past.
static bool probe_may(const struct agenda *agenda, const struct found *found, int64_t wall_ms,
                      int64_t boot_ms)
{
    if (found->probe == NULL)
        return false;
    bool gap = found->poll == NULL && found->ask_ms - wall_ms >= agenda->timeout_ms;
    return gap || boot_ms >= impatient_ms(agenda, found->probe);
}

static struct turn ask(const struct agenda *agenda, const struct agenda_entry *entry,
                       int64_t wall_ms)
{
    return (struct turn){.kind = TURN_ASK,
                         .entry = (int)(entry - agenda->entries),
                         .due_ms = entry->due.at_ms <= wall_ms ? entry->due.at_ms : 0};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct turn wait_for(const struct found *found, const struct agenda *agenda, int64_t wall_ms,
                            int64_t boot_ms)
{
    int64_t wait_ms = INT64_MAX;
    if (found->due_ms != INT64_MAX)
        wait_ms = found->due_ms - wall_ms;
    if (found->probe_ms != INT64_MAX)
        wait_ms = least(wait_ms, found->probe_ms - boot_ms);
    if (found->probe != NULL)
        wait_ms = least(wait_ms, impatient_ms(agenda, found->probe) - boot_ms);
    return (struct turn){.kind = TURN_WAIT, .wait_ms = wait_ms};
}

struct turn agenda_next(struct agenda *agenda, int64_t wall_ms, int64_t boot_ms)
{
    if (boot_ms >= agenda->judge_at_ms)
        judge_load(agenda, boot_ms);
    struct found found = {.due_ms = INT64_MAX, .ask_ms = INT64_MAX, .probe_ms = INT64_MAX};
    for (int i = 0; i < agenda->count; i++) {
        struct agenda_entry *entry = &agenda->entries[i];
        if (entry->due.at_ms <= wall_ms) {
            if (wall_ms - entry->next_ms > AGENDA_STALL_MS)
                set_due(agenda, entry, schedule_due(&entry->schedule, agenda->calendar, wall_ms));
            uint16_t why = entry->due.at_ms <= wall_ms
                               ? miss_reason(agenda, entry, wall_ms, boot_ms)
                               : (uint16_t)WHY_NONE;
            if (why != WHY_NONE) {
                struct turn turn = {TURN_MISS, i, entry->due.at_ms, why, 0};
                entry->owed = !entry->dropped;
                advance(agenda, entry);
                return turn;
            }
        }
        look_at(agenda, entry, wall_ms, boot_ms, &found);
    }
    if (probe_may(agenda, &found, wall_ms, boot_ms))
        return ask(agenda, found.probe, wall_ms);
    if (found.poll != NULL)
        return ask(agenda, found.poll, wall_ms);
    if (found.look != NULL)
        return ask(agenda, found.look, wall_ms);
    return wait_for(&found, agenda, wall_ms, boot_ms);
}

// ---- what became of it --------------------------------------------------------------------------

static void hasten_all(struct agenda *agenda, int64_t boot_ms)
{
    for (int i = 0; i < agenda->count; i++)
        probe_hasten(&agenda->entries[i].probe, boot_ms);
}

void agenda_link_back(struct agenda *agenda, int64_t boot_ms)
{
    hasten_all(agenda, boot_ms);
    for (int i = 0; i < agenda->count; i++)
        agenda->entries[i].seen = false;
}

// A meter answers: when it is the first of a link that was all silent, the others may be back too.
static void note_answer(struct agenda *agenda, struct agenda_entry *entry, int64_t took_us,
                        int64_t boot_ms)
{
    bool all_silent = true;
    for (int i = 0; i < agenda->count && all_silent; i++)
        all_silent = agenda->entries[i].probe.misses > 0;
    entry->probe = (struct probe){0};
    if (all_silent)
        hasten_all(agenda, boot_ms);
    int64_t *service_us = &agenda->shares[entry - agenda->entries].service_us;
    *service_us += *service_us == 0 ? took_us : (took_us - *service_us) / SERVICE_SMOOTHING;
}

// Nothing came. True when it was the last attempt.
static bool note_silence(struct agenda *agenda, struct agenda_entry *entry,
                         const struct outcome *outcome, int64_t boot_ms)
{
    entry->why = outcome->why;
    if (outcome->asked || entry->probe.misses <= agenda->retries)
        probe_missed(&entry->probe, agenda->retries, agenda->retry_ms, boot_ms);
    else
        probe_put_off(&entry->probe, boot_ms);
    return probe_is_silent(&entry->probe, agenda->retries);
}

bool agenda_done(struct agenda *agenda, const struct turn *turn, const struct outcome *outcome,
                 int64_t boot_ms)
{
    struct agenda_entry *entry = &agenda->entries[turn->entry];
    bool last = true;
    entry->seen = true;
    entry->owed = false;
    if (outcome->asked && !outcome->answered && !outcome->link_down)
        agenda->calm_ms = boot_ms + CALM_TIMEOUTS * agenda->timeout_ms;
    if (outcome->answered)
        note_answer(agenda, entry, outcome->took_us, boot_ms);
    else if (!outcome->link_down)
        last = note_silence(agenda, entry, outcome, boot_ms);
    else if (entry->probe.misses > 0)
        probe_put_off(&entry->probe, boot_ms);
    if (last && turn->due_ms != 0)
        advance(agenda, entry);
    return last && turn->due_ms != 0;
}
