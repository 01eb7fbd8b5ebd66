#include "gateway.h"

#include "base/heap.h"
#include "base/log.h"
#include "gateway_parts.h"
#include "poll/archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART "gateway"
#define DESCRIPTORS_MAX 1024      // libmodbus before 3.1.12 aborts on a descriptor of 1024 or more
#define READ_WAIT_MS 15000        // a test read behind a bus that is busy with other meters
#define GATEWAY_SETTING "gateway" // whose store it is

// The whole configuration, or its first fault in the message.
static struct config *load(const struct gateway *gateway, struct err *err)
{
    struct faults *faults = calloc(1, sizeof *faults);
    if (!faults) {
        err_set(err, "no memory to load the configuration");
        return NULL;
    }
    struct config_search search = gateway_search(gateway);
    struct config *config = NULL;
    if (config_load(gateway->config_path, &search, &config, faults) < 0) {
        char first[FAULT_TEXT_MAX];
        fault_text(&faults->list[0], first);
        if (faults->count == 1)
            err_set(err, "%s", first);
        else
            err_set(err, "%s (%d faults in all; 'metergate check %s' lists them)", first,
                    faults->count, gateway->config_path);
    }
    free(faults);
    return config;
}

static void office_committed(void *context)
{
    struct gateway *gateway = context;
    pthread_mutex_lock(&gateway->lock);
    if (gateway->office)
        office_wake(gateway->office);
    pthread_mutex_unlock(&gateway->lock);
}

// Lets a link read back what its meters' own logs hold of a gap.
static void add_archives(struct gateway *gateway, struct config *config, int link, struct bus *bus)
{
    struct archive_settings settings = {.config = config,
                                        .link = link,
                                        .calendar = gateway->calendar,
                                        .clock = gateway->clock,
                                        .desk = recorder_archives(gateway->recorder)};
    struct bus_task task;
    struct err err = {.text = "no memory"};
    int made = archive_task(&settings, &task);
    if (made == 1 && bus_add_task(bus, &task, &err) != 0) {
        task.release(task.context);
        made = -1;
    }
    if (made < 0)
        log_error(PART, "logs of link %s are not read back: %s", config->links[link].id, err.text);
}

static struct bus *start_bus(struct gateway *gateway, struct config *config, int link,
                             struct err *err)
{
    struct bus_settings settings = {
        .config = config,
        .link = link,
        .calendar = gateway->calendar,
        .clock = gateway->clock,
        .sink = {.offer = recorder_offer, .context = gateway->recorder},
        .live = gateway->live,
    };
    struct bus *bus = bus_start(&settings, err);
    if (bus)
        add_archives(gateway, config, link, bus);
    return bus;
}

static struct office *start_office(struct gateway *gateway, struct config *config, struct err *err)
{
    struct office_settings settings = {
        .config = config,
        .directory = gateway->directory,
        .clock = gateway->clock,
        .recorder = gateway->recorder,
        .live = gateway->live,
        .inbox = gateway->inbox,
    };
    return office_start(&settings, err);
}

// A revision of the text is kept with who brought it, so that yesterday's configuration can be read
// tomorrow.
struct revision_task {
    const struct config *config;
    const char *who;
    const char *why; // it failed
    int64_t at_ms;
};

static int keep_revision(struct store *store, void *argument, struct err *err)
{
    const struct revision_task *task = argument;
    if (store_setting_put(store, GATEWAY_SETTING, task->config->gateway_id, err) < 0 ||
        store_keep_unconfirmed(store, task->config->office.keep_unconfirmed, err) < 0)
        return -1;
    const char *revision = task->config->revision;
    int newest = store_revision_is_newest(store, revision, err);
    if (newest != 0)
        return newest < 0 ? -1 : 0;
    if (store_revision_add(store, revision, task->config->text, task->config->text_length,
                           task->who, task->at_ms, err) != 0)
        return -1;
    return store_audit_add(store, task->at_ms, task->who, "config", revision, "done", "", err);
}

static int record_revision(struct gateway *gateway, const struct config *config, const char *who,
                           struct err *err)
{
    struct revision_task task = {
        .config = config, .who = who, .at_ms = clock_wall_ms(gateway->clock)};
    return recorder_run(gateway->recorder, keep_revision, &task, err);
}

static int prepare_process(struct gateway *gateway, struct err *err)
{
    struct rlimit limit = {.rlim_cur = DESCRIPTORS_MAX, .rlim_max = DESCRIPTORS_MAX};
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_max < DESCRIPTORS_MAX)
        limit.rlim_cur = limit.rlim_max = now.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_set(err, "cannot limit the number of open files: %s", strerror(errno));
    if (mkdir(gateway->directory, 0700) < 0 && errno != EEXIST)
        return err_set(err, "cannot make the state directory %s: %s", gateway->directory,
                       strerror(errno));
    return control_lock(gateway->directory, &gateway->lock_fd, err);
}

