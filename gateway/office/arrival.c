#include "office/arrival.h"

#include <string.h>

// The last level of the topic; what is longer than any name is no name.
static void copy_name(char name[static COMMAND_NAME_SIZE], const char *topic, size_t length)
{
    size_t begin = length;
    while (begin > 0 && topic[begin - 1] != '/')
        begin--;
    size_t size = length - begin;
    if (size >= COMMAND_NAME_SIZE || memchr(topic + begin, '\0', size) != NULL)
        size = 0;
    memcpy(name, topic + begin, size);
    name[size] = '\0';
}

static const MQTTLenString *find_text(const MQTTAsync_message *message, enum MQTTPropertyCodes code)
{
    // paho reads it only.
    MQTTProperties *properties = (MQTTProperties *)&message->properties;
    if (message->struct_version < 1)
        return NULL;
    const MQTTProperty *found = MQTTProperties_getProperty(properties, code);
    return found != NULL && found->value.data.len > 0 ? &found->value.data : NULL;
}

// False when there is no room for it.
static bool copy_address(struct answer_address *to, const MQTTAsync_message *message)
{
    const MQTTLenString *topic = find_text(message, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
    const MQTTLenString *correlation = find_text(message, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if ((topic != NULL && topic->len >= INBOX_TOPIC_MAX) ||
        (correlation != NULL && correlation->len > INBOX_CORRELATION_MAX))
        return false;
    if (topic != NULL)
        memcpy(to->topic, topic->data, (size_t)topic->len);
    if (correlation != NULL) {
        to->correlation_length = (size_t)correlation->len;
        memcpy(to->correlation, correlation->data, to->correlation_length);
    }
    return true;
}

void arrival_deliver(struct inbox *inbox, const char *topic, int topic_length,
                     const MQTTAsync_message *message)
{
    struct arrival head = {.retained = message->retained != 0};
    size_t length = topic_length > 0 ? (size_t)topic_length : strlen(topic);
    copy_name(head.name, topic, length);
    head.length = message->payloadlen > 0 ? (size_t)message->payloadlen : 0;
    head.oversized = !copy_address(&head.from, message) || head.length > COMMAND_PAYLOAD_MAX;
    inbox_deliver(inbox, &head, message->payload);
}
