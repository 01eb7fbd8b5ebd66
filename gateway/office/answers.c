// Commands come in by a subscription that begins with each connection; their answers go out beside
// the outbox, a few at a time, and again after the connection was lost.
#include "office/inside.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIBE_EVERY_MS 60000 // after the broker refused it
#define PACKET_EXTRA 1024        // topic, correlation data, properties and header of a publish

static void set_listening(struct office *office, bool listening, const char *error)
{
    (void)pthread_mutex_lock(&office->mutex);
    office->status.listening = listening;
    (void)snprintf(office->status.listening_error, sizeof office->status.listening_error, "%s",
                   error);
    (void)pthread_mutex_unlock(&office->mutex);
}

static void subscribe(struct office *office)
{
    char filter[TOPIC_MAX];
    office->subscribe_ms = office_now(office) + SUBSCRIBE_EVERY_MS;
    (void)snprintf(filter, sizeof filter, "%s/command/+", office->base);
    if (session_subscribe(&office->session, filter) != 0)
        log_warn("office", "commands cannot be subscribed to now");
}

void answers_begin(struct office *office)
{
    if (office->settings.inbox != NULL)
        subscribe(office);
}

void answers_subscribed(struct office *office, const struct ring_event *event)
{
    char text[REASON_TEXT_MAX];
    char error[sizeof office->status.listening_error];
    if (event->reason < (int)MQTTREASONCODE_UNSPECIFIED_ERROR) {
        office->subscribe_ms = INT64_MAX;
        set_listening(office, true, "");
        return;
    }
    (void)snprintf(error, sizeof error,
                   "the broker does not let this gateway subscribe to %s/command/+: %s",
                   office->base, reason_text(event->reason, text));
    log_warn("office", "%s", error);
    set_listening(office, false, error);
}

void answers_end(struct office *office)
{
    for (int i = ANSWER_SLOTS - 1; i >= 0; i--) {
        if (office->answers[i].answer != NULL)
            inbox_put_back(office->settings.inbox, office->answers[i].answer);
        office->answers[i].answer = NULL;
    }
    set_listening(office, false, "");
}

// A topic that a publisher may name. What lies under the gateway's own topics would pass for a
// message of its feed: only `reply` is for answers there.
static bool is_for_answers(const struct office *office, const char *topic)
{
    size_t own = strlen(office->base);
    bool below = strncmp(topic, office->base, own) == 0 && (topic[own] == '/' || !topic[own]);
    bool reply = below && strncmp(topic + own, "/reply", 6) == 0 &&
                 (topic[own + 6] == '\0' || topic[own + 6] == '/');
    return topic[0] != '\0' && topic[0] != '$' && strpbrk(topic, "+#") == NULL && (!below || reply);
}

static void settle(struct office *office, struct answer_sent *sent)
{
    if (sent->answer->row != 0)
        inbox_told(office->settings.inbox, sent->answer->row);
    free(sent->answer);
    sent->answer = NULL;
}

static bool is_too_large(const struct office *office, const struct answer *answer)
{
    return office->packet_maximum > 0 &&
           (int64_t)answer->length + PACKET_EXTRA > office->packet_maximum;
}

// False when the connection is gone.
static bool send_answer(struct office *office, const struct answer *answer, int slot)
{
    char topic[TOPIC_MAX];
    (void)snprintf(topic, sizeof topic, "%s/reply", office->base);
    const struct session_message message = {
        .topic = is_for_answers(office, answer->to.topic) ? answer->to.topic : topic,
        .payload = answer->payload,
        .length = answer->length,
        .schema = "reply/1",
        .correlation = answer->to.correlation,
        .correlation_length = answer->to.correlation_length};
    return session_publish(&office->session, &message, 0, DIRECT_END + slot) == 0;
}

void answers_step(struct office *office)
{
    if (office->settings.inbox == NULL)
        return;
    if (office_now(office) >= office->subscribe_ms)
        subscribe(office);
    for (int i = 0; i < ANSWER_SLOTS && office->phase == PHASE_UP; i++) {
        struct answer_sent *sent = &office->answers[i];
        if (sent->answer != NULL)
            continue;
        sent->answer = inbox_next_answer(office->settings.inbox);
        if (sent->answer == NULL)
            return;
        sent->sent_ms = office_now(office);
        if (is_too_large(office, sent->answer)) {
            log_warn("office", "an answer of %zu bytes is more than the broker takes",
                     sent->answer->length);
            settle(office, sent);
        } else if (!send_answer(office, sent->answer, i)) {
            connection_lost(office, "the connection to the broker ended: nothing can be sent");
        }
    }
}

void answers_answer(struct office *office, const struct ring_event *event)
{
    struct answer_sent *sent = &office->answers[event->slot - DIRECT_END];
    char text[REASON_TEXT_MAX];
    if (sent->answer == NULL)
        return;
    if (event->reason >= (int)MQTTREASONCODE_UNSPECIFIED_ERROR)
        log_warn("office", "the broker does not take the answer to a command: %s",
                 reason_text(event->reason, text));
    settle(office, sent);
}

int64_t answers_oldest_ms(const struct office *office)
{
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < ANSWER_SLOTS; i++)
        if (office->answers[i].answer != NULL && office->answers[i].sent_ms < oldest)
            oldest = office->answers[i].sent_ms;
    return oldest;
}
