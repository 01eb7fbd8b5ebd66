// metergate verify: reads the whole store and names every fault of it.
#include "cli/cli.h"

#include "base/writer.h"
#include "store/store.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_BYTES_MAX (4 * 1024 * 1024)
#define PUBLISHED_MAX 2000000 // heads; those that health repeats count once

static void print_help(void)
{
    puts(
        "usage: metergate verify --state DIR [--head [CHAIN:]NUMBER:HASH ...] [--heads FILE]"
        " [--json]\n"
        "\n"
        "Reads the whole store in DIR, also while the gateway runs, and prints every fault: of "
        "the\n"
        "file, of the chains over audit, periods, alerts and gaps (what was changed, inserted, "
        "taken\n"
        "out or put elsewhere), of the messages for head office (holes that nothing explains), of\n"
        "periods that do not join and of readings that cannot be decoded.\n"
        "\n"
        "Whoever can write the file can also compute its chains anew. That, a cut end and an "
        "older\n"
        "copy are found by what head office was told: give it with --head or --heads.\n"
        "\n"
        "  --head [CHAIN:]NUMBER:HASH  a published head, of the audit chain where none is named\n"
        "  --heads FILE                messages audit/1 and health/1 as head office kept them, "
        "one\n"
        "                              JSON object a line; others are passed over\n"
        "  --json                      one JSON object {\"faults\":[...],\"count\":N}\n"
        "  -h, --help                  print this help\n"
        "\n"
        "Exit status: 0 no fault, 1 faults were found or the store cannot be read, 2 wrong usage.");
}

// --- published heads ---

struct published {
    struct chain_head *list;
    int count, room;
};

static bool is_hash(const char *text)
{
    return strlen(text) == HASH_TEXT_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == HASH_TEXT_SIZE - 1;
}

// The newest of a chain again: health repeats it each minute.
static bool is_repeated(const struct published *published, const char *name, int64_t number,
                        const char *hash)
{
    for (int i = published->count - 1; i >= 0 && i >= published->count - HEADS_MAX; i--)
        if (published->list[i].number == number && strcmp(published->list[i].name, name) == 0 &&
            strcmp(published->list[i].hash, hash) == 0)
            return true;
    return false;
}

// -1 when it cannot be one.
static int head_add(struct published *published, const char *name, int64_t number, const char *hash,
                    struct err *err)
{
    if (!store_chain_is_known(name) || number < 1 || !is_hash(hash)) {
        return err_set(err, "'%.16s' number %" PRId64 " with hash '%.70s' is no head of a chain",
                       name, number, hash);
    }
    if (is_repeated(published, name, number, hash))
        return 0;
    if (published->count == PUBLISHED_MAX)
        return err_set(err, "there are more than %d heads: give fewer at once", PUBLISHED_MAX);
    if (published->count == published->room) {
        int room = published->room * 2 + 64;
        struct chain_head *grown = reallocarray(published->list, (size_t)room, sizeof *grown);
        if (grown == NULL)
            return err_set(err, "out of memory for %d heads", room);
        published->list = grown;
        published->room = room;
    }
    struct chain_head *head = &published->list[published->count++];
    *head = (struct chain_head){.number = number};
    (void)snprintf(head->name, sizeof head->name, "%s", name);
    (void)snprintf(head->hash, sizeof head->hash, "%s", hash);
    return 0;
}

// [CHAIN:]NUMBER:HASH
static int head_parse(struct published *published, const char *text, struct err *err)
{
    char name[16] = "audit";
    char hash[HASH_TEXT_SIZE + 1];
    int64_t number;
    int length = 0;
    bool named = text[strcspn(text, ":")] == ':' && strchr(strchr(text, ':') + 1, ':') != NULL;
    int found = named
                    ? sscanf(text, "%15[a-z0-9-]:%" SCNd64 ":%65s%n", name, &number, hash, &length)
                    : sscanf(text, "%" SCNd64 ":%65s%n", &number, hash, &length);
    if (found != (named ? 3 : 2) || text[length] != '\0')
        return err_set(err, "--head is [CHAIN:]NUMBER:HASH, not '%.100s'", text);
    return head_add(published, name, number, hash, err);
}

