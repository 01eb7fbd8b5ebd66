// The configuration's table: gateway, office, page, store, rules and the top level.
#include "config/config_table.h"

#include "config/address.h"
#include "gas/zone.h"

#include <string.h>

static int check_timezone(const char *text, struct err *err)
{
    if (!zone_exists(text)) {
        return err_set(err,
                       "this machine has no time zone '%s'; allowed: an IANA name like "
                       "Asia/Shanghai (timedatectl list-timezones prints them)",
                       text);
    }
    return 0;
}

// ---- gateway ------------------------------------------------------------------------------------

static const struct key gateway_keys[] = {
    {.name = "id",
     KEY_TEXT(struct draft, config.gateway_id),
     .required = true,
     .pattern = CONFIG_ID_PATTERN,
     .form = CONFIG_ID_FORM,
     .check = config_id_check,
     .help = "Name of this gateway in topics and messages; unique in the company. Another id "
             "begins a new stream.",
     .restarts = RESTARTS_PROGRAM},
    {.name = "name",
     KEY_TEXT(struct draft, config.gateway_name),
     .help = "Name for people, on the page and in messages.",
     .restarts = RESTARTS_NOTHING},
    {.name = "timezone",
     KEY_TEXT(struct draft, config.timezone),
     .required = true,
     .form = "an IANA name like Asia/Shanghai",
     .check = check_timezone,
     .help = "Time zone of the site (IANA); the gas day is counted in it.",
     .restarts = RESTARTS_PROGRAM},
    {.name = "gas_day_start",
     KEY_TEXT(struct draft, gas_day_start),
     .standard = "06:00",
     .pattern = "^([01][0-9]|2[0-3]):(00|15|30|45)$",
     .form = "HH:MM from 00:00 to 23:45, a multiple of 15 minutes",
     .unit = "local time",
     .help = "When the gas day begins.",
     .restarts = RESTARTS_PROGRAM},
};

static const struct schema gateway_schema = {
    .title = "gateway",
    .help = "This appliance and its site.",
    .size = sizeof(struct draft),
    .keys = gateway_keys,
    .count = KEYS_COUNT(gateway_keys),
};

// ---- office -------------------------------------------------------------------------------------

static const char *const summary_minutes[] = {"1", "5", "15", "30", "60", NULL};
static const char *const unsubscribed[] = {"hold", "accept", NULL};
static const char *const acknowledge[] = {"puback", "office", NULL};

