#include "config/profile_keys.h"

#include <string.h>

// ---- names --------------------------------------------------------------------------------------

const struct type_form type_forms[] = {
    {RAW_U16, 1},     {RAW_I16, 1},     {RAW_U32, 2},     {RAW_I32, 2},     {RAW_U64, 4},
    {RAW_I64, 4},     {RAW_F32, 2},     {RAW_F64, 4},     {RAW_BCD, 1},     {RAW_BCD, 2},
    {RAW_BCD, 3},     {RAW_BCD, 4},     {RAW_STRING, 4},  {RAW_STRING, 5},  {RAW_STRING, 6},
    {RAW_STRING, 7},  {RAW_STRING, 8},  {RAW_STRING, 9},  {RAW_STRING, 10}, {RAW_STRING, 11},
    {RAW_STRING, 12}, {RAW_STRING, 13}, {RAW_STRING, 14}, {RAW_STRING, 15}, {RAW_STRING, 16},
};
const char *const type_names[] = {
    "u16",      "i16",      "u32",      "i32",      "u64",      "i64",      "f32",
    "f64",      "bcd4",     "bcd8",     "bcd12",    "bcd16",    "string8",  "string10",
    "string12", "string14", "string16", "string18", "string20", "string22", "string24",
    "string26", "string28", "string30", "string32", NULL,
};
const char *const order_names[] = {"ABCD",     "CDAB",     "BADC",     "DCBA", "ABCDEFGH",
                                   "GHEFCDAB", "BADCFEHG", "HGFEDCBA", NULL};
const char *const medium_names[] = {"gas",     "electricity", "water", "heat",
                                    "cooling", "steam",       "air",   NULL};

static const char *const scale_types[] = {"i16", "u16", "i32", "u32", NULL};
static const char *const meanings[] = {"power-of-ten", "factor", NULL};
static const char *const parities[] = {"N", "E", "O", NULL};
static const char *const severities[] = {"minor", "major", "critical", NULL};
static const char *const status_types[] = {"u16", "u32", NULL};
static const char *const register_sizes[] = {"2", "4", NULL};
static const char *const bauds[] = {"300",   "600",   "1200",  "2400",   "4800", "9600",
                                    "19200", "38400", "57600", "115200", NULL};

// The channels that a meter gives: one is computed here, two have keys of their own.
static bool is_given(const struct channel *channel)
{
    return channel->kind != CHANNEL_BITS && channel->kind != CHANNEL_IDENTITY &&
           strcmp(channel->name, "volume_base_computed") != 0;
}

const char *given_channel(const void *context, int index)
{
    (void)context;
    for (int i = 0; channel_at(i) != NULL; i++)
        if (is_given(channel_at(i)) && index-- == 0)
            return channel_at(i)->name;
    return NULL;
}

// ---- a value on the wire ------------------------------------------------------------------------

#define SCALE_REGISTER_KEY(target, member)                                                         \
    {                                                                                              \
        .name = "scale_register", .type = TYPE_MAP, KEY_IN(target, member), .map = &scale_schema,  \
        .help = "A register whose value scales this one as well.", .restarts = RESTARTS_METER      \
    }

static const struct key scale_keys[] = {
    REGISTER_KEY(struct scale_entry, first, true),
    {.name = "function",
     .type = TYPE_INTEGER,
     KEY_IN(struct scale_entry, function),
     .minimum = 3,
     .maximum = 4,
     .help = "Modbus function; that of the value when absent.",
     .restarts = RESTARTS_METER},
    {.name = "type",
     .type = TYPE_CHOICE,
     KEY_IN(struct scale_entry, type),
     .standard = "i16",
     .choices = scale_types,
     .help = "How the registers hold it.",
     .restarts = RESTARTS_METER},
    {.name = "meaning",
     .type = TYPE_CHOICE,
     KEY_IN(struct scale_entry, meaning),
     .standard = "power-of-ten",
     .choices = meanings,
     .help = "Whether it is an exponent of ten or a factor.",
     .restarts = RESTARTS_METER},
};

static const struct schema scale_schema = {
    .title = "scale_register",
    .help = "A register that scales a value.",
    .size = sizeof(struct scale_entry),
    .placed = true,
    .keys = scale_keys,
    .count = KEYS_COUNT(scale_keys),
    .shorthand = "register",
};

