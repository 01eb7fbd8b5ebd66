// The profiles of a configuration's meters: each file is read once, meters that read alike share
// one.
#include "config/config_check.h"

#include "config/profile_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELL(profiles, ...)                                                                        \
    fault_at((profiles)->load->faults, (profiles)->load->document->file, __VA_ARGS__)

// A file that was sought, with what came of it.
struct source {
    char name[CONFIG_PATH_MAX]; // as the meters write it
    int profile;                // index in config.profiles, -1 when it is broken
};

struct profiles {
    const struct load *load;
    const char *path;
    const struct config_search *search;
    struct config *config;
    struct source *sources;
    int source_count;
};

// Takes over a profile. Its index, -1 when memory is short.
static int keep(struct profiles *profiles, struct profile *profile)
{
    struct config *config = profiles->config;
    size_t size = ((size_t)config->profile_count + 1) * sizeof(struct profile *);
    struct profile **grown = realloc(config->profiles, size);
    if (grown == NULL) {
        profile_free(profile);
        return -1;
    }
    config->profiles = grown;
    grown[config->profile_count] = profile;
    return config->profile_count++;
}

// Reads a profile's file; told at `node` when it cannot be used.
static int read_source(struct profiles *profiles, const struct node *node, const char *name)
{
    struct faults *faults = profiles->load->faults;
    char path[CONFIG_PATH_MAX];
    struct err err;
    if (profile_seek(name, profiles->path, profiles->search, path, &err) != 0) {
        TELL(profiles, node, "%s", err.text);
        return -1;
    }
    int before = faults->count;
    struct profile *profile = NULL;
    if (profile_read(path, &profile, faults) != 0) {
        TELL(profiles, node, "the profile %.120s cannot be used: it has %d fault%s", path,
             faults->count - before, faults->count - before == 1 ? "" : "s");
        return -1;
    }
    int index = keep(profiles, profile);
    if (index < 0)
        TELL(profiles, node, "there is not enough memory");
    return index;
}

static int find_source(struct profiles *profiles, const struct node *node, const char *name)
{
    for (int i = 0; i < profiles->source_count; i++) {
        if (strcmp(profiles->sources[i].name, name) == 0) {
            if (profiles->sources[i].profile < 0)
                TELL(profiles, node, "the profile '%.60s' cannot be used, as told above", name);
            return profiles->sources[i].profile;
        }
    }
    struct source *source = &profiles->sources[profiles->source_count++];
    (void)snprintf(source->name, sizeof source->name, "%s", name);
    source->profile = read_source(profiles, node, name);
    return source->profile;
}

// ---- units and word order -----------------------------------------------------------------------

// Fills meter->units from the entry; false when one is wrong, then told.
static bool take_units(struct profiles *profiles, struct meter_entry *entry,
                       const struct profile *profile)
{
    const struct item *items = entry->units.items;
    bool right = true;
    for (int i = 0; i < entry->units.count; i++) {
        int channel = profile_channel_find(profile, items[i].node->key);
        if (channel < 0) {
            fault_at_key(profiles->load->faults, profiles->load->document->file, items[i].node,
                         "the profile %s has no channel '%s'", profile->name, items[i].node->key);
            right = false;
            continue;
        }
        memcpy(entry->meter.units[channel], items[i].text, sizeof entry->meter.units[0]);
    }
    return right;
}

// Tells which units are missing.
static bool has_all_units(struct profiles *profiles, const struct meter_entry *entry,
                          const struct profile *profile)
{
    char missing[160] = "";
    size_t length = 0;
    for (int i = 0; i < profile->channel_count && length < sizeof missing; i++) {
        if (strcmp(profile->channels[i].unit, "config") == 0 && entry->meter.units[i][0] == '\0') {
            int added = snprintf(missing + length, sizeof missing - length, "%s%s",
                                 length > 0 ? ", " : "", profile->channels[i].channel->name);
            length += added > 0 ? (size_t)added : 0;
        }
    }
    const struct node *given = node_find(entry->node, "units");
    bool read = given == NULL || (given->kind == NODE_MAP && given->count == entry->units.count);
    if (length > 0 && read) {
        fault_missing(profiles->load->faults, profiles->load->document->file, entry->node, "units",
                      "the profile %s needs the unit that is set in the meter, as units: {CHANNEL: "
                      "UNIT}; missing: %s",
                      profile->name, missing);
    }
    return length == 0 && read;
}

