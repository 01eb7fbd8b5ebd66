// Collecting faults: what is wrong, what is allowed, and where.
#ifndef METERGATE_CONFIG_FAULT_H
#define METERGATE_CONFIG_FAULT_H

#include "config/node.h"

void fault_add(struct faults *faults, const char *file, int line, int column, const char *path,
               const char *format, ...) __attribute__((format(printf, 6, 7)));

// At a value.
void fault_at(struct faults *faults, const char *file, const struct node *node, const char *format,
              ...) __attribute__((format(printf, 4, 5)));
// At the key of a value.
void fault_at_key(struct faults *faults, const char *file, const struct node *node,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
// At a map that lacks `key`.
void fault_missing(struct faults *faults, const char *file, const struct node *map, const char *key,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

// Brings the kept faults into the order of the text: those of `file` first, then those of the
// profiles it names.
void faults_sort(struct faults *faults, const char *file);

// Which of the names a misspelt one means: the nearest one, if it is near enough, else NULL.
// `name_at` gives the names by index, NULL at the end.
typedef const char *name_at(const void *context, int index);
const char *suggest(const char *misspelt, name_at *names, const void *context);

#endif
