// metergate read: one test reading of a meter, decoded. Through the running gateway where one runs
// on the state directory (it holds the link), else over the link itself.
#include "cli/cli.h"

#include "config/config.h"
#include "control/control.h"
#include "poll/meter_poll.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX (1024 * 1024)
#define FRAMES_MAX (256 * 1024) // of JSON: some hundred frames
#define TIMEOUT_DEFAULT_MS 500
#define UNITS_MAX 8
#define POLLS_MAX 10 // of one reading
#define GATEWAY_TIMEOUT_MS 60000

static const char help[] =
    "usage: metergate read --config FILE METER\n"
    "       metergate read --link URL --unit N --profile NAME\n"
    "\n"
    "One test reading of a meter, decoded. With --config it goes through the running gateway "
    "where\n"
    "one runs on the state directory, else straight over the meter's link.\n"
    "\n"
    "  --config FILE        the configuration that names METER\n"
    "  --state DIR          state directory of the gateway (" STATE_DEFAULT ")\n"
    "  --link URL           tcp://IP:PORT, rtu:///dev/ttyS0?baud=9600&parity=N&stop=1,\n"
    "                       rtu-over-tcp://IP:PORT\n"
    "  --unit N             Modbus unit of the meter\n"
    "  --profile NAME       profile of the meter: a name, or a path where it holds a slash\n"
    "  --units CHANNEL=UNIT unit of a channel that the profile leaves open; may be repeated\n"
    "  --word-order ORDER   ABCD, CDAB, BADC or DCBA for all numbers, where it is set in the "
    "meter\n"
    "  --timeout MS         response time-out with --link, 50 to 30000 (500, or what the profile "
    "asks for)\n"
    "  --echo               with --link: the adapter hears itself, requests come back\n"
    "  --rs485              with --link: switch the port's RS-485 mode on\n"
    "  --profiles DIR       seek profiles in DIR first\n"
    "  --frames             show the bytes of every request (>) and reply (<)\n"
    "  --json               print JSON\n"
    "  -h, --help           print this help\n"
    "\n"
    "Exit status: 0 every value was read, 1 something was not, 2 wrong usage. metergate reads "
    "with\n"
    "functions 1 to 4 and writes nothing to a meter.\n";

struct options {
    const char *config, *state, *link, *profile;
    const char *meter;
    const char *units[UNITS_MAX];
    int unit_count;
    const char *word_order; // NULL: that of the profile
    int unit;               // -1: not given
    int timeout_ms;         // 0: not given
    struct config_search search;
    bool frames, json, echo, rs485;
};

// ---- the result as text -------------------------------------------------------------------------

// What comes from a meter may hold characters that a terminal acts on.
static void print_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        putchar(byte < ' ' || byte == 0x7F ? '?' : byte);
    }
}

// The number as it stands in the JSON text: a parsed one would have lost digits.
static bool print_number(const char *json, const char *channel)
{
    char mark[80];
    (void)snprintf(mark, sizeof mark, "\"%s\":{\"value\":", channel);
    const char *at = strstr(json, mark);
    if (at == NULL)
        return false;
    at += strlen(mark);
    int length = (int)strspn(at, "+-.0123456789eE");
    return printf("%-16.*s", length, at) > 0;
}

static void print_names(const json_t *names)
{
    if (json_array_size(names) == 0)
        fputs("none", stdout);
    size_t index = 0;
    const json_t *name = NULL;
    json_array_foreach(names, index, name)
    {
        fputs(index > 0 ? ", " : "", stdout);
        print_clean(json_string_value(name));
    }
    putchar(' ');
}

static void print_channel(const char *json, const char *name, const json_t *channel)
{
    const json_t *value = json_object_get(channel, "value");
    const char *unit = json_string_value(json_object_get(channel, "unit"));
    const char *quality = json_string_value(json_object_get(channel, "quality"));
    const char *why = json_string_value(json_object_get(channel, "why"));
    printf("  %-24s ", name);
    if (json_is_array(value)) {
        print_names(value);
    } else if (json_is_string(value)) {
        print_clean(json_string_value(value));
        putchar(' ');
    } else if (!json_is_number(value) || !print_number(json, name)) {
        printf("%-16s", "-");
    }
    printf(" %-6s %s", unit != NULL ? unit : "", quality != NULL ? quality : "");
    if (why != NULL)
        printf(" (%s)", why);
    putchar('\n');
}

static void print_frames(const json_t *frames)
{
    size_t index = 0;
    const json_t *frame = NULL;
    json_array_foreach(frames, index, frame)
    {
        const char *bytes = json_string_value(json_object_get(frame, "bytes"));
        printf("%c %s\n", json_is_true(json_object_get(frame, "sent")) ? '>' : '<',
               bytes != NULL ? bytes : "");
    }
}

