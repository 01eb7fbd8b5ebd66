#include "detect/corrector.h"

#include "config/gas_input.h"
#include "detect/channels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTS_MIN 100 // of each counter in a window
#define WARN 0.005
#define ALARM 0.01
#define WINDOWS 2

static const int64_t spans_ms[WINDOWS] = {HOUR_MS, 24 * HOUR_MS};
static const char *const span_names[WINDOWS] = {"1 h", "24 h"};

// What a pair of readings is made of.
struct state {
    int64_t at_ms;
    int64_t measured, base; // micro m3
    double factor;          // C at its pressure and temperature; NaN outside the method's range
};

struct window {
    int64_t from_ms;
    int64_t measured, base; // micro m3, what both advanced
    double expected;        // micro m3 at base that follow from `measured`
};

struct corrector {
    struct conversion conversion;
    double ambient_kpa; // added to a gauge pressure; NaN: the meter's own atmospheric_pressure is
    int measured, base, pressure, atmosphere, temperature; // places of the channels
    bool begun;                                            // `last` holds a reading
    struct state last;
    struct window windows[WINDOWS];
    int opened_by; // window of the open alert
    struct watch watch;
};

// ---- what it looks at ---------------------------------------------------------------------------

// False where a channel is missing that nothing replaces.
static bool find_places(struct corrector *corrector, const struct meter *meter)
{
    const struct profile *profile = meter->profile;
    corrector->measured = channel_place(profile, "volume_measured", CHANNEL_COUNTER);
    corrector->base = channel_place(profile, "volume_base", CHANNEL_COUNTER);
    corrector->temperature = channel_place(profile, "temperature", CHANNEL_GAUGE);
    corrector->pressure = channel_place(profile, "pressure", CHANNEL_GAUGE);
    corrector->atmosphere = -1;
    corrector->ambient_kpa = 0;
    if (corrector->pressure < 0) {
        corrector->pressure = channel_place(profile, "pressure_gauge", CHANNEL_GAUGE);
        corrector->atmosphere = channel_place(profile, "atmospheric_pressure", CHANNEL_GAUGE);
        if (corrector->atmosphere < 0 &&
            ambient_pressure(meter->gas.altitude_m, &corrector->ambient_kpa, NULL) != 0)
            return false;
    }
    return corrector->measured >= 0 && corrector->base >= 0 && corrector->temperature >= 0 &&
           corrector->pressure >= 0;
}

static bool prepare(struct corrector *corrector, const struct meter *meter)
{
    *corrector = (struct corrector){.begun = false};
    struct conversion_input input;
    return find_places(corrector, meter) && gas_input(&meter->gas, &input, NULL) == 0 &&
           conversion_init(&corrector->conversion, &input, NULL) == 0;
}

const char *detect_conversion_off(const struct meter *meter)
{
    struct corrector corrector;
    if (prepare(&corrector, meter) || corrector.measured < 0 || corrector.base < 0)
        return "";
    if (corrector.temperature < 0 || corrector.pressure < 0)
        return "its profile lacks a temperature or a pressure";
    return "its pressure is gauge and gas.altitude_m is not set";
}

struct corrector *corrector_new(const struct meter *meter)
{
    struct corrector made;
    if (!prepare(&made, meter))
        return NULL;
    struct corrector *corrector = malloc(sizeof *corrector);
    if (corrector != NULL)
        *corrector = made;
    return corrector;
}

void corrector_free(struct corrector *corrector)
{
    free(corrector);
}

// False when a value is missing.
static bool state_get(const struct corrector *corrector, const struct reading *reading,
                      struct state *out)
{
    const int places[] = {corrector->measured, corrector->base, corrector->pressure,
                          corrector->temperature,
                          corrector->atmosphere < 0 ? corrector->pressure : corrector->atmosphere};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (!channel_is_usable(reading, places[i]))
            return false;
    const struct value *values = reading->values;
    double atmosphere =
        corrector->atmosphere < 0 ? corrector->ambient_kpa : values[corrector->atmosphere].number;
    struct conversion_result result = {.factor = (double)NAN};
    (void)conversion_at(&corrector->conversion, values[corrector->pressure].number + atmosphere,
                        values[corrector->temperature].number, &result, NULL);
    *out = (struct state){.at_ms = reading->at_ms,
                          .measured = values[corrector->measured].micro,
                          .base = values[corrector->base].micro,
                          .factor = result.factor};
    return true;
}

// ---- the windows --------------------------------------------------------------------------------

static void begin_windows(struct corrector *corrector, int64_t at_ms)
{
    for (int i = 0; i < WINDOWS; i++)
        corrector->windows[i] = (struct window){.from_ms = at_ms};
}

