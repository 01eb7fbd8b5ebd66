#include "scan/unit.h"

#include <stdlib.h>
#include <string.h>

#define NEAR_REGISTERS 16 // registers around a total in which its float is sought
#define ROUNDS_MAX 3      // through all profiles, the further ones for what got lost
#define REFUSED_BLOCKS 2  // of a profile, with none answered: it is not that meter

enum phase { PHASE_ASK, PHASE_FIT, PHASE_NEAR, PHASE_AGAIN, PHASE_REFIT, PHASE_DONE };

struct scan_unit {
    int unit;
    struct scan_setting setting;
    const struct scan_candidate *candidates;
    int count;
    enum phase phase;
    int at;     // candidate, or fit, that the phase has come to
    int rounds; // of PHASE_ASK
    int fit_count;
    struct scan_fit fits[SCAN_PROFILES_MAX];
    struct scan_words words, second;
    struct scan_result result;
};

struct scan_unit *scan_unit_new(int unit, const struct scan_setting *setting,
                                const struct scan_candidate *candidates, int count)
{
    struct scan_unit *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->unit = unit;
    made->setting = *setting;
    made->candidates = candidates;
    made->count = count < SCAN_PROFILES_MAX ? count : SCAN_PROFILES_MAX;
    return made;
}

void scan_unit_free(struct scan_unit *unit)
{
    free(unit);
}

// ---- which request tells more -------------------------------------------------------------------

// A request for registers like a field's.
static struct request request_of(const struct scan_unit *unit, const struct field *field, int first,
                                 int count)
{
    return (struct request){.unit = (uint8_t)unit->unit,
                            .function = field->function,
                            .register_size = field->register_size,
                            .first = (uint16_t)first,
                            .count = (uint16_t)count};
}

static uint16_t find(const struct scan_words *words, const struct request *request)
{
    return scan_words_find(words, request, NULL);
}

// The end of a span of fields that must be read in one request, from field `index` of the plan on.
static int group_end(const struct profile *profile, const struct field *field)
{
    int end = field->first + field_registers(field);
    for (int i = 0; i < profile->together_count; i++) {
        const struct profile_together *group = &profile->together[i];
        if (field->first >= group->first && field->first <= group->last && group->last >= end)
            end = group->last + 1;
    }
    return end;
}

static const struct field *field_at(const struct scan_candidate *candidate,
                                    const struct plan_block *block, int index)
{
    return &candidate->profile->fields[candidate->plan->fields[block->field_first + index]];
}

static struct request first_piece(const struct scan_unit *unit,
                                  const struct scan_candidate *candidate,
                                  const struct plan_block *block)
{
    const struct field *field = field_at(candidate, block, 0);
    int end = group_end(candidate->profile, field);
    return request_of(unit, field, field->first, end - field->first);
}

// The runs of registers without a gap in a block that was refused as a whole. True when one of them
// was not asked for yet.
static bool next_run(const struct scan_unit *unit, const struct scan_candidate *candidate,
                     const struct plan_block *block, struct request *request)
{
    for (int i = 0; i < block->field_count;) {
        const struct field *field = field_at(candidate, block, i);
        int first = field->first;
        int end = first;
        while (i < block->field_count && field_at(candidate, block, i)->first <= end) {
            int field_end = group_end(candidate->profile, field_at(candidate, block, i));
            end = field_end > end ? field_end : end;
            i++;
        }
        *request = request_of(unit, field, first, end - first);
        if (find(&unit->words, request) == SCAN_UNKNOWN)
            return true;
    }
    return false;
}

// A function that nothing came back for.
static bool is_deaf(const struct scan_unit *unit, uint8_t function)
{
    int answered = 0;
    int silent = 0;
    scan_words_count(&unit->words, function, &answered, &silent);
    return answered == 0 && silent >= SCAN_SILENT_MAX;
}

// A meter whose registers have two bytes has said so once: nothing else tells it from one that has
// four.
static bool is_narrow(const struct scan_unit *unit)
{
    for (int i = 0; i < unit->words.asked_count; i++)
        if (unit->words.asked[i].register_size == 4 && unit->words.asked[i].why == WHY_FRAME)
            return true;
    return false;
}

static bool is_worth_asking(const struct scan_unit *unit, const struct request *request)
{
    return !is_deaf(unit, request->function) && (request->register_size != 4 || !is_narrow(unit));
}

