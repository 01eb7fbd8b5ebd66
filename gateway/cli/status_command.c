// metergate status: what the running gateway says of itself, as text or as JSON.
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/status_text.h"
#include "control/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 15000

static const char help[] = "usage: metergate status --state DIR [--link ID] [--json]\n"
                           "\n"
                           "State of the running gateway: links, meters, office, queue, store, "
                           "clock, disk, alerts; or one\n"
                           "link: what its meters answer and how fast, how busy it is, its newest "
                           "frames and their meaning.\n"
                           "Exit status 1 when no gateway runs.\n"
                           "\n"
                           "  --state DIR   state directory of the gateway\n"
                           "  --link ID     one link in full\n"
                           "  --json        all of it, as the page gets it\n";

const char *status_cell(const json_t *object, const char *key, char text[static CELL_SIZE])
{
    const json_t *value = json_object_get(object, key);
    if (json_is_string(value))
        (void)snprintf(text, CELL_SIZE, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(text, CELL_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(text, CELL_SIZE, "%s", json_is_true(value) ? "yes" : "no");
    else
        (void)snprintf(text, CELL_SIZE, "-");
    for (char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        bool c1 = byte == 0xC2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] < 0xA0;
        if (byte < 0x20 || byte == 0x7F)
            *at = '?';
        else if (c1)
            at[0] = at[1] = '?';
    }
    return text;
}

json_int_t status_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

// "12.3 MB"
static const char *size(json_int_t bytes, char text[static CELL_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    (void)snprintf(text, CELL_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static void print_gateway(const json_t *status)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    json_int_t up_s = status_number(status, "uptime_s");
    const char *name = json_string_value(json_object_get(status, "name"));
    bool named = name != NULL && name[0] != '\0';
    printf("Gateway  %s%s%s; software %s; up %" PRId64 " d %02d:%02d:%02d\n",
           status_cell(status, "gateway", a), named ? ", " : "",
           named ? status_cell(status, "name", b) : "", status_cell(status, "software", c),
           (int64_t)(up_s / 86400), (int)(up_s / 3600 % 24), (int)(up_s / 60 % 60),
           (int)(up_s % 60));
    const json_t *clock = json_object_get(status, "clock");
    bool known = json_is_true(json_object_get(clock, "known"));
    printf("Clock    %s%s\n", status_cell(clock, "now", a),
           known ? "" : "; NOT KNOWN: set it, or let NTP set it; until then nothing is dated");
    if (json_is_string(json_object_get(clock, "doubted")))
        printf(
            "         DOUBTED: the machine's clock says %s; set it right, until then the gateway "
            "goes on by its own\n",
            status_cell(clock, "doubted", a));
    const json_t *config = json_object_get(status, "config");
    printf("Config   %s, revision %s\n", status_cell(config, "file", a),
           status_cell(config, "revision", b));
    if (json_is_string(json_object_get(config, "error")))
        printf("         NOT RELOADED: %s\n", status_cell(config, "error", a));
}

static void print_store(const json_t *store)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    printf("Store    %s, %s free on its disk; %" JSON_INTEGER_FORMAT
           " readings since start, %" JSON_INTEGER_FORMAT " wait, %" JSON_INTEGER_FORMAT
           " refused; last commit %s\n",
           size(status_number(store, "bytes") + status_number(store, "wal_bytes"), a),
           size(status_number(store, "disk_free_bytes"), b), status_number(store, "readings"),
           status_number(store, "waiting"), status_number(store, "refused"),
           status_cell(store, "last_commit", c));
    const json_t *restored = json_object_get(store, "restored");
    if (json_is_object(restored))
        printf("         restored from a backup of %s; the stream before was %s\n",
               status_cell(restored, "backup", a), status_cell(restored, "old_stream", b));
    if (json_is_true(json_object_get(store, "restore_waits")))
        printf("         A RESTORE WAITS: restart the gateway, it takes it over\n");
    if (json_is_string(json_object_get(store, "error")))
        printf("         TAKES NOTHING: %s\n", status_cell(store, "error", a));
    if (json_is_true(json_object_get(store, "making_room")) ||
        json_is_true(json_object_get(store, "full")))
        printf("         FULL: makes room; %" JSON_INTEGER_FORMAT
               " rows went before their age since start; free space on its disk, or raise "
               "store.max_size_mb\n",
               status_number(store, "removed_early"));
    if (status_number(store, "messages_dropped") > 0)
        printf("         %" JSON_INTEGER_FORMAT
               " messages that head office never had made room; gap messages name them\n",
               status_number(store, "messages_dropped"));
    if (json_is_true(json_object_get(store, "log_held")))
        printf("         A READER HOLDS ITS LOG: end what reads the store for so long\n");
}

// Only where a damaged store was put aside.
static void print_replaced(const json_t *replaced)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    if (json_is_object(replaced))
        printf("         %s is the damaged store of before, stream %s; this one began at %s\n",
               status_cell(replaced, "file", a), status_cell(replaced, "stream", b),
               status_cell(replaced, "at", c));
}

// Only where a log was read back since the start.
static void print_backfill(const json_t *backfill)
{
    char a[CELL_SIZE];
    if (!json_is_string(json_object_get(backfill, "last")))
        return;
    printf("Logs     %" JSON_INTEGER_FORMAT " boundaries read back, %" JSON_INTEGER_FORMAT
           " estimated, %" JSON_INTEGER_FORMAT " answers not used\n         %s\n",
           status_number(backfill, "filled"), status_number(backfill, "estimated"),
           status_number(backfill, "refused"), status_cell(backfill, "last", a));
}

// Why commands do not come in, and what is being sent again.
static void print_again(const json_t *office)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    size_t index;
    json_t *resend;
    const json_t *commands = json_object_get(office, "commands");
    if (json_is_string(json_object_get(commands, "error")))
        printf("         commands: %s\n", status_cell(commands, "error", a));
    json_array_foreach(json_object_get(office, "resends"), index, resend)
    {
        if (strcmp(status_cell(resend, "state", a), "open") != 0)
            continue;
        printf("         sends again (%" JSON_INTEGER_FORMAT "): %s %" JSON_INTEGER_FORMAT
               " to %" JSON_INTEGER_FORMAT ", is at %" JSON_INTEGER_FORMAT "\n",
               status_number(resend, "id"), status_cell(resend, "lane", b),
               status_number(resend, "first"), status_number(resend, "last"),
               status_number(resend, "next"));
    }
}

