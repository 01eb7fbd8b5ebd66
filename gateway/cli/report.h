// Reports: what each of them is told by the command line.
#ifndef METERGATE_CLI_REPORT_H
#define METERGATE_CLI_REPORT_H

#include "base/catalogue.h"
#include "gas/gasday.h"
#include "store/store.h"

enum report_form { REPORT_TEXT, REPORT_CSV, REPORT_JSON };

struct report {
    struct store *store; // a reader
    char gateway[ID_SIZE];
    struct gas_calendar calendar;
    const char *meter;      // NULL: all
    enum span span;         // SPAN_DAY, SPAN_MONTH; 0: a year
    int64_t from_ms, to_ms; // the gas day, month or year
    char date[16];          // "2026-11-23", on which it begins; of a month "2026-11", "2026"
    enum report_form form;
    enum language language;
};

// Returns an exit status.
int report_completeness(struct report *report);
int report_usage(struct report *report); // day, month, year

// Sets span, from_ms, to_ms and date of the report `what` ("completeness" is of a day) for a --date
// (NULL: the newest one that is over). Returns an exit status.
int report_range(struct report *report, const char *what, const char *date);
// The period before that of `report`, and the same one a year before; false: there is none (29
// February, and of a year the one before is both). Everything else stays as it is in `report`.
bool report_range_last(const struct report *report, struct report *out);
bool report_range_year_ago(const struct report *report, struct report *out);

// "2026-11-23 06:00" of the site's clock.
const char *report_time(const struct report *report, int64_t at_ms, char text[static 20]);
// Prints a cell of a table, padded to a width on the terminal (Chinese takes two columns each).
void report_cell(const char *text, int width, bool right);
// The catalogue's words for a reason, else its code.
const char *report_why(uint16_t why, enum language language, char code[static WHY_TEXT_MAX]);

#endif
