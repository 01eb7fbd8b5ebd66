// The status object: what is wrong now, and the figures behind it.
#include "base/version.h"
#include "gateway_parts.h"
#include "store/backup.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void print_clock(struct gateway *gateway, const struct recorder_status *recorder,
                        struct writer *writer)
{
    writer_key(writer, "clock");
    writer_object(writer);
    writer_key_bool(writer, "known", recorder->clock_known);
    writer_key_time(writer, "now", clock_wall_ms(gateway->clock));
    writer_key_int(writer, "undated", recorder->undated);
    writer_key_int(writer, "undated_lost", recorder->undated_lost);
    writer_key_bool(writer, "synchronized", clock_is_synchronized(gateway->clock));
    int64_t raw_ms;
    writer_key(writer, "doubted"); // what the machine says, where that cannot be true
    if (clock_doubts(gateway->clock, &raw_ms))
        writer_time(writer, raw_ms);
    else
        writer_null(writer);
    writer_end(writer);
}

static void print_config(struct gateway *gateway, const struct config *config,
                         const char *reload_error, struct writer *writer)
{
    writer_key(writer, "config");
    writer_object(writer);
    writer_key_text(writer, "file", gateway->config_path);
    writer_key_text(writer, "revision", config->revision);
    writer_key_text(writer, "error", reload_error[0] ? reload_error : NULL);
    writer_end(writer);
}

static void print_backfill(const struct backfill_status *backfill, struct writer *writer)
{
    writer_key(writer, "backfill");
    writer_object(writer);
    writer_key_int(writer, "filled", (int64_t)backfill->filled);
    writer_key_int(writer, "estimated", (int64_t)backfill->estimated);
    writer_key_int(writer, "refused", (int64_t)backfill->refused);
    writer_key_text(writer, "last", backfill->last[0] ? backfill->last : NULL);
    writer_end(writer);
}

