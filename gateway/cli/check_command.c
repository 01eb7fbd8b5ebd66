// metergate check: every fault of a configuration or profile, with its place.
#include "cli/cli.h"
#include "cli/fit_notes.h"

#include "base/file.h"
#include "config/config_table.h"
#include "config/profile_file.h"
#include "detect/detect.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_TEXT_MAX (1024 * 1024)

// Told by the keys at the top.
enum kind { KIND_CONFIG, KIND_PROFILE, KIND_POLICY, KIND_PROCEDURES };

static void print_help(void)
{
    puts("usage: metergate check FILE [--profiles DIR]\n"
         "       metergate check --schema [config|profile]\n"
         "       metergate check --reference [config|profile]\n"
         "\n"
         "Checks a configuration or a profile (told by its top keys) and prints every fault as\n"
         "FILE:LINE:COLUMN: PATH: what is wrong, what is allowed. FILE may be - for stdin.\n"
         "\n"
         "  --profiles DIR   seek profiles in DIR first\n"
         "  --schema         print the JSON Schema (draft 2020-12)\n"
         "  --reference      print the reference page (Markdown)\n"
         "  -h, --help       print this help\n"
         "\n"
         "Exit status: 0 no fault, 1 faults were found, 2 wrong usage. Notes go to stderr.");
}

static enum kind kind_of(const struct node *root)
{
    static const struct {
        const char *key;
        enum kind kind;
    } marks[] = {{"gateway", KIND_CONFIG},   {"meters", KIND_CONFIG},
                 {"channels", KIND_PROFILE}, {"model", KIND_PROFILE},
                 {"credit", KIND_POLICY},    {"stars", KIND_POLICY},
                 {"volume", KIND_POLICY},    {"procedures", KIND_PROCEDURES}};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (node_find(root, marks[i].key) != NULL)
            return marks[i].kind;
    return KIND_CONFIG;
}

// ---- the kinds ----------------------------------------------------------------------------------

// Rules that are on and cannot watch a meter, and why.
static void print_rules_off(const struct config *config, const struct meter *meter)
{
    const struct config_detect *on = &config->detect;
    const struct {
        const char *rule, *off;
        bool enabled;
    } rules[] = {{"over-range", detect_over_range_off(meter), on->over_range},
                 {"conversion-mismatch", detect_conversion_off(meter), on->conversion_mismatch},
                 {"flow-mismatch", detect_flow_off(meter), on->flow_mismatch},
                 {"sensor-stuck", detect_stuck_off(meter), on->sensor_stuck}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].enabled && rules[i].off[0] != '\0')
            fprintf(stderr, "note: %s: %s is off: %s\n", meter->id, rules[i].rule, rules[i].off);
}

// What is no fault, but good to know.
static void print_notes(const struct config *config)
{
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        print_rules_off(config, meter);
        const struct config_link *link = &config->links[meter->link];
        if (meter->profile->limits.reply_ms > link->response_timeout_ms) {
            fprintf(stderr,
                    "note: %s: the meter may take %d ms to answer, the link %s waits for %d ms; "
                    "set response_timeout_ms at the link\n",
                    meter->id, meter->profile->limits.reply_ms, link->id,
                    link->response_timeout_ms);
        }
        if (meter->unverified) {
            fprintf(stderr,
                    "note: %s: its values are suspect: the profile %s is not verified; compare "
                    "them with the meter's display and set display_checked to the date\n",
                    meter->id, meter->profile->name);
        }
    }
    fit_print(config);
    if (!config->office.present)
        fputs("note: there is no office: nothing is sent\n", stderr);
}

static int check_config(const char *path, const struct buf *text,
                        const struct config_search *search, struct faults *faults)
{
    struct config *config = NULL;
    if (config_load_text(path, text->data, text->length, search, &config, faults) != 0) {
        faults_print(faults, stdout);
        return EXIT_PROBLEM;
    }
    print_notes(config);
    config_unref(config);
    return EXIT_DONE;
}

