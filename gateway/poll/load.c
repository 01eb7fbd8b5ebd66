#include "poll/load.h"

#include "poll/plan.h"

#include <stdlib.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

void load_cost_of(const struct config_link *link, const struct meter *meter, struct link_cost *out)
{
    int meter_ms = meter->profile->limits.pause_ms;
    link_cost_of(&link->url, meter_ms > link->pause_ms ? meter_ms : link->pause_ms, out);
}

int load_of_meter(const struct config_link *link, const struct meter *meter, struct meter_load *out)
{
    struct link_cost cost;
    load_cost_of(link, meter, &cost);
    struct plan *plan = plan_new(meter->profile, &cost);
    if (plan == NULL)
        return -1;
    *out = (struct meter_load){.requests = plan->block_count};
    for (int i = 0; i < plan->block_count; i++) {
        struct request request = plan_request(&plan->blocks[i]);
        out->poll_ns += cost_request_ns(&cost, &request);
    }
    free(plan);
    const struct profile_limits *limits = &meter->profile->limits;
    if (limits->wake_request && meter->interval_s >= limits->wake_after_s) {
        out->requests++;
        out->poll_ns += cost.request_ns + limits->wake_wait_ms * NS_PER_MS;
    }
    return 0;
}

static void add_meter(struct link_load *load, int index, const struct meter_load *meter,
                      int64_t interval_ns)
{
    load->meters++;
    load->share += (double)meter->poll_ns / (double)interval_ns;
    if (meter->poll_ns > load->longest_ns) {
        load->longest_ns = meter->poll_ns;
        load->longest = index;
    }
}

// A meter whose own poll and one that has just begun do not both fit into its interval.
static void find_late(const struct config *config, const struct config_link *link,
                      struct link_load *load)
{
    for (int i = 0; i < config->meter_count && load->late < 0; i++) {
        const struct meter *meter = &config->meters[i];
        struct meter_load own;
        if (&config->links[meter->link] == link && i != load->longest &&
            load_of_meter(link, meter, &own) == 0 &&
            load->longest_ns + own.poll_ns > meter->interval_s * NS_PER_S)
            load->late = i;
    }
}

static int sum_up(const struct config *config, int index, const struct config_link *link,
                  struct link_load *out)
{
    struct link_load load = {.longest = -1, .late = -1};
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        struct meter_load one;
        if (meter->link != index)
            continue;
        if (load_of_meter(link, meter, &one) != 0)
            return -1;
        add_meter(&load, i, &one, meter->interval_s * NS_PER_S);
    }
    *out = load;
    return 0;
}

int load_of_link(const struct config *config, int link, struct link_load *out)
{
    if (sum_up(config, link, &config->links[link], out) != 0)
        return -1;
    find_late(config, &config->links[link], out);
    return 0;
}

int load_baud_needed(const struct config *config, int link, double share)
{
    static const int bauds[] = {300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200};
    struct config_link other = config->links[link];
    for (size_t i = 0; i < sizeof bauds / sizeof bauds[0]; i++) {
        struct link_load load;
        other.url.baud = bauds[i];
        if (sum_up(config, link, &other, &load) == 0 && load.share <= share)
            return bauds[i];
    }
    return 0;
}
