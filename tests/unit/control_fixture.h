// A gateway that is only a store: what the command table asks of a running one.
#ifndef METERGATE_TESTS_UNIT_CONTROL_FIXTURE_H
#define METERGATE_TESTS_UNIT_CONTROL_FIXTURE_H

#include "control/access.h"
#include "control/claim.h"
#include "control/command.h"
#include "control/control.h"
#include "control/password.h"
#include "gateway.h"

#include "store_fixture.h"

#include <pthread.h>

struct gateway {
    struct store *store;
    pthread_mutex_t mutex; // guards the store
    struct config config;
    pthread_mutex_t bus; // held: `read` waits
    int reloads;
};

static struct gateway site = {.mutex = PTHREAD_MUTEX_INITIALIZER, .bus = PTHREAD_MUTEX_INITIALIZER};
static int64_t boot_ms; // hands of the clock
static int64_t wall_ms = T0;

static int64_t tell_boot_ns(void *context)
{
    (void)context;
    return boot_ms * 1000000;
}
static int64_t tell_wall_ms(void *context)
{
    (void)context;
    return wall_ms;
}
static const struct clock hands = {.boot_ns = tell_boot_ns, .wall_ms = tell_wall_ms};

struct live *gateway_live(struct gateway *gateway)
{
    return (struct live *)(void *)gateway;
}
struct recorder *gateway_recorder(struct gateway *gateway)
{
    return (struct recorder *)(void *)gateway;
}
bool gateway_has_store(const struct gateway *gateway)
{
    (void)gateway;
    return true;
}

const char *gateway_directory(const struct gateway *gateway)
{
    (void)gateway;
    return folder;
}
struct config *gateway_config(struct gateway *gateway)
{
    return config_ref(&gateway->config);
}
void gateway_status_print(struct gateway *gateway, struct writer *writer)
{
    writer_object(writer);
    writer_key_text(writer, "gateway", gateway->config.gateway_id);
    writer_end(writer);
}
int gateway_add_task(struct gateway *gateway, const char *link, const struct bus_task *task,
                     struct err *err)
{
    (void)gateway;
    (void)task;
    return err_set(err, "no bus serves link %s here", link);
}
struct config_search gateway_search(const struct gateway *gateway)
{
    (void)gateway;
    return (struct config_search){0};
}
int gateway_read(struct gateway *gateway, const char *meter, struct wire_trace trace,
                 struct reading **out, struct err *err)
{
    (void)out;
    pthread_mutex_lock(&gateway->bus);
    if (trace.frame != NULL)
        trace.frame(trace.context, true, (const uint8_t *)"\x01\x03", 2);
    pthread_mutex_unlock(&gateway->bus);
    return err_set(err, "there is no meter '%s'", meter);
}
int gateway_reload(struct gateway *gateway, const char *who, struct err *err)
{
    (void)who;
    (void)err;
    gateway->reloads++;
    return 0;
}
void live_print_meters(struct live *live, struct writer *writer)
{
    (void)live;
    writer_array(writer);
    writer_object(writer);
    writer_key_text(writer, "meter", "m1");
    writer_key_micro(writer, "value", INT64_C(9007199254740993001)); // no double holds it
    writer_end(writer);
    writer_end(writer);
}
int gateway_bus_print(struct gateway *gateway, const char *link, struct writer *writer,
                      struct err *err)
{
    (void)gateway;
    if (strcmp(link, "hall-1") != 0)
        return err_set(err, "there is no link '%.40s'", link);
    writer_object(writer);
    writer_key_text(writer, "link", link);
    writer_end(writer);
    return 0;
}

void gateway_metrics_print(struct gateway *gateway, struct buf *out)
{
    (void)gateway;
    buf_add(out, "metergate_readings_total 5\n", 27);
}

void live_print_links(struct live *live, struct writer *writer)
{
    (void)live;
    writer_array(writer);
    writer_end(writer);
}

int recorder_run(struct recorder *recorder, recorder_task *task, void *argument, struct err *err)
{
    struct gateway *gateway = (struct gateway *)(void *)recorder;
    pthread_mutex_lock(&gateway->mutex);
    int result = store_round_begin(gateway->store, err);
    if (result == 0 && task(gateway->store, argument, err) != 0) {
        store_round_cancel(gateway->store);
        result = -1;
    } else if (result == 0) {
        result = store_round_commit(gateway->store, err);
    }
    pthread_mutex_unlock(&gateway->mutex);
    return result;
}

int recorder_run_between(struct recorder *recorder, recorder_task *task, void *argument,
                         struct err *err)
{
    struct gateway *gateway = (struct gateway *)(void *)recorder;
    pthread_mutex_lock(&gateway->mutex);
    int result = task(gateway->store, argument, err);
    pthread_mutex_unlock(&gateway->mutex);
    return result;
}

// A fresh store and a site over it.
static int site_open(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    static char text[] = "gateway: {id: site-1}\n";
    boot_ms = 1000;
    site.store = store_must_open();
    site.reloads = 0;
    site.config = (struct config){.references = 1,
                                  .gateway_id = "site-1",
                                  .web_listen = "127.0.0.1:8443",
                                  .revision = "0123456789abcdef",
                                  .text = text};
    return 0;
}

static int site_close(void **state)
{
    store_close(site.store);
    site.store = NULL;
    return folder_remove(state);
}

// --- the audit chain ---

struct audit_sum {
    int count;
    struct audit_record last;
};

static inline bool add_record(void *context, const struct audit_record *record)
{
    struct audit_sum *sum = context;
    sum->count++;
    sum->last = *record;
    return true;
}

static inline struct audit_sum audit_sum(void)
{
    struct audit_sum sum = {0};
    pthread_mutex_lock(&site.mutex);
    must(store_audits(site.store, INT64_MIN, INT64_MAX, add_record, &sum, &failure));
    pthread_mutex_unlock(&site.mutex);
    return sum;
}

#endif
