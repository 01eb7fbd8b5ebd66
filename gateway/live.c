#include "live.h"

#include "poll/health.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct shown_link {
    struct live_link counters;
    struct health *health; // NULL until its bus runs
};

// Each meter and link of the configuration shown, by the same index.
struct live {
    pthread_mutex_t mutex; // guards all below
    struct config *config; // NULL before the first live_apply
    struct reading **readings;
    struct shown_link *links;
};

struct live *live_new(void)
{
    struct live *live = calloc(1, sizeof *live);
    if (live != NULL)
        (void)pthread_mutex_init(&live->mutex, NULL);
    return live;
}

static void drop_readings(struct reading **readings, int count)
{
    for (int i = 0; i < count && readings != NULL; i++)
        reading_free(readings[i]);
    free((void *)readings);
}

static void drop_links(struct shown_link *links, int count)
{
    for (int i = 0; i < count && links != NULL; i++)
        health_unref(links[i].health);
    free(links);
}

void live_free(struct live *live)
{
    if (live == NULL)
        return;
    drop_readings(live->readings, live->config != NULL ? live->config->meter_count : 0);
    drop_links(live->links, live->config != NULL ? live->config->link_count : 0);
    config_unref(live->config);
    (void)pthread_mutex_destroy(&live->mutex);
    free(live);
}

// The last reading of a meter that stays what it was; NULL for a new one.
static struct reading *take_old(struct live *live, const struct meter *meter)
{
    int old = live->config != NULL ? config_meter_find(live->config, meter->id) : -1;
    if (old < 0 || live->readings[old] == NULL ||
        strcmp(live->config->meters[old].profile_name, meter->profile_name) != 0)
        return NULL;
    struct reading *reading = live->readings[old];
    live->readings[old] = NULL;
    return reading;
}

static void carry_over(struct live *live, struct config *config, struct reading **readings,
                       struct shown_link *links)
{
    for (int i = 0; i < config->meter_count; i++) {
        readings[i] = take_old(live, &config->meters[i]);
        if (readings[i] == NULL)
            readings[i] = reading_new(config, &config->meters[i]);
    }
    for (int i = 0; i < config->link_count; i++) {
        int old = live->config != NULL ? config_link_find(live->config, config->links[i].id) : -1;
        if (old >= 0) {
            links[i] = live->links[old];
            live->links[old].health = NULL;
        }
    }
}

void live_apply(struct live *live, struct config *config)
{
    // One more than needed: no memory is told from none wanted.
    struct reading **readings =
        (struct reading **)calloc((size_t)config->meter_count + 1, sizeof(struct reading *));
    struct shown_link *links = calloc((size_t)config->link_count + 1, sizeof *links);
    if (readings == NULL || links == NULL) {
        free((void *)readings);
        free(links);
        return; // goes on showing the old configuration
    }
    (void)pthread_mutex_lock(&live->mutex);
    carry_over(live, config, readings, links);
    struct config *old_config = live->config;
    struct reading **old_readings = live->readings;
    struct shown_link *old_links = live->links;
    live->config = config_ref(config);
    live->readings = readings;
    live->links = links;
    (void)pthread_mutex_unlock(&live->mutex);
    drop_readings(old_readings, old_config != NULL ? old_config->meter_count : 0);
    drop_links(old_links, old_config != NULL ? old_config->link_count : 0);
    config_unref(old_config);
}

// ---- what comes from the buses ------------------------------------------------------------------

// -1 when the configuration shown has no such meter any more.
static int index_of(const struct live *live, const struct reading *reading)
{
    if (live->config == NULL)
        return -1;
    if (live->config == reading->config)
        return (int)(reading->meter - live->config->meters);
    return config_meter_find(live->config, reading->meter->id);
}

static void copy_reading(struct reading *to, const struct reading *from)
{
    to->due_ms = from->due_ms;
    to->at_ms = from->at_ms;
    to->boot_ms = from->boot_ms;
    to->answered = from->answered;
    to->image = from->image;
    memcpy(to->values, from->values, (size_t)from->value_count * sizeof from->values[0]);
}

void live_reading(struct live *live, const struct reading *reading)
{
    (void)pthread_mutex_lock(&live->mutex);
    int index = index_of(live, reading);
    if (index >= 0) {
        struct reading **shown = &live->readings[index];
        if (*shown == NULL || (*shown)->meter != reading->meter) {
            reading_free(*shown);
            *shown = reading_new(reading->config, reading->meter);
        }
        if (*shown != NULL)
            copy_reading(*shown, reading);
    }
    (void)pthread_mutex_unlock(&live->mutex);
}

// NULL when the configuration shown has no such link any more.
static struct shown_link *shown_link(struct live *live, const struct config *config, int link)
{
    int index = live->config == config ? link : -1;
    if (live->config != NULL && live->config != config) // a link that a reload left alone
        index = config_link_find(live->config, config->links[link].id);
    return index >= 0 ? &live->links[index] : NULL;
}

void live_link(struct live *live, const struct config *config, int link,
               const struct live_link *counters)
{
    (void)pthread_mutex_lock(&live->mutex);
    struct shown_link *shown = shown_link(live, config, link);
    if (shown != NULL)
        shown->counters = *counters;
    (void)pthread_mutex_unlock(&live->mutex);
}

static bool serial_of(const struct reading *reading, char serial[static VALUE_TEXT_MAX])
{
    int place = profile_channel_find(reading->meter->profile, "serial_number");
    const struct value *value = place >= 0 ? &reading->values[place] : NULL;
    if (value == NULL || !value->present)
        return false;
    memcpy(serial, value->text, VALUE_TEXT_MAX);
    return true;
}

