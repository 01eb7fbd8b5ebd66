// The configuration: one YAML file, checked whole, then immutable. Every part of the program reads
// this.
//
// A struct config is shared by reference count: a reload makes a new one, parts that did not change
// keep the old.
#ifndef METERGATE_CONFIG_CONFIG_H
#define METERGATE_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "drivers/link_url.h"
#include "drivers/modem.h"
#include "drivers/profile.h"

#include <stdio.h>

#define CONFIG_LINKS_MAX 900
#define CONFIG_METERS_MAX 4096
#define CONFIG_TEXT_MAX (8 * 1024 * 1024) // bytes of the file
#define CONFIG_NAME_MAX 128
#define CONFIG_PATH_MAX 256

enum gas_method { GAS_SGERG88, GAS_FIXED };

struct config_gas {
    double base_pressure_kpa;
    double base_temperature_c;
    enum gas_method method;
    double heating_value_mj_m3;
    char heating_value_reference[16]; // "25/0", "20/20" …
    double relative_density;
    double co2_mol_percent;
    double h2_mol_percent;
    double compressibility_ratio; // with GAS_FIXED
    double altitude_m;            // of a gauge pressure sensor; NaN where absent
};

struct config_link {
    char id[ID_SIZE];
    char url_text[CONFIG_PATH_MAX];
    struct link_url url;
    char second_url_text[CONFIG_PATH_MAX]; // "" without
    struct link_url second_url;
    struct modem modem;      // where url.listen
    int response_timeout_ms; // default 500
    int pause_ms;            // default 0
    bool echo;               // a two-wire adapter that hears itself: requests come back
    bool rs485;              // the kernel's driver switches between sending and listening
    int retries;             // default 1: how often a failed request is asked again within one poll
};

struct meter {
    char id[ID_SIZE];
    char name[CONFIG_NAME_MAX];
    int link; // index in config.links
    int unit; // 0 to 255 over TCP, 1 to 247 on a serial bus
    char profile_name[CONFIG_PATH_MAX];
    struct profile *profile; // units from the configuration are resolved in it; the
                             // configuration's own, never changed
    char units[PROFILE_CHANNELS_MAX]
              [16];     // unit per profile channel where it is set by the meter entry, else ""
    char word_order[8]; // "CDAB" where the meter entry sets it in place of the profile's, else ""
    bool unverified;    // profile not verified and no display_checked
    char display_checked[16]; // a date, or ""
    int interval_s;           // default 60
    int priority;             // 1 to 5, default 3: 5 keeps its interval longest on a full link
    char customer[64];
    double qmin_m3_h, qmax_m3_h; // NaN where absent
    struct config_gas gas;
};

struct config_office {
    bool present;
    char url[CONFIG_PATH_MAX]; // mqtts://HOST:PORT, or mqtt:// to loopback
    char ca[CONFIG_PATH_MAX], certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
    char username[CONFIG_NAME_MAX], password_file[CONFIG_PATH_MAX];
    char client_id[64];  // the gateway's id where absent
    char prefix[128];    // default metergate/v1
    int summary_minutes; // 1, 5, 15, 30, 60; default 15
    bool raw_readings;
    bool accept_unsubscribed; // unsubscribed: accept
    bool keep_unconfirmed;    // acknowledge: office
    char command_key[CONFIG_PATH_MAX];
};

// Which rules watch; all do unless switched off.
struct config_detect {
    bool no_answer, link_down, over_range, meter_exchanged, conversion_mismatch;
    bool flow_mismatch, sensor_stuck;
};

struct config {
    int references; // atomic; use config_ref and config_unref
    char gateway_id[ID_SIZE];
    char gateway_name[CONFIG_NAME_MAX];
    char timezone[64];         // an IANA zone that this machine has
    int gas_day_start_minutes; // 0 to 1425, a multiple of 15; default 360
    struct config_gas gas;
    int link_count;
    struct config_link *links;
    int meter_count;
    struct meter *meters;
    int profile_count;
    struct profile **profiles; // what the meters point to; meters that read alike share one
    struct config_office office;
    struct config_detect detect;
    char grading_policy[CONFIG_PATH_MAX], grading_customers[CONFIG_PATH_MAX]; // "" where absent
    char web_listen[64]; // default 0.0.0.0:8443
    char web_certificate[CONFIG_PATH_MAX], web_key[CONFIG_PATH_MAX];
    char web_metrics_token_file[CONFIG_PATH_MAX]; // "": no /metrics
    int store_raw_days;                           // default 90
    int store_max_size_mb;                        // default 4096
    int store_commit_ms;                          // default 1000
    char revision[17];                            // first 16 hex digits of the SHA-256 of the text
    char *text;                                   // the file as it was read
    size_t text_length;
};

struct config *config_ref(struct config *config);
void config_unref(struct config *config); // NULL is fine

// One fault of a file. `line` and `column` are 1-based, 0 where a fault has no place of its own.
struct fault {
    char file[CONFIG_PATH_MAX];
    int line, column;
    char path[160];    // "meters[3].unit"
    char message[320]; // what is wrong, what is allowed
};

#define FAULTS_MAX 200 // more are counted, not kept

struct faults {
    int count; // all found; the first FAULTS_MAX are in list
    struct fault list[FAULTS_MAX];
};

#define FAULT_TEXT_MAX (CONFIG_PATH_MAX + 160 + 320 + 32)
// "FILE:LINE:COLUMN: PATH: MESSAGE" (contract, section 2). What is wrong with the file as a whole
// stands at its beginning.
void fault_text(const struct fault *fault, char text[static FAULT_TEXT_MAX]);
// All kept faults, a line each, and how many more there are.
void faults_print(const struct faults *faults, FILE *out);

// Where profiles are sought, in order: `directory` (--profiles) if not NULL, ../drivers/profiles
// beside the binary, the package's share folder.
struct config_search {
    const char *directory;
};

// Loads and checks a whole file. On success *out holds one reference and `faults` is empty;
// otherwise -1, *out untouched, and every fault is in `faults` (at least one).
int config_load(const char *path, const struct config_search *search, struct config **out,
                struct faults *faults);
// The same from text; `path` names it in faults and anchors relative paths.
int config_load_text(const char *path, const char *text, size_t length,
                     const struct config_search *search, struct config **out,
                     struct faults *faults);

// Loads one profile by name or path. On success *out is the caller's, freed with profile_free.
int profile_load(const char *name, const char *beside, const struct config_search *search,
                 struct profile **out, struct faults *faults);
// From text (a stored revision). `units` of the meter entry are applied by profile_set_unit.
int profile_load_text(const char *path, const char *text, size_t length, struct profile **out,
                      struct faults *faults);
void profile_free(struct profile *profile);
// Resolves `unit: config` of one channel. -1 with a message when the unit does not fit the channel.
int profile_set_unit(struct profile *profile, int channel, const char *unit, struct err *err);

// Whether two configurations say the same of one link and all its meters: then its thread can go on
// untouched.
bool config_link_equal(const struct config *a, int link_a, const struct config *b, int link_b);

// Whether two configurations mean the same MQTT session: then it can stay connected.
bool config_office_equal(const struct config *a, const struct config *b);

// How to open the wire of a link.
struct wire_settings;
void config_wire_settings(const struct config_link *link, struct wire_settings *out);

// Index of a meter or link by id, -1 when there is none.
int config_meter_find(const struct config *config, const char *id);
int config_link_find(const struct config *config, const char *id);

#endif
