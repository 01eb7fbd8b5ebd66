// A bus of the tests' own: a fake meter that answers for units 17, 18 … with one register, 10, and
// a list of the readings that the bus handed over.
#ifndef METERGATE_TESTS_UNIT_BUS_FIXTURE_H
#define METERGATE_TESTS_UNIT_BUS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "poll/bus.h"
#include "poll/schedule.h"

#include "../support/fake_meter.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 80
#define SECOND 1000
#define READINGS_MAX 200

static struct profile profile;
static struct gas_calendar calendar;

// ---- what the bus hands over --------------------------------------------------------------------

struct taken {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    bool refuse;
    int refused;
    int count;
    struct reading *list[READINGS_MAX];
};

static struct taken taken = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static inline bool take(void *context, struct reading *reading)
{
    struct taken *into = context;
    (void)pthread_mutex_lock(&into->mutex);
    bool room = !into->refuse && into->count < READINGS_MAX;
    if (room)
        into->list[into->count++] = reading;
    else
        into->refused++;
    (void)pthread_cond_broadcast(&into->more);
    (void)pthread_mutex_unlock(&into->mutex);
    return room;
}

// Waits until so many readings are there (or refused); the test fails after 60 s.
static inline void wait_for(int readings, int refused)
{
    struct timespec limit;
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    int late = 0;
    (void)pthread_mutex_lock(&taken.mutex);
    while ((taken.count < readings || taken.refused < refused) && late == 0)
        late = pthread_cond_timedwait(&taken.more, &taken.mutex, &limit);
    int count = taken.count;
    (void)pthread_mutex_unlock(&taken.mutex);
    if (late != 0)
        fail_msg("only %d of %d readings came", count, readings);
}

static inline void drop_taken(void)
{
    for (int i = 0; i < taken.count; i++)
        reading_free(taken.list[i]);
    taken.count = taken.refused = 0;
    taken.refuse = false;
}

// ---- a site -------------------------------------------------------------------------------------

struct site {
    struct fake_meter *fake;
    struct config *config;
    struct live *live;
    struct bus *bus;
};

static inline void set_link(struct config_link *link, enum fake_kind kind,
                            const struct fake_meter *fake)
{
    *link = (struct config_link){.id = "hall-1", .response_timeout_ms = TIMEOUT_MS, .retries = 1};
    (void)snprintf(link->url_text, sizeof link->url_text, "of the test");
    link->url = (struct link_url){.kind = kind == FAKE_PTY ? LINK_RTU : LINK_TCP,
                                  .address = "127.0.0.1",
                                  .port = fake_port(fake),
                                  .baud = 115200,
                                  .parity = 'N',
                                  .stop = 1};
    (void)snprintf(link->url.device, sizeof link->url.device, "%s", fake_device(fake));
}

// Meters of units 17, 18 … with one register, 10.
static inline struct config *make_config(enum fake_kind kind, const struct fake_meter *fake,
                                         int meters, int interval_s)
{
    struct config *config = calloc(1, sizeof *config);
    config->references = 1;
    config->office.summary_minutes = 15;
    config->link_count = 1;
    config->links = calloc(1, sizeof *config->links);
    set_link(&config->links[0], kind, fake);
    config->meter_count = meters;
    config->meters = calloc((size_t)meters, sizeof *config->meters);
    for (int i = 0; i < meters; i++) {
        struct meter *meter = &config->meters[i];
        (void)snprintf(meter->id, sizeof meter->id, "meter-%d", i);
        (void)snprintf(meter->name, sizeof meter->name, "Meter %d", i);
        (void)snprintf(meter->profile_name, sizeof meter->profile_name, "one-register");
        meter->unit = 17 + i;
        meter->profile = &profile;
        meter->interval_s = interval_s;
        meter->priority = 3;
    }
    return config;
}

static struct site site; // of the test that runs

static inline void start(enum fake_kind kind, int meters, int interval_s, fake_behaviour *behaviour,
                         void *context)
{
    site = (struct site){.fake = fake_start(kind, behaviour, context)};
    site.config = make_config(kind, site.fake, meters, interval_s);
    site.live = live_new();
    live_apply(site.live, site.config);
}

static inline void start_bus(const struct clock *clock)
{
    struct bus_settings settings = {.config = site.config,
                                    .calendar = calendar,
                                    .clock = clock,
                                    .sink = {take, &taken},
                                    .live = site.live};
    struct err err;
    site.bus = bus_start(&settings, &err);
    assert_non_null(site.bus);
}

static inline void end(void)
{
    bus_stop(site.bus);
    live_free(site.live);
    config_unref(site.config);
    fake_stop(site.fake);
    drop_taken();
    site = (struct site){0};
}

// A test that failed has not ended its site.
static inline int tear_down(void **state)
{
    (void)state;
    if (site.fake != NULL)
        end();
    return 0;
}

static inline json_t *shown(struct live *live, void (*print)(struct live *, struct writer *))
{
    struct buf out;
    buf_init(&out, 100000);
    struct writer writer;
    writer_init(&writer, &out);
    print(live, &writer);
    assert_false(out.failed);
    json_t *json = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    buf_release(&out);
    return json;
}

static inline int64_t link_figure(const char *name)
{
    json_t *links = shown(site.live, live_print_links);
    json_t *value = json_object_get(json_array_get(links, 0), name);
    assert_non_null(value);
    int64_t figure = json_is_boolean(value) ? json_boolean_value(value) : json_integer_value(value);
    json_decref(links);
    return figure;
}

static inline int set_up(void **state)
{
    (void)state;
    profile = (struct profile){
        .limits = {.max_registers = 60, .max_gap = 8},
        .field_count = 1,
        .fields = {{.first = 10, .function = 3, .words = 1, .type = RAW_U16}},
        .word_count = 1,
        .channel_count = 1,
        .channels = {{.channel = channel_find("pressure"),
                      .part_count = 1,
                      .parts = {{.scale = {1, 0}, .scale_field = -1}},
                      .conversion = {.factor = {1, 0}}}},
    };
    struct err err;
    return gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err);
}

#endif
