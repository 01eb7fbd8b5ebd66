#include "config/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MIN_COMPARED 4 // anything is near to a shorter one
#define NAME_MAX_COMPARED 40

// ---- adding -------------------------------------------------------------------------------------

// Text of the file may stand in a message: neither a line break in it nor a character cut in two
// may get out.
static void clean(char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t step = utf8_length(text, left);
        if (step == 0 || (unsigned char)*text < ' ' || *text == 0x7F) {
            *text = '?';
            step = 1;
        }
        text += step;
        left -= step;
    }
}

__attribute__((format(printf, 6, 0))) static void fault_print(struct faults *faults,
                                                              const char *file, int line,
                                                              int column, const char *path,
                                                              const char *format, va_list arguments)
{
    int index = faults->count++;
    if (index >= FAULTS_MAX)
        return;
    struct fault *fault = &faults->list[index];
    *fault = (struct fault){.line = line, .column = column};
    (void)snprintf(fault->file, sizeof fault->file, "%s", file);
    (void)snprintf(fault->path, sizeof fault->path, "%s", path);
    (void)vsnprintf(fault->message, sizeof fault->message, format, arguments);
    clean(fault->file);
    clean(fault->path);
    clean(fault->message);
}

void fault_add(struct faults *faults, const char *file, int line, int column, const char *path,
               const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fault_print(faults, file, line, column, path, format, arguments);
    va_end(arguments);
}

void fault_at(struct faults *faults, const char *file, const struct node *node, const char *format,
              ...)
{
    char path[sizeof faults->list[0].path];
    node_path(node, path, sizeof path);
    va_list arguments;
    va_start(arguments, format);
    fault_print(faults, file, node->line, node->column, path, format, arguments);
    va_end(arguments);
}

void fault_at_key(struct faults *faults, const char *file, const struct node *node,
                  const char *format, ...)
{
    char path[sizeof faults->list[0].path];
    node_path(node, path, sizeof path);
    va_list arguments;
    va_start(arguments, format);
    fault_print(faults, file, node->key_line, node->key_column, path, format, arguments);
    va_end(arguments);
}

void fault_missing(struct faults *faults, const char *file, const struct node *map, const char *key,
                   const char *format, ...)
{
    if (map->incomplete)
        return; // it may stand in what was refused
    char path[sizeof faults->list[0].path];
    node_path(map, path, sizeof path);
    size_t length = strlen(path);
    (void)snprintf(path + length, sizeof path - length, "%s%s", length > 0 ? "." : "", key);
    va_list arguments;
    va_start(arguments, format);
    fault_print(faults, file, map->line, map->column, path, format, arguments);
    va_end(arguments);
}

// ---- order --------------------------------------------------------------------------------------

static int compare(const void *left, const void *right, void *context)
{
    const struct fault *a = left;
    const struct fault *b = right;
    const char *file = context;
    bool a_main = strcmp(a->file, file) == 0;
    bool b_main = strcmp(b->file, file) == 0;
    if (a_main != b_main)
        return a_main ? -1 : 1;
    int order = strcmp(a->file, b->file);
    order = order != 0 ? order : a->line - b->line;
    order = order != 0 ? order : a->column - b->column;
    order = order != 0 ? order : strcmp(a->path, b->path);
    return order != 0 ? order : strcmp(a->message, b->message);
}

void faults_sort(struct faults *faults, const char *file)
{
    int count = faults->count < FAULTS_MAX ? faults->count : FAULTS_MAX;
    char name[sizeof faults->list[0].file];
    (void)snprintf(name, sizeof name, "%s", file);
    qsort_r(faults->list, (size_t)count, sizeof faults->list[0], compare, name);
}

// ---- suggestions --------------------------------------------------------------------------------

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

// Edits (insert, delete, change, swap of neighbours) from one short name to another.
static int distance(const char *a, const char *b)
{
    int rows[3][NAME_MAX_COMPARED + 1];
    int *before = rows[0];
    int *above = rows[1];
    int *row = rows[2];
    int width = (int)strlen(b);
    for (int j = 0; j <= width; j++)
        before[j] = above[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        row[0] = i;
        for (int j = 1; j <= width; j++) {
            int change = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, change);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        int *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[width];
}

const char *suggest(const char *misspelt, name_at *names, const void *context)
{
    size_t length = strlen(misspelt);
    if (length < NAME_MIN_COMPARED || length > NAME_MAX_COMPARED)
        return NULL;
    int nearest =
        length == NAME_MIN_COMPARED ? 2 : (int)length / 3 + 1; // one more than what is near enough
    const char *best = NULL;
    const char *name = NULL;
    for (int i = 0; (name = names(context, i)) != NULL; i++) {
        if (strlen(name) > NAME_MAX_COMPARED)
            continue;
        int edits = distance(misspelt, name);
        if (edits < nearest) {
            nearest = edits;
            best = name;
        }
    }
    return best;
}

void fault_text(const struct fault *fault, char text[static FAULT_TEXT_MAX])
{
    (void)snprintf(text, FAULT_TEXT_MAX, "%s:%d:%d: %s: %s", fault->file,
                   fault->line > 0 ? fault->line : 1, fault->column > 0 ? fault->column : 1,
                   fault->path[0] != '\0' ? fault->path : "file", fault->message);
}

void faults_print(const struct faults *faults, FILE *out)
{
    char text[FAULT_TEXT_MAX];
    int kept = faults->count < FAULTS_MAX ? faults->count : FAULTS_MAX;
    for (int i = 0; i < kept; i++) {
        fault_text(&faults->list[i], text);
        (void)fprintf(out, "%s\n", text);
    }
    if (faults->count > kept)
        (void)fprintf(stderr, "%d more faults are not shown\n", faults->count - kept);
}
