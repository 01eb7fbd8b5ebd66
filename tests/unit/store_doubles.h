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
        uint16_t place;
        uint8_t words;
    } fields[] = {{"volume_base", 0, 3}, {"flow_base", 3, 2}, {"pressure", 5, 2}};
    struct profile *profile = calloc(1, sizeof *profile);
    if (profile == NULL || (profile->source = strndup(text, length)) == NULL) {
        abort();
    }
    strcpy(profile->name, "test");
    for (int i = 0; i < 3; i++) {
        profile->fields[i] = (struct field){.words = fields[i].words, .place = fields[i].place};
        profile->channels[i].channel = channel_find(fields[i].name);
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

DOUBLE void period_encode(const struct period *period, struct buf *out)
{
    buf_add(out, period, sizeof *period);
}

DOUBLE int period_decode(const void *bytes, size_t length, struct period *out)
{
    if (length != sizeof *out) {
        return -1;
    }
    memcpy(out, bytes, length);
    return 0;
}

DOUBLE const char *alert_kind_text(enum alert_kind kind)
{
    return kind == ALERT_NO_ANSWER ? "no-answer" : "other";
}

#endif
