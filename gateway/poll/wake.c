// Meters that sleep.
#include "poll/ask.h"

#define NS_PER_S INT64_C(1000000000)

static bool is_shape_of_plan(const struct plan *plan, const struct request *request)
{
    for (int i = 0; i < plan->block_count; i++) {
        struct request planned = plan_request(&plan->blocks[i]);
        if (planned.function == request->function &&
            frame_data_size(&planned) == frame_data_size(request))
            return true;
    }
    return false;
}

// A request of a shape that the plan has not, nor one whose reply may still come: a late reply to
// it can then be taken for nothing else.
static struct request wake_request(const struct pass *pass)
{
    struct request request = plan_request(&pass->plan->blocks[0]);
    int most = pass->meter->profile->limits.max_registers;
    request.unit = (uint8_t)pass->meter->unit;
    request.count = 1;
    while ((is_shape_of_plan(pass->plan, &request) || !wire_may_ask(pass->wire, &request)) &&
           request.count < most && request.first + request.count <= UINT16_MAX)
        request.count++;
    return request;
}

void wake_meter(struct pass *pass, int64_t answered_ns)
{
    const struct profile_limits *limits = &pass->meter->profile->limits;
    int64_t start_ns = clock_boot_ns(pass->clock);
    bool rested = answered_ns == 0 || start_ns - answered_ns >= limits->wake_after_s * NS_PER_S;
    bool was_open = wire_is_open(pass->wire);
    struct err err;
    if (!limits->wake_request || !rested || pass->plan->block_count == 0 ||
        wire_open(pass->wire, &err) != 0)
        return;
    struct request request = wake_request(pass);
    pass->counters->reconnects += was_open ? 0 : 1;
    // A lost one is no doubt: its late answer may be one exception, and narrow.c believes none that
    // is said once. Else a meter that always sleeps would never show which registers it refuses.
    (void)wire_wake(pass->wire, &request, limits->wake_wait_ms);
    pass->counters->busy_us += (clock_boot_ns(pass->clock) - start_ns) / 1000;
}