static const struct key part_keys[] = {
    REGISTER_KEY(struct place_entry, first, true),
    FUNCTION_KEY(struct place_entry, function, 1, 4, "3"),
    TYPE_KEY(struct place_entry, type, true),
    ORDER_KEY(struct place_entry, order),
    SCALE_KEY(struct place_entry, scale),
    SCALE_REGISTER_KEY(struct place_entry, scale_register),
};

static const struct schema part_schema = {
    .title = "parts",
    .help = "One addend of a value that the meter holds in several fields; their exact sum counts.",
    .size = sizeof(struct place_entry),
    .placed = true,
    .keys = part_keys,
    .count = KEYS_COUNT(part_keys),
};

// ---- channels -----------------------------------------------------------------------------------

static const struct key channel_keys[] = {
    REGISTER_KEY(struct channel_entry, place.first, false),
    FUNCTION_KEY(struct channel_entry, place.function, 1, 4, "3"),
    TYPE_KEY(struct channel_entry, place.type, false),
    ORDER_KEY(struct channel_entry, place.order),
    SCALE_KEY(struct channel_entry, place.scale),
    SCALE_REGISTER_KEY(struct channel_entry, place.scale_register),
    {.name = "parts",
     .type = TYPE_LIST,
     KEY_IN(struct channel_entry, parts),
     .map = &part_schema,
     .most = PROFILE_PARTS_MAX,
     .help = "In place of register and type: the fields whose sum is the value.",
     .restarts = RESTARTS_METER},
    {.name = "unit",
     KEY_TEXT(struct channel_entry, unit),
     .form = "a unit that fits the channel, or config",
     .help = "Unit in which the meter gives the value; config: the meter's entry in the "
             "configuration names it.",
     .restarts = RESTARTS_METER},
    {.name = "offset",
     .type = TYPE_DECIMAL,
     KEY_IN(struct channel_entry, offset),
     .standard = "0",
     .help = "Added after scaling, in the unit of the profile.",
     .restarts = RESTARTS_METER},
    {.name = "not_available",
     .type = TYPE_LIST,
     KEY_IN(struct channel_entry, not_available),
     .item = TYPE_RAW,
     .most = PROFILE_NOT_AVAILABLE_MAX,
     .help = "Raw values by which the meter says that it has none, like 0xFFFF; of the first part.",
     .restarts = RESTARTS_METER},
};

static const struct schema channel_schema = {
    .title = "channels",
    .help = "Where a canonical quantity stands in the meter.",
    .size = sizeof(struct channel_entry),
    .placed = true,
    .keys = channel_keys,
    .count = KEYS_COUNT(channel_keys),
};

// ---- status, identity, limits, serial -----------------------------------------------------------

static const struct key status_keys[] = {
    REGISTER_KEY(struct status_entry, first, true),
    FUNCTION_KEY(struct status_entry, function, 1, 4, "3"),
    {.name = "type",
     .type = TYPE_CHOICE,
     KEY_IN(struct status_entry, type),
     .standard = "u16",
     .choices = status_types,
     .help = "One register, or two that hold 32 bits.",
     .restarts = RESTARTS_METER},
    ORDER_KEY(struct status_entry, order),
    {.name = "bit",
     .type = TYPE_INTEGER,
     KEY_IN(struct status_entry, bit),
     .standard = "0",
     .minimum = 0,
     .maximum = 31,
     .help = "Bit of the value, 0 is the least significant; 0 with functions 1 and 2.",
     .restarts = RESTARTS_METER},
    {.name = "bits",
     .type = TYPE_INTEGER,
     KEY_IN(struct status_entry, bits),
     .standard = "1",
     .minimum = 1,
     .maximum = 16,
     .help = "How many bits from there on hold a number; more than 1 with `value`.",
     .restarts = RESTARTS_METER},
    {.name = "value",
     .type = TYPE_INTEGER,
     KEY_IN(struct status_entry, value),
     .minimum = 0,
     .maximum = 65535,
     .help = "The number of these bits that the name stands for.",
     .restarts = RESTARTS_METER},
    {.name = "name",
     KEY_TEXT(struct status_entry, name),
     .required = true,
     .pattern = "^[a-z0-9][a-z0-9_-]*$",
     .form = "a-z, 0-9, '_' and '-', beginning with a letter or a digit",
     .help = "Name of the bit in readings.",
     .restarts = RESTARTS_METER},
    {.name = "severity",
     .type = TYPE_CHOICE,
     KEY_IN(struct status_entry, severity),
     .choices = severities,
     .help = "How bad it is when the bit is set; absent: for information.",
     .restarts = RESTARTS_METER},
};

