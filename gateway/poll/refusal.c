#include "poll/refusal.h"

enum refusal_kind refusal_kind_of(uint16_t why)
{
    if (why < WHY_EXCEPTION)
        return REFUSAL_NONE;
    switch (why - WHY_EXCEPTION) {
    case 1:
    case 2:
    case 3: return REFUSAL_REGISTERS;
    case 5:
    case 6: return REFUSAL_BUSY;
    case 10:
    case 11: return REFUSAL_PATH;
    default: return REFUSAL_OTHER;
    }
}

void refusals_add_join(struct refusals *refusals, struct refused_join join)
{
    for (int i = 0; i < refusals->join_count; i++) {
        struct refused_join *known = &refusals->joins[i];
        if (known->function == join.function && known->register_size == join.register_size &&
            known->at == join.at) {
            known->tentative = known->tentative && join.tentative;
            return;
        }
    }
    if (refusals->join_count < REFUSED_JOINS_MAX)
        refusals->joins[refusals->join_count++] = join;
}

bool refusals_drop_tentative(struct refusals *refusals)
{
    int kept = 0;
    for (int i = 0; i < refusals->join_count; i++)
        if (!refusals->joins[i].tentative)
            refusals->joins[kept++] = refusals->joins[i];
    bool any = kept < refusals->join_count;
    refusals->join_count = kept;
    return any;
}

bool refusals_part(const struct refusals *refusals, const struct field *left,
                   const struct field *right)
{
    for (int i = 0; i < refusals->join_count; i++) {
        const struct refused_join *join = &refusals->joins[i];
        if (join->function == left->function && join->register_size == left->register_size &&
            left->first < join->at && right->first >= join->at)
            return true;
    }
    return false;
}

bool refusals_are_all(const struct refusals *refusals, const struct profile *profile)
{
    for (int i = 0; i < profile->field_count; i++)
        if (refusals->why[i] == WHY_NONE)
            return false;
    return true;
}
