// metergate export: what the store holds, as CSV or one JSON object a line. Reads only, in short
// transactions, beside a running gateway.
#include "cli/cli.h"
#include "cli/export_rows.h"

#include "base/timetext.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX (1024 * 1024) // of one row; the largest period has under 100 KiB

struct options {
    const char *what;
    const char *state;
    const char *meter;
    int64_t from_ms, to_ms;
    bool json;
};

static void print_help(void)
{
    puts("usage: metergate export readings|periods|alerts|audit --state DIR [OPTION]...\n"
         "\n"
         "Prints what the store in DIR holds as CSV, also while the gateway runs.\n"
         "\n"
         "  --from T     rows from T on (2026-11-23 or 2026-11-23T08:00:00Z); default: all\n"
         "  --to T       rows before T\n"
         "  --meter ID   of one meter only (not for audit)\n"
         "  --json       one JSON object a line, as in the feed\n"
         "  -h, --help   print this help\n"
         "\n"
         "Readings are chosen by `at`, periods by `from`, alerts and audit records by `at`.\n"
         "Exit status: 0 done, 1 something could not be read, 2 wrong usage.");
}

static int walk_readings(struct store *store, const struct options *options,
                         struct exporter *exporter, struct err *err)
{
    return store_readings(store, options->meter, options->from_ms, options->to_ms, export_reading,
                          exporter, err);
}

static int walk_periods(struct store *store, const struct options *options,
                        struct exporter *exporter, struct err *err)
{
    return store_periods(store, options->meter, (enum span)0, options->from_ms, options->to_ms,
                         export_period, exporter, err);
}

static int walk_alerts(struct store *store, const struct options *options,
                       struct exporter *exporter, struct err *err)
{
    return store_alerts(store, options->meter, options->from_ms, options->to_ms, export_alert,
                        exporter, err);
}

static int walk_audit(struct store *store, const struct options *options, struct exporter *exporter,
                      struct err *err)
{
    return store_audits(store, options->from_ms, options->to_ms, export_audit, exporter, err);
}

// Every kind of row: its header and the walk over it.
static const struct kind {
    const char *name;
    const char *header;
    int (*walk)(struct store *store, const struct options *options, struct exporter *exporter,
                struct err *err);
} kinds[] = {
    {"readings", EXPORT_READING_HEADER, walk_readings},
    {"periods", EXPORT_PERIOD_HEADER, walk_periods},
    {"alerts", EXPORT_ALERT_HEADER, walk_alerts},
    {"audit", EXPORT_AUDIT_HEADER, walk_audit},
    {NULL, NULL, NULL},
};

static const struct kind *kind_find(const char *name)
{
    for (const struct kind *kind = kinds; kind->name != NULL; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

static int print_rows(struct store *store, const struct kind *kind, const struct options *options)
{
    struct err err = {.text = ""};
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    struct exporter exporter = {.line = &line, .json = options->json};
    int result =
        store_setting_get(store, "gateway", exporter.gateway, sizeof exporter.gateway, &err);
    if (result >= 0 && !options->json)
        (void)puts(kind->header);
    if (result >= 0)
        result = kind->walk(store, options, &exporter, &err);
    buf_release(&line);
    if (result < 0)
        return cli_problem("export", "%s", err.text);
    if (fflush(stdout) != 0 || ferror(stdout) != 0 || exporter.failed)
        return cli_problem("export", "the rows could not be written: is there room for them?");
    if (store_damaged(store) > 0) {
        return cli_problem("export",
                           "%lld damaged rows were left out; 'metergate verify' names them",
                           (long long)store_damaged(store));
    }
    return EXIT_DONE;
}

static int check_meter(struct store *store, const struct options *options)
{
    int number;
    struct err err;
    int found = options->meter == NULL || strcmp(options->what, "alerts") == 0
                    ? 1
                    : store_meter_find(store, options->meter, &number, &err);
    if (found < 0)
        return cli_problem("export", "%s", err.text);
    if (found == 0)
        return cli_problem("export", "the store knows no meter '%s'", options->meter);
    return EXIT_DONE;
}

static int run(const struct options *options)
{
    const struct kind *kind = kind_find(options->what);
    if (kind == NULL) {
        return cli_usage("export", "there are readings, periods, alerts and audit, but no '%s'",
                         options->what);
    }
    if (options->state == NULL)
        return cli_usage("export", "name the state folder with --state DIR");
    if (options->meter != NULL && kind->walk == walk_audit)
        return cli_usage("export", "audit records are not of one meter: leave --meter out");
    struct err err;
    struct store *store = NULL;
    if (store_open_reader(options->state, &store, &err) != 0)
        return cli_problem("export", "%s", err.text);
    int status = check_meter(store, options);
    if (status == EXIT_DONE)
        status = print_rows(store, kind, options);
    store_close(store);
    return status;
}

static int parse_time(const char *option, const char *text, int64_t *out)
{
    if (time_parse(text, out) != 0) {
        return cli_usage("export",
                         "--%s: '%s' is no time; write 2026-11-23 or 2026-11-23T08:00:00Z", option,
                         text);
    }
    return EXIT_DONE;
}

int export_main(int argc, char **argv)
{
    static const struct option rows[] = {{"state", required_argument, NULL, 's'},
                                         {"from", required_argument, NULL, 'f'},
                                         {"to", required_argument, NULL, 't'},
                                         {"meter", required_argument, NULL, 'm'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    struct options options = {.from_ms = 0, .to_ms = INT64_MAX};
    int status = EXIT_DONE;
    int option;
    opterr = 0;
    while (status == EXIT_DONE && (option = getopt_long(argc, argv, "h", rows, NULL)) != -1) {
        switch (option) {
        case 's': options.state = optarg; break;
        case 'm': options.meter = optarg; break;
        case 'j': options.json = true; break;
        case 'f': status = parse_time("from", optarg, &options.from_ms); break;
        case 't': status = parse_time("to", optarg, &options.to_ms); break;
        case 'h': print_help(); return EXIT_DONE;
        default:
            return cli_usage("export", "'%s' is no option, or lacks its value", argv[optind - 1]);
        }
    }
    if (status != EXIT_DONE)
        return status;
    if (argc - optind != 1)
        return cli_usage("export", "name what: readings, periods, alerts or audit");
    options.what = argv[optind];
    return run(&options);
}
