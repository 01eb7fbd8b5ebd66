// Finding out what a unit is: which requests tell the profiles apart, and what they say. It asks
// for each register once for all profiles, first for a small part of a block (a meter that refuses
// it would refuse the block), then for the block. Pure: requests out, replies in.
#ifndef METERGATE_SCAN_UNIT_H
#define METERGATE_SCAN_UNIT_H

#include "poll/plan.h"
#include "scan/fit.h"

#define SCAN_PROFILES_MAX 128 // further ones are not tried
#define SCAN_FITS_MAX 3       // profiles that are named for a unit, read twice and judged again
#define SCAN_SILENT_MAX 3 // requests of a function without any answer: the meter does not know it

// A profile and how it is read; made once for all units.
struct scan_candidate {
    const struct profile *profile;
    struct plan *plan;
};

// What a unit turned out to be.
struct scan_result {
    int fit_count;
    struct scan_fit fits[SCAN_FITS_MAX];       // best first
    int value_count;                           // of the best one's channels
    struct value values[PROFILE_CHANNELS_MAX]; // its second reading
    int requests, answers;
};

enum scan_next {
    SCAN_NEXT_ASK,  // send the request and hand in what came of it
    SCAN_NEXT_WORK, // nothing to send; call again
    SCAN_NEXT_DONE,
};

struct scan_unit;
// NULL when memory is short. The candidates must outlive it.
struct scan_unit *scan_unit_new(int unit, const struct scan_setting *setting,
                                const struct scan_candidate *candidates, int count);
void scan_unit_free(struct scan_unit *unit); // NULL is fine

enum scan_next scan_unit_next(struct scan_unit *unit, struct request *request);
void scan_unit_take(struct scan_unit *unit, const struct request *request,
                    const struct reply *reply);
// Where a late reply could be taken for the answer to a request: a longer one that holds it, if
// there is one, and whether it may be asked in two before register `at` (no value is cut).
bool scan_unit_wider(const struct scan_unit *unit, const struct request *request,
                     struct request *wider);
bool scan_unit_may_cut(const struct scan_unit *unit, const struct request *request, int at);
// After SCAN_NEXT_DONE.
const struct scan_result *scan_unit_result(const struct scan_unit *unit);

#endif
