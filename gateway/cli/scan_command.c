// metergate scan: which meters are on a link, how the line is set, and which profiles fit. Through
// the running gateway where it holds the link, else over the link itself.
#include "cli/cli.h"
#include "cli/scan_text.h"

#include "control/control.h"
#include "scan/line.h"
#include "scan/report.h"
#include "scan/shelf.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX (4 * 1024 * 1024)
#define GATEWAY_TIMEOUT_MS 90000 // without a word: a busy bus gives a scan a turn a minute
#define PROGRESS_MAX 4096
#define PROGRESS_TERMINAL_MS 200
#define PROGRESS_FILE_MS 5000

static const char help[] =
    "usage: metergate scan --link URL [--units A-B] [OPTION]...\n"
    "\n"
    "Finds the meters of a link: unit numbers, baud rate, parity and stop bits of a serial line, "
    "and\n"
    "the profiles that fit, ranked, with the reasons. Ctrl-C ends it and prints what was found so "
    "far.\n"
    "\n"
    "  --link URL       rtu:///dev/ttyUSB0, tcp://IP:PORT or rtu-over-tcp://IP:PORT. Settings in "
    "the\n"
    "                   URL (?baud=9600&parity=N&stop=1, or a part of them) are the only ones "
    "tried;\n"
    "                   without any, all are: the makers' defaults of the profiles and 9600 baud "
    "first\n"
    "  --all-settings   try all settings whatever the URL says\n"
    "  --state DIR      state directory of a gateway (" STATE_DEFAULT "): where one runs and has "
    "the\n"
    "                   link, it scans between its polls, at the link's own settings, the units "
    "that\n"
    "                   are not configured\n"
    "  --units A-B      only these unit numbers (1-247; over TCP 0-255, 0, 255 and 1 first)\n"
    "  --timeout MS     over TCP, of each unit, 50 to 30000 (500)\n"
    "  --echo           the adapter hears its own requests (found out by itself as well)\n"
    "  --rs485          the kernel's driver switches the adapter's direction\n"
    "  --profiles DIR   seek profiles in DIR first\n"
    "  --json           print JSON\n"
    "  --yaml           print links and meters for the configuration\n"
    "  --quiet          no progress on stderr\n"
    "  -h, --help       print this help\n"
    "\n"
    "Exit status: 0 at least one meter was found, 1 none, or the scan failed; 2 wrong usage.\n"
    "metergate reads with functions 1 to 4 and writes nothing to a meter.\n";

struct options {
    const char *link, *state;
    const char *units; // as given, NULL for all
    struct link_url url;
    struct scan_setting wanted; // from the URL; 0 for what it does not say
    int first_unit, last_unit;  // -1: not given
    int timeout_ms;
    struct config_search search;
    bool all_settings, echo, rs485, json, yaml, quiet;
};

static volatile sig_atomic_t stop_wanted;

static void on_stop(int number)
{
    (void)number;
    stop_wanted = 1;
}

