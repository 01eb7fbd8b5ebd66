// The office thread's own state, shared by the files that work on it: office.c (thread, timers),
// connection.c (connect, lose, explain), drain.c (outbox), own_messages.c (state, meters, health),
// answers.c (commands and their answers).
#ifndef METERGATE_OFFICE_INSIDE_H
#define METERGATE_OFFICE_INSIDE_H

#include "office/inbox.h"
#include "office/lane.h"
#include "office/outbox.h"
#include "office/resend.h"
#include "office/session.h"
#include "office/tls.h"

#define SILENCE_MAX_MS 30000      // oldest message without an answer: the connection is dead
#define ASK_AFTER_MS 10000        // nothing came from the broker for so long: it is asked
#define SIGN_MAX_MS 15000         // and nothing came since it was asked: the connection is dead
#define BACKOFF_FIRST_MS 1000     // between attempts to connect; doubles, with jitter, up to
#define BACKOFF_AWAY_MS 40000     // while the broker cannot be reached: back within 60 s
#define BACKOFF_REFUSED_MS 360000 // while it is there and lets us not in: ten attempts an hour
#define PROGRESS_MIN 20           // messages that it took: it is well again
#define PROGRESS_MS 60000         // or a connection that lasted
#define CONNECT_MAX_MS 20000      // paho said nothing at all
#define FAREWELL_MAX_MS 2000      // for the last state's answer, and again for the disconnect
#define GATHER_MAX_MS 2           // while answers are gathered
#define TICK_MS 1000              // state of the outbox, of the clock, of liveness
#define HEALTH_EVERY_MS 60000
#define SERIALS_EVERY_MS 10000       // look for serial numbers that meters told since
#define STORE_RETRY_MS 5000          // after the store failed
#define METERS_MAX (8 * 1024 * 1024) // bytes of the meters message

enum phase { PHASE_WAIT, PHASE_CONNECTING, PHASE_UP };

struct direct_message {
    bool due;        // to be published
    bool flies;      // published, no answer yet
    int64_t sent_ms; // boot clock
};

// An answer to a command on its way.
#define ANSWER_SLOTS 8
struct answer_sent {
    struct answer *answer; // NULL: the slot is free
    int64_t sent_ms;       // boot clock
};

struct office {
    struct office_settings settings;
    const struct config *config; // of the session: its office section and gateway id
    struct config *told;         // whose meters and revision the retained states tell
    char password[PASSWORD_MAX];
    pthread_t thread;
    struct ring ring;
    struct session session;
    struct store *store;
    struct feed_origin origin;
    char base[TOPIC_MAX - 2 * ID_SIZE]; // "PREFIX/GATEWAY"
    char boot[BOOT_ID_SIZE];
    int64_t started_ms; // boot clock

    enum phase phase;
    int64_t phase_ms;      // boot clock: since when
    int64_t connect_at_ms; // boot clock: next attempt
    int backoff_ms;
    int taken;        // messages that the broker took on this connection
    bool version5;    // of the next attempt
    bool was_up;      // connected at least once
    bool live;        // as the recorder was told
    char logged[320]; // last reason that was logged

    // of the connection
    int window;                 // messages in flight that broker and we allow
    int backfill_window;        // of them for backfill, by the delay of answers
    int64_t backfill_shrunk_ms; // boot clock
    int64_t packet_maximum;
    bool retain;
    unsigned heard;   // session_heard when it last changed
    int64_t heard_ms; // boot clock: seen to change
    int64_t asked_ms; // boot clock: asked since, 0 not
    struct direct_message direct[DIRECT_END];
    struct answer_sent answers[ANSWER_SLOTS];
    int64_t subscribe_ms; // boot clock: when to subscribe to commands again

    struct lane_window lanes[LANES_END];
    struct resend resend;
    bool exhausted[LANES_END]; // nothing beyond `handed` when the outbox was last asked
    int64_t store_retry_ms;    // boot clock: not before
    struct outbox_message message;

    int64_t tick_ms, health_ms, serials_ms; // boot clock: when due
    bool clock_known;
    enum office_state told_state; // in the last state message
    bool told_clock;
    struct outbox_state told_lanes[LANES_END];
    uint64_t meters_hash; // of the last meters message, without its instant

    pthread_mutex_t mutex; // of status and
    struct config *next;   // to be told from now on; NULL when it is told already
    struct office_status status;
};

int64_t office_now(const struct office *office); // boot clock
void office_set_state(struct office *office, enum office_state state, const char *error);

// connection.c
void connection_step(struct office *office);
void connection_event(struct office *office, const struct ring_event *event);
void connection_lost(struct office *office, const char *why);

// drain.c
void drain_begin(struct office *office); // a connection is up
void drain_end(struct office *office);   // it is gone
void drain_answer(struct office *office, const struct ring_event *event);
bool drain_has_room(const struct office *office); // for one more message of a backlog
void drain_pace(struct office *office, int64_t delay_ms, int64_t now); // by an answer's delay
// Renders into office->message: 1; 0: the row is not there; -1, logged: the store failed, not now.
int drain_render(struct office *office, const struct outbox_entry *entry);
// Whether what was rendered is more than we, or the broker, take.
bool drain_is_too_large(const struct office *office);
// Publishes what was rendered. False: the connection is gone.
bool drain_publish(struct office *office, struct lane_window *window, int slot, bool replay);
void drain_settle(struct office *office); // cursors, gaps
bool drain_step(struct office *office);   // hands messages out; true when there is more to do now
// Boot time of the oldest message without an answer, INT64_MAX when there is none.
int64_t drain_oldest_ms(const struct office *office);
// How many answers are worth waking up for.
int drain_gather(const struct office *office);
int64_t drain_deadline_ms(const struct office *office);
// What the lanes say of the session: online, no-subscriber or refused, and why.
enum office_state drain_state(const struct office *office, char *error, size_t size);

// own_messages.c
void own_begin(struct office *office);
void own_step(struct office *office);
void own_answer(struct office *office, const struct ring_event *event);
int own_render_state(struct office *office, bool online, struct buf *out);
void own_publish_offline(struct office *office);
const char *own_topic(const struct office *office, int which, char topic[static TOPIC_MAX]);

// answers.c
void answers_begin(struct office *office); // a connection is up
void answers_end(struct office *office);   // it is gone
void answers_step(struct office *office);
void answers_subscribed(struct office *office, const struct ring_event *event);
void answers_answer(struct office *office, const struct ring_event *event);
int64_t answers_oldest_ms(const struct office *office); // as drain_oldest_ms

#endif
