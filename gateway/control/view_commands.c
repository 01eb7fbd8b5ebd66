// Commands that show something, and those that ask a running part to do its work now.
#include "base/catalogue.h"
#include "control/command.h"
#include "gateway.h"
#include "office/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS INT64_C(86400000)
#define ALERTS_RECENT_MAX 100 // changes of the last day, the newest
#define AUDIT_LIMIT_MAX 500
#define FRAMES_BYTES_MAX 65536

static int no_arguments(struct command_context *context, const json_t *arguments, struct err *err)
{
    int result = command_unpack(context, arguments, err, "{!}");
    return result != 0 ? result : command_need_gateway(context, err);
}

int command_status(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int fault = no_arguments(context, arguments, err);
    if (fault != 0)
        return fault;
    gateway_status_print(context->gateway, result);
    return 0;
}

int command_live(struct command_context *context, const struct principal *who,
                 const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int fault = no_arguments(context, arguments, err);
    if (fault != 0)
        return fault;
    struct live *live = gateway_live(context->gateway);
    writer_object(result);
    writer_key_time(result, "at", clock_wall_ms(context->clock));
    writer_key(result, "meters");
    live_print_meters(live, result);
    writer_key(result, "links");
    live_print_links(live, result);
    writer_end(result);
    return 0;
}

// --- alerts ---

static bool print_alert(void *context, const struct stored_alert *alert)
{
    const struct feed_origin origin = {.gateway = NULL, .stream = NULL};
    feed_alert(context, &origin, alert);
    return true;
}

// The newest changes, in a ring.
struct recent {
    int next, count;
    struct stored_alert alerts[ALERTS_RECENT_MAX];
};

static bool keep_alert(void *context, const struct stored_alert *alert)
{
    struct recent *recent = context;
    recent->alerts[recent->next] = *alert;
    recent->next = (recent->next + 1) % ALERTS_RECENT_MAX;
    recent->count += recent->count < ALERTS_RECENT_MAX ? 1 : 0;
    return true;
}

static int print_alerts(struct store *store, int64_t now_ms, struct recent *recent,
                        struct writer *result, struct err *err)
{
    writer_object(result);
    writer_key(result, "open");
    writer_array(result);
    if (store_alerts_open(store, print_alert, result, err) != 0)
        return COMMAND_FAILED;
    writer_end(result);
    if (store_alerts(store, NULL, now_ms - DAY_MS, INT64_MAX, keep_alert, recent, err) != 0)
        return COMMAND_FAILED;
    writer_key(result, "recent"); // newest first
    writer_array(result);
    for (int i = 1; i <= recent->count; i++) {
        int place = (recent->next + ALERTS_RECENT_MAX - i) % ALERTS_RECENT_MAX;
        (void)print_alert(result, &recent->alerts[place]);
    }
    writer_end(result);
    writer_end(result);
    return 0;
}

// Before the store could be opened: the page goes on without.
static int print_no_alerts(struct writer *result)
{
    writer_object(result);
    writer_key(result, "open");
    writer_array(result);
    writer_end(result);
    writer_key(result, "recent");
    writer_array(result);
    writer_end(result);
    writer_end(result);
    return 0;
}

int command_alerts(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0)
        return fault;
    struct recent *recent = calloc(1, sizeof *recent);
    struct store *store = NULL;
    if (recent == NULL)
        return err_set(err, "not enough memory to list alerts");
    int status = COMMAND_FAILED;
    if (context->gateway != NULL && !gateway_has_store(context->gateway)) {
        status = print_no_alerts(result);
    } else if (command_reader_open(context, &store, err) == 0) {
        status = print_alerts(store, clock_wall_ms(context->clock), recent, result, err);
        command_reader_close(context, store);
    }
    free(recent);
    return status;
}

// --- a test reading ---

struct frames {
    bool wanted;
    struct buf json; // an array of {"sent": bool, "bytes": HEX}
    struct writer writer;
};