static const struct schema status_schema = {
    .title = "status",
    .help = "One bit each, or one number of some bits.",
    .size = sizeof(struct status_entry),
    .placed = true,
    .keys = status_keys,
    .count = KEYS_COUNT(status_keys),
};

static const struct key serial_number_keys[] = {
    REGISTER_KEY(struct place_entry, first, true),
    FUNCTION_KEY(struct place_entry, function, 3, 4, "3"),
    TYPE_KEY(struct place_entry, type, true),
    ORDER_KEY(struct place_entry, order),
};

static const struct schema serial_number_schema = {
    .title = "serial_number",
    .help = "The meter's serial number: text, or the digits of a whole number.",
    .size = sizeof(struct place_entry),
    .placed = true,
    .keys = serial_number_keys,
    .count = KEYS_COUNT(serial_number_keys),
};

static const struct key identity_keys[] = {
    {.name = "serial_number",
     .type = TYPE_MAP,
     KEY_IN(struct profile_draft, serial_number),
     .map = &serial_number_schema,
     .help = "The meter's serial number.",
     .restarts = RESTARTS_METER},
};

static const struct schema identity_schema = {
    .title = "identity",
    .help = "What tells this meter from another of its model.",
    .size = sizeof(struct profile_draft),
    .keys = identity_keys,
    .count = KEYS_COUNT(identity_keys),
};

static const struct key serial_keys[] = {
    {.name = "baud",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, baud),
     .required = true,
     .choices = bauds,
     .unit = "Bd",
     .help = "Baud rate.",
     .restarts = RESTARTS_NOTHING},
    {.name = "parity",
     .type = TYPE_CHOICE,
     KEY_IN(struct profile_draft, parity),
     .standard = "N",
     .choices = parities,
     .help = "Parity: none, even, odd.",
     .restarts = RESTARTS_NOTHING},
    {.name = "stop",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, stop),
     .standard = "1",
     .minimum = 1,
     .maximum = 2,
     .help = "Stop bits.",
     .restarts = RESTARTS_NOTHING},
};

static const struct schema serial_schema = {
    .title = "serial",
    .help = "The maker's defaults of the serial port, for the scan.",
    .size = sizeof(struct profile_draft),
    .keys = serial_keys,
    .count = KEYS_COUNT(serial_keys),
};

static const struct key limits_keys[] = {
    {.name = "max_registers",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, max_registers),
     .standard = "60",
     .minimum = 1,
     .maximum = PROFILE_REQUEST_REGISTERS_MAX,
     .help = "Most registers in one request.",
     .restarts = RESTARTS_METER},
    {.name = "max_gap",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, max_gap),
     .standard = "8",
     .minimum = 0,
     .maximum = PROFILE_REQUEST_REGISTERS_MAX,
     .help = "Most unused registers that one request may read over.",
     .restarts = RESTARTS_METER},
    {.name = "pause_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, pause_ms),
     .standard = "0",
     .minimum = 0,
     .maximum = 5000,
     .unit = "ms",
     .help = "Silence that the meter needs before a request.",
     .restarts = RESTARTS_METER},
    {.name = "reply_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, reply_ms),
     .standard = "0",
     .minimum = 0,
     .maximum = 30000,
     .unit = "ms",
     .help = "Longest time that the meter takes to answer, where its document says so: the link's "
             "response_timeout_ms must not be shorter. 0: not known.",
     .restarts = RESTARTS_METER},
    {.name = "wake_request",
     .type = TYPE_BOOLEAN,
     KEY_IN(struct profile_draft, wake_request),
     .standard = "false",
     .help = "Whether the meter loses the first request after a rest: then it is sent one for "
             "that first, whose loss counts nowhere.",
     .restarts = RESTARTS_METER},
    {.name = "wake_after_s",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, wake_after_s),
     .standard = "5",
     .minimum = 1,
     .maximum = 86400,
     .unit = "s",
     .help = "With wake_request: the rest after which the meter sleeps. Better too short than too "
             "long.",
     .restarts = RESTARTS_METER},
    {.name = "wake_wait_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, wake_wait_ms),
     .standard = "200",
     .minimum = 10,
     .maximum = 10000,
     .unit = "ms",
     .help = "With wake_request: how long to wait before the meter is asked for good, where the "
             "request that wakes it stays without a reply.",
     .restarts = RESTARTS_METER},
    {.name = "register_size",
     .type = TYPE_INTEGER,
     KEY_IN(struct profile_draft, register_size),
     .standard = "2",
     .choices = register_sizes,
     .unit = "bytes",
     .help = "Bytes of a register; 4: Enron Modbus, where one number holds a value of 32 bits and "
             "a request counts numbers. Values of 16 bits keep registers of 2.",
     .restarts = RESTARTS_METER},
};

