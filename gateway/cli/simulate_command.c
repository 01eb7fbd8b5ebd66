// metergate simulate: simulated meters on TCP ports and pseudo-terminals.
#include "base/clock.h"
#include "cli/cli.h"
#include "drivers/simulator/coded.h"
#include "drivers/simulator/order.h"
#include "drivers/simulator/simulator.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NAME "simulate"
#define REFERENCE_MAX 65536
#define SEED_RANDOM_MASK 0x7FFFFFFF // short enough to type

struct request {
    const char *site;
    const char *log;
    bool reference;
    struct site_options options;
};

static void print_help(void)
{
    fputs(
        "usage: metergate simulate --site FILE [--seed N] [--log FILE] [--profiles DIR]\n"
        "       metergate simulate --reference\n\n"
        "Simulated meters on TCP ports and pseudo-terminals, with faults to order. stdout: a line\n"
        "{\"link\":ID,\"url\":URL,\"meters\":[...]} for each link, then "
        "{\"ready\":true,\"seed\":N,\n"
        "\"started\":UNIX_SECONDS,...}, then one line for each order. Ends on SIGTERM, SIGINT and\n"
        "the order quit.\n\n"
        "  --site FILE     the site: links, meters, faults (--reference prints its keys)\n"
        "  --seed N        instead of the file's: the same seed gives the same values\n"
        "  --log FILE      every frame in and out, a JSON line each: t (Unix seconds), tick,\n"
        "                  link, meter, unit, dir (in, out, none), hex, fault\n"
        "  --profiles DIR  where profiles are sought first\n"
        "  --reference     the keys of a site file\n\n"
        "Orders, one a line on stdin, each answered with {\"ok\":true,...} or\n"
        "{\"ok\":false,\"error\":...}:\n" ORDER_HELP "\nFaults:",
        stdout);
    for (int kind = 0; fault_kind_name(kind) != NULL; kind++)
        printf("%s %s", kind % 8 == 7 ? "\n " : "", fault_kind_name(kind));
    fputs(
        "\n\nWith `values: coded` every register says who was asked, where and when:\n" CODED_HELP,
        stdout);
}

static int parse_seed(const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < 0)
        return -1;
    *out = (uint64_t)number;
    return 0;
}

// EXIT_DONE: `request` is filled; else the exit status.
static int parse_options(int argc, char **argv, struct request *request)
{
    enum { HELP = 1, SITE, SEED, LOG, PROFILES, REFERENCE };
    static const struct option options[] = {
        {"help", no_argument, NULL, HELP},
        {"site", required_argument, NULL, SITE},
        {"seed", required_argument, NULL, SEED},
        {"log", required_argument, NULL, LOG},
        {"profiles", required_argument, NULL, PROFILES},
        {"reference", no_argument, NULL, REFERENCE},
        {NULL, 0, NULL, 0},
    };
    int option = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case HELP: print_help(); exit(EXIT_DONE);
        case SITE: request->site = optarg; break;
        case SEED:
            request->options.has_seed = true;
            if (parse_seed(optarg, &request->options.seed) != 0)
                return cli_usage(NAME, "--seed %s: a whole number from 0 on is needed", optarg);
            break;
        case LOG: request->log = optarg; break;
        case PROFILES: request->options.search.directory = optarg; break;
        case REFERENCE: request->reference = true; break;
        case ':': return cli_usage(NAME, "%s needs a value", argv[optind - 1]);
        default: return cli_usage(NAME, "there is no option %s", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return cli_usage(NAME, "'%s' is one word too many", argv[optind]);
    if (request->site == NULL && !request->reference)
        return cli_usage(NAME, "--site FILE is needed");
    return EXIT_DONE;
}

static int print_reference(void)
{
    struct buf text;
    buf_init(&text, REFERENCE_MAX);
    site_print_reference(&text);
    bool failed = text.failed;
    if (!failed)
        fputs(text.data, stdout);
    buf_release(&text);
    return failed ? cli_problem(NAME, "there is not enough memory") : EXIT_DONE;
}

static struct site *load_site(struct request *request)
{
    struct site *site = NULL;
    struct faults *faults = calloc(1, sizeof *faults);
    uint32_t random = 0;
    if (faults == NULL) {
        (void)cli_problem(NAME, "there is not enough memory");
        return NULL;
    }
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint32_t)clock_wall_ms(&clock_system);
    request->options.random = random & SEED_RANDOM_MASK;
    request->options.wall_ms = clock_wall_ms(&clock_system);
    if (site_load(request->site, &request->options, &site, faults) != 0)
        faults_print(faults, stderr);
    free(faults);
    return site;
}

int simulate_main(int argc, char **argv)
{
    struct request request = {0};
    struct err err;
    struct frame_log *log = NULL;
    int status = parse_options(argc, argv, &request);
    if (status != EXIT_DONE)
        return status;
    if (request.reference)
        return print_reference();
    struct site *site = load_site(&request);
    if (site == NULL)
        return EXIT_PROBLEM;
    if ((request.log != NULL && frame_log_open(request.log, &log, &err) != 0) ||
        simulator_run(site, log, &err) != 0)
        status = cli_problem(NAME, "%s", err.text);
    if (frame_log_close(log, &err) != 0)
        status = cli_problem(NAME, "%s", err.text);
    site_free(site);
    return status;
}
