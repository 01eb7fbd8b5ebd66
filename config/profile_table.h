// The profile's table, and the structs that it fills before fields get their places.
#ifndef METERGATE_CONFIG_PROFILE_TABLE_H
#define METERGATE_CONFIG_PROFILE_TABLE_H

#include "config/schema.h"

// What a type name means. The table's choices and this list have the same order.
struct type_form {
    enum raw_type type;
    int words;
};
extern const struct type_form type_forms[];
extern const char *const type_names[];
// "ABCD", "CDAB" … then the four of eight bytes. Index modulo 4 is enum word_order.
extern const char *const order_names[];
#define ORDERS_OF_TWO 4 // the first ones are for two registers, the others for four

extern const char *const medium_names[];

struct scale_entry {
    const struct node *node;
    int first;
    int function; // -1: that of the value
    int type;     // 0 i16, 1 u16, 2 i32, 3 u32
    int meaning;  // 0 power-of-ten, 1 factor
};

// A value on the wire: a channel's only part, one of its parts, or the serial number.
struct place_entry {
    const struct node *node;
    int first;
    int function;
    int type;  // index in type_names
    int order; // index in order_names, -1 when it is not given
    struct decimal scale;
    struct scale_entry scale_register;
};

struct channel_entry {
    const struct node *node;
    struct place_entry place;
    struct list parts; // struct place_entry
    char unit[16];
    struct decimal offset;
    struct list not_available; // struct item
};

struct status_entry {
    const struct node *node;
    int first;
    int function;
    int type;  // 0 u16, 1 u32
    int order; // index in order_names, -1 when it is not given
    int bit;
    int bits;
    int value; // -1 when it is not given
    char name[32];
    int severity; // index in minor, major, critical; -1: none
};

struct archive_value_entry {
    const struct node *node;
    int offset;
    int type;
    int order;
    int value; // 0 index, 1 increment
    struct decimal scale;
    char unit[16];
};

struct archive_entry {
    const struct node *node;
    char name[32];
    int span; // enum archive_span
    int function;
    int first;
    int record_registers;
    int records;
    int direction; // 0 newest-first, 1 oldest-first
    const struct node *time_node;
    int time_offset;
    int time_type; // 0 u32, 1 bcd12
    int time_order;
    int time_marks;     // 0 end, 1 start
    int time_zone;      // 0 gateway, 1 utc; -1: by the type
    struct list values; // struct archive_value_entry
};

struct profile_draft {
    const struct node *node;
    char model[64];
    char source[1024];
    bool verified;
    int medium;
    int baud;
    int parity; // index in N, E, O
    int stop;
    int max_registers, max_gap, pause_ms, reply_ms;
    int register_size;
    bool wake_request;
    int wake_after_s, wake_wait_ms;
    struct list channels; // struct channel_entry
    struct list together; // struct item
    struct list status;   // struct status_entry
    struct place_entry serial_number;
    struct list archives; // struct archive_entry
};

extern const struct schema profile_schema; // of struct profile_draft

#endif