static void keep_frame(void *context, bool sent, const uint8_t *bytes, size_t length)
{
    struct frames *frames = context;
    char hex[3 * 300] = "";
    for (size_t i = 0; i < length && i < sizeof hex / 3; i++)
        (void)snprintf(hex + 3 * i, 4, "%02X ", bytes[i]);
    size_t end = strlen(hex);
    if (end > 0)
        hex[end - 1] = '\0';
    writer_object(&frames->writer);
    writer_key_bool(&frames->writer, "sent", sent);
    writer_key_text(&frames->writer, "bytes", hex);
    writer_end(&frames->writer);
}

static void print_reading(struct writer *result, const struct reading *reading,
                          struct frames *frames)
{
    const struct meter *meter = reading->meter;
    writer_object(result);
    writer_key_text(result, "meter", meter->id);
    writer_key_text(result, "profile", meter->profile_name);
    writer_key_time(result, "at", reading->at_ms);
    writer_key_bool(result, "answered", reading->answered);
    if (reading->detail[0] != '\0')
        writer_key_text(result, "detail", reading->detail);
    writer_key(result, "channels");
    writer_object(result);
    for (int i = 0; i < reading->value_count; i++) {
        const struct profile_channel *channel = &meter->profile->channels[i];
        writer_key(result, channel->channel->name);
        feed_value(result, meter->profile, channel, &reading->values[i]);
    }
    writer_end(result);
    if (frames->wanted) {
        writer_end(&frames->writer);
        writer_key(result, "frames");
        if (frames->json.failed)
            writer_null(result); // more than the bound
        else
            writer_raw(result, frames->json.data, frames->json.length);
    }
    writer_end(result);
}

int command_read(struct command_context *context, const struct principal *who,
                 const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *meter = NULL;
    int wanted = 0;
    int fault =
        command_unpack(context, arguments, err, "{s:s, s?b !}", "meter", &meter, "frames", &wanted);
    if (fault != 0 || (fault = command_need_gateway(context, err)) != 0)
        return fault;
    struct frames frames = {.wanted = wanted != 0};
    struct wire_trace trace = {0};
    buf_init(&frames.json, FRAMES_BYTES_MAX);
    writer_init(&frames.writer, &frames.json);
    writer_array(&frames.writer);
    if (frames.wanted)
        trace = (struct wire_trace){.frame = keep_frame, .context = &frames};
    struct reading *reading = NULL;
    int status = gateway_read(context->gateway, meter, trace, &reading, err);
    if (status == 0) {
        print_reading(result, reading, &frames);
        reading_free(reading);
    }
    buf_release(&frames.json);
    return status == 0 ? COMMAND_DONE : COMMAND_FAILED;
}

// --- the rest ---

int command_reload(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    int fault = no_arguments(context, arguments, err);
    if (fault != 0)
        return fault;
    if (gateway_reload(context->gateway, who->name, err) != 0)
        return COMMAND_FAILED;
    struct config *config = gateway_config(context->gateway);
    writer_object(result);
    writer_key_text(result, "revision", config->revision);
    writer_end(result);
    config_unref(config);
    return 0;
}

int command_config_get(struct command_context *context, const struct principal *who,
                       const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int fault = no_arguments(context, arguments, err);
    if (fault != 0)
        return fault;
    struct config *config = gateway_config(context->gateway);
    writer_object(result);
    writer_key_text(result, "revision", config->revision);
    writer_key_text(result, "text", config->text);
    writer_end(result);
    config_unref(config);
    return 0;
}

