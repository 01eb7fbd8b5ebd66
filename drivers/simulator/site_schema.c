#include "drivers/simulator/site_schema.h"

#include "base/timetext.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BAUD_MIN 300
#define BAUD_MAX 115200

static int check_id(const char *text, struct err *err)
{
    if (!id_is_valid(text)) {
        return err_set(err,
                       "'%.40s' is no id; allowed: up to 32 small letters, digits and hyphens, "
                       "not beginning with a hyphen, not 'gateway'",
                       text);
    }
    return 0;
}

static int check_address(const char *text, struct err *err)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, text, &four) != 1 && inet_pton(AF_INET6, text, &six) != 1)
        return err_set(err, "'%.60s' is no IP address; allowed: such as 127.0.0.1 or ::1", text);
    return 0;
}

static int check_time(const char *text, struct err *err)
{
    int64_t ms;
    if (time_parse(text, &ms) != 0)
        return err_set(err, "'%.40s' is no time; allowed: such as 2026-11-23T08:00:00+08:00", text);
    return 0;
}

static int check_date(const char *text, struct err *err)
{
    int64_t ms;
    if (strlen(text) != 10 || time_parse(text, &ms) != 0)
        return err_set(err, "'%.40s' is no date; allowed: such as 2026-10-01", text);
    return 0;
}

static const char *channel_name_at(const void *context, int index)
{
    (void)context;
    const struct channel *channel = channel_at(index);
    return channel != NULL ? channel->name : NULL;
}

// ---- site ---------------------------------------------------------------------------------------

#define AT(member) offsetof(struct site_head, member)
static const struct key site_keys[] = {
    {.name = "seed",
     .type = TYPE_INTEGER,
     .offset = AT(seed),
     .minimum = 0,
     .maximum = INT32_MAX,
     .help = "the same seed gives the same values; absent: another one each time, printed at "
             "start"},
    {.name = "start",
     .type = TYPE_TEXT,
     .offset = AT(start),
     .size = sizeof((struct site_head *)0)->start,
     .check = check_time,
     .help = "the simulated wall clock at start; absent: the machine's"},
    {.name = "utc_offset_min",
     .type = TYPE_INTEGER,
     .offset = AT(utc_offset_min),
     .standard = "480",
     .minimum = -720,
     .maximum = 840,
     .unit = "min",
     .help = "the site's local time, for shifts and weekends"},
    {.name = "holidays",
     .type = TYPE_LIST,
     .offset = AT(holidays),
     .item = TYPE_TEXT,
     .size = 64,
     .most = MODEL_HOLIDAYS_MAX,
     .check = check_date,
     .help = "local dates on which nobody works"},
};
#undef AT

static const struct schema head_schema = {
    .title = "site",
    .help = "the site as a whole",
    .size = sizeof(struct site_head),
    .placed = true,
    .keys = site_keys,
    .count = COUNT(site_keys),
};

// ---- links --------------------------------------------------------------------------------------

static const char *const link_types[] = {
    [LINK_TCP] = "tcp", [LINK_RTU] = "rtu", [LINK_RTU_OVER_TCP] = "rtu-over-tcp", NULL};
static const char *const parities[] = {"N", "E", "O", NULL};
static const char *const stops[] = {"1", "2", NULL};

