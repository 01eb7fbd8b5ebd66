// The configuration's table: gas, links, meters.
#include "config/config_table.h"

#include "base/timetext.h"

#include <arpa/inet.h>

// ---- checks of one value ---

int config_id_check(const char *text, struct err *err)
{
    if (!id_is_valid(text)) {
        return err_set(
            err, "the id '%s' is reserved; allowed: " CONFIG_ID_FORM ", but not 'gateway'", text);
    }
    return 0;
}

static int check_link_url(const char *text, struct err *err)
{
    struct link_url url;
    return link_url_parse(text, &url, err);
}

static int check_modem_address(const char *text, struct err *err)
{
    struct in6_addr bytes;
    if (inet_pton(AF_INET, text, &bytes) != 1 && inet_pton(AF_INET6, text, &bytes) != 1)
        return err_set(err, "'%.60s' is no IP address; allowed: an IPv4 or IPv6 address", text);
    return 0;
}

static int check_modem_bytes(const char *text, struct err *err)
{
    struct modem_bytes bytes;
    return modem_bytes_parse(text, &bytes, err);
}

static int check_date(const char *text, struct err *err)
{
    int64_t at_ms = 0;
    if (time_parse(text, &at_ms) != 0) {
        return err_set(err, "'%s' is no day of the calendar; allowed: a date like 2026-11-20",
                       text);
    }
    return 0;
}

// ---- gas ----------------------------------------------------------------------------------------

static const char *const methods[] = {"sgerg88", "fixed", NULL}; // enum gas_method

static const struct key gas_keys[] = {
    {.name = "base_pressure_kpa",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, base_pressure_kpa),
     .standard = "101.325",
     .minimum = 90,
     .maximum = 110,
     .unit = "kPa",
     .help = "Absolute pressure at base conditions.",
     .restarts = RESTARTS_METER},
    {.name = "base_temperature_c",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, base_temperature_c),
     .standard = "20",
     .minimum = 0,
     .maximum = 30,
     .unit = "degC",
     .help = "Temperature at base conditions.",
     .restarts = RESTARTS_METER},
    {.name = "method",
     .type = TYPE_CHOICE,
     KEY_IN(struct config_gas, method),
     .standard = "sgerg88",
     .choices = methods,
     .help = "How compressibility is found: SGERG-88 (ISO 12213-3), or a fixed ratio.",
     .restarts = RESTARTS_METER},
    {.name = "heating_value_mj_m3",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, heating_value_mj_m3),
     .standard = "40.66",
     .minimum = 18, // 20 to 48 once it is brought to 25/0
     .maximum = 48,
     .unit = "MJ/m3",
     .help = "Superior heating value, at heating_value_reference.",
     .restarts = RESTARTS_METER},
    {.name = "heating_value_reference",
     KEY_TEXT(struct config_gas, heating_value_reference),
     .standard = "25/0",
     .pattern = "^(0|15|20|25)/(0|15|20)$",
     .form = "combustion at 0, 15, 20 or 25, a slash, volume at 0, 15 or 20: 25/0, 20/20",
     .unit = "degC",
     .help = "Temperatures of combustion and of metering that the heating value refers to.",
     .restarts = RESTARTS_METER},
    {.name = "relative_density",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, relative_density),
     .standard = "0.581",
     .minimum = 0.55,
     .maximum = 0.9,
     .unit = "1",
     .help = "Density relative to air.",
     .restarts = RESTARTS_METER},
    {.name = "co2_mol_percent",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, co2_mol_percent),
     .standard = "0.6",
     .minimum = 0,
     .maximum = 30,
     .unit = "mol %",
     .help = "Carbon dioxide in the gas.",
     .restarts = RESTARTS_METER},
    {.name = "h2_mol_percent",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, h2_mol_percent),
     .standard = "0",
     .minimum = 0,
     .maximum = 10,
     .unit = "mol %",
     .help = "Hydrogen in the gas.",
     .restarts = RESTARTS_METER},
    {.name = "compressibility_ratio",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, compressibility_ratio),
     .minimum = 0.5,
     .maximum = 1.5,
     .unit = "1 (Z/Zb)",
     .help = "Ratio of compressibilities; with method fixed, and needed there.",
     .restarts = RESTARTS_METER},
    {.name = "altitude_m",
     .type = TYPE_NUMBER,
     KEY_IN(struct config_gas, altitude_m),
     .minimum = -500,
     .maximum = 1500,
     .unit = "m",
     .help = "Where a gauge pressure sensor stands: 101.6 - 0.012 x altitude kPa of air are added.",
     .restarts = RESTARTS_METER},
};

const struct schema gas_schema = {
    .title = "gas",
    .help = "Base conditions and properties of the gas; default for every meter.",
    .size = sizeof(struct config_gas),
    .keys = gas_keys,
    .count = KEYS_COUNT(gas_keys),
};

