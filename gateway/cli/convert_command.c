// metergate convert: Z, Zb, the conversion factor and base volumes; CSV in, CSV out (contract,
// section 6), or one state by options. A row at a time: a file of any length needs no more memory.
#include "cli/cli.h"
#include "cli/convert_row.h"
#include "cli/csv.h"
#include "cli/csv_reader.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULTS "z,z_base,conversion_factor,volume_base,error"
#define RESULT_DIGITS 12
#define LINE_BYTES_MAX (2 * CSV_ROW_BYTES_MAX + 1024) // a row in which each byte is a quote
#define OPTION_NAME_MAX 40

static void print_help(void)
{
    puts(
        "usage: metergate convert [OPTION]... [FILE]\n"
        "\n"
        "Converts gas volumes from line to base conditions: Vb = Vm x p/pb x Tb/T x Zb/Z. Reads "
        "CSV\n"
        "from FILE or stdin; its header names any of the columns below, others are passed on. An\n"
        "absent column, or an empty cell, comes from the option of the same name. Prints the same\n"
        "columns, then " RESULTS ".\n"
        "A row outside the method's range has its error and no numbers. With --pressure-kpa and\n"
        "--temperature-c, and nothing on stdin, one state is converted.\n"
        "\n"
        "  --method M                 sgerg88 (ISO 12213-3; the default) or fixed\n"
        "  --pressure-kpa N           absolute; sgerg88: 0 to 12000\n"
        "  --temperature-c N          sgerg88: -23 to 65\n"
        "  --heating-value-mj-m3 N    superior; sgerg88: 20 to 48 at combustion 25 degC, volume "
        "at\n"
        "                             0 degC and 101.325 kPa\n"
        "  --relative-density N       to air; sgerg88: 0.55 to 0.90\n"
        "  --co2-mol-percent N        sgerg88: 0 to 30\n"
        "  --h2-mol-percent N         sgerg88: 0 to 10; default 0\n"
        "  --compressibility-ratio N  Z/Zb of method fixed: 0.5 to 1.5\n"
        "  --base-pressure-kpa N      default 101.325\n"
        "  --base-temperature-c N     default 20\n"
        "  --volume-measured N        m3 at line conditions\n"
        "\n"
        "  --heating-value-reference C/M  temperatures of combustion and of the volume that the\n"
        "                             heating values refer to, 0 to 30 degC: 20/20, 15/15 ...\n"
        "                             (default 25/0)\n"
        "  --altitude-m H             the pressures are gauge, of sensors at this altitude (-500 "
        "to\n"
        "                             1500 m): 101.6 - 0.012 H kPa are added\n"
        "  -h, --help                 print this help\n"
        "\n"
        "z and z_base stay empty with method fixed, which knows their ratio only.\n"
        "Exit status: 0 done, 1 a row has an error or the CSV could not be read, 2 wrong usage.");
}

struct command {
    const char *options[CONVERT_COLUMNS]; // NULL where not given
    const char *file;                     // NULL: stdin
    struct converter converter;
};

// Where the columns of the CSV stand.
struct layout {
    int cells;                   // of the header
    int places[CONVERT_COLUMNS]; // -1 without
};

struct tally {
    int64_t rows, errors;
};

// ---- out ----------------------------------------------------------------------------------------

// RESULT_DIGITS significant digits, no exponent but for what is next to nothing; nothing for NaN.
static void add_figure(struct csv *csv, double value)
{
    char text[64] = "";
    double magnitude = fabs(value);
    if (magnitude > 0 && (magnitude < 1e-9 || magnitude > 1e30)) {
        (void)snprintf(text, sizeof text, "%.*e", RESULT_DIGITS - 1, value);
    } else if (isfinite(value)) {
        int before = magnitude > 0 ? (int)floor(log10(magnitude)) + 1 : 1;
        int decimals = RESULT_DIGITS - before;
        (void)snprintf(text, sizeof text, "%.*f", decimals > 0 ? decimals : 0, value);
    }
    csv_text(csv, text);
}

static void add_results(struct csv *csv, const struct converted *converted, const char *error)
{
    add_figure(csv, converted->z);
    add_figure(csv, converted->z_base);
    add_figure(csv, converted->factor);
    add_figure(csv, converted->volume_base);
    csv_text(csv, error);
    csv_end(csv);
}

static int put_line(struct buf *line)
{
    if (line->failed || fwrite(line->data, 1, line->length, stdout) != line->length)
        return cli_problem("convert", "a row could not be written: is there room for it?");
    buf_clear(line);
    return EXIT_DONE;
}

