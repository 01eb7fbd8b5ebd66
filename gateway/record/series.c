#include "record/series.h"

#include "config/config.h"

#include <string.h>

void series_init(struct series *series, const char *serial)
{
    *series = (struct series){.rested = true};
    (void)strncpy(series->serial, serial, sizeof series->serial - 1);
}

static bool has_identity(const struct reading *reading, const struct value **out)
{
    const struct profile *profile = reading->meter->profile;
    for (int i = 0; i < profile->channel_count; i++) {
        if (profile->channels[i].channel->kind == CHANNEL_IDENTITY) {
            *out = &reading->values[i];
            return true;
        }
    }
    return false;
}

const char *series_serial(const struct reading *reading)
{
    const struct value *value = NULL;
    return has_identity(reading, &value) && value_is_usable(value) ? value->text : NULL;
}

static bool confirm(struct series *series, const char *serial)
{
    if (strcmp(series->candidate, serial) != 0) {
        memset(series->candidate, 0, sizeof series->candidate);
        (void)strncpy(series->candidate, serial, sizeof series->candidate - 1);
        series->candidate_reads = 0;
    }
    if (++series->candidate_reads < SERIES_CONFIRM_READS)
        return false;
    memcpy(series->serial, series->candidate, sizeof series->serial);
    series->candidate_reads = 0;
    series->rested = false;
    return true;
}

enum series_verdict series_judge(struct series *series, const struct reading *reading)
{
    const struct value *value = NULL;
    if (!has_identity(reading, &value))
        return SERIES_SAME;
    if (!reading->answered) {
        series->rested = true;
        return SERIES_SAME; // there are no values to doubt
    }
    bool known = series->serial[0] != '\0';
    if (!value_is_usable(value)) {
        bool doubt = known && (series->rested || series->candidate_reads > 0);
        return doubt ? SERIES_DOUBT : SERIES_SAME;
    }
    if (known && strcmp(series->serial, value->text) == 0) {
        series->rested = false;
        series->candidate_reads = 0;
        return SERIES_SAME;
    }
    bool confirmed = confirm(series, value->text);
    if (known)
        return confirmed ? SERIES_BEGINS : SERIES_DOUBT;
    return confirmed ? SERIES_LEARNT : SERIES_SAME;
}