bool gateway_has_store(const struct gateway *gateway)
{
    struct recorder_status status;
    recorder_status(gateway->recorder, &status);
    return status.store_open;
}

static int start_recorder(struct gateway *gateway, struct err *err)
{
    struct recorder_settings settings = {
        .directory = gateway->directory,
        .config = gateway->config,
        .calendar = gateway->calendar,
        .clock = gateway->clock,
        .committed = office_committed,
        .context = gateway,
    };
    gateway->recorder = recorder_start(&settings, err);
    if (!gateway->recorder)
        return -1;
    gateway->waits_for_store = !gateway_has_store(gateway);
    return gateway->waits_for_store ? 0 : record_revision(gateway, gateway->config, "start", err);
}

static int start_buses(struct gateway *gateway, struct err *err)
{
    gateway->buses = calloc((size_t)gateway->config->link_count + 1, sizeof *gateway->buses);
    if (!gateway->buses)
        return err_set(err, "no memory for %d links", gateway->config->link_count);
    gateway->bus_count = gateway->config->link_count;
    for (int i = 0; i < gateway->bus_count; i++) {
        gateway->buses[i] = start_bus(gateway, gateway->config, i, err);
        if (!gateway->buses[i])
            return -1;
    }
    return 0;
}

static int start_parts(struct gateway *gateway, struct err *err)
{
    if (prepare_process(gateway, err) < 0)
        return -1;
    gateway->config = load(gateway, err);
    if (!gateway->config)
        return -1;
    if (gas_calendar_init(&gateway->calendar, gateway->config->timezone,
                          gateway->config->gas_day_start_minutes, err) < 0)
        return -1;
    gateway->live = live_new();
    if (!gateway->live)
        return err_set(err, "no memory for the live values");
    live_apply(gateway->live, gateway->config);
    if (start_recorder(gateway, err) < 0)
        return -1;
    // Links before everything else that opens descriptors: theirs must be small.
    if (start_buses(gateway, err) < 0)
        return -1;
    gateway->inbox = inbox_new(err);
    if (!gateway->inbox)
        return -1;
    if (gateway->config->office.present && !gateway->waits_for_store) {
        struct office *office = start_office(gateway, gateway->config, err);
        if (!office)
            return -1;
        pthread_mutex_lock(&gateway->lock);
        gateway->office = office;
        pthread_mutex_unlock(&gateway->lock);
    }
    struct command_context context = {.gateway = gateway, .clock = gateway->clock};
    struct office_door_settings door = {.context = context,
                                        .inbox = gateway->inbox,
                                        .answered = office_committed,
                                        .argument = gateway};
    gateway->door = office_door_start(&door, err);
    if (!gateway->door)
        return -1;
    gateway->control = control_start(gateway->directory, &context, err);
    return gateway->control ? 0 : -1;
}

struct gateway *gateway_start(const struct gateway_settings *settings, struct err *err)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway) {
        err_set(err, "no memory to start");
        return NULL;
    }
    heap_prepare();
    clock_keeper_init(&gateway->keeper, settings->clock);
    gateway->clock = &gateway->keeper.clock;
    gateway->started_boot_ms = clock_boot_ms(settings->clock);
    gateway->lock_fd = -1;
    pthread_mutex_init(&gateway->lock, NULL);
    pthread_mutex_init(&gateway->reload_lock, NULL);
    snprintf(gateway->config_path, sizeof gateway->config_path, "%s", settings->config_path);
    snprintf(gateway->directory, sizeof gateway->directory, "%s", settings->directory);
    if (settings->search.directory)
        snprintf(gateway->profiles, sizeof gateway->profiles, "%s", settings->search.directory);
    if (start_parts(gateway, err) < 0) {
        gateway_stop(gateway);
        return NULL;
    }
    heap_trim();
    log_info(PART, "%s polls %d meters on %d links", gateway->config->gateway_id,
             gateway->config->meter_count, gateway->config->link_count);
    return gateway;
}

