#include "poll/refusal.h"

bool refusal_is_of_registers(uint16_t why)
{
    return why >= WHY_EXCEPTION + 1 && why <= WHY_EXCEPTION + 3;
}

void refusals_add_join(struct refusals *refusals, struct refused_join join)
{
    for (int i = 0; i < refusals->join_count; i++) {
        const struct refused_join *known = &refusals->joins[i];
        if (known->function == join.function && known->register_size == join.register_size &&
            known->at == join.at)
            return;
    }
    if (refusals->join_count < REFUSED_JOINS_MAX)
        refusals->joins[refusals->join_count++] = join;
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
