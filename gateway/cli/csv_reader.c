#include "cli/csv_reader.h"

#include <errno.h>
#include <string.h>

void csv_reader_init(struct csv_reader *reader, FILE *in)
{
    memset(reader, 0, sizeof *reader);
    reader->in = in;
    reader->line = 1;
}

static int fail(const struct csv_reader *reader, struct err *err, const char *what)
{
    return err_set(err, "line %lld: %s", (long long)reader->row_line, what);
}

// The next byte; CRLF is one newline.
static int next_byte(struct csv_reader *reader)
{
    int byte = getc(reader->in);
    if (byte == '\r') {
        int after = getc(reader->in);
        if (after == '\n')
            byte = '\n';
        else if (after != EOF)
            (void)ungetc(after, reader->in);
    }
    reader->line += byte == '\n';
    return byte;
}

static int add_byte(struct csv_reader *reader, int byte, struct err *err)
{
    if (byte == '\0')
        return fail(reader, err, "a NUL byte: this is no CSV");
    if (reader->length + 1 >= sizeof reader->text)
        return fail(reader, err, "a row of more than 64 KiB");
    reader->text[reader->length++] = (char)byte;
    return 0;
}

static int begin_cell(struct csv_reader *reader, struct err *err)
{
    if (reader->count == CSV_CELLS_MAX)
        return fail(reader, err, "a row of more than 64 cells");
    reader->cells[reader->count++] = reader->text + reader->length;
    return 0;
}

static int end_cell(struct csv_reader *reader, struct err *err)
{
    if (reader->length >= sizeof reader->text)
        return fail(reader, err, "a row of more than 64 KiB");
    reader->text[reader->length++] = '\0';
    return 0;
}

// What stands between quotes; the byte after them, or -2 with the error.
static int read_quoted(struct csv_reader *reader, struct err *err)
{
    for (;;) {
        int byte = next_byte(reader);
        if (byte == EOF) {
            (void)fail(reader, err, "a quote that never closes");
            return -2;
        }
        if (byte == '"') {
            byte = next_byte(reader);
            if (byte != '"')
                return byte;
        }
        if (add_byte(reader, byte, err) != 0)
            return -2;
    }
}

// A cell; the byte that ended it (a comma, a newline, EOF), or -2 with the error.
static int read_cell(struct csv_reader *reader, int byte, struct err *err)
{
    if (begin_cell(reader, err) != 0)
        return -2;
    if (byte == '"')
        byte = read_quoted(reader, err);
    for (; byte >= 0 && byte != ',' && byte != '\n'; byte = next_byte(reader))
        if (add_byte(reader, byte, err) != 0)
            return -2;
    return byte == -2 || end_cell(reader, err) != 0 ? -2 : byte;
}

// The first byte of a row that is not empty.
static int first_byte(struct csv_reader *reader)
{
    int byte = next_byte(reader);
    if (!reader->begun && byte == 0xEF) { // EF BB BF, which some spreadsheets write
        (void)next_byte(reader);
        (void)next_byte(reader);
        byte = next_byte(reader);
    }
    reader->begun = true;
    while (byte == '\n')
        byte = next_byte(reader);
    return byte;
}

int csv_read(struct csv_reader *reader, struct err *err)
{
    int byte = first_byte(reader);
    reader->row_line = reader->line;
    reader->count = 0;
    reader->length = 0;
    while (byte != EOF) {
        byte = read_cell(reader, byte, err);
        if (byte == -2)
            return -1;
        if (byte != ',')
            break;
        byte = next_byte(reader);
        if (byte == EOF || byte == '\n') { // a comma ends the row: one more cell, empty
            if (begin_cell(reader, err) != 0 || end_cell(reader, err) != 0)
                return -1;
            break;
        }
    }
    if (ferror(reader->in) != 0)
        return fail(reader, err, strerror(errno));
    return reader->count > 0 ? 1 : 0;
}
