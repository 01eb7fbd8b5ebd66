// metergate report: the frame of all reports, and what they share.
#include "cli/report.h"

#include "base/timetext.h"
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(void)
{
    puts("usage: metergate report day|month|year|completeness --state DIR [OPTION]...\n"
         "\n"
         "day, month, year: of a gas day, month or year, for each meter, customer and the site: "
         "indices at start\nand end, volumes, energy, peak hour, load factor, use by hour of the "
         "day and by weekday, "
         "reads that\ncame, what is estimated or corrected, alerts. From closed periods, exact; "
         "what is not known is\na dash with its reason. One that is not over is told as far as it "
         "has come. With --meter also\nits hours, days or months.\n"
         "completeness: of a gas day, for each meter and hour the reads that were due, those that "
         "came,\n"
         "and why the others did not; what is known of the index all the same; named holes; the "
         "gateway's\n"
         "own outages; the messages for head office.\n"
         "All of them read only, also while the gateway runs.\n"
         "\n"
         "  --meter ID      one meter only\n"
         "  --date D        the gas day that begins on this local date, as 2026-11-23; the month "
         "as\n"
         "                  2026-11, the year as 2026; default: the newest one that is over\n"
         "  --csv           a table for other programs, times in UTC (columns: README)\n"
         "  --json          one object\n"
         "  --language en|zh  language of the text, also --lang; default: that of the locale\n"
         "  -h, --help      print this help\n"
         "\n"
         "Exit status: 0 the report was made, holes or not; 1 it could not be made, or the store "
         "has nothing\nof that time; 2 wrong usage.");
}

// --- shared by the reports ---

const char *report_time(const struct report *report, int64_t at_ms, char text[static 20])
{
    char utc[TIME_TEXT_MAX];
    (void)time_print(wall_clock_s(&report->calendar, at_ms) * 1000, utc);
    (void)snprintf(text, 20, "%.10s %.5s", utc, utc + 11);
    return text;
}

void report_cell(const char *text, int width, bool right)
{
    int columns = 0;
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x80 || byte >= 0xC0)
            columns += byte >= 0xE2 ? 2 : 1; // from U+2E80 on, for what the catalogue has
    }
    int space = columns < width ? width - columns : 0;
    printf("%*s%s%*s", right ? space : 0, "", text, right ? 0 : space, "");
}

const char *report_why(uint16_t why, enum language language, char code[static WHY_TEXT_MAX])
{
    char key[8 + WHY_TEXT_MAX];
    (void)why_text(why, code);
    (void)snprintf(key, sizeof key, "why.%s", code);
    const char *words = catalogue_text(key, language);
    return words != NULL ? words : code;
}

// --- the command line ---

static const struct kind {
    const char *name;
    int (*run)(struct report *report);
} kinds[] = {
    {"day", report_usage},  {"month", report_usage},
    {"year", report_usage}, {"completeness", report_completeness},
    {NULL, NULL},
};

struct options {
    const char *what, *state, *meter, *date, *language;
    enum report_form form;
};

static bool is_chinese(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return strncmp(value, "zh", 2) == 0;
    }
    return false;
}

static int choose_language(const struct options *options, enum language *out)
{
    *out = is_chinese() ? LANGUAGE_ZH : LANGUAGE_EN;
    if (options->language == NULL)
        return EXIT_DONE;
    *out = strcmp(options->language, "zh") == 0 ? LANGUAGE_ZH : LANGUAGE_EN;
    if (*out == LANGUAGE_EN && strcmp(options->language, "en") != 0)
        return cli_usage("report", "there are the languages en and zh, but no '%s'",
                         options->language);
    return EXIT_DONE;
}

// Gas days by the site's clock, which the store remembers.
static int read_calendar(struct report *report)
{
    struct err err = {.text = ""};
    char text[96];
    int found = store_setting_get(report->store, "gas_day", text, sizeof text, &err);
    if (found > 0) {
        char *end;
        long minutes = strtol(text, &end, 10);
        if (*end != ' ' || minutes < 0 || minutes > 1425)
            found = err_set(&err, "the store's gas_day '%s' names no gas day", text);
        else if (gas_calendar_init(&report->calendar, end + 1, (int)minutes, &err) != 0)
            found = -1;
    }
    if (found == 0)
        (void)err_set(&err, "the store does not say when its gas days begin: start the gateway "
                            "once with this program");
    if (found > 0)
        found = store_setting_get(report->store, "gateway", report->gateway, sizeof report->gateway,
                                  &err);
    return found >= 0 && err.text[0] == '\0' ? EXIT_DONE : cli_problem("report", "%s", err.text);
}

static int check_meter(const struct report *report)
{
    int number;
    struct err err;
    int found =
        report->meter == NULL ? 1 : store_meter_find(report->store, report->meter, &number, &err);
    if (found < 0)
        return cli_problem("report", "%s", err.text);
    return found == 1 ? EXIT_DONE
                      : cli_problem("report", "the store knows no meter '%s'", report->meter);
}

static int run(const struct kind *kind, const struct options *options)
{
    struct err err;
    struct report report = {.meter = options->meter, .form = options->form};
    int status = choose_language(options, &report.language);
    if (status != EXIT_DONE)
        return status;
    if (store_open_reader(options->state, &report.store, &err) != 0)
        return cli_problem("report", "%s", err.text);
    status = read_calendar(&report);
    if (status == EXIT_DONE)
        status = report_range(&report, options->what, options->date);
    if (status == EXIT_DONE)
        status = check_meter(&report);
    if (status == EXIT_DONE)
        status = kind->run(&report);
    store_close(report.store);
    return status;
}

static int run_kind(const struct options *options)
{
    const struct kind *kind = kinds;
    while (kind->name != NULL && strcmp(kind->name, options->what) != 0)
        kind++;
    if (kind->name == NULL)
        return cli_usage("report",
                         "there is no report '%s', only day, month, year and completeness",
                         options->what);
    if (options->state == NULL)
        return cli_usage("report", "name the state folder with --state DIR");
    return run(kind, options);
}

int report_main(int argc, char **argv)
{
    static const struct option rows[] = {{"state", required_argument, NULL, 's'},
                                         {"meter", required_argument, NULL, 'm'},
                                         {"date", required_argument, NULL, 'd'},
                                         {"lang", required_argument, NULL, 'l'},
                                         {"language", required_argument, NULL, 'l'},
                                         {"csv", no_argument, NULL, 'c'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    struct options options = {.form = REPORT_TEXT};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", rows, NULL)) != -1) {
        switch (option) {
        case 's': options.state = optarg; break;
        case 'm': options.meter = optarg; break;
        case 'd': options.date = optarg; break;
        case 'l': options.language = optarg; break;
        case 'c': options.form = REPORT_CSV; break;
        case 'j': options.form = REPORT_JSON; break;
        case 'h': print_help(); return EXIT_DONE;
        default:
            return cli_usage("report", "'%s' is no option, or lacks its value", argv[optind - 1]);
        }
    }
    if (argc - optind != 1)
        return cli_usage("report", "name the report: day, month, year or completeness");
    options.what = argv[optind];
    return run_kind(&options);
}
