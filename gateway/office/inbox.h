// Between the office session and whoever executes commands: what came from head office, and the
// answers that go back. It outlives both, so a reconnect, or a session with another broker, loses
// nothing of it. Neither side waits for the other. Safe from every thread.
#ifndef METERGATE_OFFICE_INBOX_H
#define METERGATE_OFFICE_INBOX_H

#include "office/command_message.h"

#define INBOX_WAITING_MAX 16 // commands that wait; a further one is dropped and counted
#define INBOX_ANSWERS_MAX                                                                          \
    32 // answers that wait; for a further one the oldest is dropped: whoever
       // asked sends the command again and gets the stored answer
#define INBOX_TOPIC_MAX 256
#define INBOX_CORRELATION_MAX 256 // bytes; a command with more is refused as oversized

// Where an answer goes.
struct answer_address {
    char topic[INBOX_TOPIC_MAX]; // "": the gateway's `reply`
    uint8_t correlation[INBOX_CORRELATION_MAX];
    size_t correlation_length;
};

// One command as it came.
struct arrival {
    struct arrival *next;
    char name[COMMAND_NAME_SIZE]; // last level of its topic; "" where that is no name
    struct answer_address from;
    bool retained, oversized;
    size_t length;
    char payload[]; // nothing of it where it is oversized
};

// One answer, complete.
struct answer {
    struct answer *next;
    struct answer_address to;
    int64_t row; // of the stored command, 0 for an answer that is not kept
    size_t length;
    char payload[];
};

struct inbox;

struct inbox *inbox_new(struct err *err);
void inbox_free(struct inbox *inbox); // NULL is fine

// --- the session's side ---

// Takes a copy of what came; `payload` of an oversized one is not looked at. Never blocks. For
// paho's callback.
void inbox_deliver(struct inbox *inbox, const struct arrival *head, const void *payload);
// The next answer to be sent, NULL when there is none. The caller frees it, or puts it back in
// front when it could not be sent.
struct answer *inbox_next_answer(struct inbox *inbox);
void inbox_put_back(struct inbox *inbox, struct answer *answer);
// The broker has taken the answer of a stored command.
void inbox_told(struct inbox *inbox, int64_t row);

// --- the executing side: one thread ---

struct inbox_signals {
    uint64_t dropped; // commands, since the last call
    int told_count;
    int64_t told[INBOX_ANSWERS_MAX]; // rows; what does not fit is told again after a restart
    bool stop;
};
// Waits, at most so long, for a command (where `take`), for an answer that was taken, or for the
// end. The arrival is the caller's (free); NULL when none came.
struct arrival *inbox_wait(struct inbox *inbox, int timeout_ms, bool take,
                           struct inbox_signals *signals);
// Takes a copy. False when memory is short.
bool inbox_answer(struct inbox *inbox, const struct answer_address *to, int64_t row,
                  const char *payload, size_t length);
// Ends inbox_wait, now and from now on.
void inbox_stop(struct inbox *inbox);

#endif
