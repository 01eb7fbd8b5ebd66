#include "cli/scan_text.h"

#include "base/id.h"

#include <ctype.h>
#include <string.h>

#define FULL_AFTER_S 10 // without a turn of a scan on a running gateway
#define SETTING_SIZE 32
#define WIDTH 100 // columns of a reason's line
#define INDENT 8
#define TIMEOUT_DEFAULT_MS 500 // response_timeout_ms of a link
#define SURE 0.9               // share of a profile from which it is said without "maybe"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static int number_of(const json_t *object, const char *key)
{
    return (int)json_integer_value(json_object_get(object, key));
}

// What comes from a meter may hold characters that a terminal acts on.
static void put_clean(const char *text, int length, FILE *out)
{
    for (int i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        (void)fputc(byte < ' ' || byte == 0x7F ? '?' : byte, out);
    }
}

static const char *setting_of(const json_t *result, char text[static SETTING_SIZE])
{
    const json_t *setting = json_object_get(result, "setting");
    text[0] = '\0';
    if (json_is_object(setting)) {
        (void)snprintf(text, SETTING_SIZE, "%d 8%.1s%d", number_of(setting, "baud"),
                       text_of(setting, "parity"), number_of(setting, "stop"));
    }
    return text;
}

// ---- progress -----------------------------------------------------------------------------------

void scan_text_progress(const json_t *progress, FILE *out)
{
    char setting[SETTING_SIZE];
    int total = number_of(progress, "total");
    const char *phase = text_of(progress, "phase");
    (void)fprintf(out, "%-8s %s", phase, setting_of(progress, setting));
    if (number_of(progress, "waits_s") >= FULL_AFTER_S) {
        (void)fprintf(out,
                      " waits for %d s: the link is full of polls; give its meters a longer "
                      "interval_s while it is scanned",
                      number_of(progress, "waits_s"));
        return;
    }
    if (number_of(progress, "unit") < 0) // nothing was asked yet
        return;
    if (strcmp(phase, "identify") == 0)
        (void)fprintf(out, " unit %d, %d of %d", number_of(progress, "unit"),
                      number_of(progress, "done") + 1, total);
    else if (total > 0)
        (void)fprintf(out, " unit %3d, call %d of %d", number_of(progress, "unit"),
                      number_of(progress, "done"), total);
    else
        (void)fprintf(out, " unit %3d, %d found", number_of(progress, "unit"),
                      number_of(progress, "found"));
}

// ---- the table ----------------------------------------------------------------------------------

// A text in lines of WIDTH, broken at spaces.
static void put_wrapped(const char *text, FILE *out)
{
    const char *mark = "- ";
    while (*text != '\0') {
        int length = (int)strlen(text);
        int most = WIDTH - INDENT - 2;
        if (length > most) {
            length = most;
            while (length > most / 2 && text[length] != ' ')
                length--;
        }
        (void)fprintf(out, "%*s%s", INDENT, "", mark);
        put_clean(text, length, out);
        (void)fputc('\n', out);
        text += length;
        text += strspn(text, " ");
        mark = "  ";
    }
}

static void put_fit(const json_t *unit, const json_t *fit, bool first, FILE *out)
{
    char number[16] = "";
    char answer[16] = "";
    if (first) {
        (void)snprintf(number, sizeof number, "%d", number_of(unit, "unit"));
        (void)snprintf(answer, sizeof answer, "%d", number_of(unit, "answer_ms"));
    }
    double share = json_number_value(json_object_get(fit, "share"));
    (void)fprintf(out, "%4s  %6s  %4.0f %%  ", number, answer, 100 * share);
    put_clean(text_of(fit, "profile"), (int)strlen(text_of(fit, "profile")), out);
    if (text_of(fit, "word_order")[0] != '\0')
        (void)fprintf(out, " (word_order: %s)", text_of(fit, "word_order"));
    (void)fputc('\n', out);
    size_t i = 0;
    const json_t *reason = NULL;
    json_array_foreach(json_object_get(fit, "reasons"), i, reason)
    {
        if (first)
            put_wrapped(text_of(reason, "en"), out);
    }
}

// The share that is left for a meter that no profile describes.
static double share_of_none(const json_t *fits)
{
    double none = 1;
    size_t i = 0;
    const json_t *fit = NULL;
    json_array_foreach(fits, i, fit)
    {
        none -= json_number_value(json_object_get(fit, "share"));
    }
    return none;
}

