#include "scan/shelf.h"

#include "config/profile_list.h"

#include <stdlib.h>
#include <string.h>

static void add(struct scan_shelf *shelf, const char *name, const struct config_search *search,
                const struct link_url *url, struct faults *faults,
                void (*skipped)(const char *name, const char *why))
{
    struct profile *profile = NULL;
    if (profile_load(name, NULL, search, &profile, faults) != 0) {
        if (skipped != NULL)
            skipped(name, faults->list[0].message);
        return;
    }
    struct link_cost cost;
    link_cost_of(url, profile->limits.pause_ms, &cost);
    struct plan *plan = plan_new(profile, &cost);
    if (plan == NULL) {
        profile_free(profile);
        return;
    }
    shelf->candidates[shelf->count++] = (struct scan_candidate){profile, plan};
}

// Registers of four bytes last: a reply with other ones costs a silence.
static int compare(const void *a, const void *b)
{
    const struct profile *left = ((const struct scan_candidate *)a)->profile;
    const struct profile *right = ((const struct scan_candidate *)b)->profile;
    if (left->limits.register_size != right->limits.register_size)
        return left->limits.register_size - right->limits.register_size;
    return strcmp(left->name, right->name);
}

struct scan_shelf *scan_shelf_new(const struct config_search *search, const struct link_url *url,
                                  void (*skipped)(const char *name, const char *why),
                                  struct err *err)
{
    struct scan_shelf *shelf = calloc(1, sizeof *shelf);
    struct profile_list *list = calloc(1, sizeof *list);
    struct faults *faults = calloc(1, sizeof *faults);
    if (shelf == NULL || list == NULL || faults == NULL) {
        (void)err_set(err, "there is not enough memory for the profiles");
    } else {
        profile_list_make(search, list);
        for (int i = 0; i < list->count && shelf->count < SCAN_PROFILES_MAX; i++)
            add(shelf, list->names[i], search, url, faults, skipped);
        qsort(shelf->candidates, (size_t)shelf->count, sizeof shelf->candidates[0], compare);
        if (shelf->count == 0)
            (void)err_set(err, "there is no profile to try: name their folder with --profiles DIR");
    }
    free(faults);
    free(list);
    if (shelf != NULL && shelf->count > 0)
        return shelf;
    scan_shelf_free(shelf);
    return NULL;
}

void scan_shelf_free(struct scan_shelf *shelf)
{
    for (int i = 0; shelf != NULL && i < shelf->count; i++) {
        free(shelf->candidates[i].plan);
        profile_free((struct profile *)shelf->candidates[i].profile);
    }
    free(shelf);
}

void scan_shelf_settings(const struct scan_shelf *shelf, const struct scan_setting *wanted,
                         struct scan_settings *out)
{
    const struct profile *profiles[SCAN_PROFILES_MAX];
    for (int i = 0; i < shelf->count; i++)
        profiles[i] = shelf->candidates[i].profile;
    scan_settings_all(profiles, shelf->count, out);
    scan_settings_keep(out, wanted);
}
