// Whether a meter's counter advances as its own flow says: the flow over an hour and over a day
// against what was counted.
//
// volume_measured with flow_measured, else volume_base with flow_base. A difference is lost pulses,
// a totalizer or a flow register that stands still, a wrong scale or unit in the profile. The
// flow's volume is the mean of two readings by the time between them; what a flow that was seen to
// move between them may have added is not held against the meter, nor are the five pairs with the
// largest differences (a burner that fired between two polls) and a count or two of the counter. A
// window says nothing unless nine tenths of it lie between readings that follow on each other, 30
// pairs of them at least, and 100 counts are due or were counted. Windows begin anew after a
// restart.
#include "base/decimal.h"
#include "detect/channels.h"
#include "detect/rules.h"

#include <math.h>
#include <stdio.h>

#define COUNTS_MIN 100
#define PAIRS_MIN 30
#define COVERED_MIN 0.9
// A meter that may err by 1 or 2 % measures with both, but its flow is damped and rounded.
#define WARN 0.05
#define ALARM 0.2 // one of both stands still, or another unit
#define MS_IN_HOUR 3600e3

static const int64_t spans_ms[FLOW_WINDOWS] = {HOUR_MS, 24 * HOUR_MS};
static const char *const span_names[FLOW_WINDOWS] = {"1 h", "24 h"};

void flow_check_init(struct flow_check *check, const struct meter *meter)
{
    static const char *const names[][2] = {{"flow_measured", "volume_measured"},
                                           {"flow_base", "volume_base"}};
    *check = (struct flow_check){.flow = -1, .counter = -1};
    for (int i = 1; i >= 0; i--) {
        int flow = channel_place(meter->profile, names[i][0], CHANNEL_GAUGE);
        int counter = channel_place(meter->profile, names[i][1], CHANNEL_COUNTER);
        if (flow >= 0 && counter >= 0) {
            check->flow = flow;
            check->counter = counter;
        }
    }
}

const char *detect_flow_off(const struct meter *meter)
{
    struct flow_check check;
    flow_check_init(&check, meter);
    return check.counter >= 0 ? "" : "its profile has no flow beside a counter of its kind";
}

// ---- the windows --------------------------------------------------------------------------------

// Keeps the largest ones, in order.
static void keep_largest(double list[FLOW_UNSEEN], double value)
{
    for (int i = 0; i < FLOW_UNSEEN && value > 0; i++) {
        double kept = list[i];
        list[i] = fmax(kept, value);
        value = fmin(kept, value);
    }
}

static double sum_of(const double list[FLOW_UNSEEN])
{
    double sum = 0;
    for (int i = 0; i < FLOW_UNSEEN; i++)
        sum += list[i];
    return sum;
}

static void add_pair(struct flow_check *check, const struct meter *meter, int64_t at_ms,
                     int64_t total, double flow)
{
    int64_t counted;
    int64_t took_ms = at_ms - check->last_ms;
    if (took_ms <= 0 || took_ms > rest_limit_ms(meter) ||
        micro_subtract(total, check->last_total, &counted) != 0 || counted < 0)
        return;
    double micro_by_flow = 1e6 * (double)took_ms / MS_IN_HOUR;
    double due = (check->last_flow + flow) / 2 * micro_by_flow;
    for (int i = 0; i < FLOW_WINDOWS; i++) {
        struct flow_window *window = &check->windows[i];
        if (micro_add(window->counted, counted, &window->counted) != 0)
            continue;
        window->covered_ms += took_ms;
        window->pairs++;
        window->due += due;
        keep_largest(window->above, (double)counted - due);
        keep_largest(window->below, due - (double)counted);
        window->unsteady += fabs(flow - check->last_flow) / 2 * micro_by_flow;
    }
}

struct verdict {
    bool known;
    double deviation; // of what was counted from what is due, as a share of the larger one
    double beyond;    // what of it an unsteady flow and the counter's resolution do not explain
};

