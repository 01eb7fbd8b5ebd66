// The alert's message and its text in both languages.
#include "office/feed.h"

#include "base/timetext.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 64
#define FIGURE_MAX 32
#define RANGE_MAX (2 * FIGURE_MAX + 8)
#define ALERT_TEXT_MAX 1000 // bytes of one text in one language

// The catalogue's key of a change. A text of the state alone stands in where a kind has none of its
// own: an update reads like the opening with new figures, an acknowledgement changes no finding.
static const char *alert_key(const struct alert_change *change, char key[static KEY_MAX])
{
    const char *kind = alert_kind_text(change->kind);
    const char *state =
        change->reason[0] != '\0' ? change->reason : alert_state_text(change->state);
    (void)snprintf(key, KEY_MAX, "alert.%s.%s", kind, state);
    if (catalogue_text(key, LANGUAGE_EN))
        return key;
    (void)snprintf(key, KEY_MAX, "alert.%s.%s", kind,
                   change->state == ALERT_CLOSED ? "closed" : "open");
    return key;
}

static const char *figure(double number, char text[static FIGURE_MAX])
{
    if (!isfinite(number))
        return NULL;
    char digits[GAUGE_TEXT_MAX];
    (void)gauge_print(number, false, digits);
    (void)snprintf(text, FIGURE_MAX, "%s", digits);
    return text;
}

// "0 … 160", "≤ 160", "≥ 5": reads the same in every language.
static void expected_text(const struct evidence *evidence, char text[static RANGE_MAX])
{
    char low[FIGURE_MAX];
    char high[FIGURE_MAX];
    const char *from = figure(evidence->expected_low, low);
    const char *to = figure(evidence->expected_high, high);
    if (from && to)
        (void)snprintf(text, RANGE_MAX, "%s … %s", from, to);
    else if (to)
        (void)snprintf(text, RANGE_MAX, "≤ %s", to);
    else if (from)
        (void)snprintf(text, RANGE_MAX, "≥ %s", from);
    else
        (void)snprintf(text, RANGE_MAX, "—");
}

// The catalogue's words for a reason where it has them, else the code itself.
static const char *reason_text(uint16_t why, enum language language, char code[static WHY_TEXT_MAX])
{
    char key[KEY_MAX];
    (void)why_text(why, code);
    (void)snprintf(key, sizeof key, "why.%s", code);
    const char *words = catalogue_text(key, language);
    return words ? words : code;
}

void feed_alert_text(struct buf *out, enum language language, const struct alert_change *change)
{
    char key[KEY_MAX];
    char observed[FIGURE_MAX] = "—";
    char expected[RANGE_MAX];
    char since[TIME_TEXT_MAX];
    char code[WHY_TEXT_MAX];
    const struct evidence *evidence = &change->evidence;
    (void)figure(evidence->observed, observed);
    expected_text(evidence, expected);
    (void)time_print(change->since_ms, since);
    const struct slot slots[] = {
        {"meter", change->subject},
        {"link", change->subject},
        {"observed", observed},
        {"expected", expected},
        {"unit", evidence->unit},
        {"since", since},
        {"why", reason_text(evidence->why, language, code)},
        {"rule", evidence->rule},
    };
    catalogue_fill(out, alert_key(change, key), language, slots, sizeof slots / sizeof slots[0]);
}

static void add_text(struct writer *writer, const char *key, enum language language,
                     const struct alert_change *change)
{
    struct buf text;
    buf_init(&text, ALERT_TEXT_MAX);
    feed_alert_text(&text, language, change);
    writer_key_text(writer, key, text.data ? text.data : "");
    buf_release(&text);
}

static void add_text_or_null(struct writer *writer, const char *key, const char *text)
{
    writer_key_text(writer, key, text[0] != '\0' ? text : NULL);
}

// Figures that make no sense for a rule are null (NaN prints so).
static void add_evidence(struct writer *writer, const struct evidence *evidence)
{
    writer_key(writer, "evidence");
    writer_object(writer);
    writer_key_gauge(writer, "observed", evidence->observed, false);
    writer_key_gauge(writer, "expected_low", evidence->expected_low, false);
    writer_key_gauge(writer, "expected_high", evidence->expected_high, false);
    add_text_or_null(writer, "unit", evidence->unit);
    writer_key_text(writer, "rule", evidence->rule);
    writer_key_time(writer, "from", evidence->from_ms);
    writer_key_time(writer, "to", evidence->to_ms);
    if (evidence->why != WHY_NONE) {
        char code[WHY_TEXT_MAX];
        writer_key_text(writer, "why", why_text(evidence->why, code));
    }
    writer_end(writer);
}

void feed_alert(struct writer *writer, const struct feed_origin *origin,
                const struct stored_alert *alert)
{
    const struct alert_change *change = &alert->change;
    writer_object(writer);
    feed_head(writer, origin, "alert/1", alert->lane, alert->seq);
    writer_key_time(writer, "at", change->at_ms);
    if (strcmp(change->subject, ALERT_GATEWAY) !=
        0) // else the gateway itself, which is named above
        writer_key_text(writer, change->of_link ? "link" : "meter", change->subject);
    writer_key_text(writer, "id", alert->id);
    writer_key_text(writer, "kind", alert_kind_text(change->kind));
    writer_key_text(writer, "severity", alert_severity_text(change->severity));
    writer_key_text(writer, "state", alert_state_text(change->state));
    writer_key_time(writer, "since", change->since_ms);
    if (change->reason[0] != '\0')
        writer_key_text(writer, "reason", change->reason);
    writer_key(writer, "text");
    writer_object(writer);
    add_text(writer, "en", LANGUAGE_EN, change);
    add_text(writer, "zh", LANGUAGE_ZH, change);
    writer_end(writer);
    add_evidence(writer, &change->evidence);
    writer_end(writer);
}
