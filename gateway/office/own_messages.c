// What the gateway tells of itself: state and meters (retained), health (each minute). None of it
// passes the outbox.
#include "office/inside.h"

#include "base/log.h"
#include "base/version.h"
#include "office/feed_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const names[DIRECT_END] = {
    [DIRECT_STATE] = "state", [DIRECT_METERS] = "meters", [DIRECT_HEALTH] = "health"};
static const char *const schemas[DIRECT_END] = {
    [DIRECT_STATE] = "state/1", [DIRECT_METERS] = "meters/1", [DIRECT_HEALTH] = "health/1"};

const char *own_topic(const struct office *office, int which, char topic[static TOPIC_MAX])
{
    (void)snprintf(topic, TOPIC_MAX, "%s/%s", office->base, names[which]);
    return topic;
}

// --- state ---

int own_render_state(struct office *office, bool online, struct buf *out)
{
    struct writer writer;
    struct feed_state state = {
        .at_ms = clock_wall_ms(office->settings.clock),
        .online = online,
        .software = software_version,
        .boot = office->boot,
        .clock_known = office->clock_known,
        .revision = office->told->revision,
        .office = office_state_text(online ? office->status.state : OFFICE_OFFLINE)};
    memcpy(state.lanes, office->status.lanes, sizeof state.lanes);
    buf_clear(out);
    writer_init(&writer, out);
    feed_state(&writer, &office->origin, &state);
    return out->failed ? -1 : 0;
}

// --- meters ---

// What the meters told of themselves: the newest values, as the page sees them.
static bool serial_of(void *context, int meter, char text[static VALUE_TEXT_MAX])
{
    const struct office *office = context;
    return live_serial(office->settings.live, office->told, meter, text);
}

static int render_meters(struct office *office, int64_t at_ms, struct buf *out)
{
    struct writer writer;
    buf_clear(out);
    writer_init(&writer, out);
    feed_meters(&writer, &office->origin, at_ms, office->told, serial_of, office);
    return out->failed ? -1 : 0;
}

static bool tells_serials(const struct config *config)
{
    for (int i = 0; i < config->meter_count; i++)
        if (profile_channel_find(config->meters[i].profile, "serial_number") >= 0)
            return true;
    return false;
}

// FNV-1a, 64 bit, of the meters message without its instant. 0: it cannot be rendered now.
static uint64_t meters_hash(struct office *office)
{
    struct buf text;
    buf_init(&text, METERS_MAX);
    uint64_t hash = 0;
    if (render_meters(office, 0, &text) == 0) {
        hash = UINT64_C(14695981039346656037);
        for (size_t i = 0; i < text.length; i++)
            hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
    }
    buf_release(&text);
    return hash;
}

// The meters message is due when it says something else than the last one.
static void look_for_serials(struct office *office)
{
    uint64_t hash = tells_serials(office->told) ? meters_hash(office) : 0;
    if (hash != 0 && hash != office->meters_hash)
        office->direct[DIRECT_METERS].due = true;
}

static int render_and_hash_meters(struct office *office, struct buf *out)
{
    office->meters_hash = meters_hash(office);
    return render_meters(office, clock_wall_ms(office->settings.clock), out);
}

// --- health ---

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

// The database, and the log beside it.
static int64_t store_bytes(const char *directory)
{
    static const char *const files[] = {STORE_FILE, STORE_FILE "-wal"};
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[CONFIG_PATH_MAX * 2];
        struct stat status;
        (void)snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        if (stat(path, &status) == 0)
            sum += status.st_size;
    }
    return sum;
}

static int render_health(const struct office *office, struct buf *out)
{
    struct writer writer;
    struct recorder_status recorder;
    struct statvfs disk = {0};
    recorder_status(office->settings.recorder, &recorder);
    (void)statvfs(office->settings.directory, &disk);
    struct feed_health health = {.at_ms = clock_wall_ms(office->settings.clock),
                                 .uptime_s = (office_now(office) - office->started_ms) / 1000,
                                 .memory_bytes = resident_bytes(),
                                 .store_bytes = store_bytes(office->settings.directory),
                                 .disk_free_bytes = (int64_t)(disk.f_bavail * disk.f_frsize),
                                 .readings = recorder.readings,
                                 .rounds = recorder.rounds,
                                 .refused = recorder.refused,
                                 .waiting = recorder.waiting,
                                 .published = office->status.published,
                                 .acknowledged = office->status.acknowledged,
                                 .reconnects = office->status.reconnects};
    memcpy(health.lanes, office->status.lanes, sizeof health.lanes);
    struct store_heads heads;
    struct err err;
    if (store_heads(office->store, &heads, &err) == 0)
        health.heads = &heads;
    else
        log_warn("office", "health goes without the heads of the chains: %s", err.text);
    buf_clear(out);
    writer_init(&writer, out);
    feed_health(&writer, &office->origin, &health);
    return out->failed ? -1 : 0;
}

