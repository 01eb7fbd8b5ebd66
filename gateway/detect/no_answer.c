// A meter that does not answer.
#include "detect/rules.h"

#include <math.h>
#include <string.h>

#define RULE "3 due times in a row without answer"

struct evidence silence_evidence(int64_t from_ms, int64_t to_ms, uint16_t why, const char *rule)
{
    int64_t silent_ms = to_ms > from_ms ? to_ms - from_ms : 0;
    struct evidence evidence = {
        .observed = round((double)silent_ms / 6000.) / 10, // minutes, to a tenth
        .expected_low = (double)NAN,
        .expected_high = (double)NAN,
        .unit = "min",
        .from_ms = from_ms,
        .to_ms = to_ms > from_ms ? to_ms : from_ms,
        .why = why,
    };
    (void)strncpy(evidence.rule, rule, sizeof evidence.rule - 1);
    return evidence;
}

static void report(struct detect *detect, int meter, enum alert_state state, int64_t at_ms,
                   const char *reason, const struct outlet *outlet)
{
    struct meter_state *my = &detect->meters[meter];
    int64_t from_ms = my->no_answer.open ? my->no_answer.from_ms : my->silence.at_ms[0];
    watch_report(&my->no_answer,
                 &(struct change_of){
                     .kind = ALERT_NO_ANSWER,
                     .state = state,
                     .subject = detect->config->meters[meter].id,
                     .at_ms = at_ms,
                     .reason = reason,
                     .evidence = silence_evidence(from_ms, at_ms, my->silence.why, RULE),
                 },
                 outlet);
}

// Why nothing came: that of the first field that was not read.
static uint16_t reason_of(const struct reading *reading)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        if (reading->image.why[i] != WHY_NONE && !why_is_doubt(reading->image.why[i]))
            return reading->image.why[i];
    return WHY_TIMEOUT;
}

static void add_miss(struct silence *silence, int64_t at_ms, uint16_t why, int64_t rest_limit)
{
    if (silence->misses > 0 && at_ms - silence->at_ms[silence->misses - 1] > rest_limit)
        silence->misses = 0;
    if (silence->misses == SILENT_MISSES) {
        memmove(silence->at_ms, silence->at_ms + 1, (SILENT_MISSES - 1) * sizeof silence->at_ms[0]);
        silence->misses--;
    }
    silence->at_ms[silence->misses++] = at_ms;
    silence->why = why;
}

void no_answer_count(struct detect *detect, int meter, const struct reading *reading)
{
    const struct meter *configured = &detect->config->meters[meter];
    struct silence *silence = &detect->meters[meter].silence;
    uint16_t why = reading->answered ? WHY_NONE : reason_of(reading);
    if (why == WHY_OVERLOAD || why == WHY_STORE_FULL)
        return; // it was not asked, or nobody knows what it said: that says nothing of the meter
    bool before = silence->misses == SILENT_MISSES;
    if (reading->answered)
        silence->misses = 0;
    else
        add_miss(silence, reading->at_ms, reason_of(reading), rest_limit_ms(configured));
    bool now = silence->misses == SILENT_MISSES;
    detect->links[configured->link].silent += (int)now - (int)before;
}

static enum alert_severity severity_after(int64_t open_ms)
{
    if (open_ms >= 24 * HOUR_MS)
        return SEVERITY_CRITICAL;
    return open_ms >= HOUR_MS ? SEVERITY_MAJOR : SEVERITY_MINOR;
}

void no_answer_judge(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet)
{
    struct meter_state *my = &detect->meters[meter];
    struct watch *watch = &my->no_answer;
    bool replaced = detect->links[detect->config->meters[meter].link].down.open;
    bool silent = my->silence.misses == SILENT_MISSES;
    int64_t at = reading->at_ms;
    if (watch->open && reading->answered) {
        report(detect, meter, ALERT_CLOSED, at, NULL, outlet);
    } else if (watch->open && severity_after(at - watch->since_ms) > watch->severity) {
        watch->severity = severity_after(at - watch->since_ms);
        report(detect, meter, ALERT_UPDATED, at, NULL, outlet);
    } else if (!watch->open && silent && !replaced && detect->config->detect.no_answer) {
        watch->severity = SEVERITY_MINOR;
        report(detect, meter, ALERT_OPEN, at, NULL, outlet);
    }
}

void no_answer_replace(struct detect *detect, int meter, int64_t at_ms, const struct outlet *outlet)
{
    if (detect->meters[meter].no_answer.open)
        report(detect, meter, ALERT_CLOSED, at_ms, "link-down", outlet);
}

void no_answer_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    watch_restore(&detect->meters[meter].no_answer, open);
    detect->meters[meter].silence.why = open->evidence.why;
}
