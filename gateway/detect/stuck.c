// A pressure or temperature that stands still, to the last bit, while gas flows: a sensor that is
// stuck, or a corrector that counts with a substitute value.
//
// 24 hours without any change (gas.md 3, rule 9), in at least 8 of which the counter moved, seen by
// 24 readings at least. A sensor whose count is more than 0.05 % of what it measures (above
// absolute zero) is not watched: it may well stand still.
#include "detect/channels.h"
#include "detect/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STILL_MS (24 * HOUR_MS)
#define FLOWED_MS (8 * HOUR_MS)
#define READINGS_MIN 24
#define COARSE 0.0005 // a count, as a share of the absolute value

static const double zero_of[STUCK_SENSORS] = {0, 273.15}; // what makes the value absolute

void stuck_init(struct stuck_state *my, const struct meter *meter)
{
    const struct profile *profile = meter->profile;
    int pressure = channel_place(profile, "pressure", CHANNEL_GAUGE);
    int measured = channel_place(profile, "volume_measured", CHANNEL_COUNTER);
    *my = (struct stuck_state){.counted = false};
    my->sensors[0].place =
        pressure >= 0 ? pressure : channel_place(profile, "pressure_gauge", CHANNEL_GAUGE);
    my->sensors[1].place = channel_place(profile, "temperature", CHANNEL_GAUGE);
    my->counter = measured >= 0 ? measured : channel_place(profile, "volume_base", CHANNEL_COUNTER);
}

const char *detect_stuck_off(const struct meter *meter)
{
    struct stuck_state state;
    stuck_init(&state, meter);
    if (state.sensors[0].place < 0 && state.sensors[1].place < 0)
        return "its profile has neither a pressure nor a temperature";
    return state.counter < 0 ? "its profile has no volume" : "";
}

// How long gas flowed up to this reading since the one before; 0 where that is not known.
static int64_t flowed_ms(struct stuck_state *my, const struct meter *meter,
                         const struct reading *reading)
{
    if (!channel_is_usable(reading, my->counter))
        return 0;
    int64_t total = reading->values[my->counter].micro;
    int64_t took_ms = reading->at_ms - my->last_ms;
    bool flowed =
        my->counted && took_ms > 0 && took_ms <= rest_limit_ms(meter) && total > my->last_total;
    my->counted = true;
    my->last_ms = reading->at_ms;
    my->last_total = total;
    return flowed ? took_ms : 0;
}

// Its run begins: nothing is known of how long it has stood there.
static void begin_run(struct stuck_sensor *sensor, double value, int64_t at_ms)
{
    sensor->begun = true;
    sensor->value = value;
    sensor->since_ms = at_ms;
    sensor->flowed_ms = 0;
    sensor->readings = 0;
}

// Follows the run of one sensor. A doubted or missing value says nothing of it.
static void follow(struct stuck_sensor *sensor, double zero, const struct meter *meter,
                   const struct reading *reading, int64_t flowed)
{
    if (!channel_is_usable(reading, sensor->place))
        return;
    double value = reading->values[sensor->place].number;
    if (!sensor->begun || value != sensor->value || reading->at_ms < sensor->since_ms) {
        sensor->stuck = sensor->stuck && !sensor->begun; // of a restored one: from now on
        begin_run(sensor, value, reading->at_ms);
        return;
    }
    sensor->flowed_ms += flowed;
    sensor->readings += sensor->readings < READINGS_MIN;
    bool fine = gauge_count(meter->profile, sensor->place) <= COARSE * fabs(value + zero);
    if (fine && sensor->readings >= READINGS_MIN && sensor->flowed_ms >= FLOWED_MS &&
        reading->at_ms - sensor->since_ms >= STILL_MS)
        sensor->stuck = true;
}

// ---- the alert ----------------------------------------------------------------------------------

static struct evidence evidence_of(const struct stuck_state *my, const struct profile *profile,
                                   int64_t at_ms)
{
    bool both = my->sensors[0].stuck && my->sensors[1].stuck;
    int shown = my->sensors[0].stuck ? 0 : 1;
    const struct stuck_sensor *sensor = &my->sensors[shown];
    struct evidence evidence = {.observed = sensor->value,
                                .expected_low = (double)NAN,
                                .expected_high = (double)NAN,
                                .from_ms = sensor->since_ms,
                                .to_ms = at_ms};
    (void)snprintf(evidence.unit, sizeof evidence.unit, "%s", shown == 0 ? "kPa" : "degC");
    (void)snprintf(evidence.rule, sizeof evidence.rule, "%s%s unchanged for %d h with flow",
                   profile->channels[sensor->place].channel->name, both ? " and temperature" : "",
                   (int)((at_ms - sensor->since_ms) / HOUR_MS));
    return evidence;
}

static void judge(struct detect *detect, int meter, const struct stuck_state *before, int64_t at_ms,
                  const struct outlet *outlet)
{
    struct stuck_state *my = &detect->meters[meter].stuck;
    const struct meter *configured = &detect->config->meters[meter];
    struct watch *watch = &my->watch;
    int stuck = my->sensors[0].stuck + my->sensors[1].stuck;
    int wanted = stuck == 0 ? 0 : stuck == 1 ? SEVERITY_MINOR : SEVERITY_MAJOR;
    if (wanted == 0 ? !watch->open : watch->open && wanted <= (int)watch->severity)
        return;
    struct change_of change = {
        .kind = ALERT_SENSOR_STUCK,
        .state = wanted == 0   ? ALERT_CLOSED
                 : watch->open ? ALERT_UPDATED
                               : ALERT_OPEN,
        .subject = configured->id,
        .at_ms = at_ms,
        .evidence = evidence_of(wanted == 0 ? before : my, configured->profile, at_ms),
    };
    if (wanted != 0)
        watch->severity = (enum alert_severity)wanted;
    watch_report(watch, &change, outlet);
}

void stuck_feed(struct detect *detect, int meter, const struct reading *reading,
                const struct outlet *outlet)
{
    struct stuck_state *my = &detect->meters[meter].stuck;
    const struct meter *configured = &detect->config->meters[meter];
    const struct stuck_state before = *my;
    if (reading->begins) { // another meter's sensors
        my->sensors[0].begun = my->sensors[1].begun = my->counted = false;
        my->sensors[0].stuck = my->sensors[1].stuck = false;
    }
    int64_t flowed = flowed_ms(my, configured, reading);
    for (int i = 0; i < STUCK_SENSORS; i++)
        follow(&my->sensors[i], zero_of[i], configured, reading, flowed);
    if (outlet->changed != NULL)
        judge(detect, meter, &before, reading->at_ms, outlet);
}

// Which sensor it was stands in the rule. Its run begins anew: another value than the first one
// that is read now closes the alert.
void stuck_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    struct stuck_state *my = &detect->meters[meter].stuck;
    watch_restore(&my->watch, open);
    my->sensors[0].stuck = strstr(open->evidence.rule, "pressure") != NULL;
    my->sensors[1].stuck = strstr(open->evidence.rule, "temperature") != NULL;
}
