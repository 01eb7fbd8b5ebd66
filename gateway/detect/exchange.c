// Another meter stands where one stood: its serial number says so.
#include "detect/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define OPEN_MS (24 * HOUR_MS)
#define SHOWN_MAX 20 // characters of a serial number in the rule's text

static const char *serial_of(const struct reading *reading)
{
    const struct profile *profile = reading->meter->profile;
    for (int i = 0; i < reading->value_count; i++)
        if (profile->channels[i].channel->kind == CHANNEL_IDENTITY)
            return value_is_usable(&reading->values[i]) ? reading->values[i].text : NULL;
    return NULL;
}

static struct evidence evidence_of(const struct identity_state *identity, int64_t at_ms)
{
    struct evidence evidence = {.observed = (double)NAN,
                                .expected_low = (double)NAN,
                                .expected_high = (double)NAN,
                                .from_ms = identity->from_ms,
                                .to_ms = at_ms};
    memcpy(evidence.rule, identity->rule, sizeof evidence.rule);
    return evidence;
}

static void report(struct detect *detect, int meter, enum alert_state state, int64_t at_ms,
                   const struct outlet *outlet)
{
    struct identity_state *identity = &detect->meters[meter].identity;
    watch_report(&identity->exchanged,
                 &(struct change_of){
                     .kind = ALERT_METER_EXCHANGED,
                     .state = state,
                     .subject = detect->config->meters[meter].id,
                     .at_ms = at_ms,
                     .evidence = evidence_of(identity, at_ms),
                 },
                 outlet);
}

// Which number came after which, since when the one before was not seen any more.
static void note_exchange(struct identity_state *identity, const char *serial, int64_t at_ms)
{
    const char *before = identity->serial[0] != '\0' ? identity->serial : "?";
    (void)snprintf(identity->rule, sizeof identity->rule, "serial_number %.*s, before %.*s",
                   SHOWN_MAX, serial, SHOWN_MAX, before);
    identity->from_ms = identity->seen_ms != 0 ? identity->seen_ms : at_ms;
}

void exchange_feed(struct detect *detect, int meter, const struct reading *reading,
                   const struct outlet *outlet)
{
    struct identity_state *identity = &detect->meters[meter].identity;
    const char *serial = serial_of(reading);
    int64_t at = reading->at_ms;
    bool watches = outlet->changed != NULL && detect->config->detect.meter_exchanged;
    if (serial != NULL && reading->begins && watches) {
        note_exchange(identity, serial, at);
        bool open = identity->exchanged.open;
        identity->exchanged.severity = SEVERITY_MAJOR;
        report(detect, meter, open ? ALERT_UPDATED : ALERT_OPEN, at, outlet);
    } else if (watches && identity->exchanged.open &&
               at - identity->exchanged.since_ms >= OPEN_MS) {
        report(detect, meter, ALERT_CLOSED, at, outlet);
    }
    if (serial != NULL) {
        (void)snprintf(identity->serial, sizeof identity->serial, "%s", serial);
        identity->seen_ms = at;
    }
}

void exchange_restore(struct detect *detect, int meter, const struct alert_change *open)
{
    struct identity_state *identity = &detect->meters[meter].identity;
    watch_restore(&identity->exchanged, open);
    memcpy(identity->rule, open->evidence.rule, sizeof identity->rule);
    identity->from_ms = open->evidence.from_ms;
}
