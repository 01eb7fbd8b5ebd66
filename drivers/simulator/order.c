#include "drivers/simulator/order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16

struct order {
    struct site *site;
    const struct sim_time *now;
    int count;
    char *words[WORDS_MAX];
    struct writer *writer;
};

static int split_words(char *line, char **words)
{
    int count = 0;
    char *at = line + strspn(line, " \t\r\n");
    while (*at != '\0' && count < WORDS_MAX) {
        words[count++] = at;
        at += strcspn(at, " \t\r\n");
        if (*at != '\0') {
            *at++ = '\0';
            at += strspn(at, " \t\r\n");
        }
    }
    return *at == '\0' ? count : -1;
}

// The meters that a word means: [*first, *end).
static int find_meters(const struct order *order, const char *word, int *first, int *end,
                       struct err *err)
{
    if (strcmp(word, "*") == 0) {
        *first = 0;
        *end = order->site->meter_count;
        return 0;
    }
    int meter = site_meter_find(order->site, word);
    if (meter < 0)
        return err_set(err, "there is no meter '%.60s'", word);
    *first = meter;
    *end = meter + 1;
    return 0;
}

static int expect_words(const struct order *order, int least, int most, const char *form,
                        struct err *err)
{
    if (order->count < least || order->count > most)
        return err_set(err, "the order is: %s", form);
    return 0;
}

// ---- orders -------------------------------------------------------------------------------------

// One word after the kind: a probability, or KEY=VALUE. The channel is kept for later.
static int read_option(char *word, struct meter_fault *fault, const char **channel, struct err *err)
{
    char *value = strchr(word, '=');
    if (value == NULL)
        return fault_set_option(fault, "probability", word, err);
    *value++ = '\0';
    if (strcmp(word, "channel") == 0) {
        *channel = value;
        return 0;
    }
    return fault_set_option(fault, word, value, err);
}

static int add_fault(const struct order *order, struct sim_meter *meter, struct meter_fault fault,
                     const char *channel, struct err *err)
{
    if (channel != NULL) {
        const struct profile *profile = meter->kind->profile;
        fault.channel = profile_channel_find(profile, channel);
        if (fault.channel < 0) {
            return err_set(err, "%s: profile %s has no channel '%.40s'", meter->id, profile->name,
                           channel);
        }
    }
    return sim_meter_add_fault(meter, &fault, order->now, err);
}

static int order_fault(struct order *order, struct err *err)
{
    enum fault_kind kind = FAULT_KIND_COUNT;
    int first = 0;
    int end = 0;
    if (expect_words(order, 3, WORDS_MAX, "fault METER KIND [PROBABILITY] [KEY=VALUE]...", err) !=
            0 ||
        find_meters(order, order->words[1], &first, &end, err) != 0 ||
        fault_kind_parse(order->words[2], &kind, err) != 0)
        return -1;
    struct meter_fault fault = fault_make(kind, order->now->since_start_ms);
    const char *channel = NULL;
    for (int i = 3; i < order->count; i++)
        if (read_option(order->words[i], &fault, &channel, err) != 0)
            return -1;
    if (fault_check(&fault, err) != 0)
        return -1;
    for (int i = first; i < end; i++)
        if (add_fault(order, &order->site->meters[i], fault, channel, err) != 0)
            return -1;
    writer_key_int(order->writer, "meters", end - first);
    return 0;
}

static int order_clear(struct order *order, struct err *err)
{
    enum fault_kind kind = FAULT_KIND_COUNT;
    int first = 0;
    int end = 0;
    if (expect_words(order, 2, 3, "clear METER [KIND]", err) != 0 ||
        find_meters(order, order->words[1], &first, &end, err) != 0 ||
        (order->count == 3 && fault_kind_parse(order->words[2], &kind, err) != 0))
        return -1;
    int cleared = 0;
    for (int i = first; i < end; i++) {
        cleared += sim_meter_clear_faults(&order->site->meters[i], order->now,
                                          order->count == 3 ? (int)kind : -1);
    }
    writer_key_int(order->writer, "cleared", cleared);
    return 0;
}

static int set_channel(struct order *order, double number, struct err *err)
{
    int first = 0;
    int end = 0;
    if (find_meters(order, order->words[1], &first, &end, err) != 0)
        return -1;
    for (int i = first; i < end; i++)
        if (sim_meter_set(&order->site->meters[i], order->now, order->words[2], number, err) != 0)
            return -1;
    writer_key_int(order->writer, "meters", end - first);
    return 0;
}

