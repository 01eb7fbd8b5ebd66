// The health of the links: one of them in full, and all of them for Prometheus.
#include "gateway_parts.h"

#include "poll/health.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

// ---- one link -----------------------------------------------------------------------------------

static void print_meters(const struct config *config, int link, struct health *health,
                         struct writer *writer)
{
    writer_key(writer, "meters");
    writer_array(writer);
    for (int i = 0; i < config->meter_count; i++) {
        if (config->meters[i].link != link)
            continue;
        struct health_counts counts;
        health_counts_of(health, config->meters[i].unit, &counts);
        writer_object(writer);
        writer_key_text(writer, "meter", config->meters[i].id);
        writer_key_int(writer, "unit", config->meters[i].unit);
        writer_key(writer, "counts");
        health_print_counts(writer, &counts);
        writer_end(writer);
    }
    writer_end(writer);
}

static void print_bus(const struct config *config, int link, const struct live_link *counters,
                      struct health *health, struct writer *writer)
{
    struct health_counts counts;
    health_counts_all(health, &counts);
    writer_object(writer);
    writer_key_text(writer, "link", config->links[link].id);
    writer_key_text(writer, "url", config->links[link].url_text);
    writer_key_bool(writer, "open", counters->open);
    if (config->links[link].second_url_text[0] != '\0') {
        writer_key_text(writer, "second_url", config->links[link].second_url_text);
        writer_key_bool(writer, "on_second", counters->on_second);
    }
    writer_key_text(writer, "error", counters->error);
    writer_key_gauge(writer, "busy_percent", health_busy_percent(health), false);
    writer_key(writer, "counts");
    health_print_counts(writer, &counts);
    print_meters(config, link, health, writer);
    writer_key(writer, "frames");
    health_print_frames(health, writer);
    writer_end(writer);
}

int gateway_bus_print(struct gateway *gateway, const char *link, struct writer *writer,
                      struct err *err)
{
    struct config *config = gateway_config(gateway);
    struct live_link counters;
    struct health *health = NULL;
    int index = config_link_find(config, link);
    int result = 0;
    if (index < 0 || !live_link_get(gateway->live, link, &counters, &health))
        result = err_set(err, "there is no link '%.40s'", link);
    else
        print_bus(config, index, &counters, health, writer);
    health_unref(health);
    config_unref(config);
    return result;
}

// ---- Prometheus ---------------------------------------------------------------------------------
// Text exposition format 0.0.4. Ids hold only letters, digits and dashes: no label needs an escape.