void gateway_stop(struct gateway *gateway)
{
    if (!gateway)
        return;
    control_stop(gateway->control);
    office_door_stop(gateway->door);
    for (int i = 0; i < gateway->bus_count; i++)
        bus_stop(gateway->buses[i]);
    free(gateway->buses);
    // The recorder's last commit may still wake the office, so it is unhooked before it goes.
    pthread_mutex_lock(&gateway->lock);
    struct office *office = gateway->office;
    gateway->office = NULL;
    pthread_mutex_unlock(&gateway->lock);
    office_stop(office);
    recorder_stop(gateway->recorder);
    inbox_free(gateway->inbox);
    live_free(gateway->live);
    config_unref(gateway->config);
    if (gateway->lock_fd >= 0)
        close(gateway->lock_fd);
    pthread_mutex_destroy(&gateway->lock);
    pthread_mutex_destroy(&gateway->reload_lock);
    clock_keeper_release(&gateway->keeper);
    free(gateway);
}

// What needs the store and could not begin at the start.
static int begin_late(struct gateway *gateway, struct err *err)
{
    if (record_revision(gateway, gateway->config, "start", err) < 0)
        return -1;
    if (!gateway->config->office.present || gateway->office)
        return 0;
    struct office *office = start_office(gateway, gateway->config, err);
    pthread_mutex_lock(&gateway->lock);
    gateway->office = office;
    pthread_mutex_unlock(&gateway->lock);
    return office ? 0 : -1;
}

void gateway_tend(struct gateway *gateway)
{
    struct err err;
    pthread_mutex_lock(&gateway->reload_lock);
    if (gateway->waits_for_store && gateway_has_store(gateway)) {
        if (begin_late(gateway, &err) == 0) {
            gateway->waits_for_store = false;
            log_info(PART, "the store is open: what waited is recorded and reported");
        } else {
            log_warn(PART, "%s", err.text);
        }
    }
    pthread_mutex_unlock(&gateway->reload_lock);
}

struct live *gateway_live(struct gateway *gateway)
{
    return gateway->live;
}

struct recorder *gateway_recorder(struct gateway *gateway)
{
    return gateway->recorder;
}

const char *gateway_directory(const struct gateway *gateway)
{
    return gateway->directory;
}

const struct clock *gateway_clock(const struct gateway *gateway)
{
    return gateway->clock;
}

struct config *gateway_config(struct gateway *gateway)
{
    pthread_mutex_lock(&gateway->lock);
    struct config *config = config_ref(gateway->config);
    pthread_mutex_unlock(&gateway->lock);
    return config;
}

int gateway_read(struct gateway *gateway, const char *meter, struct wire_trace trace,
                 struct reading **out, struct err *err)
{
    // A reload could stop the bus under us: it waits until the read is done.
    pthread_mutex_lock(&gateway->reload_lock);
    int result = -1;
    int index = config_meter_find(gateway->config, meter);
    if (index < 0) {
        err_set(err, "there is no meter '%s'; 'metergate status' lists the meters", meter);
    } else {
        struct bus *bus = gateway->buses[gateway->config->meters[index].link];
        // A bus that was left untouched by a reload counts its meters by the configuration that it
        // was started with.
        if (bus)
            result = bus_read(bus, config_meter_find(bus_config(bus), meter), trace, READ_WAIT_MS,
                              out, err);
        else
            err_set(err, "the link of meter '%s' could not be started; 'metergate status' says why",
                    meter);
    }
    pthread_mutex_unlock(&gateway->reload_lock);
    return result;
}

int gateway_add_task(struct gateway *gateway, const char *link, const struct bus_task *task,
                     struct err *err)
{
    pthread_mutex_lock(&gateway->reload_lock);
    int result = -1;
    int index = config_link_find(gateway->config, link);
    struct bus *bus = index >= 0 ? gateway->buses[index] : NULL;
    if (bus)
        result = bus_add_task(bus, task, err);
    else
        err_set(err, "there is no link '%s' now; 'metergate status' lists the links", link);
    pthread_mutex_unlock(&gateway->reload_lock);
    return result;
}

struct config_search gateway_search(const struct gateway *gateway)
{
    return (struct config_search){.directory = gateway->profiles[0] ? gateway->profiles : NULL};
}

// What cannot change while the process runs: the identity of the stream and the C library's one
// time zone.
static int check_applicable(const struct config *old, const struct config *new, struct err *err)
{
    if (strcmp(old->gateway_id, new->gateway_id) != 0)
        return err_set(
            err, "gateway.id changed from %s to %s: restart metergate to begin as another gateway",
            old->gateway_id, new->gateway_id);
    if (strcmp(old->timezone, new->timezone) != 0 ||
        old->gas_day_start_minutes != new->gas_day_start_minutes)
        return err_set(err,
                       "gateway.timezone or gas_day_start changed: restart metergate to apply it");
    return 0;
}

