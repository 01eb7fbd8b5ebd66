// Until the parts that these belong to are here: just enough of each for the store's own tests.
#ifndef METERGATE_TESTS_UNIT_STORE_DOUBLES_H
#define METERGATE_TESTS_UNIT_STORE_DOUBLES_H

#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#define DOUBLE __attribute__((weak))

DOUBLE int profile_load_text(const char *path, const char *text, size_t length,
                             struct profile **out, struct faults *faults)
{
    (void)path;
    (void)faults;
    static const struct {
        const char *name;
        struct field field;
    } channels[] = {
        {"volume_base", {.place = 0, .words = 3, .type = RAW_BCD}},
        {"flow_base", {.place = 3, .words = 2, .type = RAW_F32}},
        {"pressure", {.place = 5, .words = 2, .type = RAW_F32}},
    };
    struct profile *profile = calloc(1, sizeof *profile);
    if (profile == NULL || (profile->source = strndup(text, length)) == NULL) {
        abort();
    }
    strcpy(profile->name, "test");
    for (uint8_t i = 0; i < 3; i++) {
        profile->fields[i] = channels[i].field;
        profile->channels[i] = (struct profile_channel){
            .channel = channel_find(channels[i].name),
            .part_count = 1,
            .parts = {{.field = i, .scale = {.mantissa = 1}, .scale_field = -1}},
            .conversion = {.factor = {.mantissa = 1}}};
    }
    profile->field_count = profile->channel_count = 3;
    profile->word_count = 7;
    *out = profile;
    return 0;
}

DOUBLE void profile_free(struct profile *profile)
{
    free(profile->source);
    free(profile);
}

DOUBLE int profile_set_unit(struct profile *profile, int channel, const char *unit, struct err *err)
{
    (void)err;
    strcpy(profile->channels[channel].unit, unit);
    return 0;
}

DOUBLE int profile_channel_find(const struct profile *profile, const char *name)
{
    for (int i = 0; i < profile->channel_count; i++) {
        if (strcmp(profile->channels[i].channel->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

DOUBLE void image_decode(const struct profile *profile, const struct image *image, bool unverified,
                         struct value *values)
{
    for (int i = 0; i < profile->channel_count; i++) {
        const struct field *field = &profile->fields[i];
        values[i] = (struct value){.why = image->why[i],
                                   .present = image->why[i] == 0,
                                   .quality = image->why[i] != 0 ? QUALITY_MISSING
                                              : unverified       ? QUALITY_SUSPECT
                                                                 : QUALITY_GOOD};
        for (int word = 0; image->why[i] == 0 && word < field->words; word++) {
            values[i].micro = values[i].micro * 65536 + image->words[field->place + word];
        }
    }
}

static inline uint64_t double_sum(const struct period *period)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof *period; i++) {
        sum = (sum ^ ((const uint8_t *)period)[i]) * UINT64_C(1099511628211);
    }
    return sum;
}

DOUBLE void period_encode(const struct period *period, struct buf *out)
{
    uint64_t sum = double_sum(period);
    buf_add(out, &sum, sizeof sum);
    buf_add(out, period, sizeof *period);
}

DOUBLE int period_decode(const void *bytes, size_t length, struct period *out)
{
    uint64_t sum;
    if (length != sizeof sum + sizeof *out) {
        return -1;
    }
    memcpy(&sum, bytes, sizeof sum);
    memcpy(out, (const char *)bytes + sizeof sum, sizeof *out);
    return sum == double_sum(out) ? 0 : -1;
}

DOUBLE const char *alert_kind_text(enum alert_kind kind)
{
    return kind == ALERT_NO_ANSWER ? "no-answer" : "other";
}

#endif