// Whether the best of them is worth a line in the configuration.
static bool is_likely(const json_t *fits)
{
    return json_array_size(fits) > 0 && share_of_none(fits) <= 0.5;
}

static void put_unit(const json_t *unit, FILE *out)
{
    const json_t *fits = json_object_get(unit, "profiles");
    size_t i = 0;
    const json_t *fit = NULL;
    if (json_array_size(fits) == 0) {
        (void)fprintf(out, "%4d  %6d       -  %s\n", number_of(unit, "unit"),
                      number_of(unit, "answer_ms"),
                      json_is_true(json_object_get(unit, "identified"))
                          ? "answers, but no profile fits: write one (README, profiles)"
                          : "answers; not identified yet");
    }
    if (json_array_size(fits) > 0 && !is_likely(fits))
        (void)fprintf(out, "%4d  %6d  %4.0f %%  most likely none of the profiles; the nearest:\n",
                      number_of(unit, "unit"), number_of(unit, "answer_ms"),
                      100 * share_of_none(fits));
    json_array_foreach(fits, i, fit)
    {
        double share = json_number_value(json_object_get(fit, "share"));
        if (i == 0 || share >= 0.005)
            put_fit(unit, fit, i == 0, out);
    }
}

static void put_units_of(const json_t *result, const char *key, const char *text, FILE *out)
{
    size_t i = 0;
    const json_t *unit = NULL;
    json_array_foreach(json_object_get(result, key), i, unit)
    {
        (void)fprintf(out, "unit %d: %s\n", (int)json_integer_value(unit), text);
    }
}

static void put_configured(const json_t *result, FILE *out)
{
    const json_t *units = json_object_get(result, "configured");
    size_t i = 0;
    const json_t *unit = NULL;
    json_array_foreach(units, i, unit)
    {
        (void)fprintf(out, "%s%d", i == 0 ? "in the configuration already, not asked: unit " : ", ",
                      (int)json_integer_value(unit));
    }
    if (json_array_size(units) > 0)
        (void)fputc('\n', out);
}

static void put_remarks(const json_t *result, FILE *out)
{
    put_configured(result, out);
    put_units_of(result, "heard", "was heard, but not asked again yet", out);
    put_units_of(result, "garbled",
                 "answers, but spoilt: two meters with this number, or a bad line", out);
    if (json_is_true(json_object_get(result, "echo")))
        (void)fputs("the adapter hears its own requests: the link needs 'echo: true'\n", out);
    if (json_is_true(json_object_get(result, "other_master")))
        (void)fputs("something else asks meters on this line: end it, two masters disturb each "
                    "other\n",
                    out);
    if (json_is_true(json_object_get(result, "ignores_unit")))
        (void)fputs("the device answers to every unit number: it is one meter\n", out);
}

void scan_text_table(const json_t *result, FILE *out)
{
    char setting[SETTING_SIZE];
    const json_t *units = json_object_get(result, "units");
    size_t count = json_array_size(units);
    (void)setting_of(result, setting);
    (void)fprintf(out, "%s%s%s: %zu %s found in %.0f s%s\n", text_of(result, "link"),
                  setting[0] != '\0' ? ", " : "", setting, count, count == 1 ? "meter" : "meters",
                  json_number_value(json_object_get(result, "elapsed_s")),
                  json_is_true(json_object_get(result, "complete")) ? "" : " (stopped early)");
    if (count > 0)
        (void)fputs("UNIT  ANSWER  FIT     PROFILE\n", out);
    size_t i = 0;
    const json_t *unit = NULL;
    json_array_foreach(units, i, unit)
    {
        put_unit(unit, out);
    }
    put_remarks(result, out);
}

// ---- YAML ---------------------------------------------------------------------------------------

// An id from the link's address: the last part of a device, or the whole of an IP address.
static void make_id(const char *link, char id[static ID_SIZE])
{
    const char *from = strstr(link, "://");
    from = from != NULL ? from + 3 : link;
    size_t length = strcspn(from, "?");
    bool device = from[0] == '/';
    size_t start = 0;
    for (size_t i = 0; device && i < length; i++)
        start = from[i] == '/' ? i + 1 : start;
    size_t used = (size_t)snprintf(id, ID_SIZE, "%s", device ? "" : "link");
    bool dash = !device; // one is due
    for (size_t i = start; i < length && used < ID_SIZE - 6; i++) {
        unsigned char byte = (unsigned char)from[i];
        if (!isalnum(byte)) {
            dash = true;
            continue;
        }
        if (dash && used > 0)
            id[used++] = '-';
        dash = false;
        id[used++] = (char)tolower(byte);
    }
    id[used] = '\0';
    if (!id_is_valid(id))
        (void)snprintf(id, ID_SIZE, "link-1");
}

