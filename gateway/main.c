// metergate: the table of subcommands.
#include "base/version.h"
#include "cli/cli.h"
#include "control/password.h"

#include <stdio.h>
#include <string.h>

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct subcommand subcommands[] = {
    {"run", run_main, "the gateway in the foreground"},
    {"check", check_main, "checks a configuration or a profile, fault by fault"},
    {"read", read_main, "one test reading of a meter, decoded"},
    {"scan", scan_main, "finds units, serial settings and fitting profiles of a link"},
    {"simulate", simulate_main,
     "simulated meters on TCP ports and pseudo-terminals, with faults to order"},
    {"convert", convert_main, "compressibility and base volumes by SGERG-88, CSV in, CSV out"},
    {"export", export_main, "prints readings, periods, alerts or the audit as CSV or JSON"},
    {"report", report_main, "volumes of a gas day, month or year; what a day has and lacks"},
    {"forecast", forecast_main, "forecasts an evenly spaced series: CSV in, CSV out"},
    {"verify", verify_main, "checks the whole store and names every fault"},
    {"web", web_main, "the page's own process (run starts it)"},
    {"status", status_main, "state of the running gateway"},
    {"backup", backup_main, "the whole state in one file, also while the gateway runs"},
    {"restore", restore_main, "the state of a backup; the present one is kept aside"},
    {"resend", resend_main, "sends messages again that head office had already"},
    {"office", office_main, "head office's side: signs commands for gateways"},
    {"user", user_main, "accounts of the page: add, passwd, remove, list"},
    {"hash", hash_main, NULL}, // a helper of the gateway: not shown
    {NULL, NULL, NULL},
};

static void print_help(FILE *out)
{
    fputs("metergate: polls gas meters over Modbus, keeps their readings, reports to head office "
          "over MQTT\n\n"
          "usage: metergate COMMAND [OPTION]...   'metergate COMMAND --help' says more\n\n",
          out);
    for (const struct subcommand *row = subcommands; row->name; row++)
        if (row->help)
            fprintf(out, "  %-10s %s\n", row->name, row->help);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("metergate %s\n", software_version);
        return EXIT_DONE;
    }
    for (const struct subcommand *row = subcommands; row->name; row++)
        if (strcmp(argv[1], row->name) == 0)
            return row->run(argc - 1, argv + 1);
    fprintf(stderr, "metergate: there is no command '%s'; 'metergate --help' lists them\n",
            argv[1]);
    return EXIT_USAGE;
}
