// Flow above what the meter is made for.
#include "detect/channels.h"
#include "detect/rules.h"

#include <math.h>
#include <stdio.h>

#define ALARM_FACTOR 1.2
#define CALM_FACTOR 0.95

void over_range_init(struct meter_state *state, const struct meter *meter)
{
    state->flow.measured = channel_place(meter->profile, "flow_measured", CHANNEL_GAUGE);
    state->flow.base = channel_place(meter->profile, "flow_base", CHANNEL_GAUGE);
    state->flow.conversion = channel_place(meter->profile, "conversion_factor", CHANNEL_GAUGE);
}

const char *detect_over_range_off(const struct meter *meter)
{
    struct meter_state state;
    over_range_init(&state, meter);
    if (!(meter->qmax_m3_h > 0))
        return "qmax_m3_h is not set";
    if (state.flow.measured < 0 && (state.flow.base < 0 || state.flow.conversion < 0))
        return "its profile has neither flow_measured nor flow_base with conversion_factor";
    return "";
}

static bool gauge_get(const struct reading *reading, int place, double *out)
{
    if (!channel_is_usable(reading, place))
        return false;
    *out = reading->values[place].number;
    return true;
}

// The flow at line conditions; false when this reading has none.
static bool flow_get(const struct flow_state *flow, const struct reading *reading, double *out)
{
    if (flow->measured >= 0)
        return gauge_get(reading, flow->measured, out);
    double base;
    double factor;
    if (!gauge_get(reading, flow->base, &base) || !gauge_get(reading, flow->conversion, &factor) ||
        !(factor > 0))
        return false;
    *out = base / factor;
    return isfinite(*out);
}

// Follows the runs above and below. `skip`: the peak has seen this reading already.
static void follow(struct meter_state *my, const struct meter *meter, double number, int64_t at_ms,
                   bool skip)
{
    struct flow_state *flow = &my->flow;
    if (flow->last_ms == 0 || at_ms - flow->last_ms > rest_limit_ms(meter))
        flow->above_ms = flow->below_ms = 0;
    flow->last_ms = at_ms;
    if (number > meter->qmax_m3_h) {
        if (flow->above_ms == 0) {
            flow->above_ms = at_ms;
            flow->peak = my->over_range.open ? flow->peak : number;
        }
        flow->peak = number > flow->peak && !skip ? number : flow->peak;
        flow->below_ms = 0;
    } else if (number < CALM_FACTOR * meter->qmax_m3_h) {
        flow->below_ms = flow->below_ms == 0 ? at_ms : flow->below_ms;
        flow->above_ms = 0;
    } else {
        flow->above_ms = flow->below_ms = 0;
    }
}

static struct evidence evidence_of(const struct meter_state *my, const struct meter *meter,
                                   int64_t at_ms)
{
    bool open = my->over_range.open;
    bool alarm = my->over_range.severity == SEVERITY_CRITICAL;
    struct evidence evidence = {.observed = my->flow.peak,
                                .expected_low = (double)NAN,
                                .expected_high = meter->qmax_m3_h,
                                .unit = "m3/h",
                                .from_ms = open ? my->over_range.from_ms : my->flow.above_ms,
                                .to_ms = at_ms};
    const char *source = my->flow.measured >= 0 ? "flow_measured" : "flow_base/conversion_factor";
    char limit[GAUGE_TEXT_MAX];
    (void)gauge_print(alarm ? ALARM_FACTOR * meter->qmax_m3_h : meter->qmax_m3_h, false, limit);
    (void)snprintf(evidence.rule, sizeof evidence.rule,
                   alarm ? "%s > 1.2 x qmax (%.11s m3/h)" : "%s > qmax (%.11s m3/h) for 5 min",
                   source, limit);
    return evidence;
}

static void report(struct detect *detect, int meter, enum alert_state state, int64_t at_ms,
                   const struct outlet *outlet)
{
    struct meter_state *my = &detect->meters[meter];
    const struct meter *configured = &detect->config->meters[meter];
    watch_report(&my->over_range,
                 &(struct change_of){
                     .kind = ALERT_OVER_RANGE,
                     .state = state,
                     .subject = configured->id,
                     .at_ms = at_ms,
                     .evidence = evidence_of(my, configured, at_ms),
                 },
                 outlet);
}

void over_range_feed(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet)
{
    const struct meter *configured = &detect->config->meters[meter];
    struct meter_state *my = &detect->meters[meter];
    struct watch *watch = &my->over_range;
    double number;
    if (detect_over_range_off(configured)[0] != '\0' || !flow_get(&my->flow, reading, &number))
        return;
    int64_t at = reading->at_ms;
    follow(my, configured, number, at, watch_skips(watch, at, outlet));
    if (outlet->changed == NULL)
        return;
    int wanted = 0;
    if (number > ALARM_FACTOR * configured->qmax_m3_h)
        wanted = SEVERITY_CRITICAL;
    else if (my->flow.above_ms != 0 && at - my->flow.above_ms >= OVER_RANGE_HOLD_MS)
        wanted = SEVERITY_MAJOR;
    if (wanted != 0 && (!watch->open || wanted > (int)watch->severity)) {
        watch->severity = (enum alert_severity)wanted;
        report(detect, meter, watch->open ? ALERT_UPDATED : ALERT_OPEN, at, outlet);
    } else if (watch->open && my->flow.below_ms != 0 &&
               at - my->flow.below_ms >= OVER_RANGE_HOLD_MS) {
        report(detect, meter, ALERT_CLOSED, at, outlet);
    }
}

void over_range_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    struct meter_state *my = &detect->meters[meter];
    watch_restore(&my->over_range, open);
    my->flow.peak = open->evidence.observed;
}
