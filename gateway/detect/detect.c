#include "detect/corrector.h"
#include "detect/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// --- names ---

const char *alert_kind_text(enum alert_kind kind)
{
    switch (kind) {
    case ALERT_NO_ANSWER: return "no-answer";
    case ALERT_LINK_DOWN: return "link-down";
    case ALERT_OVER_RANGE: return "over-range";
    case ALERT_METER_EXCHANGED: return "meter-exchanged";
    case ALERT_STORE_FULL: return "store-full";
    case ALERT_STORE_REPLACED: return "store-replaced";
    case ALERT_STORE_RESTORED: return "store-restored";
    case ALERT_CONVERSION_MISMATCH: return "conversion-mismatch";
    case ALERT_FLOW_MISMATCH: return "flow-mismatch";
    case ALERT_SENSOR_STUCK: return "sensor-stuck";
    default: return "unknown";
    }
}

const char *alert_severity_text(enum alert_severity severity)
{
    switch (severity) {
    case SEVERITY_MINOR: return "minor";
    case SEVERITY_MAJOR: return "major";
    case SEVERITY_CRITICAL: return "critical";
    default: return "unknown";
    }
}

const char *alert_state_text(enum alert_state state)
{
    switch (state) {
    case ALERT_OPEN: return "open";
    case ALERT_UPDATED: return "updated";
    case ALERT_ACKNOWLEDGED: return "acknowledged";
    case ALERT_CLOSED: return "closed";
    default: return "unknown";
    }
}

// --- one alert ---

void watch_report(struct watch *watch, const struct change_of *what, const struct outlet *outlet)
{
    if (what->state == ALERT_OPEN) {
        watch->since_ms = what->at_ms;
        watch->from_ms = what->evidence.from_ms;
    }
    watch->open = what->state != ALERT_CLOSED;
    struct alert_change change = {.kind = what->kind,
                                  .severity = watch->severity,
                                  .state = what->state,
                                  .of_link = what->kind == ALERT_LINK_DOWN,
                                  .at_ms = what->at_ms,
                                  .since_ms = watch->since_ms,
                                  .evidence = what->evidence};
    (void)strncpy(change.subject, what->subject, sizeof change.subject - 1);
    if (what->reason != NULL)
        (void)strncpy(change.reason, what->reason, sizeof change.reason - 1);
    outlet->changed(outlet->context, &change);
}

// Whether a stored reading is in the state already that was restored.
bool watch_skips(const struct watch *watch, int64_t at_ms, const struct outlet *outlet)
{
    return outlet->changed == NULL && at_ms <= watch->restored_ms;
}

void watch_restore(struct watch *watch, const struct alert_change *open)
{
    *watch = (struct watch){.open = true,
                            .severity = open->severity,
                            .since_ms = open->since_ms,
                            .from_ms = open->evidence.from_ms,
                            .restored_ms = open->at_ms};
}

// --- all of them ---

struct detect *detect_new(struct config *config)
{
    struct detect *detect = calloc(1, sizeof *detect);
    if (detect == NULL)
        return NULL;
    detect->config = config_ref(config);
    // one more: of a configuration without links or meters NULL would look like a failure
    detect->links = calloc((size_t)config->link_count + 1, sizeof *detect->links);
    detect->meters = calloc((size_t)config->meter_count + 1, sizeof *detect->meters);
    if (detect->links == NULL || detect->meters == NULL) {
        detect_free(detect);
        return NULL;
    }
    for (int i = 0; i < config->meter_count; i++) {
        detect->links[config->meters[i].link].meters++;
        over_range_init(&detect->meters[i], &config->meters[i]);
        flow_check_init(&detect->meters[i].flow_check, &config->meters[i]);
        stuck_init(&detect->meters[i].stuck, &config->meters[i]);
        detect->meters[i].corrector = corrector_new(&config->meters[i]);
    }
    return detect;
}