// What to ask next for one profile; false when enough is known.
static bool ask_for(const struct scan_unit *unit, const struct scan_candidate *candidate,
                    struct request *request)
{
    int refused = 0;
    int answered = 0;
    for (int i = 0; i < candidate->plan->block_count; i++) {
        const struct plan_block *block = &candidate->plan->blocks[i];
        struct request whole = plan_request(block);
        whole.unit = (uint8_t)unit->unit;
        uint16_t why = find(&unit->words, &whole);
        *request = first_piece(unit, candidate, block);
        uint16_t piece = why == WHY_NONE ? why : find(&unit->words, request);
        if (piece == SCAN_UNKNOWN && is_worth_asking(unit, request))
            return true;
        if (piece != WHY_NONE) {
            if (++refused >= REFUSED_BLOCKS && answered == 0)
                return false;
            continue;
        }
        answered++;
        if (why == SCAN_UNKNOWN) {
            *request = whole;
            return true;
        }
        if (why != WHY_NONE && next_run(unit, candidate, block, request))
            return true;
    }
    return false;
}

// ---- the floats beside a total ------------------------------------------------------------------

static bool ask_span(const struct scan_unit *unit, const struct profile *profile,
                     const struct field *field, int first, int end, struct request *request)
{
    first = first < 0 ? 0 : first;
    int most = profile->limits.max_registers;
    if (end > UINT16_MAX + 1 || end - first < 2 || end - first > most)
        return false;
    *request = request_of(unit, field, first, end - first);
    return find(&unit->words, request) == SCAN_UNKNOWN;
}

static bool ask_near(const struct scan_unit *unit, const struct profile *profile,
                     struct request *request)
{
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        if (channel->channel->kind != CHANNEL_COUNTER || channel->part_count != 1)
            continue;
        const struct field *field = &profile->fields[channel->parts[0].field];
        bool is_float = field->type == RAW_F32 || field->type == RAW_F64;
        if (!is_float && field->function >= 3 && field->register_size != 4 &&
            ask_span(unit, profile, field, field->first - NEAR_REGISTERS, field->first, request))
            return true;
    }
    return false;
}

// ---- the second reading -------------------------------------------------------------------------

// Each block once more, as it was answered before.
static bool ask_again(const struct scan_unit *unit, const struct scan_candidate *candidate,
                      struct request *request)
{
    for (int i = 0; i < candidate->plan->block_count; i++) {
        *request = plan_request(&candidate->plan->blocks[i]);
        request->unit = (uint8_t)unit->unit;
        if (find(&unit->words, request) == WHY_NONE && find(&unit->second, request) == SCAN_UNKNOWN)
            return true;
    }
    return false;
}

// ---- the same in another shape ------------------------------------------------------------------

static const struct scan_candidate *candidate_now(const struct scan_unit *unit)
{
    if (unit->phase == PHASE_ASK)
        return unit->at < unit->count ? &unit->candidates[unit->at] : NULL;
    bool named = unit->phase == PHASE_NEAR || unit->phase == PHASE_AGAIN;
    return named ? &unit->candidates[unit->fits[unit->at].profile] : NULL;
}

bool scan_unit_wider(const struct scan_unit *unit, const struct request *request,
                     struct request *wider)
{
    const struct scan_candidate *candidate = candidate_now(unit);
    for (int i = 0; candidate != NULL && i < candidate->plan->block_count; i++) {
        struct request whole = plan_request(&candidate->plan->blocks[i]);
        if (whole.function == request->function && whole.first <= request->first &&
            whole.first + whole.count >= request->first + request->count &&
            whole.count > request->count) {
            *wider = whole;
            wider->unit = request->unit;
            return find(unit->phase == PHASE_AGAIN ? &unit->second : &unit->words, &whole) ==
                   SCAN_UNKNOWN;
        }
    }
    return false;
}

bool scan_unit_may_cut(const struct scan_unit *unit, const struct request *request, int at)
{
    const struct scan_candidate *candidate = candidate_now(unit);
    if (candidate == NULL)
        return false;
    const struct profile *profile = candidate->profile;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (field->function == request->function && field->first < at &&
            group_end(profile, field) > at)
            return false;
    }
    return true;
}

// ---- phases -------------------------------------------------------------------------------------

static void judge(struct scan_unit *unit, int candidate, bool again, struct scan_fit *fit)
{
    const struct scan_evidence evidence = {
        .words = &unit->words, .second = again ? &unit->second : NULL, .setting = unit->setting};
    fit->profile = candidate;
    scan_fit_make(unit->candidates[candidate].profile, &evidence, fit);
}