// Sets the meter's units in a profile of its own.
static void set_units(struct profiles *profiles, const struct meter_entry *entry,
                      struct profile *profile)
{
    const struct item *items = entry->units.items;
    for (int i = 0; i < entry->units.count; i++) {
        struct err err;
        int channel = profile_channel_find(profile, items[i].node->key);
        if (profile_set_unit(profile, channel, items[i].text, &err) != 0)
            TELL(profiles, items[i].node, "%s", err.text);
    }
}

// Sets the meter's order of bytes in a profile of its own.
static void set_word_order(struct profiles *profiles, const struct meter_entry *entry,
                           struct profile *profile)
{
    if (entry->word_order >= 0 &&
        !profile_set_word_order(profile, (enum word_order)entry->word_order)) {
        TELL(profiles, node_find(entry->node, "word_order"),
             "the profile %s has no number of two or four registers; leave word_order out",
             profile->name);
    }
}

// The profile of an earlier meter with the same name, units and word order, NULL without one.
static struct profile *find_alike(const struct draft *draft, const struct meter_entry *entry)
{
    const struct meter_entry *meters = draft->meters.items;
    for (const struct meter_entry *other = meters; other < entry; other++)
        if (other->meter.profile != NULL &&
            strcmp(other->meter.profile_name, entry->meter.profile_name) == 0 &&
            other->word_order == entry->word_order &&
            memcmp(other->meter.units, entry->meter.units, sizeof entry->meter.units) == 0)
            return other->meter.profile;
    return NULL;
}

static void load_meter(struct profiles *profiles, const struct draft *draft,
                       struct meter_entry *entry)
{
    const struct node *node = node_find(entry->node, "profile");
    if (entry->meter.profile_name[0] == '\0')
        return; // told
    int index = find_source(profiles, node, entry->meter.profile_name);
    if (index < 0)
        return;
    struct profile *profile = profiles->config->profiles[index];
    bool right = take_units(profiles, entry, profile);
    if (entry->word_order >= 0) {
        (void)snprintf(entry->meter.word_order, sizeof entry->meter.word_order, "%s",
                       word_order_names[entry->word_order]);
    }
    entry->meter.unverified = !profile->verified && entry->meter.display_checked[0] == '\0';
    if (!has_all_units(profiles, entry, profile) || !right)
        return;
    struct profile *own = find_alike(draft, entry);
    if (own == NULL && (entry->units.count > 0 || entry->word_order >= 0)) {
        own = profile_copy(profile);
        if (own == NULL || keep(profiles, own) < 0) {
            TELL(profiles, node, "there is not enough memory");
            return;
        }
        set_units(profiles, entry, own);
        set_word_order(profiles, entry, own);
    }
    entry->meter.profile = own != NULL ? own : profile;
}

void config_profiles_load(const struct load *load, struct draft *draft, const char *path,
                          const struct config_search *search)
{
    struct profiles profiles = {load, path, search, &draft->config, NULL, 0};
    struct meter_entry *meters = draft->meters.items;
    size_t most = (size_t)draft->meters.count + 1;
    profiles.sources = document_take(load->document, most * sizeof *profiles.sources);
    if (profiles.sources == NULL) {
        TELL(&profiles, draft->node, "there is not enough memory");
        return;
    }
    for (int i = 0; i < draft->meters.count; i++)
        load_meter(&profiles, draft, &meters[i]);
}