static const struct key office_keys[] = {
    {.name = "url",
     KEY_TEXT(struct draft, config.office.url),
     .required = true,
     .pattern = "^mqtts?://",
     .form = "mqtts://HOST:PORT, or mqtt://HOST:PORT on this machine",
     .check = office_url_check,
     .help = "Head office's MQTT broker.",
     .restarts = RESTARTS_OFFICE},
    {.name = "ca",
     KEY_TEXT(struct draft, config.office.ca),
     .form = "a path",
     .help = "File of the certificates that the broker's certificate is checked against (PEM); "
             "needed with mqtts://.",
     .restarts = RESTARTS_OFFICE},
    {.name = "certificate",
     KEY_TEXT(struct draft, config.office.certificate),
     .form = "a path",
     .help = "File of this gateway's certificate (PEM); with key.",
     .restarts = RESTARTS_OFFICE},
    {.name = "key",
     KEY_TEXT(struct draft, config.office.key),
     .form = "a path",
     .help = "File of the certificate's private key (PEM, mode 0600).",
     .restarts = RESTARTS_OFFICE},
    {.name = "username",
     KEY_TEXT(struct draft, config.office.username),
     .help = "User name at the broker; with password_file.",
     .restarts = RESTARTS_OFFICE},
    {.name = "password_file",
     KEY_TEXT(struct draft, config.office.password_file),
     .form = "a path",
     .help = "File of the password (mode 0600).",
     .restarts = RESTARTS_OFFICE},
    {.name = "client_id",
     KEY_TEXT(struct draft, config.office.client_id),
     .pattern = "^[A-Za-z0-9._-]+$",
     .form = "A-Z, a-z, 0-9, '.', '_' and '-'; the gateway's id where absent",
     .help = "MQTT client identifier.",
     .restarts = RESTARTS_OFFICE},
    {.name = "prefix",
     KEY_TEXT(struct draft, config.office.prefix),
     .standard = "metergate/v1",
     .pattern = "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
     .form = "levels of A-Z, a-z, 0-9, '.', '_' and '-', with / between them",
     .help = "First levels of every topic.",
     .restarts = RESTARTS_OFFICE},
    {.name = "summary_minutes",
     .type = TYPE_INTEGER,
     KEY_IN(struct draft, config.office.summary_minutes),
     .standard = "15",
     .choices = summary_minutes,
     .unit = "min",
     .help = "Length of the periods that the feed reports.",
     .restarts = RESTARTS_OFFICE},
    {.name = "raw_readings",
     .type = TYPE_BOOLEAN,
     KEY_IN(struct draft, config.office.raw_readings),
     .standard = "false",
     .help = "Whether every reading is sent as well.",
     .restarts = RESTARTS_OFFICE},
    {.name = "unsubscribed",
     .type = TYPE_CHOICE,
     KEY_IN(struct draft, unsubscribed),
     .standard = "hold",
     .choices = unsubscribed,
     .help = "When the broker says that nobody subscribes: hold the message, or accept it as sent "
             "(for a broker whose rule engine consumes).",
     .restarts = RESTARTS_OFFICE},
    {.name = "acknowledge",
     .type = TYPE_CHOICE,
     KEY_IN(struct draft, acknowledge),
     .standard = "puback",
     .choices = acknowledge,
     .help = "What lets a sent row go when it is old: puback, the broker's acknowledgement; "
             "office, head office's command feed-acknowledge, which says what its database has.",
     .restarts = RESTARTS_NOTHING},
    {.name = "command_key",
     KEY_TEXT(struct draft, config.office.command_key),
     .form = "a path",
     .help = "File of the Ed25519 public key that commands are signed for (PEM); without it they "
             "are refused.",
     .restarts = RESTARTS_OFFICE},
};

static const struct schema office_schema = {
    .title = "office",
    .help = "Where readings, summaries and alerts go. Without it nothing is queued for sending.",
    .size = sizeof(struct draft),
    .keys = office_keys,
    .count = KEYS_COUNT(office_keys),
};

// ---- page, store, rules, grading ----------------------------------------------------------------

static const struct key web_keys[] = {
    {.name = "listen",
     KEY_TEXT(struct draft, config.web_listen),
     .standard = "0.0.0.0:8443",
     .form = "IP:PORT",
     .check = listen_check,
     .help = "Where the page is served, always over HTTPS.",
     .restarts = RESTARTS_PAGE},
    {.name = "certificate",
     KEY_TEXT(struct draft, config.web_certificate),
     .form = "a path",
     .help = "File of the page's certificate (PEM); with key. One is made at first start where "
             "none is named.",
     .restarts = RESTARTS_PAGE},
    {.name = "key",
     KEY_TEXT(struct draft, config.web_key),
     .form = "a path",
     .help = "File of the certificate's private key (PEM, mode 0600).",
     .restarts = RESTARTS_PAGE},
    {.name = "metrics_token_file",
     KEY_TEXT(struct draft, config.web_metrics_token_file),
     .form = "a path",
     .help = "File with a token of 16 to 128 characters (mode 0600). With it as the bearer token "
             "Prometheus may read /metrics; without it nobody may.",
     .restarts = RESTARTS_NOTHING},
};

static const struct schema web_schema = {
    .title = "web",
    .help = "The page.",
    .size = sizeof(struct draft),
    .keys = web_keys,
    .count = KEYS_COUNT(web_keys),
};

static const struct key store_keys[] = {
    {.name = "raw_days",
     .type = TYPE_INTEGER,
     KEY_IN(struct draft, config.store_raw_days),
     .standard = "90",
     .minimum = 1,
     .maximum = 3660,
     .unit = "d",
     .help = "How long single readings are kept; periods stay.",
     .restarts = RESTARTS_NOTHING},
    {.name = "max_size_mb",
     .type = TYPE_INTEGER,
     KEY_IN(struct draft, config.store_max_size_mb),
     .standard = "4096",
     .minimum = 16,
     .maximum = 1048576,
     .unit = "MB",
     .help = "Largest size of the store on disk.",
     .restarts = RESTARTS_NOTHING},
    {.name = "commit_ms",
     .type = TYPE_INTEGER,
     KEY_IN(struct draft, config.store_commit_ms),
     .standard = "1000",
     .minimum = 10,
     .maximum = 60000,
     .unit = "ms",
     .help = "How long a reading waits at most before it is on disk: what a power cut can take.",
     .restarts = RESTARTS_NOTHING},
};

