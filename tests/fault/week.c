// A week without a broker, and then the broker is back: recorder, store and office as they are,
// with readings and clock injected above the link, and a real mosquitto over TLS below the session.
//
// usage: week HOURS METERS PROFILES_FOLDER; prints one JSON object, exits 1 when something was
// lost, uncounted, out of order or late.
//
// METERS meters are read each minute for so many hours of a clock that is set, then the broker
// comes up and the clock runs. While the backlog drains, WATCHERS further meters are read each
// second and raise an alert one after the other. Head office is mosquitto_sub, counted by
// feed_tally. At the end paho alone publishes the same messages with the same window to the same
// broker.
#include "office/office.h"
#include "poll/schedule.h"

#include "../support/authority.h"
#include "../support/bare_publisher.h"
#include "../support/child.h"
#include "../support/feed_tally.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MINUTE_MS INT64_C(60000)
#define QUARTER_MS (15 * MINUTE_MS)
#define WATCHERS 30
#define UNITS_OF_A_LINK 10
#define QMAX 100
#define WAITING_MAX 5000 // readings offered ahead of the recorder
#define STEP_MS 5000     // of the clock, while the office's back-off is passed over
#define BACKOFF_MOST_MS 600000
#define LOOK_S 0.1   // and the office has so long to look at it
#define LIMIT_S 1200 // of each wait
#define ALERT_EVERY_S 1.0
#define ALERTS_LEAST 3 // also when the backlog is a short one
#define LATE_S 5.0     // the bar of alerts, and taken for live rows too
#define BARE_MOST 100000
#define BARE_REPEATS 3 // the best counts: it is a yardstick
#define DAY_S 86400L
#define BASE "metergate/v1/site-042"
#define YARDSTICK "metergate/v1/yardstick"

static char folder[64] = "/tmp/metergate-week-XXXXXX";
static char broker_folder[64] = "/tmp/metergate-week-broker-XXXXXX";