// Converts the texts and ends the row that was begun with the columns that came in. `error`: what
// is wrong with the row itself, "".
static int finish_row(struct command *command, const char *const texts[static CONVERT_COLUMNS],
                      const char *error, struct csv *csv, struct tally *tally)
{
    double none = (double)NAN;
    struct converted converted = {none, none, none, none};
    struct err err = {""};
    tally->rows++;
    if (error[0] != '\0')
        (void)err_set(&err, "%s", error);
    else
        (void)convert_row(&command->converter, texts, &converted, &err);
    tally->errors += err.text[0] != '\0';
    add_results(csv, &converted, err.text);
    return put_line(csv->out);
}

// ---- CSV ----------------------------------------------------------------------------------------

static int column_find(const char *name)
{
    for (int i = 0; i < CONVERT_COLUMNS; i++)
        if (strcmp(convert_columns[i], name) == 0)
            return i;
    return -1;
}

static bool is_result(const char *name)
{
    const char *at = strstr("," RESULTS ",", name);
    return name[0] != '\0' && strchr(name, ',') == NULL && at != NULL && at[-1] == ',' &&
           at[strlen(name)] == ',';
}

static int read_header(const struct csv_reader *reader, struct layout *layout)
{
    int known = 0;
    *layout = (struct layout){.cells = reader->count};
    for (int i = 0; i < CONVERT_COLUMNS; i++)
        layout->places[i] = -1;
    for (int i = 0; i < reader->count; i++) {
        int column = column_find(reader->cells[i]);
        if (is_result(reader->cells[i])) {
            return cli_problem("convert", "line %lld: the column '%s' is written by convert itself",
                               (long long)reader->row_line, reader->cells[i]);
        }
        if (column < 0)
            continue;
        if (layout->places[column] >= 0) {
            return cli_problem("convert", "line %lld: the column '%s' stands there twice",
                               (long long)reader->row_line, reader->cells[i]);
        }
        layout->places[column] = i;
        known++;
    }
    if (known > 0)
        return EXIT_DONE;
    return cli_problem("convert",
                       "line %lld: the header names none of the columns; "
                       "'metergate convert --help' lists them",
                       (long long)reader->row_line);
}

static int print_header(const struct csv_reader *reader, struct csv *csv)
{
    for (int i = 0; i < reader->count; i++)
        csv_text(csv, reader->cells[i]);
    buf_add_text(csv->out, "," RESULTS);
    csv_end(csv);
    return put_line(csv->out);
}

static int print_row(struct command *command, const struct csv_reader *reader,
                     const struct layout *layout, struct csv *csv, struct tally *tally)
{
    const char *texts[CONVERT_COLUMNS];
    char error[64] = "";
    if (reader->count != layout->cells) {
        (void)snprintf(error, sizeof error, "the row has %d cells, the header %d", reader->count,
                       layout->cells);
    }
    for (int i = 0; i < layout->cells; i++)
        csv_text(csv, i < reader->count ? reader->cells[i] : "");
    for (int i = 0; i < CONVERT_COLUMNS; i++) {
        int place = layout->places[i];
        const char *cell = place >= 0 && place < reader->count ? reader->cells[place] : "";
        texts[i] = cell[0] != '\0' ? cell : command->options[i];
    }
    return finish_row(command, texts, error, csv, tally);
}

static bool has_state(const struct command *command)
{
    return command->options[CONVERT_PRESSURE] != NULL &&
           command->options[CONVERT_TEMPERATURE] != NULL;
}

// The one state that the options name.
static int convert_options(struct command *command, struct csv *csv, struct tally *tally)
{
    for (int i = 0; i < CONVERT_COLUMNS; i++)
        if (command->options[i] != NULL)
            csv_text(csv, convert_columns[i]);
    buf_add_text(csv->out, "," RESULTS);
    csv_end(csv);
    for (int i = 0; i < CONVERT_COLUMNS; i++)
        if (command->options[i] != NULL)
            csv_text(csv, command->options[i]);
    return finish_row(command, command->options, "", csv, tally);
}

static int convert_rows(struct command *command, FILE *in, struct csv *csv, struct tally *tally)
{
    static struct csv_reader reader; // 64 KiB, once in a process
    struct layout layout;
    struct err err;
    csv_reader_init(&reader, in);
    int got = csv_read(&reader, &err);
    if (got == 0 && command->file == NULL && has_state(command))
        return convert_options(command, csv, tally);
    if (got == 0)
        return cli_problem("convert", "there is no CSV: a header is missing");
    int status = got < 0 ? EXIT_DONE : read_header(&reader, &layout);
    if (got > 0 && status == EXIT_DONE)
        status = print_header(&reader, csv);
    while (status == EXIT_DONE && got > 0) {
        got = csv_read(&reader, &err);
        if (got > 0)
            status = print_row(command, &reader, &layout, csv, tally);
    }
    return got < 0 ? cli_problem("convert", "%s", err.text) : status;
}

