// The configuration's table, and the structs that it fills before anything is checked across keys.
#ifndef METERGATE_CONFIG_CONFIG_TABLE_H
#define METERGATE_CONFIG_CONFIG_TABLE_H

#include "config/schema.h"

struct link_entry {
    const struct node *node;
    struct config_link link;
    char modem_address[64], modem_hello[CONFIG_NAME_MAX + 8], modem_heartbeat[CONFIG_NAME_MAX + 8];
};

struct meter_entry {
    const struct node *node;
    char link[ID_SIZE];
    struct list units; // struct item: channel name and unit
    int word_order;    // enum word_order, -1: that of the profile
    struct meter meter;
};

struct draft {
    const struct node *node;
    struct config config;
    char gas_day_start[8];
    int unsubscribed; // 0 hold, 1 accept
    int acknowledge;  // 0 puback, 1 office
    struct list links, meters;
};

extern const struct schema config_schema; // of struct draft
extern const struct schema gas_schema;    // of struct config_gas
extern const struct schema link_schema;   // of struct link_entry
extern const struct schema meter_schema;  // of struct meter_entry

#define CONFIG_ID_PATTERN "^[a-z0-9][a-z0-9-]{0,31}$"
#define CONFIG_ID_FORM "a lower-case letter or a digit, then up to 31 of a-z, 0-9 and -"
int config_id_check(const char *text, struct err *err);

#endif
