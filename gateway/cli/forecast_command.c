// metergate forecast: CSV `timestamp,value` on stdin to H rows `timestamp,forecast` on stdout.
#include "cli/cli.h"
#include "cli/csv.h"

#include "base/timetext.h"
#include "gas/forecast.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HORIZON_MAX 10000
#define LINE_BYTES_MAX 256
#define STEP_ROWS 512        // rows from which the step is found
#define BACK_AGAIN_S 7776000 // clocks are set back once a year: never twice in 90 days
#define OUTPUT_BYTES_MAX 1048576

static const char help[] =
    "usage: metergate forecast --horizon H [--mean] [--band] < CSV\n"
    "\n"
    "Forecasts an evenly spaced series (consumption by the hour, the quarter hour, the day). Reads "
    "CSV\n"
    "with the header timestamp,value from stdin (YYYY-MM-DD HH:MM:SS, steps of 5 minutes to a day) "
    "and\n"
    "prints H rows timestamp,forecast that follow the last row.\n"
    "\n"
    "  --horizon H  rows to forecast, 1 to 10000\n"
    "  --mean       the mean, for totals and for days left; without it the median, which has the\n"
    "               least absolute error of each row\n"
    "  --band       two columns more, low and high: four of five values lie between, by how the\n"
    "               method itself did in the newest weeks\n"
    "  -h, --help   print this help\n"
    "\n"
    "An empty value or nan, and a row left out, is a gap. Times are taken as a clock on the wall "
    "shows\n"
    "them: the hour that is there twice when daylight saving ends counts once, as the mean. The "
    "newest\n"
    "2016 steps count (12 weeks of hours); at least a day of values is needed.\n"
    "\n"
    "Exit status: 0 forecast; 1 the input is at fault (its line is named) or too short; 2 wrong "
    "usage.\n";

// The rows as they come: the first are held back until the step is known.
struct input {
    struct forecast forecast;
    bool begun; // the step is known
    int64_t line;
    int held;
    struct row {
        int64_t line, wall_s;
        double value;
    } row[STEP_ROWS];
    int64_t last_s, back_s; // newest row; when the clock was last set back
    bool was_back;
};

static int fault(int64_t line, const char *what, const char *text)
{
    return cli_problem("forecast", "line %" PRId64 ": %s%s%s", line, what, text ? ": " : "",
                       text ? text : "");
}

static void wall_text(int64_t wall_s, char text[static TIME_TEXT_MAX])
{
    (void)time_print(wall_s * 1000, text);
    text[10] = ' ';
    text[19] = '\0';
}

// "2026-11-23 08:15:00", with T, without seconds, a date alone; a zone is passed over, because only
// what the clock on the wall shows counts.
static int wall_parse(const char *text, int64_t *wall_s)
{
    char whole[LINE_BYTES_MAX + 8];
    size_t length = strlen(text);
    (void)snprintf(whole, sizeof whole, "%s%s", text,
                   length == 16   ? ":00Z"
                   : length == 19 ? "Z"
                                  : "");
    if (length > 10 && whole[10] == ' ')
        whole[10] = 'T';
    int64_t at_ms = 0;
    if (time_parse(whole, &at_ms) != 0)
        return -1;
    if (length > 19) {
        (void)snprintf(whole + 19, sizeof whole - 19, "Z");
        if (time_parse(whole, &at_ms) != 0)
            return -1;
    }
    *wall_s = at_ms / 1000;
    return 0;
}

static int value_parse(const char *text, double *value)
{
    char *end = NULL;
    *value = NAN;
    if (*text == '\0')
        return 0;
    *value = strtod(text, &end);
    while (isspace((unsigned char)*end))
        end++;
    return *end == '\0' && end != text ? 0 : -1;
}

static int row_push(struct input *input, const struct row *row)
{
    struct forecast *forecast = &input->forecast;
    int64_t step = row->wall_s - input->last_s;
    bool first = !forecast->any;
    if (!first && step <= 0 && step > -3600 && (step + 3600) % forecast->step_s == 0 &&
        step + 3600 >= forecast->step_s &&
        (!input->was_back || row->wall_s - input->back_s > BACK_AGAIN_S)) {
        input->was_back = true;
        input->back_s = row->wall_s;
    } else if (!first && step <= 0)
        return fault(row->line, "not later than the row before; rows must ascend", NULL);
    else if (!first && step % forecast->step_s != 0) {
        char text[64];
        (void)snprintf(text, sizeof text, "%" PRId64 " s after the row before, the step is %d s",
                       step, forecast->step_s);
        return fault(row->line, "not evenly spaced", text);
    }
    if (forecast_push(forecast, row->wall_s, row->value) != 0)
        return fault(row->line, "farther back than an hour", NULL);
    input->last_s = row->wall_s;
    return EXIT_DONE;
}

// The commonest distance of the first rows, the lesser of two; 0 without any.
static int64_t step_of(const struct input *input)
{
    int64_t step = 0;
    int most = 0;
    for (int i = 1; i < input->held; i++) {
        int64_t one = input->row[i].wall_s - input->row[i - 1].wall_s;
        int alike = 0;
        for (int k = 1; k < input->held; k++)
            alike += input->row[k].wall_s - input->row[k - 1].wall_s == one;
        if (one > 0 && (alike > most || (alike == most && one < step))) {
            step = one;
            most = alike;
        }
    }
    return step;
}

