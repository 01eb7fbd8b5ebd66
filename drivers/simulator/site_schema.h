// The keys of a site file, and the structs that they fill. Absent numbers are -1 or NaN, absent
// texts "".
#ifndef METERGATE_DRIVERS_SIMULATOR_SITE_SCHEMA_H
#define METERGATE_DRIVERS_SIMULATOR_SITE_SCHEMA_H

#include "config/schema.h"
#include "drivers/simulator/site.h"

enum values_choice { VALUES_MODEL, VALUES_CODED };

struct site_head {
    const struct node *node;
    int seed;
    char start[40];
    int utc_offset_min;
    struct list holidays; // items: text
};

struct link_entry {
    const struct node *node;
    char id[ID_SIZE];
    int type; // enum link_kind
    char listen[64];
    int port;
    int baud;
    int parity;
    int stop;
    char link[CONFIG_PATH_MAX];
    int count;
};

struct fault_entry {
    const struct node *node;
    int kind;
    double probability;
    int count;             // 0: absent
    double start_s, end_s; // end_s 0: never
    int delay_ms, delay_max_ms;
    int code, bytes;
    char channel[40];
    double by;
};

struct meter_entry {
    const struct node *node;
    char id[ID_SIZE];
    char link[ID_SIZE];
    int unit;
    char profile[CONFIG_PATH_MAX];
    struct list units; // items: text, named by channel
    int word_order;    // enum word_order, -1: that of the profile
    int count;
    int values;
    bool strict;
    double capacity, load;
    int pattern;
    double supply_kpa, base_pressure_kpa, base_temperature_c;
    double volume_base, volume_measured;
    char serial_number[VALUE_TEXT_MAX];
    int reply_delay_ms;
    double sleep_after_s;
    int log_before_h;
    struct list faults; // items: struct fault_entry
};

struct site_file {
    const struct node *node;
    struct site_head site;
    struct list links;  // items: struct link_entry
    struct list meters; // items: struct meter_entry
};

extern const struct schema site_schema;

#endif