// ---- links --------------------------------------------------------------------------------------

static const struct key link_keys[] = {
    {.name = "id",
     KEY_TEXT(struct link_entry, link.id),
     .required = true,
     .pattern = CONFIG_ID_PATTERN,
     .form = CONFIG_ID_FORM,
     .check = config_id_check,
     .help = "Name of the link; meters refer to it.",
     .restarts = RESTARTS_LINK},
    {.name = "url",
     KEY_TEXT(struct link_entry, link.url_text),
     .required = true,
     .pattern = "^(tcp|rtu|rtu-over-tcp|tcp-listen|rtu-over-tcp-listen)://",
     .form = "tcp://IP:PORT, rtu:///dev/ttyS0?baud=9600&parity=N&stop=1, rtu-over-tcp://IP:PORT, "
             "tcp-listen://IP:PORT, rtu-over-tcp-listen://IP:PORT",
     .check = check_link_url,
     .help = "Where the meters are: a TCP endpoint, a serial bus, a serial server, or (listen) an "
             "address of this machine that the meter's modem dials in to.",
     .restarts = RESTARTS_LINK},
    {.name = "second_url",
     KEY_TEXT(struct link_entry, link.second_url_text),
     .pattern = "^(tcp|rtu-over-tcp)://",
     .form = "tcp://IP:PORT or rtu-over-tcp://IP:PORT, as url",
     .check = check_link_url,
     .help = "The same meters on another way, used while url cannot be reached or is silent; url "
             "is tried again every 10 minutes.",
     .restarts = RESTARTS_LINK},
    {.name = "modem_address",
     KEY_TEXT(struct link_entry, modem_address),
     .form = "an IP address",
     .check = check_modem_address,
     .help = "Of a link that listens: the address that the modem calls from; others are refused.",
     .restarts = RESTARTS_LINK},
    {.name = "modem_hello",
     KEY_TEXT(struct link_entry, modem_hello),
     .form = "text, or hex:0A1F",
     .check = check_modem_bytes,
     .help = "Of a link that listens: the registration that the modem sends first, at most 64 "
             "bytes; a caller that says anything else is refused.",
     .restarts = RESTARTS_LINK},
    {.name = "modem_heartbeat",
     KEY_TEXT(struct link_entry, modem_heartbeat),
     .form = "text, or hex:0A1F",
     .check = check_modem_bytes,
     .help = "Of a link that listens: what the modem sends by itself to keep the connection, at "
             "most 64 bytes.",
     .restarts = RESTARTS_LINK},
    {.name = "response_timeout_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct link_entry, link.response_timeout_ms),
     .standard = "500",
     .minimum = 50,
     .maximum = 30000,
     .unit = "ms",
     .help = "How long to wait for a reply.",
     .restarts = RESTARTS_LINK},
    {.name = "pause_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct link_entry, link.pause_ms),
     .standard = "0",
     .minimum = 0,
     .maximum = 5000,
     .unit = "ms",
     .help = "Silence before each request, beyond what the standard asks for.",
     .restarts = RESTARTS_LINK},
    {.name = "echo",
     .type = TYPE_BOOLEAN,
     KEY_IN(struct link_entry, link.echo),
     .standard = "false",
     .help = "The two-wire adapter hears itself: each request comes back before its reply, and is "
             "taken off. On serial links only.",
     .restarts = RESTARTS_LINK},
    {.name = "rs485",
     .type = TYPE_BOOLEAN,
     KEY_IN(struct link_entry, link.rs485),
     .standard = "false",
     .help = "The serial port's driver switches its RS-485 transceiver between sending and "
             "listening (the kernel's RS-485 mode). Not for adapters that switch by themselves, as "
             "most on USB do.",
     .restarts = RESTARTS_LINK},
    {.name = "retries",
     .type = TYPE_INTEGER,
     KEY_IN(struct link_entry, link.retries),
     .standard = "1",
     .minimum = 0,
     .maximum = 5,
     .help = "How often a failed request is asked again within one poll.",
     .restarts = RESTARTS_LINK},
};

const struct schema link_schema = {
    .title = "links",
    .help = "One Modbus path each, that carries one transaction at a time.",
    .size = sizeof(struct link_entry),
    .placed = true,
    .keys = link_keys,
    .count = KEYS_COUNT(link_keys),
};

// ---- meters -------------------------------------------------------------------------------------

static const char *channel_name(const void *context, int index)
{
    (void)context;
    const struct channel *channel = channel_at(index);
    return channel != NULL ? channel->name : NULL;
}