bool live_serial(struct live *live, const struct config *config, int meter,
                 char serial[static VALUE_TEXT_MAX])
{
    (void)pthread_mutex_lock(&live->mutex);
    int index = live->config == config ? meter : -1;
    if (live->config != NULL && live->config != config)
        index = config_meter_find(live->config, config->meters[meter].id);
    const struct reading *reading = index >= 0 ? live->readings[index] : NULL;
    bool told = reading != NULL && serial_of(reading, serial);
    (void)pthread_mutex_unlock(&live->mutex);
    return told;
}

void live_watch(struct live *live, const struct config *config, int link, struct health *health)
{
    struct health *before = NULL;
    (void)pthread_mutex_lock(&live->mutex);
    struct shown_link *shown = shown_link(live, config, link);
    if (shown != NULL) {
        before = shown->health;
        shown->health = health_ref(health);
    }
    (void)pthread_mutex_unlock(&live->mutex);
    health_unref(before);
}

bool live_link_get(struct live *live, const char *link, struct live_link *counters,
                   struct health **health)
{
    (void)pthread_mutex_lock(&live->mutex);
    int index = live->config != NULL ? config_link_find(live->config, link) : -1;
    bool found = index >= 0 && live->links[index].health != NULL;
    if (found) {
        *counters = live->links[index].counters;
        *health = health_ref(live->links[index].health);
    }
    (void)pthread_mutex_unlock(&live->mutex);
    return found;
}

// ---- what is shown ------------------------------------------------------------------------------

static void print_meter(struct writer *writer, const struct live *live, int index)
{
    const struct config *config = live->config;
    const struct meter *meter = &config->meters[index];
    const struct reading *reading = live->readings[index];
    struct health *health = live->links[meter->link].health;
    writer_object(writer);
    writer_key_text(writer, "meter", meter->id);
    writer_key_text(writer, "name", meter->name);
    writer_key_text(writer, "link", config->links[meter->link].id);
    writer_key_int(writer, "unit", meter->unit);
    writer_key_text(writer, "profile", meter->profile_name);
    if (reading == NULL || reading->at_ms == 0) // not polled yet
        writer_key_null(writer, "at");
    else
        writer_key_time(writer, "at", reading->at_ms);
    writer_key_bool(writer, "answered", reading != NULL && reading->answered);
    if (health != NULL) {
        struct health_counts counts;
        health_counts_of(health, meter->unit, &counts);
        writer_key(writer, "bus");
        health_print_summary(writer, &counts);
    }
    writer_key(writer, "channels");
    if (reading == NULL) {
        writer_object(writer);
        writer_end(writer);
    } else {
        reading_print_channels(writer, reading);
    }
    writer_end(writer);
}

void live_print_meters(struct live *live, struct writer *writer)
{
    writer_array(writer);
    bool more = true;
    for (int i = 0; more; i++) {
        // One meter at a time: a bus waits for one meter's print, not for that of thousands.
        (void)pthread_mutex_lock(&live->mutex);
        more = live->config != NULL && i < live->config->meter_count;
        if (more)
            print_meter(writer, live, i);
        (void)pthread_mutex_unlock(&live->mutex);
    }
    writer_end(writer);
}

static void print_link_health(struct writer *writer, struct health *health)
{
    struct health_counts counts;
    health_counts_all(health, &counts);
    writer_key_gauge(writer, "busy_percent", health_busy_percent(health), false);
    writer_key(writer, "health");
    health_print_summary(writer, &counts);
}

static void print_link(struct writer *writer, const struct config_link *link,
                       const struct shown_link *shown)
{
    const struct live_link *counters = &shown->counters;
    writer_object(writer);
    writer_key_text(writer, "link", link->id);
    writer_key_text(writer, "url", link->url_text);
    writer_key_bool(writer, "open", counters->open);
    if (link->second_url_text[0] != '\0')
        writer_key_bool(writer, "on_second", counters->on_second);
    writer_key_text(writer, "error", counters->error);
    writer_key_int(writer, "requests", (int64_t)counters->requests);
    writer_key_int(writer, "replies", (int64_t)counters->replies);
    writer_key_int(writer, "timeouts", (int64_t)counters->timeouts);
    writer_key_int(writer, "crc_errors", (int64_t)counters->crc_errors);
    writer_key_int(writer, "frame_errors", (int64_t)counters->frame_errors);
    writer_key_int(writer, "exceptions", (int64_t)counters->exceptions);
    writer_key_int(writer, "reconnects", (int64_t)counters->reconnects);
    writer_key_int(writer, "polls", (int64_t)counters->polls);
    writer_key_int(writer, "late", (int64_t)counters->late);
    writer_key_int(writer, "dropped", (int64_t)counters->dropped);
    writer_key_int(writer, "refused", (int64_t)counters->refused);
    writer_key_int(writer, "busy_us", counters->busy_us);
    writer_key_int(writer, "load_permille", counters->load_permille);
    writer_key_bool(writer, "overloaded", counters->overloaded);
    writer_key_int(writer, "stretched", counters->stretched);
    if (shown->health != NULL)
        print_link_health(writer, shown->health);
    writer_end(writer);
}

void live_print_links(struct live *live, struct writer *writer)
{
    writer_array(writer);
    (void)pthread_mutex_lock(&live->mutex);
    for (int i = 0; live->config != NULL && i < live->config->link_count; i++)
        print_link(writer, &live->config->links[i], &live->links[i]);
    (void)pthread_mutex_unlock(&live->mutex);
    writer_end(writer);
}