static bool is_whole(const json_t *channels)
{
    const char *name = NULL;
    json_t *channel = NULL;
    json_object_foreach((json_t *)channels, name, channel)
    {
        const char *quality = json_string_value(json_object_get(channel, "quality"));
        if (quality == NULL || strcmp(quality, quality_text(QUALITY_MISSING)) == 0)
            return false;
    }
    return true;
}

static void print_text(const char *json, const json_t *result)
{
    print_frames(json_object_get(result, "frames"));
    const char *at = json_string_value(json_object_get(result, "at"));
    const char *profile = json_string_value(json_object_get(result, "profile"));
    const char *meter = json_string_value(json_object_get(result, "meter"));
    bool answered = json_is_true(json_object_get(result, "answered"));
    printf("%s, %s, %s%s\n", meter != NULL ? meter : "?", profile != NULL ? profile : "?",
           answered ? "" : "no answer at ", at != NULL ? at : "?");
    const char *detail = json_string_value(json_object_get(result, "detail"));
    if (detail != NULL) {
        fputs("  the last request that failed: ", stdout);
        print_clean(detail);
        putchar('\n');
    }
    const char *name = NULL;
    json_t *channel = NULL;
    json_object_foreach(json_object_get(result, "channels"), name, channel)
    {
        print_channel(json, name, channel);
    }
}

static int print_result(const struct options *options, const struct buf *text)
{
    json_error_t error;
    json_t *result = text->failed ? NULL : json_loads(text->data, JSON_REJECT_DUPLICATES, &error);
    if (result == NULL)
        return cli_problem("read", "there is not enough memory for the result");
    if (options->json)
        puts(text->data);
    else
        print_text(text->data, result);
    const json_t *channels = json_object_get(result, "channels");
    bool whole = json_is_true(json_object_get(result, "answered")) && is_whole(channels);
    json_decref(result);
    return whole ? EXIT_DONE : EXIT_PROBLEM;
}

// ---- over the link ------------------------------------------------------------------------------

struct frames {
    struct buf json; // an array of {"sent", "bytes"}
    struct writer writer;
};

static void keep_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct frames *frames = context;
    struct buf hex;
    buf_init(&hex, 8192);
    for (size_t i = 0; i < length; i++)
        buf_addf(&hex, "%s%02X", i > 0 ? " " : "", bytes[i]);
    writer_object(&frames->writer);
    writer_key_bool(&frames->writer, "sent", sent);
    writer_key_text(&frames->writer, "bytes", hex.data);
    writer_end(&frames->writer);
    buf_release(&hex);
}

static void build_result(const struct options *options, const struct reading *reading,
                         const struct frames *frames, struct buf *text)
{
    struct writer writer;
    writer_init(&writer, text);
    writer_object(&writer);
    writer_key_text(&writer, "meter", reading->meter->id);
    writer_key_text(&writer, "profile", reading->meter->profile_name);
    writer_key_time(&writer, "at", reading->at_ms);
    writer_key_bool(&writer, "answered", reading->answered);
    if (reading->detail[0] != '\0')
        writer_key_text(&writer, "detail", reading->detail);
    writer_key(&writer, "channels");
    reading_print_channels(&writer, reading);
    if (options->frames) {
        writer_key(&writer, "frames");
        if (frames->json.failed)
            writer_null(&writer);
        else
            writer_raw(&writer, frames->json.data, frames->json.length);
    }
    writer_end(&writer);
}

static int read_over(const struct options *options, struct wire *wire, struct config *config,
                     struct meter_poll *poll, const struct meter *meter, int retries)
{
    struct err err;
    if (wire_open(wire, &err) != 0)
        return cli_problem("read", "%s", err.text);
    struct reading *reading = reading_new(config, meter);
    if (reading == NULL)
        return cli_problem("read", "there is not enough memory");
    struct frames frames;
    buf_init(&frames.json, FRAMES_MAX);
    writer_init(&frames.writer, &frames.json);
    writer_array(&frames.writer);
    if (options->frames)
        wire_set_trace(wire, (struct wire_trace){.frame = keep_frame, .context = &frames});
    // A meter that refuses a part is understood in steps; here nobody reads it again in a minute.
    for (int i = 0; i < POLLS_MAX && (i == 0 || meter_poll_has_learned(poll)); i++)
        meter_poll_read(poll, wire, retries, &clock_system, reading, NULL);
    writer_end(&frames.writer);
    struct buf text;
    buf_init(&text, RESULT_MAX);
    build_result(options, reading, &frames, &text);
    int result = print_result(options, &text);
    if (reading->answered && meter->unverified) {
        fputs("note: the values are suspect until a person has compared them with the meter's "
              "display: then set display_checked\n",
              stderr);
    }
    buf_release(&text);
    buf_release(&frames.json);
    reading_free(reading);
    return result;
}