static void put_link(const json_t *result, const char *id, int slowest_ms, FILE *out)
{
    const json_t *setting = json_object_get(result, "setting");
    const char *link = text_of(result, "link");
    (void)fprintf(out, "links:\n  - {id: %s, url: \"%.*s", id, (int)strcspn(link, "?"), link);
    if (json_is_object(setting)) {
        (void)fprintf(out, "?baud=%d&parity=%s&stop=%d", number_of(setting, "baud"),
                      text_of(setting, "parity"), number_of(setting, "stop"));
    }
    (void)fputc('"', out);
    int timeout_ms = (2 * slowest_ms + 100 + 99) / 100 * 100;
    if (timeout_ms > TIMEOUT_DEFAULT_MS)
        (void)fprintf(out, ", response_timeout_ms: %d", timeout_ms);
    if (json_is_true(json_object_get(result, "echo")))
        (void)fputs(", echo: true", out);
    (void)fputs("}\n", out);
}

static void put_open_units(const json_t *fit, FILE *out)
{
    const json_t *units = json_object_get(fit, "units");
    const char *channel = NULL;
    json_t *unit = NULL;
    const char *before = ", units: {";
    json_object_foreach((json_t *)units, channel, unit)
    {
        (void)fprintf(out, "%s%s: %s", before, channel, json_string_value(unit));
        before = ", ";
    }
    if (json_object_size(units) > 0)
        (void)fputc('}', out);
}

static void put_meter(const json_t *unit, const char *link_id, FILE *out)
{
    const json_t *fit = json_array_get(json_object_get(unit, "profiles"), 0);
    int number = number_of(unit, "unit");
    if (fit == NULL) {
        (void)fprintf(out, "  # unit %d answers, but no profile fits\n", number);
        return;
    }
    double share = json_number_value(json_object_get(fit, "share"));
    const char *mark = "-";
    if (!is_likely(json_object_get(unit, "profiles"))) {
        (void)fprintf(out, "  # unit %d has most likely none of the profiles; the best, %.0f %%:\n",
                      number, 100 * share);
        mark = "# -";
    } else if (share < SURE)
        (void)fprintf(out, "  # maybe, %.0f %%: compare with the meter's type plate\n",
                      100 * share);
    if (json_object_get(fit, "units") != NULL)
        (void)fputs("  # the units are set in the meter: look there\n", out);
    (void)fprintf(out, "  %s {id: %.*s-%d, link: %s, unit: %d, profile: %s", mark, ID_SIZE - 6,
                  link_id, number, link_id, number, text_of(fit, "profile"));
    if (text_of(fit, "word_order")[0] != '\0')
        (void)fprintf(out, ", word_order: %s", text_of(fit, "word_order"));
    put_open_units(fit, out);
    (void)fputs("}\n", out);
}

void scan_text_yaml(const json_t *result, FILE *out)
{
    const char *link_id = json_string_value(json_object_get(result, "id"));
    char id[ID_SIZE];
    const json_t *units = json_object_get(result, "units");
    const json_t *unit = NULL;
    size_t i = 0;
    int slowest_ms = 0;
    make_id(text_of(result, "link"), id);
    json_array_foreach(units, i, unit)
    {
        int answer_ms = number_of(unit, "answer_ms");
        slowest_ms = answer_ms > slowest_ms ? answer_ms : slowest_ms;
    }
    if (json_array_size(units) == 0) {
        (void)fputs("# no meter was found\n", out);
        return;
    }
    (void)fputs("# Found by metergate scan. Compare each meter with its display, then set "
                "display_checked.\n",
                out);
    if (link_id == NULL)
        put_link(result, id, slowest_ms, out);
    bool some = false;
    json_array_foreach(units, i, unit)
    {
        some = some || is_likely(json_object_get(unit, "profiles"));
    }
    (void)fputs(some ? "meters:\n" : "meters: []\n", out);
    json_array_foreach(units, i, unit)
    {
        put_meter(unit, link_id != NULL ? link_id : id, out);
    }
}
