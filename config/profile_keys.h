// Keys that stand in several tables of the profile. Of profile_table.c and profile_table_archive.c
// alone.
#ifndef METERGATE_CONFIG_PROFILE_KEYS_H
#define METERGATE_CONFIG_PROFILE_KEYS_H

#include "config/profile_table.h"

#define REGISTER_KEY(target, member, needed)                                                       \
    {                                                                                              \
        .name = "register", .type = TYPE_INTEGER, KEY_IN(target, member), .required = (needed),    \
        .minimum = 0, .maximum = 65535,                                                            \
        .help = "First register: its address on the wire, from 0.", .restarts = RESTARTS_METER     \
    }
#define FUNCTION_KEY(target, member, low, high, normal)                                            \
    {                                                                                              \
        .name = "function", .type = TYPE_INTEGER, KEY_IN(target, member), .standard = (normal),    \
        .minimum = (low), .maximum = (high),                                                       \
        .help = "Modbus function: 1 coils, 2 discrete inputs, 3 holding registers, 4 input "       \
                "registers.",                                                                      \
        .restarts = RESTARTS_METER                                                                 \
    }
#define TYPE_KEY(target, member, needed)                                                           \
    {                                                                                              \
        .name = "type", .type = TYPE_CHOICE, KEY_IN(target, member), .required = (needed),         \
        .choices = type_names,                                                                     \
        .help = "How the registers hold the value; bcd counts digits, string counts bytes.",       \
        .restarts = RESTARTS_METER                                                                 \
    }
#define ORDER_KEY(target, member)                                                                  \
    {                                                                                              \
        .name = "order", .type = TYPE_CHOICE, KEY_IN(target, member), .choices = order_names,      \
        .help = "Order of the bytes on the wire, A the most significant; big-endian when absent. " \
                "Four letters for two registers, eight for four.",                                 \
        .restarts = RESTARTS_METER                                                                 \
    }
#define SCALE_KEY(target, member)                                                                  \
    {                                                                                              \
        .name = "scale", .type = TYPE_DECIMAL, KEY_IN(target, member), .standard = "1",            \
        .help = "The raw value is multiplied by it, exactly.", .restarts = RESTARTS_METER          \
    }

// Walks the names of the channels that a meter gives; NULL at the end.
const char *given_channel(const void *context, int index);

extern const struct schema archive_schema; // of struct archive_entry

#endif