static int named_fits(const struct scan_unit *unit)
{
    int count = 0;
    while (count < unit->fit_count && count < SCAN_FITS_MAX && unit->fits[count].bits > 0)
        count++;
    return count;
}

static void next_phase(struct scan_unit *unit)
{
    unit->phase++;
    unit->at = 0;
}

// The values are those of one reading, the newest that is whole.
static void read_values(struct scan_unit *unit)
{
    struct scan_result *result = &unit->result;
    const struct scan_fit *best = &result->fits[0];
    struct profile *profile = scan_fit_profile(unit->candidates[best->profile].profile, best);
    if (profile == NULL)
        return;
    struct image image;
    struct image second;
    scan_image(profile, &unit->words, &image);
    scan_image(profile, &unit->second, &second);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (second.why[i] == WHY_NONE)
            memcpy(image.words + field->place, second.words + field->place,
                   field->words * sizeof image.words[0]);
    }
    image_decode(profile, &image, !profile->verified, result->values);
    result->value_count = profile->channel_count;
    free(profile);
}

static void finish(struct scan_unit *unit)
{
    struct scan_result *result = &unit->result;
    scan_fits_rank(unit->fits, unit->fit_count);
    result->fit_count = named_fits(unit);
    memcpy(result->fits, unit->fits, (size_t)result->fit_count * sizeof result->fits[0]);
    if (result->fit_count > 0)
        read_values(unit);
}

static enum scan_next ask_phase(struct scan_unit *unit, struct request *request)
{
    while (unit->at < unit->count && !unit->words.full) {
        const struct scan_candidate *candidate = &unit->candidates[unit->at];
        if (candidate->plan != NULL && ask_for(unit, candidate, request))
            return SCAN_NEXT_ASK;
        unit->at++;
    }
    unit->at = 0;
    // A meter that says what it does not have means no refusal by silence: what got lost is asked
    // for again.
    bool again = scan_words_refuse(&unit->words) && ++unit->rounds < ROUNDS_MAX &&
                 scan_words_forget_lost(&unit->words);
    if (!again)
        next_phase(unit);
    return SCAN_NEXT_WORK;
}

static enum scan_next fit_phase(struct scan_unit *unit)
{
    if (unit->at < unit->count) {
        struct scan_fit *fit = &unit->fits[unit->fit_count];
        judge(unit, unit->at++, false, fit);
        unit->fit_count += fit->read > 0 ? 1 : 0;
        return SCAN_NEXT_WORK;
    }
    scan_fits_rank(unit->fits, unit->fit_count);
    next_phase(unit);
    return SCAN_NEXT_WORK;
}

static enum scan_next named_phase(struct scan_unit *unit, struct request *request)
{
    for (; unit->at < named_fits(unit) && !unit->words.full && !unit->second.full; unit->at++) {
        const struct scan_candidate *candidate = &unit->candidates[unit->fits[unit->at].profile];
        bool more = unit->phase == PHASE_NEAR ? ask_near(unit, candidate->profile, request)
                                              : ask_again(unit, candidate, request);
        if (more)
            return SCAN_NEXT_ASK;
    }
    next_phase(unit);
    return SCAN_NEXT_WORK;
}

static enum scan_next refit_phase(struct scan_unit *unit)
{
    if (unit->at < named_fits(unit)) {
        judge(unit, unit->fits[unit->at].profile, true, &unit->fits[unit->at]);
        unit->at++;
        return SCAN_NEXT_WORK;
    }
    finish(unit);
    next_phase(unit);
    return SCAN_NEXT_DONE;
}

enum scan_next scan_unit_next(struct scan_unit *unit, struct request *request)
{
    switch (unit->phase) {
    case PHASE_ASK: return ask_phase(unit, request);
    case PHASE_FIT: return fit_phase(unit);
    case PHASE_NEAR:
    case PHASE_AGAIN: return named_phase(unit, request);
    case PHASE_REFIT: return refit_phase(unit);
    default: return SCAN_NEXT_DONE;
    }
}

void scan_unit_take(struct scan_unit *unit, const struct request *request,
                    const struct reply *reply)
{
    struct scan_words *words = unit->phase == PHASE_AGAIN ? &unit->second : &unit->words;
    scan_words_add(words, request, reply);
    unit->result.requests++;
    unit->result.answers += reply->why == WHY_NONE ? 1 : 0;
}

const struct scan_result *scan_unit_result(const struct scan_unit *unit)
{
    return &unit->result;
}