static const struct schema limits_schema = {
    .title = "limits",
    .help = "What the meter can bear.",
    .size = sizeof(struct profile_draft),
    .keys = limits_keys,
    .count = KEYS_COUNT(limits_keys),
};

// ---- top level ----------------------------------------------------------------------------------

static const struct key profile_keys[] = {
    {.name = "model",
     KEY_TEXT(struct profile_draft, model),
     .required = true,
     .help = "Maker and model.",
     .restarts = RESTARTS_METER},
    {.name = "source",
     KEY_TEXT(struct profile_draft, source),
     .lines = true,
     .required = true,
     .help = "Where the map was read, so that the next person can check it.",
     .restarts = RESTARTS_METER},
    {.name = "verified",
     .type = TYPE_BOOLEAN,
     KEY_IN(struct profile_draft, verified),
     .standard = "false",
     .help = "Whether the values were compared with a real meter's display.",
     .restarts = RESTARTS_METER},
    {.name = "medium",
     .type = TYPE_CHOICE,
     KEY_IN(struct profile_draft, medium),
     .standard = "gas",
     .choices = medium_names,
     .help = "What is metered.",
     .restarts = RESTARTS_METER},
    {.name = "serial",
     .type = TYPE_MAP,
     .map = &serial_schema,
     .help = "The maker's defaults of the serial port.",
     .restarts = RESTARTS_NOTHING},
    {.name = "limits",
     .type = TYPE_MAP,
     .map = &limits_schema,
     .help = "What the meter can bear.",
     .restarts = RESTARTS_METER},
    {.name = "channels",
     .type = TYPE_NAMED,
     KEY_IN(struct profile_draft, channels),
     .required = true,
     .map = &channel_schema,
     .most = PROFILE_CHANNELS_MAX - 2, // status and serial number come on top
     .names = given_channel,
     .help = "What the meter measures, by canonical name.",
     .restarts = RESTARTS_METER},
    {.name = "together",
     .type = TYPE_LIST,
     KEY_IN(struct profile_draft, together),
     .item = TYPE_RANGE,
     .minimum = 0,
     .maximum = 65535,
     .most = PROFILE_TOGETHER_MAX,
     .help = "First and last register of a group that must be read in one request.",
     .restarts = RESTARTS_METER},
    {.name = "status",
     .type = TYPE_LIST,
     KEY_IN(struct profile_draft, status),
     .map = &status_schema,
     .most = PROFILE_STATUS_MAX,
     .help = "Bits that say how the meter is.",
     .restarts = RESTARTS_METER},
    {.name = "identity",
     .type = TYPE_MAP,
     .map = &identity_schema,
     .help = "What tells this meter from another of its model.",
     .restarts = RESTARTS_METER},
    {.name = "archives",
     .type = TYPE_LIST,
     KEY_IN(struct profile_draft, archives),
     .map = &archive_schema,
     .most = PROFILE_ARCHIVES_MAX,
     .help = "The meter's own logs. Checked, but not read by this version.",
     .restarts = RESTARTS_METER},
};

const struct schema profile_schema = {
    .title = "metergate profile",
    .help = "The register map of one meter model.",
    .size = sizeof(struct profile_draft),
    .placed = true,
    .keys = profile_keys,
    .count = KEYS_COUNT(profile_keys),
};