static void print_office(json_t *office)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    if (!json_is_object(office)) {
        printf("Office   none is configured\n");
        return;
    }
    printf("Office   %s, %s, since %s\n", status_cell(office, "state", a),
           status_cell(office, "url", b), status_cell(office, "since", c));
    if (json_is_string(json_object_get(office, "error")))
        printf("         %s\n", status_cell(office, "error", a));
    const char *name;
    json_t *lane;
    printf("         %-10s %12s %12s %10s  %s\n", "LANE", "ACKNOWLEDGED", "CONFIRMED", "WAITING",
           "OLDEST");
    json_object_foreach(json_object_get(office, "lanes"), name, lane)
    {
        printf("         %-10.10s %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
               " %10" JSON_INTEGER_FORMAT "  %s\n",
               name, status_number(lane, "acknowledged"), status_number(lane, "confirmed"),
               status_number(lane, "waiting"), status_cell(lane, "oldest", a));
    }
    print_again(office);
}

static void print_alerts(const json_t *alerts)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    char d[CELL_SIZE];
    size_t index;
    json_t *alert;
    if (json_array_size(alerts) == 0) {
        printf("Alerts   none is open\n");
        return;
    }
    printf("\n%-10s %-14s %-33s %s\n", "SEVERITY", "ALERT", "OF", "SINCE");
    json_array_foreach(alerts, index, alert)
    {
        const char *of = json_object_get(alert, "link") != NULL ? "link" : "meter";
        bool own = json_object_get(alert, of) == NULL;
        printf("%-10s %-14s %-33s %s\n", status_cell(alert, "severity", a),
               status_cell(alert, "kind", b), own ? "the gateway" : status_cell(alert, of, c),
               status_cell(alert, "since", d));
    }
}

// Why a link is not there, has not enough time, or goes another way.
static const char *trouble_of(json_t *link, char text[static CELL_SIZE])
{
    bool open = json_is_true(json_object_get(link, "open"));
    if (!json_is_true(json_object_get(link, "overloaded")))
        return open && json_is_true(json_object_get(link, "on_second"))
                   ? "on its second address"
                   : status_cell(link, "error", text);
    (void)snprintf(text, CELL_SIZE,
                   "its meters want %" JSON_INTEGER_FORMAT " %% of its time: %" JSON_INTEGER_FORMAT
                   " are read less often",
                   status_number(link, "load_permille") / 10, status_number(link, "stretched"));
    return text;
}