// Adds what happened between two readings. Nothing where it cannot be said: a counter that stands
// lower, a longer rest, a state outside the method's range.
static void add_pair(struct corrector *corrector, const struct meter *meter,
                     const struct state *now)
{
    const struct state *last = &corrector->last;
    int64_t measured;
    int64_t base;
    if (now->at_ms <= last->at_ms || now->at_ms - last->at_ms > rest_limit_ms(meter) ||
        micro_subtract(now->measured, last->measured, &measured) != 0 ||
        micro_subtract(now->base, last->base, &base) != 0 || measured < 0 || base < 0)
        return;
    double factor = (last->factor + now->factor) / 2;
    if (!isfinite(factor))
        return;
    for (int i = 0; i < WINDOWS; i++) {
        struct window *window = &corrector->windows[i];
        struct window sum = {.from_ms = window->from_ms,
                             .expected = window->expected + (double)measured * factor};
        if (micro_add(window->measured, measured, &sum.measured) == 0 &&
            micro_add(window->base, base, &sum.base) == 0)
            *window = sum;
    }
}

struct verdict {
    bool known;         // enough was counted
    double found, due;  // dVb/dVm, and the factor that it should be
    double deviation;   // of the first from the second
    double beyond_blur; // what of it the counters' resolution does not explain
};

static struct verdict judge(const struct corrector *corrector, const struct meter *meter,
                            const struct window *window, const struct state *now)
{
    double measured = (double)window->measured;
    double base = (double)window->base;
    double counts_measured =
        measured / counter_count(meter->profile, corrector->measured, now->measured);
    double counts_base = base / counter_count(meter->profile, corrector->base, now->base);
    if (!(counts_measured >= COUNTS_MIN && counts_base >= COUNTS_MIN && window->expected > 0))
        return (struct verdict){.known = false};
    struct verdict verdict = {.known = true,
                              .found = base / measured,
                              .due = window->expected / measured,
                              .deviation = base / window->expected - 1};
    double blur = 1 / counts_measured + 1 / counts_base;
    verdict.beyond_blur = fmax(fabs(verdict.deviation) - blur, 0);
    return verdict;
}

// ---- the alert ----------------------------------------------------------------------------------

static struct evidence evidence_of(const struct verdict *verdict, int span, int64_t from_ms,
                                   int64_t to_ms)
{
    struct evidence evidence = {.observed = verdict->found,
                                .expected_low = verdict->due * (1 - WARN),
                                .expected_high = verdict->due * (1 + WARN),
                                .unit = "1",
                                .from_ms = from_ms,
                                .to_ms = to_ms};
    (void)snprintf(evidence.rule, sizeof evidence.rule,
                   "Vb/Vm %.5g, from p, T and gas %.5g: %+.2f %% in %s", verdict->found,
                   verdict->due, 100 * verdict->deviation, span_names[span]);
    return evidence;
}

// A window has ended.
static void conclude(struct detect *detect, int meter, int span, const struct state *now,
                     const struct outlet *outlet)
{
    struct corrector *corrector = detect->meters[meter].corrector;
    const struct meter *configured = &detect->config->meters[meter];
    struct window *window = &corrector->windows[span];
    struct verdict verdict = judge(corrector, configured, window, now);
    struct watch *watch = &corrector->watch;
    if (!verdict.known || outlet->changed == NULL)
        return;
    int wanted = verdict.beyond_blur > ALARM  ? SEVERITY_MAJOR
                 : verdict.beyond_blur > WARN ? SEVERITY_MINOR
                                              : 0;
    struct change_of change = {
        .kind = ALERT_CONVERSION_MISMATCH,
        .state = watch->open ? ALERT_UPDATED : ALERT_OPEN,
        .subject = configured->id,
        .at_ms = now->at_ms,
        .evidence = evidence_of(&verdict, span, window->from_ms, now->at_ms),
    };
    if (wanted != 0 && (!watch->open || wanted > (int)watch->severity)) {
        watch->severity = (enum alert_severity)wanted;
        corrector->opened_by = span;
        watch_report(watch, &change, outlet);
    } else if (watch->open && span >= corrector->opened_by && fabs(verdict.deviation) <= WARN) {
        change.state = ALERT_CLOSED;
        watch_report(watch, &change, outlet);
    }
}

void corrector_feed(struct detect *detect, int meter, const struct reading *reading,
                    const struct outlet *outlet)
{
    struct corrector *corrector = detect->meters[meter].corrector;
    struct state now;
    if (corrector == NULL || !detect->config->detect.conversion_mismatch)
        return;
    if (reading->begins) // another meter's counters
        corrector->begun = false;
    if (!state_get(corrector, reading, &now))
        return;
    if (!corrector->begun || now.at_ms < corrector->last.at_ms) {
        begin_windows(corrector, now.at_ms);
    } else {
        add_pair(corrector, &detect->config->meters[meter], &now);
        for (int i = 0; i < WINDOWS; i++) {
            if (now.at_ms - corrector->windows[i].from_ms < spans_ms[i])
                continue;
            conclude(detect, meter, i, &now, outlet);
            corrector->windows[i] = (struct window){.from_ms = now.at_ms};
        }
    }
    corrector->begun = true;
    corrector->last = now;
}

void corrector_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    struct corrector *corrector = detect->meters[meter].corrector;
    watch_restore(&corrector->watch, open);
    int64_t took_ms = open->evidence.to_ms - open->evidence.from_ms;
    corrector->opened_by = took_ms >= spans_ms[1] ? 1 : 0;
}