void detect_free(struct detect *detect)
{
    if (detect != NULL) {
        for (int i = 0; detect->meters != NULL && i < detect->config->meter_count; i++)
            corrector_free(detect->meters[i].corrector);
        free(detect->meters);
        free(detect->links);
        config_unref(detect->config);
        free(detect);
    }
}

bool detect_watches(const struct detect *detect, const struct alert_change *open)
{
    const struct config *config = detect->config;
    int meter = config_meter_find(config, open->subject);
    switch (open->kind) {
    case ALERT_STORE_FULL:
    case ALERT_STORE_REPLACED: return true; // the recorder watches its store
    case ALERT_NO_ANSWER: return meter >= 0 && config->detect.no_answer;
    case ALERT_OVER_RANGE:
        return meter >= 0 && config->detect.over_range &&
               detect_over_range_off(&config->meters[meter])[0] == '\0';
    case ALERT_METER_EXCHANGED: return meter >= 0 && config->detect.meter_exchanged;
    case ALERT_CONVERSION_MISMATCH:
        return meter >= 0 && config->detect.conversion_mismatch &&
               detect->meters[meter].corrector != NULL;
    case ALERT_FLOW_MISMATCH:
        return meter >= 0 && config->detect.flow_mismatch &&
               detect_flow_off(&config->meters[meter])[0] == '\0';
    case ALERT_SENSOR_STUCK:
        return meter >= 0 && config->detect.sensor_stuck &&
               detect_stuck_off(&config->meters[meter])[0] == '\0';
    case ALERT_LINK_DOWN: {
        int link = config_link_find(config, open->subject);
        return link >= 0 && config->detect.link_down && detect->links[link].meters >= 2;
    }
    default: return false;
    }
}

void detect_restore(struct detect *detect, const struct alert_change *open)
{
    if (!detect_watches(detect, open))
        return;
    int meter = config_meter_find(detect->config, open->subject);
    switch (open->kind) {
    case ALERT_STORE_FULL:
    case ALERT_STORE_REPLACED: break;
    case ALERT_NO_ANSWER: no_answer_restore(detect, meter, open); break;
    case ALERT_OVER_RANGE: over_range_restore(detect, meter, open); break;
    case ALERT_METER_EXCHANGED: exchange_restore(detect, meter, open); break;
    case ALERT_CONVERSION_MISMATCH: corrector_restore(detect, meter, open); break;
    case ALERT_FLOW_MISMATCH: flow_check_restore(detect, meter, open); break;
    case ALERT_SENSOR_STUCK: stuck_restore(detect, meter, open); break;
    default:
        link_down_restore(detect, config_link_find(detect->config, open->subject), open);
        break;
    }
}

int64_t rest_limit_ms(const struct meter *meter)
{
    int64_t intervals = 2 * INT64_C(1000) * meter->interval_s;
    return intervals > OVER_RANGE_HOLD_MS ? intervals : OVER_RANGE_HOLD_MS;
}

// Three misses span two rests; a run that has not opened yet is no longer than the hold and a rest.
int64_t detect_lookback_ms(const struct meter *meter)
{
    return 3 * rest_limit_ms(meter);
}

void detect_feed(struct detect *detect, int meter, const struct reading *reading,
                 detect_changed *changed, void *context)
{
    const struct outlet outlet = {changed, context};
    no_answer_count(detect, meter, reading);
    if (changed != NULL) {
        link_down_judge(detect, meter, reading, &outlet);
        no_answer_judge(detect, meter, reading, &outlet);
    }
    exchange_feed(detect, meter, reading, &outlet);
    corrector_feed(detect, meter, reading, &outlet);
    if (detect->config->detect.flow_mismatch)
        flow_check_feed(detect, meter, reading, &outlet);
    if (detect->config->detect.sensor_stuck)
        stuck_feed(detect, meter, reading, &outlet);
    if (detect->config->detect.over_range)
        over_range_feed(detect, meter, reading, &outlet);
}