static const struct schema store_schema = {
    .title = "store",
    .help = "The database on this machine.",
    .size = sizeof(struct draft),
    .keys = store_keys,
    .count = KEYS_COUNT(store_keys),
};

#define RULE(member)                                                                               \
    {                                                                                              \
        {.name = "enabled",                                                                        \
         .type = TYPE_BOOLEAN,                                                                     \
         KEY_IN(struct draft, config.detect.member),                                               \
         .standard = "true",                                                                       \
         .help = "Whether the rule watches.",                                                      \
         .restarts = RESTARTS_NOTHING},                                                            \
    }

static const struct key no_answer_keys[] = RULE(no_answer);
static const struct key link_down_keys[] = RULE(link_down);
static const struct key over_range_keys[] = RULE(over_range);
static const struct key meter_exchanged_keys[] = RULE(meter_exchanged);
static const struct key conversion_mismatch_keys[] = RULE(conversion_mismatch);
static const struct key flow_mismatch_keys[] = RULE(flow_mismatch);
static const struct key sensor_stuck_keys[] = RULE(sensor_stuck);

static const struct schema no_answer_schema = {
    .title = "no-answer",
    .help = "A meter missed three due times in a row.",
    .size = sizeof(struct draft),
    .keys = no_answer_keys,
    .count = KEYS_COUNT(no_answer_keys),
};
static const struct schema link_down_schema = {
    .title = "link-down",
    .help = "Every meter of a link with two or more is silent.",
    .size = sizeof(struct draft),
    .keys = link_down_keys,
    .count = KEYS_COUNT(link_down_keys),
};
static const struct schema over_range_schema = {
    .title = "over-range",
    .help = "The flow at line conditions is above qmax_m3_h for 5 minutes, or above 1.2 times of "
            "it.",
    .size = sizeof(struct draft),
    .keys = over_range_keys,
    .count = KEYS_COUNT(over_range_keys),
};

static const struct schema meter_exchanged_schema = {
    .title = "meter-exchanged",
    .help = "A meter has another serial number than before: a new series begins in any case.",
    .size = sizeof(struct draft),
    .keys = meter_exchanged_keys,
    .count = KEYS_COUNT(meter_exchanged_keys),
};

static const struct schema conversion_mismatch_schema = {
    .title = "conversion-mismatch",
    .help = "Over an hour or a day volume_base advances by another factor of volume_measured than "
            "follows from pressure, temperature and gas: by more than 0.5 %, or 1 %.",
    .size = sizeof(struct draft),
    .keys = conversion_mismatch_keys,
    .count = KEYS_COUNT(conversion_mismatch_keys),
};

static const struct schema flow_mismatch_schema = {
    .title = "flow-mismatch",
    .help = "Over an hour or a day a counter advances otherwise than the flow beside it says: by "
            "more than 5 %, or 20 %.",
    .size = sizeof(struct draft),
    .keys = flow_mismatch_keys,
    .count = KEYS_COUNT(flow_mismatch_keys),
};

static const struct schema sensor_stuck_schema = {
    .title = "sensor-stuck",
    .help = "Pressure or temperature stands still to the last bit for 24 hours while gas flows.",
    .size = sizeof(struct draft),
    .keys = sensor_stuck_keys,
    .count = KEYS_COUNT(sensor_stuck_keys),
};