// Values that cut into each other are possible, but mostly an address that is one off.
static void print_overlaps(const struct profile *profile)
{
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *a = &profile->fields[i];
        int a_last = a->first + field_registers(a) - 1;
        for (int j = i + 1; j < profile->field_count; j++) {
            const struct field *b = &profile->fields[j];
            int b_last = b->first + field_registers(b) - 1;
            bool apart = a->function != b->function || a->first > b_last || b->first > a_last;
            if (apart || (a->first == b->first && a_last == b_last))
                continue;
            fprintf(stderr,
                    "note: the values of registers %d to %d and %d to %d cut into each other: is "
                    "one of the addresses wrong?\n",
                    a->first, a_last, b->first, b_last);
        }
    }
}

static int check_profile(const char *path, const struct buf *text, struct faults *faults)
{
    struct profile *profile = NULL;
    if (profile_load_text(path, text->data, text->length, &profile, faults) != 0) {
        faults_print(faults, stdout);
        return EXIT_PROBLEM;
    }
    if (!profile->verified) {
        fprintf(stderr, "note: the profile is not verified: its values are suspect until a person "
                        "has compared them with the meter's display\n");
    }
    print_overlaps(profile);
    profile_free(profile);
    return EXIT_DONE;
}

static int check_text(const char *path, const struct buf *text, const struct config_search *search,
                      struct faults *faults)
{
    struct document document;
    if (document_parse(&document, path, text->data, text->length, faults) != 0) {
        faults_print(faults, stdout);
        return EXIT_PROBLEM;
    }
    enum kind kind = kind_of(document.root);
    document_release(&document);
    switch (kind) {
    case KIND_PROFILE: return check_profile(path, text, faults);
    case KIND_POLICY:
    case KIND_PROCEDURES:
        return cli_problem("check", "%s: this looks like %s, which this version does not know",
                           path, kind == KIND_POLICY ? "a grading policy" : "procedures");
    default: return check_config(path, text, search, faults);
    }
}

static int check_file(const char *path, const struct config_search *search)
{
    struct err err;
    struct buf text;
    buf_init(&text, CONFIG_TEXT_MAX);
    if (file_read(path, &text, &err) != 0)
        return cli_problem("check", "%s", err.text);
    struct faults *faults = calloc(1, sizeof *faults);
    int result = faults == NULL
                     ? cli_problem("check", "there is not enough memory")
                     : check_text(strcmp(path, "-") == 0 ? "stdin" : path, &text, search, faults);
    free(faults);
    buf_release(&text);
    return result;
}

static int print_schema(bool reference, const char *what)
{
    bool profile = strcmp(what, "profile") == 0;
    if (!profile && strcmp(what, "config") != 0)
        return cli_usage("check", "there is no schema '%s'; there are config and profile", what);
    const struct schema *schema = profile ? &profile_schema : &config_schema;
    struct buf out;
    buf_init(&out, SCHEMA_TEXT_MAX);
    if (reference) {
        schema_print_reference(schema, &out);
    } else {
        schema_print_json(schema, profile ? "urn:metergate:profile" : "urn:metergate:config", &out);
        buf_add_text(&out, "\n");
    }
    int result = out.failed ? cli_problem("check", "there is not enough memory") : EXIT_DONE;
    if (result == EXIT_DONE)
        (void)fwrite(out.data, 1, out.length, stdout);
    buf_release(&out);
    return result;
}

int check_main(int argc, char **argv)
{
    static const struct option options[] = {{"profiles", required_argument, NULL, 'p'},
                                            {"schema", no_argument, NULL, 's'},
                                            {"reference", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct config_search search = {NULL};
    int print = 0;
    int option = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'p': search.directory = optarg; break;
        case 's':
        case 'r': print = option; break;
        case 'h': print_help(); return EXIT_DONE;
        default: return cli_usage("check", "'%s' is no option", argv[optind - 1]);
        }
    }
    if (print != 0 && argc - optind <= 1)
        return print_schema(print == 'r', optind < argc ? argv[optind] : "config");
    if (argc - optind != 1)
        return cli_usage("check", "name one file");
    return check_file(argv[optind], &search);
}