#define AT(member) offsetof(struct link_entry, member)
#define SIZE(member) sizeof((struct link_entry *)0)->member
static const struct key link_keys[] = {
    {.name = "id",
     .type = TYPE_TEXT,
     .offset = AT(id),
     .size = SIZE(id),
     .required = true,
     .check = check_id,
     .help = "name of the link; with count N the links are ID-1 to ID-N"},
    {.name = "type",
     .type = TYPE_CHOICE,
     .offset = AT(type),
     .required = true,
     .choices = link_types,
     .help = "Modbus TCP, a serial bus on a pseudo-terminal, or RTU frames over TCP"},
    {.name = "listen",
     .type = TYPE_TEXT,
     .offset = AT(listen),
     .size = SIZE(listen),
     .standard = "127.0.0.1",
     .check = check_address,
     .help = "address of the TCP port; loopback alone unless another is given"},
    {.name = "port",
     .type = TYPE_INTEGER,
     .offset = AT(port),
     .standard = "0",
     .minimum = 0,
     .maximum = 65535,
     .help = "TCP port; 0 takes a free one; with count N they follow one another"},
    {.name = "baud",
     .type = TYPE_INTEGER,
     .offset = AT(baud),
     .minimum = BAUD_MIN,
     .maximum = BAUD_MAX,
     .unit = "bit/s",
     .help =
         "speed at which the bytes leave; 9600 on a bus where it is absent, unlimited over TCP"},
    {.name = "parity",
     .type = TYPE_CHOICE,
     .offset = AT(parity),
     .standard = "N",
     .choices = parities,
     .help = "counts for the length of a character"},
    {.name = "stop",
     .type = TYPE_INTEGER,
     .offset = AT(stop),
     .standard = "1",
     .minimum = 1,
     .maximum = 2,
     .choices = stops,
     .help = "stop bits"},
    {.name = "link",
     .type = TYPE_TEXT,
     .offset = AT(link),
     .size = SIZE(link),
     .help = "symbolic link to the pseudo-terminal, relative to where metergate was started, so "
             "that a configuration can name a fixed path"},
    {.name = "count",
     .type = TYPE_INTEGER,
     .offset = AT(count),
     .standard = "1",
     .minimum = 1,
     .maximum = SITE_LINKS_MAX,
     .help = "so many links alike"},
};
#undef AT
#undef SIZE

static const struct schema link_schema = {
    .title = "link",
    .help = "a TCP port or a serial bus",
    .size = sizeof(struct link_entry),
    .placed = true,
    .keys = link_keys,
    .count = COUNT(link_keys),
};

// ---- faults -------------------------------------------------------------------------------------

#define AT(member) offsetof(struct fault_entry, member)
#define SIZE(member) sizeof((struct fault_entry *)0)->member
static const struct key fault_keys[] = {
    {.name = "kind",
     .type = TYPE_CHOICE,
     .offset = AT(kind),
     .required = true,
     .choices = fault_kind_names,
     .help = "what goes wrong"},
    {.name = "probability",
     .type = TYPE_NUMBER,
     .offset = AT(probability),
     .standard = "1",
     .minimum = 0,
     .maximum = 1,
     .help = "of each reply"},
    {.name = "count",
     .type = TYPE_INTEGER,
     .offset = AT(count),
     .minimum = 1,
     .maximum = 1000000000,
     .help = "so many replies, then no more"},
    {.name = "start_s",
     .type = TYPE_NUMBER,
     .offset = AT(start_s),
     .standard = "0",
     .minimum = 0,
     .maximum = 1e9,
     .unit = "s",
     .help = "from so long after the start on"},
    {.name = "end_s",
     .type = TYPE_NUMBER,
     .offset = AT(end_s),
     .minimum = 0.001,
     .maximum = 1e9,
     .unit = "s",
     .help = "until so long after the start; absent: for ever"},
    {.name = "delay_ms",
     .type = TYPE_INTEGER,
     .offset = AT(delay_ms),
     .minimum = 1,
     .maximum = FAULT_DELAY_MAX_MS,
     .unit = "ms",
     .help = "late: how late (2000 where absent); drip: for each byte (400)"},
    {.name = "delay_max_ms",
     .type = TYPE_INTEGER,
     .offset = AT(delay_max_ms),
     .minimum = 1,
     .maximum = FAULT_DELAY_MAX_MS,
     .unit = "ms",
     .help = "late: evenly between delay_ms and this"},
    {.name = "code",
     .type = TYPE_INTEGER,
     .offset = AT(code),
     .minimum = 1,
     .maximum = 255,
     .help = "exception: its code (4 where absent)"},
    {.name = "bytes",
     .type = TYPE_INTEGER,
     .offset = AT(bytes),
     .minimum = 1,
     .maximum = FAULT_BYTES_MAX,
     .help =
         "truncated: missing (half where absent); trailing: added (2); noise: touched (1 to 4)"},
    {.name = "channel",
     .type = TYPE_TEXT,
     .offset = AT(channel),
     .size = SIZE(channel),
     .help = "jump, frozen, nan: this channel alone (absent: all; jump: all counters)"},
    {.name = "by",
     .type = TYPE_NUMBER,
     .offset = AT(by),
     .standard = "1000",
     .minimum = -1e12,
     .maximum = 1e12,
     .help = "jump: how far, in the channel's unit"},
};
#undef AT
#undef SIZE