static int read_link(const struct options *options, const struct wire_settings *settings,
                     struct config *config, const struct meter *meter, int retries)
{
    int meter_ms = meter->profile->limits.pause_ms;
    struct link_cost cost;
    struct err err;
    link_cost_of(&settings->url, meter_ms > settings->pause_ms ? meter_ms : settings->pause_ms,
                 &cost);
    struct meter_poll *poll = meter_poll_new(meter, &cost, &err);
    if (poll == NULL)
        return cli_problem("read", "%s", err.text);
    struct wire *wire = wire_new(settings, &clock_system);
    int result = wire == NULL ? cli_problem("read", "there is not enough memory")
                              : read_over(options, wire, config, poll, meter, retries);
    wire_free(wire);
    meter_poll_free(poll);
    return result;
}

// ---- --link -------------------------------------------------------------------------------------

// "volume_base=m3"
static int set_unit(struct profile *profile, const char *text, struct err *err)
{
    const char *sign = strchr(text, '=');
    char channel[64];
    if (sign == NULL || sign - text >= (int)sizeof channel)
        return err_set(err, "--units %s: say CHANNEL=UNIT, as in volume_base=m3", text);
    (void)snprintf(channel, sizeof channel, "%.*s", (int)(sign - text), text);
    int index = profile_channel_find(profile, channel);
    if (index < 0) {
        return err_set(err, "--units %s: the profile %s has no channel %s", text, profile->name,
                       channel);
    }
    return profile_set_unit(profile, index, sign + 1, err);
}

static int set_word_order(const char *name, struct profile *profile, struct err *err)
{
    int order = word_order_find(name);
    if (order < 0)
        return err_set(err, "--word-order '%.20s' is none; allowed: ABCD, CDAB, BADC, DCBA", name);
    if (!profile_set_word_order(profile, (enum word_order)order))
        return err_set(err, "--word-order: the profile %s has no number of two or four registers",
                       profile->name);
    return 0;
}

// What the meter's entry in a configuration would say.
static int set_device(const struct options *options, struct profile *profile, struct err *err)
{
    if (options->word_order != NULL && set_word_order(options->word_order, profile, err) != 0)
        return -1;
    for (int i = 0; i < options->unit_count; i++)
        if (set_unit(profile, options->units[i], err) != 0)
            return -1;
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        if (strcmp(channel->unit, "config") == 0) {
            const char *name = channel->channel->name;
            return err_set(err,
                           "the unit of %s is set in the meter: look there and add --units %s=%s, "
                           "or what it says",
                           name, name, channel->channel->unit);
        }
    }
    return 0;
}

static int read_by_link(const struct options *options)
{
    struct err err;
    struct wire_settings settings = {
        .response_timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_DEFAULT_MS,
        .echo = options->echo,
        .rs485 = options->rs485};
    if (link_url_parse(options->link, &settings.url, &err) != 0)
        return cli_usage("read", "%s", err.text);
    bool serial = settings.url.kind != LINK_TCP;
    if (options->unit < (serial ? 1 : 0) || options->unit > (serial ? 247 : 255))
        return cli_usage("read", "--unit is %s on this link", serial ? "1 to 247" : "0 to 255");
    if (options->echo && !serial)
        return cli_usage("read", "--echo is for serial links: over TCP nothing echoes");
    if (options->rs485 && settings.url.kind != LINK_RTU)
        return cli_usage("read", "--rs485 is for a serial device: rtu:///dev/...");
    struct faults *faults = calloc(1, sizeof *faults);
    struct profile *profile = NULL;
    int result = EXIT_PROBLEM;
    if (faults == NULL) {
        result = cli_problem("read", "there is not enough memory");
    } else if (profile_load(options->profile, NULL, &options->search, &profile, faults) != 0) {
        faults_print(faults, stderr);
    } else if (set_device(options, profile, &err) != 0) {
        result = cli_usage("read", "%s", err.text);
    } else {
        struct meter meter = {.unit = options->unit, .profile = profile};
        meter.unverified = !profile->verified;
        if (options->timeout_ms == 0 && profile->limits.reply_ms > TIMEOUT_DEFAULT_MS)
            settings.response_timeout_ms = profile->limits.reply_ms;
        (void)snprintf(meter.id, sizeof meter.id, "unit-%d", options->unit);
        (void)snprintf(meter.profile_name, sizeof meter.profile_name, "%s", options->profile);
        result = read_link(options, &settings, NULL, &meter, 1);
    }
    profile_free(profile);
    free(faults);
    return result;
}