static void fail(const char *what)
{
    (void)fprintf(stderr, "week: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// --- the clock: set by hand, or running from where it was set ---

static _Atomic int64_t set_ms, set_at_ms; // wall; CLOCK_MONOTONIC, 0: it stands
static int64_t start_ms;

static int64_t wall_now_ms(void *context)
{
    (void)context;
    int64_t at = atomic_load(&set_at_ms);
    return atomic_load(&set_ms) + (at == 0 ? 0 : (int64_t)(now_s() * 1000) - at);
}

static int64_t boot_now_ns(void *context)
{
    return (wall_now_ms(context) - start_ms + 5000) * 1000000;
}

static const struct clock clock_set = {.boot_ns = boot_now_ns, .wall_ms = wall_now_ms};

static void clock_run(void)
{
    atomic_store(&set_at_ms, (int64_t)(now_s() * 1000));
}

// --- the site ---

static int meters; // those of the week; the watchers come after them
static struct gas_calendar calendar;
static struct recorder *recorder;
static struct office *office;
static struct live *live;

static void add_meters(struct buf *text, int from, int to, int interval_s)
{
    for (int i = from; i < to; i++)
        (void)buf_addf(text,
                       "  - {id: meter-%d, link: hall-%d, unit: %d, profile: fuxin-totalizer, "
                       "interval_s: %d, qmax_m3_h: %d, display_checked: 2026-11-20}\n",
                       i, i / UNITS_OF_A_LINK, i % UNITS_OF_A_LINK + 1, interval_s, QMAX);
}

static struct config *make_config(const char *profiles, int tls_port)
{
    struct faults *faults = calloc(1, sizeof *faults);
    struct config_search search = {.directory = profiles};
    struct config *config = NULL;
    struct buf text;
    buf_init(&text, 1024 * 1024);
    (void)buf_addf(&text,
                   "gateway: {id: site-042, timezone: Asia/Shanghai, gas_day_start: \"06:00\"}\n"
                   "office: {url: \"mqtts://localhost:%d\", ca: %s/ca.pem, certificate: "
                   "%s/gateway.pem, key: %s/gateway.key, raw_readings: true}\nlinks:\n",
                   tls_port, broker_folder, broker_folder, broker_folder);
    for (int i = 0; i * UNITS_OF_A_LINK < meters + WATCHERS; i++)
        (void)buf_addf(&text, "  - {id: hall-%d, url: \"tcp://127.0.0.1:%d\"}\n", i, 20000 + i);
    (void)buf_addf(&text, "meters:\n");
    add_meters(&text, 0, meters, 60);
    add_meters(&text, meters, meters + WATCHERS, 1);
    if (!faults || text.failed)
        fail("no memory");
    if (config_load_text("week.yaml", text.data, text.length, &search, &config, faults) != 0)
        fail(faults->list[0].message);
    buf_release(&text);
    free(faults);
    return config;
}

// --- readings ---

struct source {
    struct schedule schedule;
    struct due due;
    int ticks;  // readings offered
    bool alarm; // its flow is far above qmax
};
static struct source sources[TALLY_METERS_MAX];
static double watched_s[TALLY_TICKS_MAX]; // when the readings of the first watcher were offered

static void bcd_put(uint16_t *words, int count, int64_t number)
{
    for (int i = count - 1; i >= 0; i--) {
        words[i] = 0;
        for (int digit = 0; digit < 4; digit++) {
            words[i] = (uint16_t)(words[i] | (number % 10) << (4 * digit));
            number /= 10;
        }
    }
}

static void float_put(uint16_t *words, float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    words[0] = (uint16_t)(bits >> 16);
    words[1] = (uint16_t)bits;
}

// The identity of a reading is in its total (feed_tally.h).
static struct reading *make_reading(struct config *config, int index)
{
    const struct meter *meter = &config->meters[index];
    struct source *source = &sources[index];
    struct reading *reading = reading_new(config, meter);
    if (!reading)
        fail("no memory");
    reading->due_ms = source->due.at_ms;
    reading->at_ms = source->due.at_ms + 40;
    reading->boot_ms = reading->at_ms - start_ms + 5000;
    reading->answered = true;
    int64_t total = (index + INT64_C(1)) * TALLY_VALUE_STEP + source->ticks++;
    for (int i = 0; i < meter->profile->field_count; i++) {
        const struct field *field = &meter->profile->fields[i];
        reading->image.why[i] = WHY_NONE;
        if (field->type == RAW_BCD)
            bcd_put(reading->image.words + field->place, field->words, total * 10000);
        else
            float_put(reading->image.words + field->place, source->alarm ? QMAX * 1.5F : 60.0F);
    }
    image_decode(meter->profile, &reading->image, meter->unverified, reading->values);
    return reading;
}

static int waiting(void)
{
    struct recorder_status status;
    recorder_status(recorder, &status);
    if (status.error[0] != '\0')
        fail(status.error);
    return status.waiting;
}

static void offer(struct config *config, int index)
{
    struct source *source = &sources[index];
    if (source->ticks == TALLY_TICKS_MAX)
        fail("more readings of a meter than the tally can count");
    if (index == meters)
        watched_s[source->ticks] = now_s();
    if (!recorder_offer(recorder, make_reading(config, index)))
        fail("the recorder's queue is full");
    source->due = schedule_following(&source->schedule, &calendar, &source->due);
}

// Everything that is due up to an instant, each with the clock at it when the clock stands.
static void offer_until(struct config *config, int64_t until_ms, int from, int to)
{
    for (;;) {
        int next = from;
        for (int i = from; i < to; i++)
            next = sources[i].due.at_ms < sources[next].due.at_ms ? i : next;
        int64_t due_ms = sources[next].due.at_ms;
        if (due_ms + 40 > until_ms)
            return;
        if (atomic_load(&set_at_ms) == 0 && due_ms + 40 > atomic_load(&set_ms))
            atomic_store(&set_ms, due_ms + 40);
        offer(config, next);
    }
}

static void begin_sources(const struct config *config, int from, int to, int64_t at_ms)
{
    for (int i = from; i < to; i++) {
        const struct meter *meter = &config->meters[i];
        enum span spans[SPANS_MAX];
        (void)spans_of_meter(config->office.summary_minutes, meter->interval_s, spans);
        int64_t interval_ms = meter->interval_s * INT64_C(1000);
        sources[i].schedule =
            (struct schedule){spans[0], interval_ms, schedule_phase_ms(meter->id, interval_ms)};
        sources[i].due = schedule_due(&sources[i].schedule, &calendar, at_ms);
    }
}

static int do_nothing(struct store *store, void *argument, struct err *err)
{
    (void)store;
    (void)argument;
    (void)err;
    return 0;
}

// The round in hand would end by a clock that stands: a task of ours ends it.
static void settle(void)
{
    struct err err = {.text = ""};
    double deadline = now_s() + LIMIT_S;
    while (waiting() > 0) {
        if (now_s() > deadline)
            fail("the recorder does not get on");
        if (recorder_run(recorder, do_nothing, NULL, &err) != 0)
            fail(err.text);
    }
}

// --- the week ---

static int64_t record_week(struct config *config, int hours)
{
    int64_t end_ms = start_ms + hours * 60 * MINUTE_MS;
    begin_sources(config, 0, meters, start_ms - 1);
    for (int64_t at_ms = start_ms; at_ms < end_ms; at_ms += MINUTE_MS) {
        offer_until(config, at_ms + MINUTE_MS - 1, 0, meters);
        while (waiting() > WAITING_MAX)
            (void)usleep(500);
    }
    settle();
    int64_t sum = 0;
    for (int i = 0; i < meters; i++)
        sum += sources[i].ticks;
    return sum;
}

// The office's next attempt may be minutes away: the clock goes there in small steps.
static void pass_backoff(struct config *config)
{
    struct office_status status;
    for (int64_t gone_ms = 0; gone_ms < BACKOFF_MOST_MS; gone_ms += STEP_MS) {
        int64_t to_ms = atomic_load(&set_ms) + STEP_MS;
        offer_until(config, to_ms, 0, meters);
        atomic_store(&set_ms, to_ms);
        settle();
        office_wake(office);
        double look_until = now_s() + LOOK_S;
        do {
            (void)usleep(5000);
            office_status(office, &status);
            if (status.state == OFFICE_ONLINE)
                return;
        } while (now_s() < look_until || status.state == OFFICE_CONNECTING);
    }
}

// --- the drain ---

struct drain {
    double seconds;   // from the first acknowledgement to the last of the backlog
    int64_t messages; // acknowledged in it
    int alerts;       // raised while it went on
    double alert_s[WATCHERS], live_from_s;
    int watched_from; // first reading of the watched meter that had to be live
};

static int64_t acknowledged(int64_t lanes[LANES_END])
{
    struct office_status status;
    office_status(office, &status);
    int64_t sum = 0;
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        lanes[lane] = status.lanes[lane].acknowledged;
        sum += lanes[lane];
    }
    return sum;
}

static void raise_alert(struct drain *drain, double at_s)
{
    sources[meters + drain->alerts].alarm = true;
    drain->alert_s[drain->alerts++] = at_s;
}

// Until the backlog that was there at the beginning is at the broker, and ALERTS_LEAST were raised.
static void watch_drain(struct config *config, int64_t backlog, struct drain *drain)
{
    int64_t lanes[LANES_END];
    double deadline = now_s() + LIMIT_S;
    double begun = 0;
    double next_alert = 0;
    int64_t first = 0;
    begin_sources(config, meters, meters + WATCHERS, wall_now_ms(NULL));
    for (;;) {
        double at_s = now_s();
        int64_t sum = acknowledged(lanes);
        if (begun == 0 && sum > 0) {
            begun = at_s;
            next_alert = at_s;
            first = sum;
            drain->watched_from = sources[meters].ticks;
        }
        if (drain->seconds == 0 && lanes[LANE_BACKFILL] >= backlog) {
            drain->seconds = at_s - begun;
            drain->messages = sum - first;
        }
        if (drain->seconds > 0 && drain->alerts >= ALERTS_LEAST && at_s >= next_alert)
            return; // the reading that raises the last one has been offered too
        if (at_s > deadline)
            fail("the backlog does not drain");
        if (begun != 0 && at_s >= next_alert && drain->alerts < WATCHERS &&
            (drain->seconds == 0 || drain->alerts < ALERTS_LEAST)) {
            raise_alert(drain, at_s);
            next_alert = at_s + ALERT_EVERY_S;
        }
        offer_until(config, wall_now_ms(NULL), 0, meters + WATCHERS);
        (void)usleep(10000);
    }
}

static int64_t offered(void)
{
    int64_t sum = 0;
    for (int i = 0; i < meters + WATCHERS; i++)
        sum += sources[i].ticks;
    return sum;
}

// Nothing new is offered; the office gets the rest.
static struct feed_counts await_rest(struct feed_tally *tally, int alerts)
{
    double deadline = now_s() + 120;
    settle();
    for (;;) {
        struct feed_counts counts = feed_tally_counts(tally);
        if ((counts.readings >= offered() && counts.alerts >= alerts) || now_s() > deadline)
            return counts;
        (void)usleep(10000);
    }
}

// --- judging ---

static double most(double a, double b)
{
    return a > b ? a : b;
}

// Seconds from the offer of the reading that raises it, so the wait for the commit is in it.
static double slowest_alert(struct feed_tally *tally, const struct drain *drain)
{
    double slowest = 0;
    for (int i = 0; i < drain->alerts; i++) {
        double at_s = feed_tally_alert_s(tally, meters + i);
        slowest = most(slowest, at_s == 0 ? LIMIT_S : at_s - drain->alert_s[i]);
    }
    return slowest;
}

static double slowest_live(struct feed_tally *tally, int from, int to, int *count)
{
    double slowest = 0;
    for (int tick = from; tick < to; tick++) {
        double at_s = feed_tally_live_s(tally, tick);
        if (at_s == 0)
            continue; // committed before the session counted as live
        slowest = most(slowest, at_s - watched_s[tick]);
        ++*count;
    }
    return slowest;
}

// Readings that the office lacks, one by one.
static int64_t count_lost(struct feed_tally *tally)
{
    int64_t lost = 0;
    for (int i = 0; i < meters + WATCHERS; i++)
        for (int tick = 0; tick < sources[i].ticks; tick++)
            lost += !feed_tally_has(tally, i, tick);
    return lost;
}

static double bare_rate(struct feed_tally *tally, int tls_port, int64_t count)
{
    struct bare_message messages[TALLY_SAMPLES_MAX];
    char url[64];
    char ca[128];
    char certificate[128];
    char key[128];
    int kept = 0;
    (void)snprintf(url, sizeof url, "ssl://localhost:%d", tls_port);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", broker_folder);
    (void)snprintf(certificate, sizeof certificate, "%s/gateway.pem", broker_folder);
    (void)snprintf(key, sizeof key, "%s/gateway.key", broker_folder);
    for (const char *text; (text = feed_tally_sample(tally, kept)) != NULL; kept++)
        messages[kept] =
            (struct bare_message){YARDSTICK "/reading/meter-12", text, "reading/1", "backfill"};
    if (kept == 0)
        fail("no message to compare with");
    struct bare_way way = {url, ca, certificate, key, OFFICE_WINDOW_MAX};
    int most_messages = count < BARE_MOST ? (int)count : BARE_MOST;
    double best = 0;
    for (int i = 0; i < BARE_REPEATS; i++)
        best =
            most(best, most_messages / bare_publish(&way, messages, kept, most_messages, LIMIT_S));
    return best;
}

// --- the run ---

static pid_t start_broker(int port, int tls_port)
{
    char lines[1024];
    (void)snprintf(lines, sizeof lines,
                   "max_queued_messages 0\nlistener %d 127.0.0.1\ncafile %s/ca.pem\n"
                   "certfile %s/broker.pem\nkeyfile %s/broker.key\nrequire_certificate true\n",
                   tls_port, broker_folder, broker_folder, broker_folder);
    return mosquitto_start(broker_folder, port, lines);
}

static void make_certificates(void)
{
    struct authority *authority = authority_new(broker_folder, "ca");
    authority_sign(authority, broker_folder, "broker", "DNS:localhost,IP:127.0.0.1", -DAY_S, DAY_S);
    authority_sign(authority, broker_folder, "gateway", "DNS:site-042", -DAY_S, DAY_S);
    authority_free(authority);
}

static void remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        (void)closedir(dir);
    (void)rmdir(path);
}

