#include "cli/csv.h"

#include "base/decimal.h"
#include "base/timetext.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void csv_init(struct csv *csv, struct buf *out)
{
    *csv = (struct csv){.out = out};
}

void csv_nothing(struct csv *csv)
{
    if (csv->comma)
        buf_add_byte(csv->out, ',');
    csv->comma = true;
}

void csv_text(struct csv *csv, const char *text)
{
    csv_nothing(csv);
    if (strpbrk(text, ",\"\r\n") == NULL) {
        buf_add_text(csv->out, text);
        return;
    }
    buf_add_byte(csv->out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            buf_add_byte(csv->out, '"');
        buf_add_byte(csv->out, (uint8_t)*text);
    }
    buf_add_byte(csv->out, '"');
}

void csv_int(struct csv *csv, int64_t value)
{
    csv_nothing(csv);
    buf_addf(csv->out, "%" PRId64, value);
}

void csv_micro(struct csv *csv, int64_t micro)
{
    char text[DECIMAL_TEXT_MAX];
    csv_nothing(csv);
    buf_add(csv->out, text, micro_print(micro, text));
}

void csv_gauge(struct csv *csv, double number, bool exact)
{
    char text[GAUGE_TEXT_MAX];
    csv_nothing(csv);
    if (isfinite(number))
        buf_add(csv->out, text, gauge_print(number, exact, text));
}

void csv_time(struct csv *csv, int64_t wall_ms)
{
    char text[TIME_TEXT_MAX];
    csv_nothing(csv);
    buf_add(csv->out, text, time_print(wall_ms, text));
}

void csv_end(struct csv *csv)
{
    buf_add_byte(csv->out, '\n');
    csv->comma = false;
}