// ---- --config -----------------------------------------------------------------------------------

static int read_configured(const struct options *options)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct config *config = NULL;
    int result = EXIT_PROBLEM;
    if (faults == NULL) {
        result = cli_problem("read", "there is not enough memory");
    } else if (config_load(options->config, &options->search, &config, faults) != 0) {
        faults_print(faults, stderr);
    } else {
        int index = config_meter_find(config, options->meter);
        if (index < 0) {
            result = cli_usage("read", "%s has no meter '%s'", options->config, options->meter);
        } else {
            const struct meter *meter = &config->meters[index];
            const struct config_link *link = &config->links[meter->link];
            struct wire_settings settings;
            config_wire_settings(link, &settings);
            result = read_link(options, &settings, config, meter, link->retries);
        }
    }
    config_unref(config);
    free(faults);
    return result;
}

// The gateway holds the link: a second master on a serial bus would disturb both.
static int read_by_config(const struct options *options)
{
    json_t *arguments =
        json_pack("{s:s, s:b}", "meter", options->meter, "frames", (int)options->frames);
    struct buf text;
    struct err err;
    buf_init(&text, RESULT_MAX);
    int status =
        control_call_text(options->state, "read", arguments, GATEWAY_TIMEOUT_MS, &text, &err);
    int result = EXIT_PROBLEM;
    if (status == 0)
        result = print_result(options, &text);
    else if (status == CONTROL_NOT_RUNNING)
        result = read_configured(options);
    else
        result = cli_problem("read", "the gateway that runs on %s: %s", options->state, err.text);
    buf_release(&text);
    json_decref(arguments);
    return result;
}

// ---- arguments ----------------------------------------------------------------------------------

static int parse_int(const char *text, int least, int most, int *out)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < least || value > most)
        return -1;
    *out = (int)value;
    return 0;
}

// EXIT_DONE to go on.
static int take_option(struct options *options, int option)
{
    switch (option) {
    case 'c': options->config = optarg; break;
    case 's': options->state = optarg; break;
    case 'l': options->link = optarg; break;
    case 'p': options->profile = optarg; break;
    case 'o': options->word_order = optarg; break;
    case 'd': options->search.directory = optarg; break;
    case 'f': options->frames = true; break;
    case 'j': options->json = true; break;
    case 'e': options->echo = true; break;
    case 'r': options->rs485 = true; break;
    case 'u':
        if (parse_int(optarg, 0, 255, &options->unit) != 0)
            return cli_usage("read", "--unit '%s': a whole number, 0 to 255", optarg);
        break;
    case 't':
        if (parse_int(optarg, 50, 30000, &options->timeout_ms) != 0)
            return cli_usage("read", "--timeout '%s': a whole number, 50 to 30000", optarg);
        break;
    case 'n':
        if (options->unit_count == UNITS_MAX)
            return cli_usage("read", "at most %d --units", UNITS_MAX);
        options->units[options->unit_count++] = optarg;
        break;
    default: return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static int run(struct options *options, int argc, char **argv)
{
    int words = argc - optind;
    if (options->config != NULL && options->link == NULL && words == 1) {
        options->meter = argv[optind];
        return read_by_config(options);
    }
    if (options->link != NULL && options->config == NULL && words == 0 && options->unit >= 0 &&
        options->profile != NULL)
        return read_by_link(options);
    return cli_usage("read", "say --config FILE METER, or --link URL --unit N --profile NAME");
}

int read_main(int argc, char **argv)
{
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"state", required_argument, NULL, 's'},
                                          {"link", required_argument, NULL, 'l'},
                                          {"unit", required_argument, NULL, 'u'},
                                          {"profile", required_argument, NULL, 'p'},
                                          {"profiles", required_argument, NULL, 'd'},
                                          {"units", required_argument, NULL, 'n'},
                                          {"word-order", required_argument, NULL, 'o'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"frames", no_argument, NULL, 'f'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"echo", no_argument, NULL, 'e'},
                                          {"rs485", no_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.state = STATE_DEFAULT, .unit = -1};
    int option = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        }
        if (option == '?' || option == ':') {
            return cli_usage("read", option == '?' ? "'%s' is no option" : "'%s' needs a value",
                             argv[optind - 1]);
        }
        int result = take_option(&options, option);
        if (result != EXIT_DONE)
            return result;
    }
    return run(&options, argc, argv);
}