static void wake_office(void *context)
{
    (void)context;
    if (office)
        office_wake(office);
}

static void start(struct config *config)
{
    struct err err = {.text = ""};
    struct recorder_settings settings = {.directory = folder,
                                         .config = config,
                                         .calendar = calendar,
                                         .clock = &clock_set,
                                         .committed = wake_office};
    recorder = recorder_start(&settings, &err);
    if (!recorder)
        fail(err.text);
    live = live_new();
    live_apply(live, config);
    struct office_settings of_office = {.config = config,
                                        .directory = folder,
                                        .clock = &clock_set,
                                        .recorder = recorder,
                                        .live = live};
    office = office_start(&of_office, &err);
    if (!office)
        fail(err.text);
}

static void stop(struct config *config)
{
    office_stop(office);
    office = NULL;
    recorder_stop(recorder);
    live_free(live);
    config_unref(config);
}

static int64_t backlog_size(void)
{
    struct err err = {.text = ""};
    struct store *store;
    struct outbox_state state;
    if (store_open_reader(folder, &store, &err) != 0 ||
        store_outbox_state(store, LANE_BACKFILL, &state, &err) != 0)
        fail(err.text);
    store_close(store);
    return state.last;
}

static int report(struct feed_tally *tally, const struct drain *drain, int64_t backlog,
                  const struct feed_counts *counts, int hours, int tls_port)
{
    int live_count = 0;
    double alert_s = slowest_alert(tally, drain);
    double live_s = slowest_live(tally, drain->watched_from, sources[meters].ticks, &live_count);
    int64_t lost = count_lost(tally);
    double rate = (double)drain->messages / drain->seconds;
    double bare = bare_rate(tally, tls_port, backlog);
    int64_t least_summaries = (int64_t)(hours * 4 - 1) * meters;
    bool good = lost == 0 && counts->wrong == 0 && counts->holes == 0 && counts->gaps == 0 &&
                counts->readings == offered() && counts->summaries >= least_summaries &&
                drain->alerts > 0 && alert_s <= LATE_S && live_s <= LATE_S;
    (void)printf("{\"hours\": %d, \"meters\": %d, \"offered\": %lld, \"received\": %lld, "
                 "\"lost\": %lld, \"wrong\": %lld, \"holes\": %lld, \"gaps\": %lld, "
                 "\"repeated\": %lld, \"summaries\": %lld, \"backlog\": %lld, \"drained_s\": %.1f, "
                 "\"rate\": %.0f, \"bare_rate\": %.0f, \"share\": %.2f, \"alerts\": %d, "
                 "\"slowest_alert_s\": %.2f, \"live_rows\": %d, \"slowest_live_s\": %.2f}\n",
                 hours, meters, (long long)offered(), (long long)counts->readings, (long long)lost,
                 (long long)counts->wrong, (long long)counts->holes, (long long)counts->gaps,
                 (long long)counts->repeated, (long long)counts->summaries, (long long)backlog,
                 drain->seconds, rate, bare, rate / bare, drain->alerts, alert_s, live_count,
                 live_s);
    if (counts->wrong > 0)
        (void)fprintf(stderr, "week: nobody put this in: %s\n", counts->fault);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct err err = {.text = ""};
    int hours = argc == 4 ? (int)strtol(argv[1], NULL, 10) : 0;
    meters = argc == 4 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (hours < 1 || hours > 400 || meters < 1 || meters + WATCHERS > TALLY_METERS_MAX ||
        !mkdtemp(folder) || !mkdtemp(broker_folder) ||
        gas_calendar_init(&calendar, "Asia/Shanghai", 360, &err) != 0)
        fail("usage: week HOURS(1-400) METERS(1-226) PROFILES_FOLDER");
    start_ms = (clock_wall_ms(&clock_system) / QUARTER_MS + 1) * QUARTER_MS;
    atomic_store(&set_ms, start_ms);
    make_certificates();
    int port = port_free();
    int tls_port = port_free();
    struct config *config = make_config(argv[3], tls_port);
    start(config);
    double begun = now_s();
    int64_t recorded = record_week(config, hours);
    (void)fprintf(stderr, "week: %lld readings of %d h recorded in %.0f s\n", (long long)recorded,
                  hours, now_s() - begun);
    int64_t backlog = backlog_size();
    pid_t broker = start_broker(port, tls_port);
    struct feed_tally *tally = feed_tally_start(port, BASE, YARDSTICK, meters, start_ms, 15);
    struct drain drain = {0};
    pass_backoff(config);
    clock_run();
    watch_drain(config, backlog, &drain);
    struct feed_counts counts = await_rest(tally, drain.alerts);
    stop(config);
    int status = report(tally, &drain, backlog, &counts, hours, tls_port);
    feed_tally_stop(tally);
    child_stop(broker, SIGTERM);
    remove_folder(folder);
    remove_folder(broker_folder);
    return status;
}
