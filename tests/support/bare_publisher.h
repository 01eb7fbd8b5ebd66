// A yardstick: messages by paho-mqtt-c alone, MQTT 5, QoS 1, with a window, as fast as it goes.
#ifndef METERGATE_TESTS_SUPPORT_BARE_PUBLISHER_H
#define METERGATE_TESTS_SUPPORT_BARE_PUBLISHER_H

struct bare_way {
    const char *url;                    // tcp:// or ssl://
    const char *ca, *certificate, *key; // of ssl://
    int window;                         // published and not yet acknowledged
};
struct bare_message {
    const char *topic, *payload;
    const char *schema, *lane; // user properties, as the gateway sends them
};

// Publishes `count` messages, the given ones in turn. Seconds from the first one handed over to the
// last PUBACK; aborts when the broker does not take them within `limit_s`.
double bare_publish(const struct bare_way *way, const struct bare_message *messages,
                    int message_count, int count, int limit_s);

#endif