static int64_t file_size(const char *directory, const char *name)
{
    char path[CONFIG_PATH_MAX + 64];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

// From which backup the state comes, as far as it is one: "STREAM TIME" in the store.
static void print_restored(struct gateway *gateway, struct writer *writer)
{
    struct store *reader = NULL;
    struct err err;
    char text[128] = "";
    writer_key_bool(writer, "restore_waits", store_restore_waits(gateway->directory));
    writer_key(writer, "restored");
    if (store_open_reader(gateway->directory, &reader, &err) == 0)
        (void)store_setting_get(reader, RESTORE_SETTING, text, sizeof text, &err);
    store_close(reader);
    char *space = strchr(text, ' ');
    if (space == NULL) {
        writer_null(writer);
        return;
    }
    *space = '\0';
    writer_object(writer);
    writer_key_text(writer, "backup", space + 1);
    writer_key_text(writer, "old_stream", text);
    writer_end(writer);
}

static void print_store(struct gateway *gateway, const struct recorder_status *recorder,
                        struct writer *writer)
{
    writer_key(writer, "store");
    writer_object(writer);
    writer_key_text(writer, "stream", recorder_stream(gateway->recorder));
    print_restored(gateway, writer);
    writer_key_text(writer, "error", recorder->error[0] ? recorder->error : NULL);
    writer_key_int(writer, "readings", (int64_t)recorder->readings);
    writer_key_int(writer, "rounds", (int64_t)recorder->rounds);
    writer_key_int(writer, "refused", (int64_t)recorder->refused);
    writer_key_int(writer, "waiting", recorder->waiting);
    writer_key(writer, "last_commit");
    if (recorder->last_commit_ms)
        writer_time(writer, recorder->last_commit_ms);
    else
        writer_null(writer);
    writer_key_int(writer, "bytes", file_size(gateway->directory, STORE_FILE));
    writer_key_int(writer, "wal_bytes", file_size(gateway->directory, STORE_FILE "-wal"));
    const struct upkeep_status *upkeep = &recorder->upkeep;
    writer_key_bool(writer, "open", recorder->store_open);
    writer_key_bool(writer, "full", upkeep->full);
    writer_key_bool(writer, "making_room", upkeep->making_room);
    writer_key_bool(writer, "reserve", upkeep->ballast);
    writer_key_bool(writer, "log_held", upkeep->log_held);
    writer_key_int(writer, "removed_early", (int64_t)upkeep->rows);
    writer_key_int(writer, "messages_dropped", upkeep->messages);
    struct statvfs disk;
    bool known = statvfs(gateway->directory, &disk) == 0;
    writer_key(writer, "disk_free_bytes");
    if (known)
        writer_int(writer, (int64_t)(disk.f_bavail * disk.f_frsize));
    else
        writer_null(writer);
    writer_end(writer);
}

static void print_lanes(const struct office_status *office, struct writer *writer)
{
    writer_key(writer, "lanes");
    writer_object(writer);
    for (enum lane lane = LANE_ALERT; lane < LANES_END; lane++) {
        const struct outbox_state *state = &office->lanes[lane];
        // Acknowledgements run ahead of the once-a-second look at what was given.
        int64_t last = state->last > state->acknowledged ? state->last : state->acknowledged;
        writer_key(writer, lane_text(lane));
        writer_object(writer);
        writer_key_int(writer, "last", last);
        writer_key_int(writer, "acknowledged", state->acknowledged);
        writer_key_int(writer, "confirmed", state->confirmed);
        writer_key_int(writer, "waiting", last - state->acknowledged);
        writer_key(writer, "oldest");
        if (state->oldest_at_ms)
            writer_time(writer, state->oldest_at_ms);
        else
            writer_null(writer);
        writer_end(writer);
    }
    writer_end(writer);
}

// Head office's commands: whether they come in, whose they may be, and what became of them.
static void print_commands(const struct office_status *office,
                           const struct office_door_status *door, struct writer *writer)
{
    const char *error = office->listening_error[0] ? office->listening_error : door->error;
    writer_key(writer, "commands");
    writer_object(writer);
    writer_key_bool(writer, "listening", office->listening);
    writer_key_text(writer, "key", door->key[0] ? door->key : NULL);
    writer_key_text(writer, "error", error[0] ? error : NULL);
    writer_key_int(writer, "executed", (int64_t)door->executed);
    writer_key_int(writer, "repeated", (int64_t)door->repeated);
    writer_key(writer, "refused");
    writer_object(writer);
    for (int i = REJECT_NONE + 1; i < REJECTS; i++)
        writer_key_int(writer, command_refusal_text((enum command_refusal)i),
                       (int64_t)door->refused[i]);
    writer_end(writer);
    writer_key(writer, "last");
    if (door->last_ms)
        writer_time(writer, door->last_ms);
    else
        writer_null(writer);
    writer_end(writer);
}

// What was asked for again: newest first.
#define RESENDS_SHOWN 8
static void print_resends(struct gateway *gateway, struct writer *writer)
{
    static const char *const states[] = {
        [RESEND_OPEN] = "open", [RESEND_DONE] = "done", [RESEND_CANCELLED] = "cancelled"};
    struct stored_resend list[RESENDS_SHOWN];
    struct store *reader = NULL;
    struct err err = {0};
    writer_key(writer, "resends");
    writer_array(writer);
    int count = store_open_reader(gateway->directory, &reader, &err) == 0
                    ? store_resends(reader, list, RESENDS_SHOWN, &err)
                    : 0;
    for (int i = 0; i < count; i++) {
        writer_object(writer);
        writer_key_int(writer, "id", list[i].id);
        writer_key_text(writer, "state", states[list[i].state % 3]);
        writer_key_text(writer, "lane", lane_text(list[i].lane));
        writer_key_int(writer, "first", list[i].first);
        writer_key_int(writer, "last", list[i].last);
        writer_key_int(writer, "next", list[i].next);
        writer_key_int(writer, "sent", list[i].sent);
        writer_key_int(writer, "expired", list[i].expired);
        writer_key_text(writer, "who", list[i].who);
        writer_key_time(writer, "at", list[i].at_ms);
        writer_end(writer);
    }
    writer_end(writer);
    store_close(reader);
}

static void print_office(struct gateway *gateway, const struct config *config,
                         const struct office_status *office, const struct office_door_status *door,
                         struct writer *writer)
{
    writer_key(writer, "office");
    if (!config->office.present) {
        writer_null(writer);
        return;
    }
    writer_object(writer);
    writer_key_text(writer, "url", config->office.url);
    writer_key_text(writer, "state", office_state_text(office->state));
    writer_key_text(writer, "error", office->error[0] ? office->error : NULL);
    writer_key(writer, "since");
    if (office->since_ms)
        writer_time(writer, office->since_ms);
    else
        writer_null(writer);
    writer_key_int(writer, "mqtt", office->version5 ? 5 : 4);
    writer_key_int(writer, "published", (int64_t)office->published);
    writer_key_int(writer, "acknowledged", (int64_t)office->acknowledged);
    writer_key_int(writer, "reconnects", (int64_t)office->reconnects);
    print_lanes(office, writer);
    print_commands(office, door, writer);
    print_resends(gateway, writer);
    writer_end(writer);
}

static bool print_alert(void *context, const struct stored_alert *alert)
{
    struct writer *writer = context;
    writer_object(writer);
    writer_key_text(writer, "id", alert->id);
    if (strcmp(alert->change.subject, ALERT_GATEWAY) != 0)
        writer_key_text(writer, alert->change.of_link ? "link" : "meter", alert->change.subject);
    writer_key_text(writer, "kind", alert_kind_text(alert->change.kind));
    writer_key_text(writer, "severity", alert_severity_text(alert->change.severity));
    writer_key_text(writer, "state", alert_state_text(alert->change.state));
    writer_key_time(writer, "since", alert->change.since_ms);
    writer_end(writer);
    return true;
}

// The store that was put aside, where this one took the place of a damaged one.
static void print_replaced(struct gateway *gateway, struct writer *writer)
{
    struct store *reader = NULL;
    struct store_replaced replaced;
    struct err err = {0};
    writer_key(writer, "store_replaced");
    if (store_open_reader(gateway->directory, &reader, &err) != 0 ||
        store_replaced_get(reader, &replaced, &err) != 1) {
        writer_null(writer);
    } else {
        writer_object(writer);
        writer_key_text(writer, "file", replaced.aside);
        writer_key_text(writer, "stream", replaced.stream[0] != '\0' ? replaced.stream : NULL);
        writer_key_time(writer, "last_change", replaced.last_ms);
        writer_key_time(writer, "at", replaced.at_ms);
        writer_end(writer);
    }
    store_close(reader);
}

// The open alerts, from a connection of its own: status must answer also while the recorder waits
// for the disk.
static void print_alerts(struct gateway *gateway, struct writer *writer)
{
    struct store *reader = NULL;
    struct err err = {0};
    writer_key(writer, "alerts");
    writer_array(writer);
    if (store_open_reader(gateway->directory, &reader, &err) == 0)
        store_alerts_open(reader, print_alert, writer, &err);
    writer_end(writer);
    store_close(reader);
}

void gateway_status_print(struct gateway *gateway, struct writer *writer)
{
    char reload_error[ERR_TEXT_MAX];
    struct recorder_status recorder;
    struct office_status office = {0};
    struct office_door_status door = {0};
    pthread_mutex_lock(&gateway->lock);
    struct config *config = config_ref(gateway->config);
    memcpy(reload_error, gateway->reload_error, sizeof reload_error);
    if (gateway->office)
        office_status(gateway->office, &office);
    pthread_mutex_unlock(&gateway->lock);
    recorder_status(gateway->recorder, &recorder);
    if (gateway->door)
        office_door_status(gateway->door, &door);

    writer_object(writer);
    writer_key_text(writer, "gateway", config->gateway_id);
    writer_key_text(writer, "name", config->gateway_name);
    writer_key_text(writer, "software", software_version);
    writer_key_int(writer, "uptime_s",
                   (clock_boot_ms(gateway->clock) - gateway->started_boot_ms) / 1000);
    print_clock(gateway, &recorder, writer);
    print_config(gateway, config, reload_error, writer);
    print_store(gateway, &recorder, writer);
    print_replaced(gateway, writer);
    print_backfill(&recorder.backfill, writer);
    print_office(gateway, config, &office, &door, writer);
    print_alerts(gateway, writer);
    writer_key(writer, "links");
    live_print_links(gateway->live, writer);
    writer_key(writer, "meters");
    live_print_meters(gateway->live, writer);
    writer_end(writer);
    config_unref(config);
}