static void print_links(const json_t *links)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    size_t index;
    json_t *link;
    printf("\n%-33s %-7s %10s %9s %7s %10s %7s  %s\n", "LINK", "STATE", "REQUESTS", "TIMEOUTS",
           "ERRORS", "POLLS", "LATE", "LAST ERROR");
    json_array_foreach(links, index, link)
    {
        bool open = json_is_true(json_object_get(link, "open"));
        json_int_t errors = status_number(link, "crc_errors") +
                            status_number(link, "frame_errors") + status_number(link, "exceptions");
        printf("%-33s %-7s %10" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT
               " %7" JSON_INTEGER_FORMAT " %10" JSON_INTEGER_FORMAT " %7" JSON_INTEGER_FORMAT
               "  %s\n",
               status_cell(link, "link", a), open ? "open" : "closed",
               status_number(link, "requests"), status_number(link, "timeouts"), errors,
               status_number(link, "polls"), status_number(link, "late"), trouble_of(link, b));
    }
}

// The worst quality of a meter's channels, and how many have it.
static void print_quality(json_t *channels)
{
    static const char *const order[] = {"good",      "archive", "manual",
                                        "estimated", "suspect", "missing"};
    size_t worst = 0;
    int count = 0;
    const char *name;
    json_t *channel;
    json_object_foreach(channels, name, channel)
    {
        const char *quality = json_string_value(json_object_get(channel, "quality"));
        for (size_t i = 0; quality != NULL && i < sizeof order / sizeof order[0]; i++) {
            if (strcmp(quality, order[i]) == 0 && i >= worst) {
                count = i > worst ? 1 : count + 1;
                worst = i;
            }
        }
    }
    printf("%s (%d of %zu)\n", order[worst], count, json_object_size(channels));
}

static void print_meters(const json_t *meters)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    size_t index;
    json_t *meter;
    printf("\n%-33s %-33s %-25s %-8s %s\n", "METER", "LINK", "LAST READING", "ANSWERS", "QUALITY");
    json_array_foreach(meters, index, meter)
    {
        bool answered = json_is_true(json_object_get(meter, "answered"));
        printf("%-33s %-33s %-25s %-8s ", status_cell(meter, "meter", a),
               status_cell(meter, "link", b), status_cell(meter, "at", c), answered ? "yes" : "NO");
        print_quality(json_object_get(meter, "channels"));
    }
}

static int print_text(const struct buf *text)
{
    json_t *status = json_loadb(text->data, text->length, 0, NULL);
    if (!json_is_object(status)) {
        json_decref(status);
        return cli_problem("status", "the gateway's answer cannot be read: is it another version?");
    }
    print_gateway(status);
    print_store(json_object_get(status, "store"));
    print_replaced(json_object_get(status, "store_replaced"));
    print_backfill(json_object_get(status, "backfill"));
    print_office(json_object_get(status, "office"));
    print_alerts(json_object_get(status, "alerts"));
    print_links(json_object_get(status, "links"));
    print_meters(json_object_get(status, "meters"));
    json_decref(status);
    return EXIT_DONE;
}

static int print_link(const struct buf *text)
{
    json_t *bus = json_loadb(text->data, text->length, 0, NULL);
    bool known = json_is_object(bus);
    if (known)
        status_link_print(bus);
    json_decref(bus);
    return known ? EXIT_DONE
                 : cli_problem("status",
                               "the gateway's answer cannot be read: is it another version?");
}

static int ask(const char *directory, const char *link, bool json)
{
    struct buf text;
    struct err err;
    buf_init(&text, CONTROL_FRAME_MAX);
    int result = EXIT_DONE;
    json_t *arguments = link != NULL ? json_pack("{s:s}", "link", link) : NULL;
    if (control_call_text(directory, link != NULL ? "bus" : "status", arguments, TIMEOUT_MS, &text,
                          &err) != 0)
        result = cli_problem("status", "%s", err.text);
    else if (json)
        puts(text.data);
    else
        result = link != NULL ? print_link(&text) : print_text(&text);
    json_decref(arguments);
    buf_release(&text);
    return result;
}

int status_main(int argc, char **argv)
{
    const char *directory = NULL;
    const char *link = NULL;
    bool json = false;
    const struct cli_option known[] = {{"state", &directory, NULL},
                                       {"link", &link, NULL},
                                       {"json", NULL, &json},
                                       {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, NULL, 0};
    int status = cli_options(argc, argv, &line);
    if (status != CLI_GO || (status = cli_state("status", directory)) != CLI_GO)
        return status;
    return ask(directory, link, json);
}