static int order_set(struct order *order, struct err *err)
{
    if (expect_words(order, 4, 4, "set METER CHANNEL VALUE", err) != 0)
        return -1;
    char *rest = NULL;
    double number = strtod(order->words[3], &rest);
    if (rest == order->words[3] || *rest != '\0' || !isfinite(number))
        return err_set(err, "'%.40s' is no number", order->words[3]);
    return set_channel(order, number, err);
}

static int order_unset(struct order *order, struct err *err)
{
    if (expect_words(order, 3, 3, "unset METER CHANNEL", err) != 0)
        return -1;
    return set_channel(order, NAN, err);
}

static int order_serial(struct order *order, struct err *err)
{
    int first = 0;
    int end = 0;
    if (expect_words(order, 3, 3, "serial METER TEXT", err) != 0 ||
        find_meters(order, order->words[1], &first, &end, err) != 0)
        return -1;
    if (strlen(order->words[2]) >= VALUE_TEXT_MAX)
        return err_set(err, "a serial number has at most %d characters", VALUE_TEXT_MAX - 1);
    for (int i = first; i < end; i++)
        (void)snprintf(order->site->meters[i].serial_number, VALUE_TEXT_MAX, "%s", order->words[2]);
    writer_key_int(order->writer, "meters", end - first);
    return 0;
}

static int order_get(struct order *order, struct err *err)
{
    if (expect_words(order, 2, 2, "get METER", err) != 0)
        return -1;
    int meter = site_meter_find(order->site, order->words[1]);
    if (meter < 0)
        return err_set(err, "there is no meter '%.60s'", order->words[1]);
    writer_key_text(order->writer, "meter", order->words[1]);
    writer_key_time(order->writer, "at", order->now->wall_ms);
    writer_key(order->writer, "values");
    sim_meter_print(&order->site->meters[meter], order->now, order->writer);
    return 0;
}

static int order_stats(struct order *order, struct err *err)
{
    int first = 0;
    int end = 0;
    if (expect_words(order, 2, 2, "stats METER", err) != 0 ||
        find_meters(order, order->words[1], &first, &end, err) != 0)
        return -1;
    uint64_t requests = 0;
    uint64_t replies = 0;
    uint64_t faults = 0;
    for (int i = first; i < end; i++) {
        requests += order->site->meters[i].requests;
        replies += order->site->meters[i].replies;
        faults += order->site->meters[i].struck;
    }
    writer_key_int(order->writer, "meters", end - first);
    writer_key_int(order->writer, "requests", (int64_t)requests);
    writer_key_int(order->writer, "replies", (int64_t)replies);
    writer_key_int(order->writer, "faults", (int64_t)faults);
    return 0;
}

static int order_quit(struct order *order, struct err *err)
{
    return expect_words(order, 1, 1, "quit", err);
}

// ---- the line -----------------------------------------------------------------------------------

static const struct {
    const char *name;
    int (*run)(struct order *order, struct err *err);
} orders[] = {
    {"fault", order_fault}, {"clear", order_clear},   {"set", order_set},
    {"unset", order_unset}, {"serial", order_serial}, {"get", order_get},
    {"stats", order_stats}, {"quit", order_quit},
};

static int run_words(struct order *order, struct err *err)
{
    for (size_t i = 0; order->count > 0 && i < sizeof orders / sizeof orders[0]; i++)
        if (strcmp(orders[i].name, order->words[0]) == 0)
            return orders[i].run(order, err);
    return err_set(err,
                   "there is no such order; the orders are fault, clear, set, unset, serial, get, "
                   "stats, quit");
}

bool order_run(struct site *site, const struct sim_time *now, char *line, struct buf *reply)
{
    struct writer writer;
    struct err err;
    struct order order = {.site = site, .now = now, .writer = &writer};
    order.count = split_words(line, order.words);
    const char *name = order.count > 0 ? order.words[0] : "";
    writer_init(&writer, reply);
    writer_object(&writer);
    writer_key_bool(&writer, "ok", true);
    writer_key_text(&writer, "order", name);
    if (run_words(&order, &err) != 0) {
        buf_clear(reply);
        writer_init(&writer, reply);
        writer_object(&writer);
        writer_key_bool(&writer, "ok", false);
        writer_key_text(&writer, "order", name);
        writer_key_text(&writer, "error", err.text);
        writer_end(&writer);
        return false;
    }
    writer_end(&writer);
    return strcmp(name, "quit") == 0;
}