static const struct key meter_keys[] = {
    {.name = "id",
     KEY_TEXT(struct meter_entry, meter.id),
     .required = true,
     .pattern = CONFIG_ID_PATTERN,
     .form = CONFIG_ID_FORM,
     .check = config_id_check,
     .help = "Name of the meter in topics and messages. Its history hangs on it.",
     .restarts = RESTARTS_METER},
    {.name = "name",
     KEY_TEXT(struct meter_entry, meter.name),
     .help = "Name for people.",
     .restarts = RESTARTS_NOTHING},
    {.name = "link",
     KEY_TEXT(struct meter_entry, link),
     .required = true,
     .pattern = CONFIG_ID_PATTERN,
     .form = "the id of one of the links",
     .help = "Id of the link that it hangs on.",
     .restarts = RESTARTS_METER},
    {.name = "unit",
     .type = TYPE_INTEGER,
     KEY_IN(struct meter_entry, meter.unit),
     .required = true,
     .minimum = 0,
     .maximum = 255,
     .help = "Modbus unit (slave address): 1 to 247 on a serial bus, 0 to 255 over TCP.",
     .restarts = RESTARTS_METER},
    {.name = "profile",
     KEY_TEXT(struct meter_entry, meter.profile_name),
     .required = true,
     .pattern = "/|^[a-z0-9][a-z0-9._-]*$",
     .form = "a profile's name (a-z, 0-9, '.', '_', '-'), or a path with a slash in it",
     .help = "Register map: a name, or a path relative to this file.",
     .restarts = RESTARTS_METER},
    {.name = "units",
     .type = TYPE_NAMED,
     KEY_IN(struct meter_entry, units),
     .item = TYPE_TEXT,
     .size = sizeof(((struct meter *)0)->units[0]),
     .names = channel_name,
     .most = PROFILE_CHANNELS_MAX,
     .help = "Unit of each channel whose unit the profile leaves to the configuration, as set in "
             "the meter.",
     .restarts = RESTARTS_METER},
    {.name = "word_order",
     .type = TYPE_CHOICE,
     KEY_IN(struct meter_entry, word_order),
     .choices = word_order_names,
     .help = "Order of the bytes of every number of two or four registers, where it is set in the "
             "meter: ABCD big-endian, CDAB low word first, BADC bytes swapped, DCBA "
             "little-endian. Absent: that of the profile.",
     .restarts = RESTARTS_METER},
    {.name = "display_checked",
     KEY_TEXT(struct meter_entry, meter.display_checked),
     .pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
     .form = "a date like 2026-11-20",
     .check = check_date,
     .help = "Day on which a person compared the values with the meter's display. Until then the "
             "values of an unverified profile are suspect.",
     .restarts = RESTARTS_METER},
    {.name = "interval_s",
     .type = TYPE_INTEGER,
     KEY_IN(struct meter_entry, meter.interval_s),
     .standard = "60",
     .minimum = 1,
     .maximum = 86400,
     .unit = "s",
     .help = "How often the meter is read.",
     .restarts = RESTARTS_METER},
    {.name = "priority",
     .type = TYPE_INTEGER,
     KEY_IN(struct meter_entry, meter.priority),
     .standard = "3",
     .minimum = 1,
     .maximum = 5,
     .help = "Which meters keep their interval when a link has not enough time for all: 5 the "
             "longest, 1 is the first to be read less often.",
     .restarts = RESTARTS_METER},
    {.name = "customer",
     KEY_TEXT(struct meter_entry, meter.customer),
     .help = "Account of the customer whose meter it is.",
     .restarts = RESTARTS_NOTHING},
    {.name = "qmin_m3_h",
     .type = TYPE_NUMBER,
     KEY_IN(struct meter_entry, meter.qmin_m3_h),
     .minimum = 0,
     .maximum = 1000000,
     .unit = "m3/h",
     .help = "Smallest flow that the meter measures well, at line conditions.",
     .restarts = RESTARTS_METER},
    {.name = "qmax_m3_h",
     .type = TYPE_NUMBER,
     KEY_IN(struct meter_entry, meter.qmax_m3_h),
     .minimum = 0.001,
     .maximum = 1000000,
     .unit = "m3/h",
     .help = "Largest flow that the meter may carry, at line conditions; over-range watches it.",
     .restarts = RESTARTS_METER},
    {.name = "gas",
     .type = TYPE_MAP,
     KEY_IN(struct meter_entry, meter.gas),
     .map = &gas_schema,
     .help = "What differs from the gas of the other meters; an absent key is taken from there.",
     .restarts = RESTARTS_METER},
};

const struct schema meter_schema = {
    .title = "meters",
    .help = "One Modbus unit each, read by one profile.",
    .size = sizeof(struct meter_entry),
    .placed = true,
    .keys = meter_keys,
    .count = KEYS_COUNT(meter_keys),
};
