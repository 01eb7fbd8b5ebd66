// What the parts of building a profile share. Of profile_build.c and profile_archive.c alone.
#ifndef METERGATE_CONFIG_PROFILE_BUILD_H
#define METERGATE_CONFIG_PROFILE_BUILD_H

#include "config/profile_file.h"

struct build {
    const struct load *load;
    const struct profile_draft *draft;
    struct profile *profile;
};

#define TELL(build, ...) fault_at((build)->load->faults, (build)->load->document->file, __VA_ARGS__)
#define TELL_KEY(build, ...)                                                                       \
    fault_at_key((build)->load->faults, (build)->load->document->file, __VA_ARGS__)
#define TELL_MISSING(build, ...)                                                                   \
    fault_missing((build)->load->faults, (build)->load->document->file, __VA_ARGS__)

// The value of a key where there is one, else the map itself: the place to point at.
static inline const struct node *place_of(const struct node *map, const char *key)
{
    const struct node *child = node_find(map, key);
    return child != NULL ? child : map;
}

// Whether an order (index in order_names, -1 without) is right for that many registers; fills enum
// word_order. -1 when it is not, then told.
int order_take(struct build *build, const struct node *map, int order, int words, bool is_text,
               uint8_t *out);

// Fills unit and conversion; told at `map` when the unit is missing or does not fit.
void unit_take(struct build *build, const struct node *map, const struct channel *channel,
               const char *unit, bool config_allowed, char out[static 16],
               struct unit_conversion *conversion);

// The archives, once the channels are there.
void archives_take(struct build *build);

#endif
