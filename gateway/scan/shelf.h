// The profiles that a scan tries: all that can be found by name.
#ifndef METERGATE_SCAN_SHELF_H
#define METERGATE_SCAN_SHELF_H

#include "config/config.h"
#include "scan/unit.h"

struct scan_shelf {
    int count;
    struct scan_candidate candidates[SCAN_PROFILES_MAX];
};

// Loads them and plans their requests for a link. One that is broken is left out and named in
// `skipped` (NULL: nobody wants to know). NULL when memory is short or there is none at all.
struct scan_shelf *scan_shelf_new(const struct config_search *search, const struct link_url *url,
                                  void (*skipped)(const char *name, const char *why),
                                  struct err *err);
void scan_shelf_free(struct scan_shelf *shelf); // NULL is fine

// The settings to try with these profiles, narrowed to what is wanted (0: any).
void scan_shelf_settings(const struct scan_shelf *shelf, const struct scan_setting *wanted,
                         struct scan_settings *out);

#endif