// Buses of links that did not change move over; the others of the old configuration stop.
static struct bus **take_over_buses(struct gateway *gateway, const struct config *new)
{
    struct bus **buses = calloc((size_t) new->link_count + 1, sizeof *buses);
    if (!buses)
        return NULL;
    for (int i = 0; i < gateway->bus_count; i++) {
        struct bus *bus = gateway->buses[i];
        if (!bus)
            continue; // could not be started by the last reload
        const struct config *owner = bus_config(bus);
        int link = config_link_find(new, owner->links[bus_link(bus)].id);
        if (link >= 0 && config_link_equal(owner, bus_link(bus), new, link))
            buses[link] = bus;
        else
            bus_stop(bus);
        gateway->buses[i] = NULL;
    }
    return buses;
}

static int apply_buses(struct gateway *gateway, struct config *new, struct bus **buses,
                       struct err *err)
{
    int result = 0;
    for (int i = 0; i < new->link_count; i++) {
        if (buses[i])
            continue;
        buses[i] = start_bus(gateway, new, i, err);
        if (!buses[i])
            result = -1;
    }
    return result;
}

static int apply_office(struct gateway *gateway, const struct config *old, struct config *new,
                        struct err *err)
{
    if (config_office_equal(old, new)) {
        if (gateway->office)
            office_apply(gateway->office, new);
        return 0;
    }
    pthread_mutex_lock(&gateway->lock);
    struct office *office = gateway->office;
    gateway->office = NULL;
    pthread_mutex_unlock(&gateway->lock);
    office_stop(office);
    if (!new->office.present)
        return 0;
    office = start_office(gateway, new, err);
    pthread_mutex_lock(&gateway->lock);
    gateway->office = office;
    pthread_mutex_unlock(&gateway->lock);
    return office ? 0 : -1;
}

static int apply(struct gateway *gateway, struct config *new, const char *who, struct err *err)
{
    struct config *old = gateway->config;
    if (check_applicable(old, new, err) < 0)
        return -1;
    struct bus **buses = take_over_buses(gateway, new);
    if (!buses)
        return err_set(err, "no memory for %d links", new->link_count);
    free(gateway->buses);
    gateway->buses = buses;
    gateway->bus_count = new->link_count;
    int result = recorder_apply(gateway->recorder, new, err);
    live_apply(gateway->live, new);
    if (apply_buses(gateway, new, buses, err) < 0)
        result = -1;
    if (apply_office(gateway, old, new, err) < 0)
        result = -1;
    pthread_mutex_lock(&gateway->lock);
    gateway->config = config_ref(new);
    pthread_mutex_unlock(&gateway->lock);
    config_unref(old);
    return result < 0 ? -1 : record_revision(gateway, new, who, err);
}

// The text is the same, and so is every profile that it points to.
static bool says_the_same(const struct config *a, const struct config *b)
{
    bool same = strcmp(a->revision, b->revision) == 0;
    for (int i = 0; same && i < a->link_count; i++)
        same = config_link_equal(a, i, b, i);
    return same;
}

static int note_reload(struct store *store, void *argument, struct err *err)
{
    const struct revision_task *task = argument;
    return store_audit_add(store, task->at_ms, task->who, "reload", "", "failed", task->why, err);
}

// A command's failure is recorded by the command table; a signal has no other record.
static void record_failed_reload(struct gateway *gateway, const char *who, const char *why)
{
    struct revision_task task = {.who = who, .why = why, .at_ms = clock_wall_ms(gateway->clock)};
    struct err err;
    if (strcmp(who, RELOAD_BY_SIGNAL) == 0 &&
        recorder_run(gateway->recorder, note_reload, &task, &err) != 0)
        log_error(PART, "audit record of a reload could not be written: %s", err.text);
}

int gateway_reload(struct gateway *gateway, const char *who, struct err *err)
{
    struct err why = {0};
    pthread_mutex_lock(&gateway->reload_lock);
    int result = -1;
    struct config *new = load(gateway, &why);
    if (new &&says_the_same(gateway->config, new))
        result = 0; // nothing to do
    else if (new)
        result = apply(gateway, new, who, &why);
    config_unref(new);
    heap_trim();
    pthread_mutex_lock(&gateway->lock);
    snprintf(gateway->reload_error, sizeof gateway->reload_error, "%s", result < 0 ? why.text : "");
    pthread_mutex_unlock(&gateway->lock);
    pthread_mutex_unlock(&gateway->reload_lock);
    if (result < 0) {
        record_failed_reload(gateway, who, why.text);
        log_error(PART, "reload changed nothing that it could not: %s", why.text);
        return err_set(err, "%s", why.text);
    }
    log_info(PART, "reloaded %s", gateway->config_path);
    return 0;
}
