#include "report/energy.h"

#include "base/decimal.h"

__extension__ typedef __int128 wide;

int energy_heating_value(const struct conversion_input *input, double heating_value_mj_m3,
                         double metering_c, int64_t *micro_mj_m3, struct err *err)
{
    struct conversion conversion;
    struct conversion_result metered; // of a m3 that the value refers to
    const struct decimal one = {.mantissa = 1};
    int64_t value;
    if (conversion_init(&conversion, input, err) != 0 ||
        conversion_at(&conversion, 101.325, metering_c, &metered, err) != 0)
        return -1;
    if (micro_from_double(heating_value_mj_m3 / metered.factor, one, &value) != 0)
        return err_set(err, "the heating value has no room");
    *micro_mj_m3 = value;
    return 0;
}

bool energy_of(int64_t volume_micro, int64_t micro_mj_m3, int64_t *micro_mj)
{
    wide product = (wide)volume_micro * micro_mj_m3;
    bool negative = product < 0;
    if (negative)
        product = -product;
    wide whole = product / MICRO_PER_UNIT;
    wide twice = 2 * (product % MICRO_PER_UNIT);
    whole += twice > MICRO_PER_UNIT || (twice == MICRO_PER_UNIT && whole % 2 != 0);
    if (whole >= MICRO_LIMIT)
        return false;
    *micro_mj = negative ? -(int64_t)whole : (int64_t)whole;
    return true;
}