static struct verdict judge(const struct flow_window *window, int64_t span_ms, double count)
{
    double counted = (double)window->counted;
    double larger = fmax(counted, window->due);
    if (window->pairs < PAIRS_MIN || (double)window->covered_ms < COVERED_MIN * (double)span_ms ||
        !(larger >= COUNTS_MIN * count))
        return (struct verdict){.known = false};
    double difference = counted - window->due;
    double unseen = sum_of(difference > 0 ? window->above : window->below);
    double beyond = fmax(fabs(difference) - window->unsteady - unseen - 2 * count, 0);
    return (struct verdict){
        .known = true, .deviation = difference / larger, .beyond = beyond / larger};
}

// ---- the alert ----------------------------------------------------------------------------------

static struct evidence evidence_of(const struct flow_check *check, const struct profile *profile,
                                   const struct verdict *verdict, int span, int64_t to_ms)
{
    const struct flow_window *window = &check->windows[span];
    struct evidence evidence = {.observed = (double)window->counted / 1e6,
                                .expected_low = window->due * (1 - WARN) / 1e6,
                                .expected_high = window->due * (1 + WARN) / 1e6,
                                .unit = "m3",
                                .from_ms = window->from_ms,
                                .to_ms = to_ms};
    (void)snprintf(evidence.rule, sizeof evidence.rule, "%s by %s %.5g m3: %+.1f %% in %s",
                   profile->channels[check->counter].channel->name,
                   profile->channels[check->flow].channel->name, window->due / 1e6,
                   100 * verdict->deviation, span_names[span]);
    return evidence;
}

// A window has ended.
static void conclude(struct detect *detect, int meter, int span, int64_t at_ms,
                     const struct outlet *outlet)
{
    struct flow_check *check = &detect->meters[meter].flow_check;
    const struct meter *configured = &detect->config->meters[meter];
    const struct flow_window *window = &check->windows[span];
    double count = counter_count(configured->profile, check->counter, check->last_total);
    struct verdict verdict = judge(window, spans_ms[span], count);
    struct watch *watch = &check->watch;
    if (!verdict.known || outlet->changed == NULL)
        return;
    int wanted = verdict.beyond > ALARM  ? SEVERITY_MAJOR
                 : verdict.beyond > WARN ? SEVERITY_MINOR
                                         : 0;
    struct change_of change = {
        .kind = ALERT_FLOW_MISMATCH,
        .state = watch->open ? ALERT_UPDATED : ALERT_OPEN,
        .subject = configured->id,
        .at_ms = at_ms,
        .evidence = evidence_of(check, configured->profile, &verdict, span, at_ms),
    };
    if (wanted != 0 && (!watch->open || wanted > (int)watch->severity)) {
        watch->severity = (enum alert_severity)wanted;
        check->opened_by = span;
        watch_report(watch, &change, outlet);
    } else if (watch->open && span >= check->opened_by && fabs(verdict.deviation) <= WARN) {
        change.state = ALERT_CLOSED;
        watch_report(watch, &change, outlet);
    }
}

void flow_check_feed(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet)
{
    struct flow_check *check = &detect->meters[meter].flow_check;
    const struct meter *configured = &detect->config->meters[meter];
    if (reading->begins) // another meter's counter
        check->begun = false;
    if (!channel_is_usable(reading, check->flow) || !channel_is_usable(reading, check->counter))
        return;
    int64_t at_ms = reading->at_ms;
    int64_t total = reading->values[check->counter].micro;
    double flow = reading->values[check->flow].number;
    bool follows = check->begun && at_ms >= check->last_ms;
    if (follows)
        add_pair(check, configured, at_ms, total, flow);
    check->last_ms = at_ms;
    check->last_total = total;
    check->last_flow = flow;
    for (int i = 0; i < FLOW_WINDOWS; i++) {
        if (follows && at_ms - check->windows[i].from_ms < spans_ms[i])
            continue;
        if (follows)
            conclude(detect, meter, i, at_ms, outlet);
        check->windows[i] = (struct flow_window){.from_ms = at_ms};
    }
    check->begun = true;
}

void flow_check_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    struct flow_check *check = &detect->meters[meter].flow_check;
    watch_restore(&check->watch, open);
    check->opened_by = open->evidence.to_ms - open->evidence.from_ms >= spans_ms[1] ? 1 : 0;
}
