#include "scan/report.h"

#include "config/config.h"
#include "poll/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 1024 // bytes of one reason's text

const char *scan_setting_text(const struct scan_setting *setting,
                              char text[static SCAN_SETTING_TEXT_MAX])
{
    (void)snprintf(text, SCAN_SETTING_TEXT_MAX, "%d 8%c%d", setting->baud, setting->parity,
                   setting->stop);
    return text;
}

static void print_setting(struct writer *writer, const struct scan_setting *setting, bool known)
{
    writer_key(writer, "setting");
    if (!known || setting->baud == 0) {
        writer_null(writer);
        return;
    }
    const char parity[] = {setting->parity, '\0'};
    writer_object(writer);
    writer_key_int(writer, "baud", setting->baud);
    writer_key_text(writer, "parity", parity);
    writer_key_int(writer, "stop", setting->stop);
    writer_end(writer);
}

// ---- one unit -----------------------------------------------------------------------------------

static void print_reasons(const struct scan_fit *fit, struct writer *writer)
{
    static const char *const names[LANGUAGE_COUNT] = {[LANGUAGE_EN] = "en", [LANGUAGE_ZH] = "zh"};
    writer_key(writer, "reasons");
    writer_array(writer);
    for (int i = 0; i < fit->reason_count; i++) {
        writer_object(writer);
        for (int language = 0; language < LANGUAGE_COUNT; language++) {
            struct buf text;
            buf_init(&text, REASON_MAX);
            scan_reason_text(&fit->reasons[i], (enum language)language, &text);
            writer_key_text(writer, names[language], text.data);
            buf_release(&text);
        }
        writer_end(writer);
    }
    writer_end(writer);
}

// Units that the profile leaves to the meter entry: the canonical ones, to be checked.
static void print_units(const struct profile *profile, struct writer *writer)
{
    bool any = false;
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        if (strcmp(channel->unit, "config") != 0)
            continue;
        if (!any) {
            writer_key(writer, "units");
            writer_object(writer);
        }
        any = true;
        writer_key_text(writer, channel->channel->name, channel->channel->unit);
    }
    if (any)
        writer_end(writer);
}

static void print_fit(const struct scan *scan, const struct scan_fit *fit, struct writer *writer)
{
    const struct profile *profile = scan_options_of(scan)->candidates[fit->profile].profile;
    writer_object(writer);
    writer_key_text(writer, "profile", profile->name);
    writer_key_text(writer, "model", profile->model);
    writer_key_gauge(writer, "share", fit->share, false);
    writer_key_gauge(writer, "bits", fit->bits, false);
    if (fit->order != 0) {
        struct profile *judged = scan_fit_profile(profile, fit);
        writer_key_text(writer, "word_order", judged != NULL ? scan_order_name(judged) : "");
        free(judged);
    }
    print_units(profile, writer);
    print_reasons(fit, writer);
    writer_end(writer);
}

static void print_channels(const struct scan *scan, const struct scan_result *result,
                           struct writer *writer)
{
    const struct scan_fit *best = &result->fits[0];
    struct profile *profile =
        scan_fit_profile(scan_options_of(scan)->candidates[best->profile].profile, best);
    struct meter meter = {.profile = profile};
    struct reading *reading = profile != NULL ? reading_new(NULL, &meter) : NULL;
    writer_key(writer, "channels");
    if (reading != NULL && reading->value_count == result->value_count) {
        memcpy(reading->values, result->values,
               (size_t)result->value_count * sizeof result->values[0]);
        reading_print_channels(writer, reading);
    } else {
        writer_null(writer);
    }
    reading_free(reading);
    free(profile);
}

static void print_found(const struct scan *scan, const struct scan_found *found,
                        struct writer *writer)
{
    writer_object(writer);
    writer_key_int(writer, "unit", found->unit);
    writer_key_int(writer, "answer_ms", found->answer_ms);
    writer_key_bool(writer, "identified", found->identified);
    writer_key(writer, "profiles");
    writer_array(writer);
    for (int i = 0; i < found->result.fit_count; i++)
        print_fit(scan, &found->result.fits[i], writer);
    writer_end(writer);
    if (found->result.fit_count > 0)
        print_channels(scan, &found->result, writer);
    writer_end(writer);
}

// ---- the whole ----------------------------------------------------------------------------------

static void print_tried(const struct scan_options *options, struct writer *writer)
{
    writer_key(writer, "tried");
    writer_object(writer);
    writer_key_int(writer, "settings", options->settings.count);
    writer_key_int(writer, "first_unit", options->first_unit);
    writer_key_int(writer, "last_unit", options->last_unit);
    writer_key_int(writer, "profiles", options->candidate_count);
    writer_end(writer);
}

static void print_list(const struct scan *scan, const char *key,
                       bool (*is_in)(const struct scan *scan, int unit), struct writer *writer)
{
    writer_key(writer, key);
    writer_array(writer);
    for (int unit = 0; unit < SCAN_UNITS; unit++)
        if (is_in(scan, unit))
            writer_int(writer, unit);
    writer_end(writer);
}

// In the configuration already, and so not asked.
static bool is_configured(const struct scan *scan, int unit)
{
    return scan_options_of(scan)->skip[unit];
}

void scan_report(const struct scan *scan, const char *link, const char *id, bool complete,
                 int64_t elapsed_ms, struct writer *writer)
{
    struct scan_setting setting = {0};
    bool known = scan_setting_found(scan, &setting);
    writer_object(writer);
    writer_key_text(writer, "link", link);
    if (id != NULL)
        writer_key_text(writer, "id", id);
    print_setting(writer, &setting, known);
    writer_key_bool(writer, "complete", complete);
    writer_key_gauge(writer, "elapsed_s", (double)elapsed_ms / 1000, false);
    print_tried(scan_options_of(scan), writer);
    writer_key_bool(writer, "echo", scan_has_echo(scan));
    writer_key_bool(writer, "other_master", scan_has_other_master(scan));
    writer_key_bool(writer, "ignores_unit", scan_ignores_unit(scan));
    print_list(scan, "configured", is_configured, writer);
    print_list(scan, "heard", scan_is_heard, writer);
    print_list(scan, "garbled", scan_is_garbled, writer);
    writer_key(writer, "units");
    writer_array(writer);
    for (int i = 0; i < scan_found_count(scan); i++)
        print_found(scan, scan_found_at(scan, i), writer);
    writer_end(writer);
    writer_end(writer);
}

void scan_report_progress(const struct scan *scan, int waits_s, struct writer *writer)
{
    struct scan_progress progress;
    scan_progress(scan, &progress);
    writer_object(writer);
    writer_key_text(writer, "phase", scan_phase_text(progress.phase));
    writer_key_int(writer, "done", progress.done);
    writer_key_int(writer, "total", progress.total);
    print_setting(writer, &progress.setting, true);
    writer_key_int(writer, "unit", progress.unit);
    writer_key_int(writer, "found", progress.found);
    writer_key_int(writer, "waits_s", waits_s);
    writer_end(writer);
}
