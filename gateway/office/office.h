// The office session: one thread that keeps the MQTT connection (paho-mqtt-c, MQTT 5, TLS by
// OpenSSL with host name verification), publishes retained states, and drains the outbox. A message
// leaves the outbox on PUBACK 0x00 only.
#ifndef METERGATE_OFFICE_OFFICE_H
#define METERGATE_OFFICE_OFFICE_H

#include "base/clock.h"
#include "live.h"
#include "record/recorder.h"

#define OFFICE_WINDOW_MAX 200 // messages published and not yet acknowledged

struct inbox;
struct office;

struct office_settings {
    struct config *config; // takes a reference; config->office.present
    const char *directory; // of the store: reads the outbox by a read-only connection of its own
    const struct clock *clock;
    struct recorder *recorder; // takes acknowledgements
    struct live *live;
    struct inbox *inbox; // where commands go; NULL: none are taken
};

// Checks what can be checked without the network (certificate files readable, key fits), starts the
// thread. NULL with a message on failure.
struct office *office_start(const struct office_settings *settings, struct err *err);
// Publishes state offline, disconnects, ends the thread. NULL is fine.
void office_stop(struct office *office);
// The configuration changed, but nothing of its office section or gateway id: publishes the
// retained states anew.
void office_apply(struct office *office, struct config *config);
// Something new is in the outbox. From any thread; never blocks.
void office_wake(void *office);

enum office_state {
    OFFICE_OFFLINE,
    OFFICE_CONNECTING,
    OFFICE_ONLINE,
    OFFICE_NO_SUBSCRIBER,
    OFFICE_REFUSED
};
struct office_status {
    enum office_state state;
    char error[320];  // why it is not online, and what to do
    int64_t since_ms; // wall clock of the last change of state
    bool version5;    // MQTT 5, else 3.1.1
    uint64_t published, acknowledged, reconnects;
    struct outbox_state lanes[LANES_END];
    bool listening;            // subscribed to commands
    char listening_error[320]; // why not, where the broker refused it
};
void office_status(struct office *office, struct office_status *out);
const char *office_state_text(
    enum office_state state); // "offline", "connecting", "online", "no-subscriber", "refused"

#endif