// The step is known, or never will be: what was held back is pushed.
static int input_begin(struct input *input)
{
    int64_t step = step_of(input);
    if (step == 0)
        return cli_problem("forecast",
                           "no forecast: %d rows tell no step and no habit; give at "
                           "least a day of values",
                           input->held);
    if (step > FORECAST_STEP_MAX_S || !forecast_step_valid((int)step))
        return cli_problem("forecast",
                           "rows are %" PRId64 " s apart: steps of 5 minutes to a day can be "
                           "forecast, a whole number of them to a day",
                           step);
    forecast_init(&input->forecast, (int)step, input->row[0].wall_s);
    input->begun = true;
    for (int i = 0; i < input->held; i++) {
        int status = row_push(input, &input->row[i]);
        if (status != EXIT_DONE)
            return status;
    }
    return EXIT_DONE;
}

static int line_take(struct input *input, char *text)
{
    struct row row = {.line = input->line};
    char *comma = strchr(text, ',');
    if (comma == NULL)
        return fault(row.line, "a row is timestamp,value", text);
    *comma = '\0';
    if (wall_parse(text, &row.wall_s) != 0)
        return fault(row.line, "no time like 2026-11-23 08:00:00", text);
    if (value_parse(comma + 1, &row.value) != 0)
        return fault(row.line, "the value is no number", comma + 1);
    if (input->begun)
        return row_push(input, &row);
    input->row[input->held++] = row;
    return input->held == STEP_ROWS ? input_begin(input) : EXIT_DONE;
}

static int input_read(struct input *input, FILE *in)
{
    char text[LINE_BYTES_MAX];
    while (fgets(text, sizeof text, in) != NULL) {
        input->line++;
        if (strchr(text, '\n') == NULL && !feof(in))
            return fault(input->line, "longer than any row may be", NULL);
        text[strcspn(text, "\r\n")] = '\0';
        int status = EXIT_DONE;
        if (input->line == 1) {
            char *header = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
            if (strcmp(header, "timestamp,value") != 0)
                status = fault(1, "the header must be timestamp,value", header);
        } else if (text[0] != '\0')
            status = line_take(input, text);
        if (status != EXIT_DONE)
            return status;
    }
    if (ferror(in))
        return cli_problem("forecast", "cannot read stdin: %s", strerror(errno));
    return input->begun ? EXIT_DONE : input_begin(input);
}

static int forecast_print(const struct forecast *forecast, int horizon, bool mean, bool band)
{
    static struct forecast_model model;
    struct buf out;
    struct csv csv;
    buf_init(&out, OUTPUT_BYTES_MAX);
    csv_init(&csv, &out);
    forecast_learn(forecast, mean, &model);
    buf_add_text(&out, band ? "timestamp,forecast,low,high\n" : "timestamp,forecast\n");
    for (int ahead = 1; ahead <= horizon; ahead++) {
        char text[TIME_TEXT_MAX];
        struct forecast_point point = forecast_predict(forecast, &model, ahead);
        wall_text(forecast_time(forecast, ahead), text);
        csv_text(&csv, text);
        csv_gauge(&csv, point.value, false);
        if (band) {
            csv_gauge(&csv, point.low, false);
            csv_gauge(&csv, point.high, false);
        }
        csv_end(&csv);
    }
    bool written =
        !out.failed && fwrite(out.data, 1, out.length, stdout) == out.length && fflush(stdout) == 0;
    buf_release(&out);
    return written ? EXIT_DONE : cli_problem("forecast", "cannot write the rows");
}

static int horizon_parse(const char *text)
{
    char *end = NULL;
    errno = 0;
    long rows = strtol(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && rows >= 1 && rows <= HORIZON_MAX ? (int)rows
                                                                                         : 0;
}

int forecast_main(int argc, char **argv)
{
    static const struct option longs[] = {{"horizon", required_argument, NULL, 'H'},
                                          {"mean", no_argument, NULL, 'm'},
                                          {"band", no_argument, NULL, 'b'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    static struct input input;
    int horizon = 0, option;
    bool mean = false, band = false;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        }
        if (option == '?')
            return cli_usage("forecast", "unknown option or missing value: %s", argv[optind - 1]);
        if (option == 'H' && (horizon = horizon_parse(optarg)) == 0)
            return cli_usage("forecast", "--horizon takes 1 to %d rows, not '%s'", HORIZON_MAX,
                             optarg);
        mean = mean || option == 'm';
        band = band || option == 'b';
    }
    if (optind < argc)
        return cli_usage("forecast", "'%s' is too much: the series comes on stdin", argv[optind]);
    if (horizon == 0)
        return cli_usage("forecast", "--horizon is needed");
    int status = input_read(&input, stdin);
    if (status != EXIT_DONE)
        return status;
    if (!forecast_ready(&input.forecast))
        return cli_problem("forecast",
                           "no forecast: at least a day of values is needed, and three");
    return forecast_print(&input.forecast, horizon, mean, band);
}