static int head_of_json(struct published *published, const char *name, const json_t *head,
                        struct err *err)
{
    const char *hash = json_string_value(json_object_get(head, "hash"));
    return head_add(published, name, json_integer_value(json_object_get(head, "number")),
                    hash != NULL ? hash : "", err);
}

static int heads_of_message(struct published *published, json_t *message, struct err *err)
{
    const char *schema = json_string_value(json_object_get(message, "schema"));
    if (schema != NULL && strcmp(schema, "audit/1") == 0)
        return head_of_json(published, "audit", message, err);
    if (schema == NULL || strcmp(schema, "health/1") != 0)
        return 0;
    const char *name;
    json_t *head;
    json_object_foreach(json_object_get(message, "heads"), name,
                        head) if (head_of_json(published, name, head, err) != 0) return -1;
    return 0;
}

static int heads_read(struct published *published, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_set(err, "%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int number = 0;
    int result = 0;
    while (result == 0 && (length = getline(&line, &size, file)) > 0) {
        json_error_t fault;
        number++;
        json_t *message = json_loadb(line, (size_t)length, JSON_REJECT_DUPLICATES, &fault);
        if (message == NULL)
            result = err_set(err, "%s:%d: %s", path, number, fault.text);
        else if (heads_of_message(published, message, err) != 0)
            result = err_add(err, "%s:%d", path, number);
        json_decref(message);
    }
    free(line);
    (void)fclose(file);
    return result;
}

// --- report ---

static void print_fault(void *context, const char *text)
{
    (void)context;
    (void)puts(text);
}

static void add_fault(void *context, const char *text)
{
    writer_text(context, text);
}

static int verify_json(struct store *store, const struct published *published, struct err *err)
{
    struct buf report;
    struct writer writer;
    buf_init(&report, REPORT_BYTES_MAX);
    writer_init(&writer, &report);
    writer_object(&writer);
    writer_key(&writer, "faults");
    writer_array(&writer);
    int count =
        store_verify_published(store, published->list, published->count, add_fault, &writer, err);
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

static int verify_text(struct store *store, const struct published *published, struct err *err)
{
    int count =
        store_verify_published(store, published->list, published->count, print_fault, NULL, err);
    if (count >= 0)
        printf(count == 1 ? "%d fault\n" : "%d faults\n", count);
    return count;
}

static int verify(const char *state, const struct published *published, bool json)
{
    struct err err;
    struct store *store = NULL;
    if (store_open_reader(state, &store, &err) != 0)
        return cli_problem("verify", "%s", err.text);
    int count = json ? verify_json(store, published, &err) : verify_text(store, published, &err);
    store_close(store);
    if (count < 0)
        return cli_problem("verify", "%s", err.text);
    return count == 0 ? EXIT_DONE : EXIT_PROBLEM;
}

int verify_main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"state", required_argument, NULL, 's'}, {"head", required_argument, NULL, 'n'},
        {"heads", required_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    struct published published = {.list = NULL};
    struct err err = {.text = ""};
    const char *state = NULL;
    bool json = false;
    int option;
    int fault = 0;
    opterr = 0;
    while (fault == 0 && (option = getopt_long(argc, argv, "h", rows, NULL)) != -1) {
        switch (option) {
        case 's': state = optarg; break;
        case 'n': fault = head_parse(&published, optarg, &err); break;
        case 'f': fault = heads_read(&published, optarg, &err); break;
        case 'j': json = true; break;
        case 'h': print_help(); return EXIT_DONE;
        default: fault = err_set(&err, "'%s' is no option, or lacks its value", argv[optind - 1]);
        }
    }
    if (fault == 0 && (state == NULL || optind != argc))
        fault = err_set(&err, "name the state folder with --state DIR, and nothing else");
    int result = fault != 0 ? cli_usage("verify", "%s", err.text) : verify(state, &published, json);
    free(published.list);
    return result;
}
