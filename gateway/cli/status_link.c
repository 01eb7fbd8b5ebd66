#include "cli/status_text.h"

#include <stdbool.h>
#include <stdio.h>

static void print_counts(const char *name, const char *unit, const json_t *counts)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    const json_t *response = json_object_get(counts, "response_ms");
    printf("%-33s %5s %10" JSON_INTEGER_FORMAT " %10" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT
           " %7" JSON_INTEGER_FORMAT " %7" JSON_INTEGER_FORMAT " %6s %6s  ",
           name, unit, status_number(counts, "requests"), status_number(counts, "replies"),
           status_number(counts, "timeouts"), status_number(counts, "crc_errors"),
           status_number(counts, "frame_errors"), status_cell(response, "p50", a),
           status_cell(response, "p99", b));
    const char *code;
    json_t *count;
    int printed = 0;
    json_object_foreach(json_object_get(counts, "exceptions"), code, count)
    {
        printf("%s%s: %" JSON_INTEGER_FORMAT, printed > 0 ? ", " : "", code,
               json_integer_value(count));
        printed++;
    }
    puts(printed > 0 ? "" : "-");
}

static void print_meters(const json_t *bus)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    size_t index;
    json_t *meter;
    printf("\n%-33s %5s %10s %10s %9s %7s %7s %6s %6s  %s\n", "METER", "UNIT", "REQUESTS",
           "REPLIES", "TIMEOUTS", "CRC", "FRAME", "P50 ms", "P99 ms", "EXCEPTIONS");
    json_array_foreach(json_object_get(bus, "meters"), index, meter)
    {
        const json_t *counts = json_object_get(meter, "counts");
        print_counts(status_cell(meter, "meter", a), status_cell(meter, "unit", b), counts);
    }
    print_counts("all", "", json_object_get(bus, "counts"));
}

static void print_histogram(const json_t *counts)
{
    size_t index;
    json_t *bucket;
    if (status_number(counts, "requests") == 0)
        return;
    printf("\nRESPONSE TIME\n");
    json_array_foreach(json_object_get(counts, "histogram"), index, bucket)
    {
        char bound[CELL_SIZE];
        bool last = json_is_null(json_object_get(bucket, "up_to"));
        if (status_number(bucket, "count") > 0)
            printf("  %s %5s ms %10" JSON_INTEGER_FORMAT "\n", last ? "longer " : "up to  ",
                   last ? "" : status_cell(bucket, "up_to", bound), status_number(bucket, "count"));
    }
}

static void print_frames(const json_t *frames)
{
    char at[CELL_SIZE];
    char bytes[CELL_SIZE];
    char text[CELL_SIZE];
    size_t index;
    json_t *frame;
    if (json_array_size(frames) == 0)
        return;
    printf("\nNEWEST FRAMES\n");
    json_array_foreach(frames, index, frame)
    {
        bool sent = json_is_true(json_object_get(frame, "sent"));
        printf("%s %s %s\n  %s\n", status_cell(frame, "at", at), sent ? "->" : "<-",
               status_cell(json_object_get(frame, "text"), "en", text),
               status_cell(frame, "bytes", bytes));
    }
}

void status_link_print(const json_t *bus)
{
    char a[CELL_SIZE];
    char b[CELL_SIZE];
    char c[CELL_SIZE];
    bool open = json_is_true(json_object_get(bus, "open"));
    printf("Link     %s, %s, %s; busy %.1f %% of the last minute\n", status_cell(bus, "link", a),
           status_cell(bus, "url", b), open ? "open" : "closed",
           json_number_value(json_object_get(bus, "busy_percent")));
    if (open && json_is_true(json_object_get(bus, "on_second")))
        printf("         over its second address, %s: the first is not reached or silent\n",
               status_cell(bus, "second_url", c));
    if (json_string_length(json_object_get(bus, "error")) > 0)
        printf("         %s\n", status_cell(bus, "error", c));
    print_meters(bus);
    print_histogram(json_object_get(bus, "counts"));
    print_frames(json_object_get(bus, "frames"));
}