__attribute__((format(printf, 2, 3))) static void line(struct buf *out, const char *format, ...)
{
    char text[256];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    buf_add(out, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

static void head(struct buf *out, const char *name, const char *type, const char *meaning)
{
    line(out, "# HELP metergate_%s %s\n# TYPE metergate_%s %s\n", name, meaning, name, type);
}

// A link or meter as the labels name it, with what it counted.
struct subject {
    const char *labels;
    const struct health_counts *counts;
};

// One kind of sample of every subject.
typedef void sample(struct buf *out, const struct subject *subject);

static void results(struct buf *out, const struct subject *of)
{
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {{"reply", of->counts->replies},
                {"timeout", of->counts->timeouts},
                {"crc", of->counts->crc_errors},
                {"frame", of->counts->frame_errors},
                {"link-down", of->counts->link_down}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        line(out, "metergate_results_total{%s,result=\"%s\"} %" PRIu64 "\n", of->labels,
             rows[i].name, rows[i].count);
}

static void exceptions(struct buf *out, const struct subject *of)
{
    for (int code = 0; code < HEALTH_EXCEPTIONS; code++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", code);
        if (of->counts->exceptions[code] > 0)
            line(out, "metergate_exceptions_total{%s,code=\"%s\"} %" PRIu64 "\n", of->labels,
                 code != 0 ? name : "other", of->counts->exceptions[code]);
    }
}

static void responses(struct buf *out, const struct subject *of)
{
    uint64_t sum = 0;
    for (int i = 0; i < HEALTH_BUCKETS; i++) {
        char bound[16] = "+Inf";
        if (i < HEALTH_BUCKETS - 1)
            (void)snprintf(bound, sizeof bound, "%g", health_bucket_ms[i] / 1000.);
        sum += of->counts->response[i];
        line(out, "metergate_response_seconds_bucket{%s,le=\"%s\"} %" PRIu64 "\n", of->labels,
             bound, sum);
    }
    line(out, "metergate_response_seconds_sum{%s} %.6f\n", of->labels,
         (double)of->counts->response_us / 1e6);
    line(out, "metergate_response_seconds_count{%s} %" PRIu64 "\n", of->labels, sum);
}

static void each_meter(struct gateway *gateway, const struct config *config, struct buf *out,
                       sample *print)
{
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        struct live_link counters;
        struct health *health = NULL;
        if (!live_link_get(gateway->live, config->links[meter->link].id, &counters, &health))
            continue;
        struct health_counts counts;
        char labels[2 * ID_SIZE + 24];
        health_counts_of(health, meter->unit, &counts);
        (void)snprintf(labels, sizeof labels, "link=\"%s\",meter=\"%s\"",
                       config->links[meter->link].id, meter->id);
        print(out, &(struct subject){labels, &counts});
        health_unref(health);
    }
}

static void print_responses(struct gateway *gateway, const char *link, struct buf *out)
{
    struct live_link counters;
    struct health *health = NULL;
    if (!live_link_get(gateway->live, link, &counters, &health))
        return;
    struct health_counts counts;
    char labels[ID_SIZE + 16];
    health_counts_all(health, &counts);
    (void)snprintf(labels, sizeof labels, "link=\"%s\"", link);
    responses(out, &(struct subject){labels, &counts});
    health_unref(health);
}

// The figures of a link that are not about single requests. The format wants all samples of one
// name together.
enum link_metric { LINK_UP, LINK_SECOND, LINK_BUSY, LINK_LOAD, POLLS, POLLS_LATE, POLLS_LEFT_OUT };

static const struct {
    const char *name, *type, *meaning;
} link_metrics[] = {
    [LINK_UP] = {"link_up", "gauge", "1 while the link's device or connection is open."},
    [LINK_SECOND] = {"link_on_second", "gauge", "1 while the link goes over its second address."},
    [LINK_BUSY] = {"link_busy_ratio", "gauge", "Part of the last minute that the link was busy."},
    [LINK_LOAD] = {"link_load_ratio", "gauge", "Part of the link's time that its meters want."},
    [POLLS] = {"polls_total", "counter", "Due polls done."},
    [POLLS_LATE] = {"polls_late_total", "counter", "Due polls done later than their tolerance."},
    [POLLS_LEFT_OUT] = {"polls_left_out_total", "counter",
                        "Due polls for which the link had no time."},
};

static void print_link(enum link_metric metric, const char *id, const struct live_link *counters,
                       struct health *health, struct buf *out)
{
    line(out, "metergate_%s{link=\"%s\"} ", link_metrics[metric].name, id);
    switch (metric) {
    case LINK_UP: line(out, "%d\n", counters->open); break;
    case LINK_SECOND: line(out, "%d\n", counters->open && counters->on_second); break;
    case LINK_BUSY: line(out, "%.4f\n", health_busy_percent(health) / 100); break;
    case LINK_LOAD: line(out, "%.3f\n", counters->load_permille / 1000.); break;
    case POLLS: line(out, "%" PRIu64 "\n", counters->polls); break;
    case POLLS_LATE: line(out, "%" PRIu64 "\n", counters->late); break;
    case POLLS_LEFT_OUT: line(out, "%" PRIu64 "\n", counters->dropped); break;
    }
}

static void print_links(struct gateway *gateway, const struct config *config, struct buf *out)
{
    for (int metric = LINK_UP; metric <= POLLS_LEFT_OUT; metric++) {
        head(out, link_metrics[metric].name, link_metrics[metric].type,
             link_metrics[metric].meaning);
        for (int i = 0; i < config->link_count; i++) {
            const char *id = config->links[i].id;
            struct live_link counters;
            struct health *health = NULL;
            if (!live_link_get(gateway->live, id, &counters, &health))
                continue;
            print_link((enum link_metric)metric, id, &counters, health, out);
            health_unref(health);
        }
    }
}

static void print_recorder(struct gateway *gateway, struct buf *out)
{
    struct recorder_status recorder;
    recorder_status(gateway->recorder, &recorder);
    head(out, "readings_total", "counter", "Readings stored since start.");
    line(out, "metergate_readings_total %" PRIu64 "\n", recorder.readings);
    head(out, "readings_waiting", "gauge", "Readings that wait for the store.");
    line(out, "metergate_readings_waiting %d\n", recorder.waiting);
}

void gateway_metrics_print(struct gateway *gateway, struct buf *out)
{
    struct config *config = gateway_config(gateway);
    print_recorder(gateway, out);
    print_links(gateway, config, out);
    head(out, "results_total", "counter", "Modbus requests by what became of them.");
    each_meter(gateway, config, out, results);
    head(out, "exceptions_total", "counter",
         "Requests that were answered by an exception, by code.");
    each_meter(gateway, config, out, exceptions);
    head(out, "response_seconds", "histogram", "Time from the request's end to its answer's.");
    for (int i = 0; i < config->link_count; i++)
        print_responses(gateway, config->links[i].id, out);
    config_unref(config);
}
