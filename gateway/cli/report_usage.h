// The reports of a gas day, month or year: what was collected for them, and how it is printed.
#ifndef METERGATE_CLI_REPORT_USAGE_H
#define METERGATE_CLI_REPORT_USAGE_H

#include "cli/report.h"
#include "report/usage.h"
#include "store/walk.h"

struct usage_entry {
    int number;
    char meter[ID_SIZE];
    int alerts;
    int alerts_of_kind[ALERT_KINDS];
    struct usage usage;
};

struct usage_sheet {
    struct report *report;
    int count, room;
    struct usage_entry *list;
    struct usage_entry **of_number; // 65536 of them
    char site_counter[32];          // whose hours the site's are
    struct usage_total site;
    int alert_count, alert_room;
    struct walked_alert *alerts;
    bool failed; // no memory
};

// Each prints to stdout; -1 when memory is short.
int report_usage_text(const struct usage_sheet *sheet);
int report_usage_csv(const struct usage_sheet *sheet);
int report_usage_json(const struct usage_sheet *sheet);

// "month" …: of a period of it, "part" of its parts.
const char *report_usage_span(const struct report *report);
// Weekdays are told of what is longer than a gas day.
bool report_usage_has_weekdays(const struct report *report);
// Unit of a canonical channel.
const char *report_usage_unit(const char *channel);

#endif