// ---- the command --------------------------------------------------------------------------------

// A terminal, /dev/null or a closed stdin hold no CSV: then the options are all there is.
static bool stdin_is_data(void)
{
    struct stat status;
    return fstat(STDIN_FILENO, &status) == 0 &&
           (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

static int run(struct command *command)
{
    struct tally tally = {0};
    struct buf line;
    struct csv csv;
    buf_init(&line, LINE_BYTES_MAX);
    csv_init(&csv, &line);
    int status;
    if (command->file == NULL && has_state(command) && !stdin_is_data()) {
        status = convert_options(command, &csv, &tally);
    } else if (command->file == NULL || strcmp(command->file, "-") == 0) {
        status = convert_rows(command, stdin, &csv, &tally);
    } else {
        FILE *in = fopen(command->file, "re");
        if (in == NULL)
            return cli_problem("convert", "%s: %s", command->file, strerror(errno));
        status = convert_rows(command, in, &csv, &tally);
        (void)fclose(in);
    }
    buf_release(&line);
    if (status == EXIT_DONE && fflush(stdout) != 0)
        return cli_problem("convert", "the rows could not be written: is there room for them?");
    if (status == EXIT_DONE && tally.errors > 0) {
        return cli_problem("convert", "%lld of %lld rows have an error: see the column 'error'",
                           (long long)tally.errors, (long long)tally.rows);
    }
    return status;
}

enum { OPTION_REFERENCE = CONVERT_COLUMNS, OPTION_ALTITUDE, OPTION_HELP, OPTIONS };

static int take_option(struct command *command, int option)
{
    struct converter *converter = &command->converter;
    struct err err;
    int result = 0;
    if (option < CONVERT_COLUMNS) {
        command->options[option] = optarg;
    } else if (option == OPTION_REFERENCE) {
        result = heating_reference_parse(optarg, &converter->reference, &err);
    } else {
        double altitude;
        result = convert_number("altitude_m", optarg, &altitude, &err);
        if (result == 0)
            result = ambient_pressure(altitude, &converter->ambient_kpa, &err);
    }
    return result == 0 ? EXIT_DONE : cli_usage("convert", "%s", err.text);
}

// Each name as the column has it, and with hyphens, as options usually are.
static void list_options(struct option *rows, char hyphened[OPTIONS][OPTION_NAME_MAX])
{
    for (int i = 0; i < OPTIONS; i++) {
        const char *name = i < CONVERT_COLUMNS     ? convert_columns[i]
                           : i == OPTION_REFERENCE ? "heating_value_reference"
                           : i == OPTION_ALTITUDE  ? "altitude_m"
                                                   : "help";
        int takes = i == OPTION_HELP ? no_argument : required_argument;
        (void)snprintf(hyphened[i], OPTION_NAME_MAX, "%s", name);
        for (char *at = hyphened[i]; *at != '\0'; at++)
            *at = *at == '_' ? '-' : *at;
        rows[2 * i] = (struct option){hyphened[i], takes, NULL, i};
        rows[2 * i + 1] = (struct option){name, takes, NULL, i};
    }
}

int convert_main(int argc, char **argv)
{
    char names[OPTIONS][OPTION_NAME_MAX];
    struct option rows[2 * OPTIONS + 1] = {{NULL, 0, NULL, 0}};
    struct command command = {.converter.reference = {.combustion_c = 25, .metering_c = 0}};
    list_options(rows, names);
    opterr = 0;
    int status = EXIT_DONE;
    int option;
    while (status == EXIT_DONE && (option = getopt_long(argc, argv, "h", rows, NULL)) != -1) {
        if (option == OPTION_HELP || option == 'h') {
            print_help();
            return EXIT_DONE;
        }
        if (option == '?')
            return cli_usage("convert", "'%s' is no option, or lacks its value", argv[optind - 1]);
        status = take_option(&command, option);
    }
    if (status != EXIT_DONE)
        return status;
    if (argc - optind > 1)
        return cli_usage("convert", "one FILE at most");
    command.file = optind < argc ? argv[optind] : NULL;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); // who feeds rows one by one gets them one by one
    return run(&command);
}
