#include "record/downtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOPPED "stopped_ms" // setting: when the gateway was last stopped

// Since when nothing is known, before this start: a clean stop says when; else since the newest
// reading that was kept, or since there are meters.
static int begin_find(struct store *store, struct outage *out, struct err *err)
{
    char clean[8] = "";
    char text[32] = "";
    int64_t newest;
    int64_t last;
    if (store_setting_get(store, "clean_stop", clean, sizeof clean, err) < 0 ||
        store_setting_get(store, STOPPED, text, sizeof text, err) < 0 ||
        store_reading_newest(store, &newest, err) != 0 || store_outage_last(store, &last, err) != 0)
        return -1;
    bool stopped = strcmp(clean, "yes") == 0 && text[0] != '\0';
    out->why = stopped ? WHY_GATEWAY_STOPPED : WHY_GATEWAY_DOWN;
    out->from_ms = stopped ? strtoll(text, NULL, 10) : newest;
    if (!stopped && last > newest)
        out->from_ms = last; // nothing was kept since the start before
    if (out->from_ms > 0)
        return 0;
    return store_meters_since(store, &out->from_ms, err);
}

int downtime_begin(struct store *store, int64_t started_ms, struct err *err)
{
    struct outage outage = {.to_ms = started_ms};
    if (begin_find(store, &outage, err) != 0)
        return -1;
    return outage.from_ms > 0 ? store_outage_add(store, 0, &outage, err) : 0;
}

int downtime_stop(struct store *store, int64_t now_ms, struct err *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, now_ms);
    return store_setting_put(store, STOPPED, text, err);
}