static const struct schema fault_schema = {
    .title = "fault",
    .help = "a fault from the start on; a name alone stands for {kind: NAME}",
    .size = sizeof(struct fault_entry),
    .placed = true,
    .keys = fault_keys,
    .count = COUNT(fault_keys),
    .shorthand = "kind",
};

// ---- meters -------------------------------------------------------------------------------------

static const char *const values_choices[] = {
    [VALUES_MODEL] = "model", [VALUES_CODED] = "coded", NULL};
static const char *const patterns[] = {[PATTERN_TWO_SHIFT] = "two-shift",
                                       [PATTERN_CONTINUOUS] = "continuous",
                                       [PATTERN_HEATING] = "heating",
                                       [PATTERN_CONSTANT] = "constant",
                                       [PATTERN_OFF] = "off",
                                       NULL};

#define AT(member) offsetof(struct meter_entry, member)
#define SIZE(member) sizeof((struct meter_entry *)0)->member
static const struct key meter_keys[] = {
    {.name = "id",
     .type = TYPE_TEXT,
     .offset = AT(id),
     .size = SIZE(id),
     .required = true,
     .check = check_id,
     .help = "name of the meter; where there are N of them, ID-1 to ID-N"},
    {.name = "link",
     .type = TYPE_TEXT,
     .offset = AT(link),
     .size = SIZE(link),
     .required = true,
     .check = check_id,
     .help = "id of its link; of links with a count it stands on each"},
    {.name = "unit",
     .type = TYPE_INTEGER,
     .offset = AT(unit),
     .standard = "1",
     .minimum = 0,
     .maximum = 255,
     .help = "Modbus unit; 1 to 247 on a serial line"},
    {.name = "profile",
     .type = TYPE_TEXT,
     .offset = AT(profile),
     .size = SIZE(profile),
     .required = true,
     .help = "a profile's name, or a path where it holds a slash, relative to this file"},
    {.name = "units",
     .type = TYPE_NAMED,
     .offset = AT(units),
     .item = TYPE_TEXT,
     .size = 16,
     .most = PROFILE_CHANNELS_MAX,
     .names = channel_name_at,
     .help = "unit by channel, where the profile leaves it to the meter"},
    {.name = "word_order",
     .type = TYPE_CHOICE,
     .offset = AT(word_order),
     .choices = word_order_names,
     .help = "order of the bytes of all its numbers, in place of the profile's"},
    {.name = "count",
     .type = TYPE_INTEGER,
     .offset = AT(count),
     .standard = "1",
     .minimum = 1,
     .maximum = 247,
     .help = "so many on the link, with units that follow one another"},
    {.name = "values",
     .type = TYPE_CHOICE,
     .offset = AT(values),
     .standard = "model",
     .choices = values_choices,
     .help = "what the registers hold: the model's values, or a code of who was asked where and "
             "when"},
    {.name = "strict",
     .type = TYPE_BOOLEAN,
     .offset = AT(strict),
     .standard = "false",
     .help = "exception 2 for registers that the profile does not name (else zeros in gaps), 3 for "
             "more at once than its max_registers"},
    {.name = "capacity",
     .type = TYPE_NUMBER,
     .offset = AT(capacity),
     .standard = "100",
     .minimum = 0,
     .maximum = 1e6,
     .unit = "m3/h",
     .help = "the meter's qmax; kW, kg/h for other media"},
    {.name = "load",
     .type = TYPE_NUMBER,
     .offset = AT(load),
     .standard = "0.7",
     .minimum = 0,
     .maximum = 2,
     .help = "share of the capacity at full work"},
    {.name = "pattern",
     .type = TYPE_CHOICE,
     .offset = AT(pattern),
     .standard = "two-shift",
     .choices = patterns,
     .help = "the day: two shifts with breaks, a furnace, heating, exactly load x capacity, "
             "nothing"},
    {.name = "supply_kpa",
     .type = TYPE_NUMBER,
     .offset = AT(supply_kpa),
     .standard = "300",
     .minimum = 50,
     .maximum = 10000,
     .unit = "kPa",
     .help = "line pressure, absolute"},
    {.name = "base_pressure_kpa",
     .type = TYPE_NUMBER,
     .offset = AT(base_pressure_kpa),
     .standard = "101.325",
     .minimum = 50,
     .maximum = 200,
     .unit = "kPa",
     .help = "base conditions of the meter's own conversion"},
    {.name = "base_temperature_c",
     .type = TYPE_NUMBER,
     .offset = AT(base_temperature_c),
     .standard = "20",
     .minimum = -50,
     .maximum = 50,
     .unit = "degC",
     .help = "base conditions of the meter's own conversion"},
    {.name = "volume_base",
     .type = TYPE_NUMBER,
     .offset = AT(volume_base),
     .minimum = 0,
     .maximum = 1e12,
     .unit = "m3",
     .help = "index at start; absent: from the seed"},
    {.name = "volume_measured",
     .type = TYPE_NUMBER,
     .offset = AT(volume_measured),
     .minimum = 0,
     .maximum = 1e12,
     .unit = "m3",
     .help = "index at start, also of the counters of other media; absent: from the seed"},
    {.name = "serial_number",
     .type = TYPE_TEXT,
     .offset = AT(serial_number),
     .size = SIZE(serial_number),
     .help = "absent: six digits from the seed"},
    {.name = "reply_delay_ms",
     .type = TYPE_INTEGER,
     .offset = AT(reply_delay_ms),
     .standard = "0",
     .minimum = 0,
     .maximum = 60000,
     .unit = "ms",
     .help = "the meter's thinking time, beyond the wire's"},
    {.name = "sleep_after_s",
     .type = TYPE_NUMBER,
     .offset = AT(sleep_after_s),
     .standard = "0",
     .minimum = 0,
     .maximum = 86400,
     .unit = "s",
     .help = "the first request after so long a rest is lost; 0: none is"},
    {.name = "log_before_h",
     .type = TYPE_INTEGER,
     .offset = AT(log_before_h),
     .standard = "0",
     .minimum = 0,
     .maximum = SIM_LOG_BEFORE_MAX_H,
     .unit = "h",
     .help = "so much of what was before the start is in the meter's own log, where the profile "
             "has one"},
    {.name = "faults",
     .type = TYPE_LIST,
     .offset = AT(faults),
     .map = &fault_schema,
     .most = METER_FAULTS_MAX,
     .help = "faults from the start on"},
};
#undef AT
#undef SIZE

static const struct schema meter_schema = {
    .title = "meter",
    .help = "a simulated meter",
    .size = sizeof(struct meter_entry),
    .placed = true,
    .keys = meter_keys,
    .count = COUNT(meter_keys),
};

// ---- the file -----------------------------------------------------------------------------------

#define AT(member) offsetof(struct site_file, member)
static const struct key file_keys[] = {
    {.name = "site",
     .type = TYPE_MAP,
     .offset = AT(site),
     .map = &head_schema,
     .help = "the site as a whole"},
    {.name = "links",
     .type = TYPE_LIST,
     .offset = AT(links),
     .required = true,
     .map = &link_schema,
     .most = SITE_LINKS_MAX,
     .help = "TCP ports and serial buses"},
    {.name = "meters",
     .type = TYPE_LIST,
     .offset = AT(meters),
     .required = true,
     .map = &meter_schema,
     .most = SITE_METERS_MAX,
     .help = "the simulated meters"},
};
#undef AT

const struct schema site_schema = {
    .title = "metergate site file",
    .help = "simulated meters for `metergate simulate`",
    .size = sizeof(struct site_file),
    .placed = true,
    .keys = file_keys,
    .count = COUNT(file_keys),
};