static const struct key detect_keys[] = {
    {.name = "no-answer",
     .type = TYPE_MAP,
     .map = &no_answer_schema,
     .help = "A meter does not answer.",
     .restarts = RESTARTS_NOTHING},
    {.name = "link-down",
     .type = TYPE_MAP,
     .map = &link_down_schema,
     .help = "No meter of a link answers.",
     .restarts = RESTARTS_NOTHING},
    {.name = "over-range",
     .type = TYPE_MAP,
     .map = &over_range_schema,
     .help = "More flow than the meter may carry.",
     .restarts = RESTARTS_NOTHING},
    {.name = "meter-exchanged",
     .type = TYPE_MAP,
     .map = &meter_exchanged_schema,
     .help = "Another meter stands where one stood.",
     .restarts = RESTARTS_NOTHING},
    {.name = "conversion-mismatch",
     .type = TYPE_MAP,
     .map = &conversion_mismatch_schema,
     .help = "A corrector converts otherwise than its own pressure and temperature say.",
     .restarts = RESTARTS_NOTHING},
    {.name = "flow-mismatch",
     .type = TYPE_MAP,
     .map = &flow_mismatch_schema,
     .help = "A counter does not advance as the meter's flow says.",
     .restarts = RESTARTS_NOTHING},
    {.name = "sensor-stuck",
     .type = TYPE_MAP,
     .map = &sensor_stuck_schema,
     .help = "A sensor stands still while gas flows.",
     .restarts = RESTARTS_NOTHING},
};

static const struct schema detect_schema = {
    .title = "detect",
    .help = "The rules that look for anomalies.",
    .size = sizeof(struct draft),
    .keys = detect_keys,
    .count = KEYS_COUNT(detect_keys),
};

static const struct key grading_keys[] = {
    {.name = "policy",
     KEY_TEXT(struct draft, config.grading_policy),
     .form = "a path",
     .help = "File of the grading policy, relative to this file. Not read by this version.",
     .restarts = RESTARTS_NOTHING},
    {.name = "customers",
     KEY_TEXT(struct draft, config.grading_customers),
     .form = "a path",
     .help = "File of the customers (CSV), relative to this file. Not read by this version.",
     .restarts = RESTARTS_NOTHING},
};

static const struct schema grading_schema = {
    .title = "grading",
    .help = "Grading of customers.",
    .size = sizeof(struct draft),
    .keys = grading_keys,
    .count = KEYS_COUNT(grading_keys),
};

// ---- top level ----------------------------------------------------------------------------------

static const struct key config_keys[] = {
    {.name = "gateway",
     .type = TYPE_MAP,
     .required = true,
     .map = &gateway_schema,
     .help = "This appliance and its site.",
     .restarts = RESTARTS_PROGRAM},
    {.name = "gas",
     .type = TYPE_MAP,
     KEY_IN(struct draft, config.gas),
     .map = &gas_schema,
     .help = "Base conditions and properties of the gas.",
     .restarts = RESTARTS_METER},
    {.name = "links",
     .type = TYPE_LIST,
     KEY_IN(struct draft, links),
     .map = &link_schema,
     .most = CONFIG_LINKS_MAX,
     .help = "Modbus paths.",
     .restarts = RESTARTS_LINK},
    {.name = "meters",
     .type = TYPE_LIST,
     KEY_IN(struct draft, meters),
     .map = &meter_schema,
     .most = CONFIG_METERS_MAX,
     .help = "Meters.",
     .restarts = RESTARTS_METER},
    {.name = "office",
     .type = TYPE_MAP,
     .map = &office_schema,
     .help = "Head office's broker.",
     .restarts = RESTARTS_OFFICE},
    {.name = "web",
     .type = TYPE_MAP,
     .map = &web_schema,
     .help = "The page.",
     .restarts = RESTARTS_PAGE},
    {.name = "store",
     .type = TYPE_MAP,
     .map = &store_schema,
     .help = "The database.",
     .restarts = RESTARTS_NOTHING},
    {.name = "detect",
     .type = TYPE_MAP,
     .map = &detect_schema,
     .help = "The rules that look for anomalies.",
     .restarts = RESTARTS_NOTHING},
    {.name = "grading",
     .type = TYPE_MAP,
     .map = &grading_schema,
     .help = "Grading of customers.",
     .restarts = RESTARTS_NOTHING},
};

const struct schema config_schema = {
    .title = "metergate configuration",
    .help = "One YAML file describes a gateway: its site, links, meters, office, page and store.",
    .size = sizeof(struct draft),
    .placed = true,
    .keys = config_keys,
    .count = KEYS_COUNT(config_keys),
};
