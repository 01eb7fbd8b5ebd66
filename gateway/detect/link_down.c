// A link on which no meter answers: one alert of the link instead of one for each meter.
#include "detect/rules.h"

#define RULE "no meter of the link answers"

static void report(struct detect *detect, int meter, enum alert_state state, int64_t at_ms,
                   int64_t from_ms, const struct outlet *outlet)
{
    int link = detect->config->meters[meter].link;
    uint16_t why = detect->meters[meter].silence.why;
    watch_report(&detect->links[link].down,
                 &(struct change_of){
                     .kind = ALERT_LINK_DOWN,
                     .state = state,
                     .subject = detect->config->links[link].id,
                     .at_ms = at_ms,
                     .evidence = silence_evidence(from_ms, at_ms, why, RULE),
                 },
                 outlet);
}

// Opens at a reading of `meter`, when the last of the link's meters has fallen silent too.
static void open_link(struct detect *detect, int meter, int64_t at_ms, const struct outlet *outlet)
{
    const struct config *config = detect->config;
    int link = config->meters[meter].link;
    int64_t from = INT64_MIN;
    for (int i = 0; i < config->meter_count; i++) {
        if (config->meters[i].link == link) {
            int64_t silent_ms = detect->meters[i].silence.at_ms[0];
            from = silent_ms > from ? silent_ms : from;
            no_answer_replace(detect, i, at_ms, outlet);
        }
    }
    detect->links[link].down.severity = SEVERITY_MAJOR;
    report(detect, meter, ALERT_OPEN, at_ms, from, outlet);
}

void link_down_judge(struct detect *detect, int meter, const struct reading *reading,
                     const struct outlet *outlet)
{
    const struct link_state *state = &detect->links[detect->config->meters[meter].link];
    struct watch *watch = &detect->links[detect->config->meters[meter].link].down;
    bool all_silent = state->meters >= 2 && state->silent == state->meters;
    int64_t at = reading->at_ms;
    if (watch->open && reading->answered) {
        report(detect, meter, ALERT_CLOSED, at, watch->from_ms, outlet);
    } else if (watch->open && watch->severity < SEVERITY_CRITICAL &&
               at - watch->since_ms >= 24 * HOUR_MS) {
        watch->severity = SEVERITY_CRITICAL;
        report(detect, meter, ALERT_UPDATED, at, watch->from_ms, outlet);
    } else if (!watch->open && all_silent && detect->config->detect.link_down) {
        open_link(detect, meter, at, outlet);
    }
}

void link_down_restore(struct detect *detect, int link, const struct alert_change *open)
{
    watch_restore(&detect->links[link].down, open);
    for (int i = 0; i < detect->config->meter_count; i++)
        if (detect->config->meters[i].link == link)
            detect->meters[i].silence.why = open->evidence.why;
}
