// A message that came, as paho gives it, into the inbox. In paho's thread: a copy and nothing else.
#ifndef METERGATE_OFFICE_ARRIVAL_H
#define METERGATE_OFFICE_ARRIVAL_H

#include "office/inbox.h"

#include <MQTTAsync.h>

// `topic_length` 0: the topic is a C string.
void arrival_deliver(struct inbox *inbox, const char *topic, int topic_length,
                     const MQTTAsync_message *message);

#endif