// --- publishing ---

static int render(struct office *office, int which, struct buf *out)
{
    switch (which) {
    case DIRECT_STATE:
        office->told_state = office->status.state;
        office->told_clock = office->clock_known;
        memcpy(office->told_lanes, office->status.lanes, sizeof office->told_lanes);
        return own_render_state(office, true, out);
    case DIRECT_METERS: return render_and_hash_meters(office, out);
    default: return render_health(office, out);
    }
}

static void publish_payload(struct office *office, int which, const struct buf *payload)
{
    char topic[TOPIC_MAX];
    struct session_message message = {.topic = own_topic(office, which, topic),
                                      .payload = payload->data,
                                      .length = payload->length,
                                      .schema = schemas[which],
                                      .retain = office->retain && which != DIRECT_HEALTH};
    if (office->packet_maximum > 0 && (int64_t)payload->length >= office->packet_maximum) {
        log_warn("office", "%s: %zu bytes are more than the broker takes", names[which],
                 payload->length);
        return;
    }
    if (session_publish(&office->session, &message, 0, which) != 0) {
        connection_lost(office, "the connection to the broker ended: nothing can be sent");
        return;
    }
    office->direct[which].flies = true;
    office->direct[which].sent_ms = office_now(office);
}

static void publish(struct office *office, int which)
{
    struct buf payload;
    buf_init(&payload, METERS_MAX);
    office->direct[which].due = false;
    if (render(office, which, &payload) == 0)
        publish_payload(office, which, &payload);
    else
        log_warn("office", "%s: no memory for the message", names[which]);
    buf_release(&payload);
}

void own_publish_offline(struct office *office)
{
    struct buf payload;
    buf_init(&payload, OUTBOX_PAYLOAD_MAX);
    if (own_render_state(office, false, &payload) == 0)
        publish_payload(office, DIRECT_STATE, &payload);
    buf_release(&payload);
}

void own_begin(struct office *office)
{
    int64_t now = office_now(office);
    office->direct[DIRECT_STATE].due = true;
    office->direct[DIRECT_METERS].due = true;
    office->health_ms = now;
    office->serials_ms = now + SERIALS_EVERY_MS;
}

void own_answer(struct office *office, const struct ring_event *event)
{
    office->direct[event->slot].flies = false;
    char text[REASON_TEXT_MAX];
    if (event->reason >= (int)MQTTREASONCODE_UNSPECIFIED_ERROR)
        log_warn("office", "the broker does not take %s/%s: %s", office->base, names[event->slot],
                 reason_text(event->reason, text));
}

static bool queue_changed(const struct office *office)
{
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++)
        if (office->told_lanes[lane].last != office->status.lanes[lane].last ||
            office->told_lanes[lane].acknowledged != office->status.lanes[lane].acknowledged)
            return true;
    return false;
}

void own_step(struct office *office)
{
    int64_t now = office_now(office);
    if (now >= office->health_ms) {
        office->health_ms = now + HEALTH_EVERY_MS;
        office->direct[DIRECT_HEALTH].due = true;
        // The queue moves all the time: its figures are told with this one, not at every step.
        if (queue_changed(office))
            office->direct[DIRECT_STATE].due = true;
    }
    if (now >= office->serials_ms) {
        office->serials_ms = now + SERIALS_EVERY_MS;
        look_for_serials(office);
    }
    if (office->told_state != office->status.state || office->told_clock != office->clock_known)
        office->direct[DIRECT_STATE].due = true;
    for (int which = 0; which < DIRECT_END && office->phase == PHASE_UP; which++)
        if (office->direct[which].due && !office->direct[which].flies)
            publish(office, which);
}
