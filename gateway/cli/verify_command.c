// metergate verify: reads the whole store and names every fault of it.
#include "cli/cli.h"

#include "base/writer.h"
#include "store/store.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define REPORT_BYTES_MAX (4 * 1024 * 1024)

static void print_help(void)
{
    puts(
        "usage: metergate verify --state DIR [--json]\n"
        "\n"
        "Reads the whole store in DIR, also while the gateway runs, and prints every fault: of "
        "the\n"
        "file, of the audit chain, of the messages for head office (holes that nothing explains),\n"
        "of periods that do not join and of readings that cannot be decoded.\n"
        "\n"
        "  --json       one JSON object {\"faults\":[...],\"count\":N}\n"
        "  -h, --help   print this help\n"
        "\n"
        "Exit status: 0 no fault, 1 faults were found or the store cannot be read, 2 wrong usage.");
}

static void print_fault(void *context, const char *text)
{
    (void)context;
    (void)puts(text);
}

static void add_fault(void *context, const char *text)
{
    writer_text(context, text);
}

static int verify_json(struct store *store, struct err *err)
{
    struct buf report;
    struct writer writer;
    buf_init(&report, REPORT_BYTES_MAX);
    writer_init(&writer, &report);
    writer_object(&writer);
    writer_key(&writer, "faults");
    writer_array(&writer);
    int count = store_verify(store, add_fault, &writer, err);
    writer_end(&writer);
    writer_key_int(&writer, "count", count);
    writer_end(&writer);
    if (report.failed)
        count = err_set(err, "out of memory for the report");
    if (count >= 0)
        (void)puts(report.data);
    buf_release(&report);
    return count;
}

static int verify_text(struct store *store, struct err *err)
{
    int count = store_verify(store, print_fault, NULL, err);
    if (count >= 0)
        printf(count == 1 ? "%d fault\n" : "%d faults\n", count);
    return count;
}

int verify_main(int argc, char **argv)
{
    static const struct option rows[] = {{"state", required_argument, NULL, 's'},
                                         {"json", no_argument, NULL, 'j'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    const char *state = NULL;
    bool json = false;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", rows, NULL)) != -1) {
        switch (option) {
        case 's': state = optarg; break;
        case 'j': json = true; break;
        case 'h': print_help(); return EXIT_DONE;
        default:
            return cli_usage("verify", "'%s' is no option, or lacks its value", argv[optind - 1]);
        }
    }
    if (state == NULL || optind != argc)
        return cli_usage("verify", "name the state folder with --state DIR, and nothing else");
    struct err err;
    struct store *store = NULL;
    if (store_open_reader(state, &store, &err) != 0)
        return cli_problem("verify", "%s", err.text);
    int count = json ? verify_json(store, &err) : verify_text(store, &err);
    store_close(store);
    if (count < 0)
        return cli_problem("verify", "%s", err.text);
    return count == 0 ? EXIT_DONE : EXIT_PROBLEM;
}
