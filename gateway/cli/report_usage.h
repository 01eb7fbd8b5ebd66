// The reports of a gas day, month or year: what was collected for them, and how it is printed.
#ifndef METERGATE_CLI_REPORT_USAGE_H
#define METERGATE_CLI_REPORT_USAGE_H

#include "base/decimal.h"
#include "cli/report.h"
#include "report/usage.h"
#include "store/walk.h"

// The period that is told, and those that it is compared with.
enum usage_which { USAGE_NOW, USAGE_LAST, USAGE_YEAR_AGO, USAGE_WHICH_END };

struct usage_entry {
    int number;
    char meter[ID_SIZE];
    char name[CONFIG_NAME_MAX]; // of the configuration, as the customer; "" without
    char customer[64];
    bool heating_known;
    int64_t heating_micro; // MJ/m3 at base conditions
    int alerts;
    int alerts_of_kind[ALERT_KINDS];
    struct usage usage[USAGE_WHICH_END];
};

struct usage_customer {
    char account[64];
    struct usage_total total;
};

// A sum of energies over meters that have one.
struct usage_energy {
    int known, unknown;
    int64_t micro_mj;
};

struct usage_sheet {
    struct report *report;
    int64_t configured_ms; // since when the stored configuration is; 0: there is none
    int customer_count;
    struct usage_customer *customers;
    bool is_compared[USAGE_WHICH_END]; // there is such a time
    struct report ranges[USAGE_WHICH_END];
    enum usage_which which; // that is being collected
    int count, room;
    struct usage_entry *list;
    struct usage_entry **of_number; // 65536 of them
    char site_counter[32];          // whose hours the site's are
    struct usage_total site[USAGE_WHICH_END];
    int alert_count, alert_room;
    struct walked_alert *alerts;
    bool failed; // no memory
};

// Each prints to stdout; -1 when memory is short.
int report_usage_text(const struct usage_sheet *sheet);
int report_usage_csv(const struct usage_sheet *sheet);
int report_usage_json(const struct usage_sheet *sheet);

const char *report_usage_which(enum usage_which which); // "this", "last", "year_ago"
// How a volume changed against an earlier one, as "-3.25"; "-" where either is not known, or where
// the period told is not over.
const char *report_usage_change(bool known, int64_t now_micro, int64_t before_micro,
                                char text[static DECIMAL_TEXT_MAX]);
// That of a counter of a meter, and of a sum of the site (-1: none).
const char *report_usage_counter_change(const struct usage_entry *entry, int counter,
                                        enum usage_which which, char text[static DECIMAL_TEXT_MAX]);
const char *report_usage_site_change(const struct usage_sheet *sheet, int sum,
                                     enum usage_which which, char text[static DECIMAL_TEXT_MAX]);
// Whether a sum over meters is one: of all of them.
bool report_usage_is_whole(const struct usage_sum *sum);

// Energy of what a meter used, MJ; false where it has none, or it is not known.
bool report_usage_energy(const struct usage_entry *entry, enum usage_which which,
                         int64_t *micro_mj);
// Of the meters of a customer; NULL: of all.
struct usage_energy report_usage_energies(const struct usage_sheet *sheet, const char *customer,
                                          enum usage_which which);
// Fills in what the stored configuration says of the meters; what it does not say stays unknown.
int report_usage_configure(struct usage_sheet *sheet, struct err *err);

// "month" …: of a period of it, "part" of its parts.
const char *report_usage_span(const struct report *report);
// Weekdays are told of what is longer than a gas day.
bool report_usage_has_weekdays(const struct report *report);
// Unit of a canonical channel.
const char *report_usage_unit(const char *channel);

#endif