// For the page's process, which reads no configuration itself.
int command_page_settings(struct command_context *context, const struct principal *who,
                          const json_t *arguments, struct writer *result, struct err *err)
{
    int fault = no_arguments(context, arguments, err);
    if (fault != 0)
        return fault;
    if (strncmp(who->name, "local:", 6) != 0) {
        (void)err_set(err, "this is for the page's own process, not for its visitors");
        return COMMAND_ROLE;
    }
    struct config *config = gateway_config(context->gateway);
    writer_object(result);
    writer_key_text(result, "listen", config->web_listen);
    writer_key_text(result, "certificate", config->web_certificate);
    writer_key_text(result, "key", config->web_key);
    writer_end(result);
    config_unref(config);
    return 0;
}

int command_texts(struct command_context *context, const struct principal *who,
                  const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *name = "en";
    int fault = command_unpack(context, arguments, err, "{s?s !}", "language", &name);
    if (fault != 0)
        return fault;
    bool chinese = strcmp(name, "zh") == 0;
    if (!chinese && strcmp(name, "en") != 0) {
        (void)err_set(err, "there are texts in en and zh only, not in '%.16s'", name);
        return COMMAND_ARGUMENTS;
    }
    writer_object(result);
    for (size_t i = 0; catalogue_key(i) != NULL; i++) {
        const char *key = catalogue_key(i);
        writer_key_text(result, key, catalogue_text(key, chinese ? LANGUAGE_ZH : LANGUAGE_EN));
    }
    writer_end(result);
    return 0;
}

// The newest records, in a ring.
struct tail {
    int next, count, limit;
    struct audit_record records[AUDIT_LIMIT_MAX];
};

static bool keep_record(void *context, const struct audit_record *record)
{
    struct tail *tail = context;
    tail->records[tail->next] = *record;
    tail->next = (tail->next + 1) % tail->limit;
    tail->count += tail->count < tail->limit ? 1 : 0;
    return true;
}

// Looks back a day, then a month, then over everything, until enough is found.
static int find_tail(struct store *store, int64_t now_ms, struct tail *tail, struct err *err)
{
    const int64_t from_ms[] = {now_ms - DAY_MS, now_ms - 31 * DAY_MS, INT64_MIN};
    for (size_t i = 0; i < sizeof from_ms / sizeof from_ms[0] && tail->count < tail->limit; i++) {
        tail->next = 0;
        tail->count = 0;
        if (store_audits(store, from_ms[i], INT64_MAX, keep_record, tail, err) != 0)
            return COMMAND_FAILED;
    }
    return 0;
}

static void print_tail(struct writer *result, const struct tail *tail)
{
    writer_array(result);
    for (int i = 1; i <= tail->count; i++) {
        const struct audit_record *record =
            &tail->records[(tail->next + tail->limit - i) % tail->limit];
        writer_object(result);
        writer_key_int(result, "number", record->number);
        writer_key_time(result, "at", record->at_ms);
        writer_key_text(result, "who", record->who);
        writer_key_text(result, "action", record->action);
        writer_key_text(result, "subject", record->subject);
        writer_key_text(result, "result", record->result);
        writer_key_text(result, "detail", record->detail);
        writer_key_text(result, "hash", record->hash);
        writer_end(result);
    }
    writer_end(result);
}

int command_audit(struct command_context *context, const struct principal *who,
                  const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int limit = 50;
    int fault = command_unpack(context, arguments, err, "{s?i !}", "limit", &limit);
    if (fault != 0)
        return fault;
    if (limit < 1 || limit > AUDIT_LIMIT_MAX) {
        (void)err_set(err, "limit is 1 to %d", AUDIT_LIMIT_MAX);
        return COMMAND_ARGUMENTS;
    }
    struct tail *tail = calloc(1, sizeof *tail);
    struct store *store = NULL;
    if (tail == NULL)
        return err_set(err, "not enough memory to list the audit chain");
    tail->limit = limit;
    int status = COMMAND_FAILED;
    if (command_reader_open(context, &store, err) == 0) {
        status = find_tail(store, clock_wall_ms(context->clock), tail, err);
        command_reader_close(context, store);
    }
    if (status == 0)
        print_tail(result, tail);
    free(tail);
    return status;
}