static void catch_stop(void)
{
    const struct sigaction action = {.sa_handler = on_stop};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

// ---- progress -----------------------------------------------------------------------------------

// Over one line on a terminal, else a line at each change of what is done.
struct shown {
    bool terminal;
    int64_t at_ms;
    enum scan_phase phase;
    struct scan_setting setting;
    int unit; // that is identified
};

static void show_progress(const struct scan *scan, struct shown *shown)
{
    struct scan_progress now;
    int64_t now_ms = clock_boot_ms(&clock_system);
    scan_progress(scan, &now);
    bool changed = now.phase != shown->phase || !scan_setting_equal(&now.setting, &shown->setting);
    changed = changed || (now.phase == SCAN_IDENTIFY && now.unit != shown->unit);
    int rest_ms = shown->terminal ? PROGRESS_TERMINAL_MS : PROGRESS_FILE_MS;
    bool early = now.phase == SCAN_IDENTIFY && now.unit < scan_options_of(scan)->first_unit;
    if (early || now.phase == SCAN_DONE || (!changed && now_ms - shown->at_ms < rest_ms))
        return;
    *shown = (struct shown){shown->terminal, now_ms, now.phase, now.setting, now.unit};
    struct buf text;
    struct writer writer;
    buf_init(&text, PROGRESS_MAX);
    writer_init(&writer, &text);
    scan_report_progress(scan, 0, &writer);
    json_t *progress = text.failed ? NULL : json_loads(text.data, 0, NULL);
    (void)fputs(shown->terminal ? "\r" : "", stderr);
    scan_text_progress(progress, stderr);
    (void)fputs(shown->terminal ? "\033[K" : "\n", stderr);
    json_decref(progress);
    buf_release(&text);
}

// ---- the result ---------------------------------------------------------------------------------

static int print_result(const struct options *options, const char *text)
{
    json_t *result = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (result == NULL)
        return cli_problem("scan", "there is not enough memory for the result");
    if (options->json)
        puts(text);
    else if (options->yaml)
        scan_text_yaml(result, stdout);
    else
        scan_text_table(result, stdout);
    size_t count = json_array_size(json_object_get(result, "units"));
    json_decref(result);
    return count > 0 ? EXIT_DONE : EXIT_PROBLEM;
}

// ---- over the link itself -----------------------------------------------------------------------

static void tell_settings(const struct options *options, const struct scan_settings *settings)
{
    char text[SCAN_SETTING_TEXT_MAX];
    if (options->quiet || options->url.kind != LINK_RTU)
        return;
    if (settings->count == 1) {
        fprintf(stderr, "only %s is tried, as the URL says; --all-settings tries all\n",
                scan_setting_text(&settings->list[0], text));
    } else {
        fprintf(stderr, "%d settings are tried%s, first %s\n", settings->count,
                options->wanted.baud != 0 || options->wanted.parity != 0 ||
                        options->wanted.stop != 0
                    ? " that fit the URL (--all-settings: all)"
                    : "",
                scan_setting_text(&settings->list[0], text));
    }
}

static void tell_skipped(const char *name, const char *why)
{
    fprintf(stderr, "the profile %s is left out: %s\n", name, why);
}

// 0 when the scan came to its end or was stopped; -1 with a message.
static int run_scan(const struct options *options, struct scan *scan, struct scan_line *line,
                    struct err *err)
{
    const struct scan_wire wire = scan_line_wire(line);
    struct shown shown = {.terminal = isatty(STDERR_FILENO) == 1, .phase = SCAN_DONE};
    int result = 1;
    while (result > 0 && !stop_wanted) {
        result = scan_step(scan, &wire, err);
        if (!options->quiet)
            show_progress(scan, &shown);
    }
    if (shown.terminal && !options->quiet)
        fputs("\r\033[K", stderr);
    return result < 0 ? -1 : 0;
}

static int scan_with(const struct options *options, const struct scan_options *what)
{
    struct err err;
    struct scan_line line;
    const struct wire_settings settings = {.url = options->url,
                                           .response_timeout_ms = options->timeout_ms,
                                           .echo = options->echo,
                                           .rs485 = options->rs485};
    struct scan *scan = scan_new(what, &clock_system);
    if (scan == NULL)
        return cli_problem("scan", "there is not enough memory");
    scan_line_init(&line, &settings, &clock_system);
    int64_t from_ms = clock_boot_ms(&clock_system);
    int status = run_scan(options, scan, &line, &err);
    int result = EXIT_PROBLEM;
    if (status != 0)
        (void)cli_problem("scan", "%s", err.text);
    if (status == 0 || scan_found_count(scan) > 0) {
        struct scan_progress progress;
        struct buf text;
        struct writer writer;
        scan_progress(scan, &progress);
        buf_init(&text, RESULT_MAX);
        writer_init(&writer, &text);
        scan_report(scan, options->link, NULL, progress.phase == SCAN_DONE,
                    clock_boot_ms(&clock_system) - from_ms, &writer);
        int printed = print_result(options, text.failed ? "" : text.data);
        result = status == 0 ? printed : EXIT_PROBLEM;
        buf_release(&text);
    }
    scan_line_release(&line);
    scan_free(scan);
    return result;
}

static int scan_link(const struct options *options)
{
    struct err err;
    if (options->url.listen)
        return cli_problem("scan", "a modem that dials in is scanned through the gateway that it "
                                   "dials: configure the link, and run the gateway");
    struct scan_shelf *shelf = scan_shelf_new(&options->search, &options->url, tell_skipped, &err);
    if (shelf == NULL)
        return cli_problem("scan", "%s", err.text);
    bool tcp = options->url.kind == LINK_TCP;
    struct scan_options what = {.kind = options->url.kind,
                                .first_unit = options->first_unit,
                                .last_unit = options->last_unit,
                                .timeout_ms = options->timeout_ms,
                                .candidates = shelf->candidates,
                                .candidate_count = shelf->count};
    if (what.first_unit < 0) {
        what.first_unit = tcp ? 0 : 1;
        what.last_unit = tcp ? 255 : 247;
    }
    if (options->url.kind == LINK_RTU) {
        scan_shelf_settings(shelf, &options->wanted, &what.settings);
        tell_settings(options, &what.settings);
    }
    int result = scan_with(options, &what);
    scan_shelf_free(shelf);
    return result;
}

// ---- through the running gateway ----------------------------------------------------------------

struct watcher {
    bool terminal, quiet;
    int64_t at_ms;
};

static bool watch_gateway(void *context, const char *json)
{
    struct watcher *watcher = context;
    int64_t now_ms = clock_boot_ms(&clock_system);
    int rest_ms = watcher->terminal ? PROGRESS_TERMINAL_MS : PROGRESS_FILE_MS;
    json_t *progress = json != NULL ? json_loads(json, 0, NULL) : NULL;
    if (progress != NULL && !watcher->quiet &&
        (watcher->at_ms == 0 || now_ms - watcher->at_ms >= rest_ms)) {
        watcher->at_ms = now_ms;
        fputs(watcher->terminal ? "\r" : "", stderr);
        scan_text_progress(progress, stderr);
        fputs(watcher->terminal ? "\033[K" : "\n", stderr);
    }
    json_decref(progress);
    return !stop_wanted;
}

// The exit status, or -1 where no gateway has the link.
static int scan_gateway(const struct options *options)
{
    struct err err;
    struct buf text;
    struct watcher watcher = {.terminal = isatty(STDERR_FILENO) == 1, .quiet = options->quiet};
    const struct control_watch watch = {watch_gateway, &watcher};
    json_t *arguments = json_pack("{s:s, s:s*}", "link", options->link, "units", options->units);
    buf_init(&text, RESULT_MAX);
    int result = EXIT_PROBLEM;
    int status = control_call_stream(options->state, "scan", arguments, GATEWAY_TIMEOUT_MS, &watch,
                                     &text, &err);
    if (watcher.terminal && watcher.at_ms != 0)
        fputs("\r\033[K", stderr);
    if (status == CONTROL_NOT_RUNNING || (status == 0 && strcmp(text.data, "null") == 0))
        result = -1;
    else if (status == 0)
        result = print_result(options, text.data);
    else
        (void)cli_problem("scan", "the gateway that runs on %s: %s", options->state, err.text);
    buf_release(&text);
    json_decref(arguments);
    return result;
}

// ---- arguments ----------------------------------------------------------------------------------

static int parse_int(const char *text, int least, int most, char **end, int *out)
{
    long value = strtol(text, end, 10);
    if (*text < '0' || *text > '9' || value < least || value > most)
        return -1;
    *out = (int)value;
    return 0;
}

// "1-32", or one unit.
static int parse_units(const char *text, struct options *options)
{
    char *end = NULL;
    int first = 0;
    int last = 0;
    if (parse_int(text, 0, 255, &end, &first) != 0)
        return -1;
    last = first;
    if (*end == '-' && parse_int(end + 1, first, 255, &end, &last) != 0)
        return -1;
    if (*end != '\0')
        return -1;
    options->units = text;
    options->first_unit = first;
    options->last_unit = last;
    return 0;
}

// What the URL says of the serial settings; what it does not is tried in all forms.
static void take_settings(struct options *options)
{
    const char *query = strchr(options->link, '?');
    if (options->url.kind != LINK_RTU || query == NULL || options->all_settings)
        return;
    if (strstr(query, "baud=") != NULL)
        options->wanted.baud = options->url.baud;
    if (strstr(query, "parity=") != NULL)
        options->wanted.parity = options->url.parity;
    if (strstr(query, "stop=") != NULL)
        options->wanted.stop = options->url.stop;
}

static int check_options(struct options *options)
{
    struct err err;
    if (options->link == NULL)
        return cli_usage("scan", "say --link URL");
    if (link_url_parse(options->link, &options->url, &err) != 0)
        return cli_usage("scan", "%s", err.text);
    bool tcp = options->url.kind == LINK_TCP;
    if (options->first_unit >= 0 && !tcp && (options->first_unit < 1 || options->last_unit > 247))
        return cli_usage("scan", "--units are 1-247 on a serial line");
    if (options->json && options->yaml)
        return cli_usage("scan", "--json or --yaml, not both");
    take_settings(options);
    return EXIT_DONE;
}

// EXIT_DONE to go on.
static int take_option(struct options *options, int option)
{
    char *end = NULL;
    switch (option) {
    case 'l': options->link = optarg; break;
    case 's': options->state = optarg; break;
    case 'a': options->all_settings = true; break;
    case 'd': options->search.directory = optarg; break;
    case 'e': options->echo = true; break;
    case 'r': options->rs485 = true; break;
    case 'j': options->json = true; break;
    case 'y': options->yaml = true; break;
    case 'q': options->quiet = true; break;
    case 'u':
        if (parse_units(optarg, options) != 0)
            return cli_usage("scan", "--units '%s': two numbers, such as 1-32", optarg);
        break;
    case 't':
        if (parse_int(optarg, 50, 30000, &end, &options->timeout_ms) != 0 || *end != '\0')
            return cli_usage("scan", "--timeout '%s': a whole number, 50 to 30000", optarg);
        break;
    default: return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int scan_main(int argc, char **argv)
{
    static const struct option known[] = {{"link", required_argument, NULL, 'l'},
                                          {"units", required_argument, NULL, 'u'},
                                          {"state", required_argument, NULL, 's'},
                                          {"all-settings", no_argument, NULL, 'a'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"profiles", required_argument, NULL, 'd'},
                                          {"echo", no_argument, NULL, 'e'},
                                          {"rs485", no_argument, NULL, 'r'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"yaml", no_argument, NULL, 'y'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {
        .state = STATE_DEFAULT, .first_unit = -1, .last_unit = -1, .timeout_ms = 500};
    int option = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        }
        if (option == '?' || option == ':') {
            return cli_usage("scan", option == '?' ? "'%s' is no option" : "'%s' needs a value",
                             argv[optind - 1]);
        }
        int result = take_option(&options, option);
        if (result != EXIT_DONE)
            return result;
    }
    if (optind != argc)
        return cli_usage("scan", "'%s' is no option", argv[optind]);
    int result = check_options(&options);
    if (result != EXIT_DONE)
        return result;
    catch_stop();
    result = scan_gateway(&options);
    return result >= 0 ? result : scan_link(&options);
}
