// A broker that misbehaves to order: MQTT 5 and 3.1.1, one client at a time, on a free port of
// loopback. It keeps every message that it got, and answers as its rules say.
#ifndef METERGATE_TESTS_SUPPORT_FAKE_BROKER_H
#define METERGATE_TESTS_SUPPORT_FAKE_BROKER_H

#include <stdbool.h>
#include <stddef.h>

enum fake_answer {
    FAKE_ACK_0X00 = 0,       // 0x00 to 0xFF: PUBACK with that reason
    FAKE_NEVER = 0x100,      // no PUBACK
    FAKE_TWICE = 0x101,      // two of them
    FAKE_UNKNOWN_ID = 0x102, // one for a message that nobody sent, then the right one
    FAKE_CLOSE = 0x103,      // closes the connection instead, having kept the message
    FAKE_LATE = 0x104        // with the next message that is answered, after its PUBACK
};

// How it receives a client.
enum fake_greeting {
    FAKE_GREET,               // as a broker should
    FAKE_GREET_CLOSE,         // accepts and closes
    FAKE_GREET_CLOSE_CONNECT, // takes the CONNECT and closes
    FAKE_GREET_SILENT,        // takes the CONNECT and says nothing
    FAKE_GREET_MALFORMED,     // a CONNACK whose properties are longer than the packet
    FAKE_GREET_GARBAGE,       // bytes that are no packet
    FAKE_GREET_SESSION,       // "session present", although a clean start was asked for
    FAKE_GREET_DISCONNECT,    // a good CONNACK, and at once DISCONNECT 0x97 (quota)
    FAKE_GREET_EARLY_PUBACKS  // a good CONNACK, and PUBACKs for what has not been sent yet
};

struct fake_message {
    int version;    // of the connection: 4 or 5
    int connection; // from 1
    char topic[256];
    char *payload;
    char content_type[64];
    char schema[32], lane[16]; // user properties
    bool replay;               // user property replay=1
    bool retain;
    int qos;
};

struct fake_broker;
// Decides on one message; called in the broker's thread. `retained` and health messages are
// answered 0x00 without asking.
typedef int fake_rule(void *context, const struct fake_message *message);

struct fake_broker *fake_broker_start(void);
void fake_broker_stop(struct fake_broker *broker);
int fake_broker_port(const struct fake_broker *broker);

void fake_broker_rule(struct fake_broker *broker, fake_rule *rule, void *context);
// Reason of CONNACK for MQTT 5; for 3.1.1 its return code.
void fake_broker_connack(struct fake_broker *broker, int reason5, int code4);
void fake_broker_greeting(struct fake_broker *broker, enum fake_greeting greeting);
// Everything that it sends goes out byte by byte, with so many milliseconds after each; 0: at once.
void fake_broker_slow(struct fake_broker *broker, int byte_ms);
void fake_broker_receive_maximum(struct fake_broker *broker, int messages);
// Closes the connection that is open, without a word.
void fake_broker_drop(struct fake_broker *broker);
// The connection stays open, but nothing is read or said any more until it is switched off.
void fake_broker_deaf(struct fake_broker *broker, bool deaf);
// How often it was asked for a sign of life (UNSUBSCRIBE).
int fake_broker_asked(struct fake_broker *broker);

int fake_broker_count(struct fake_broker *broker);
// The message of that index; valid until the broker is stopped.
const struct fake_message *fake_broker_message(struct fake_broker *broker, int index);
int fake_broker_connections(struct fake_broker *broker);
// Most messages that ever waited for a PUBACK together.
int fake_broker_most_unacknowledged(struct fake_broker *broker);
// Payload of the will of the newest connection ("" without), and whether it ended with DISCONNECT.
const char *fake_broker_will(struct fake_broker *broker);
bool fake_broker_said_goodbye(struct fake_broker *broker);

#endif
