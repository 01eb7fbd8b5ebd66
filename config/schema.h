// One table names every key of a file: type, unit, range, default, choices, help, what it restarts
// and where its value goes. The loader, its messages, the JSON Schema and the reference page all
// come from it.
//
// A schema describes a map; its keys fill a struct of the caller through offsets. Scalars are typed
// by the schema: a text key takes any scalar as it is written.
#ifndef METERGATE_CONFIG_SCHEMA_H
#define METERGATE_CONFIG_SCHEMA_H

#include "base/buf.h"
#include "base/decimal.h"
#include "config/fault.h"
#include "config/node.h"

enum value_type {
    TYPE_TEXT,    // char[size]
    TYPE_INTEGER, // int; `choices` limits it where there are any
    TYPE_NUMBER,  // double
    TYPE_DECIMAL, // struct decimal, exact
    TYPE_RAW,     // uint64_t: raw bits of registers
    TYPE_BOOLEAN, // bool
    TYPE_CHOICE,  // int: index in `choices`
    TYPE_RANGE,   // int[2]: [first, last]
    TYPE_MAP,     // the struct that `map` describes
    TYPE_LIST,    // struct list of such structs, or of scalars of type `item`
    TYPE_NAMED,   // the same, as a map whose keys `names` gives
};

enum restarts {
    RESTARTS_NOTHING,
    RESTARTS_METER,
    RESTARTS_LINK,
    RESTARTS_OFFICE,
    RESTARTS_PAGE,
    RESTARTS_PROGRAM, // takes effect at the next start only
};

struct schema;

struct key {
    const char *name;
    enum value_type type;
    enum value_type item; // of TYPE_LIST and TYPE_NAMED without `map`
    int most;             // items of them
    enum restarts restarts;
    bool required;
    bool lines;    // TYPE_TEXT: may hold line breaks
    size_t offset; // in the struct
    size_t size;   // TYPE_TEXT: of the array
    // What holds when the key is absent, as it would be written. NULL: "", NaN, -1, false, no
    // items.
    const char *standard;
    double minimum, maximum; // of numbers; both 0: no bound
    const char *const *choices;
    const char *pattern; // of TYPE_TEXT: a regular expression that both POSIX and ECMA understand
    const char *form;    // the pattern in words
    // A check beyond the pattern. The message says what is wrong and what is allowed.
    int (*check)(const char *text, struct err *err);
    const struct schema *map; // of TYPE_MAP, and of the items of TYPE_LIST and TYPE_NAMED
    name_at *names;           // the allowed keys of TYPE_NAMED
    const char *unit;
    const char *help;
};

// Where a key's value goes, and how many keys a table has.
#define KEY_IN(target, member) .offset = offsetof(target, member)
#define KEY_TEXT(target, member)                                                                   \
    .type = TYPE_TEXT, .offset = offsetof(target, member), .size = sizeof(((target *)0)->member)
#define KEYS_COUNT(keys) ((int)(sizeof(keys) / sizeof((keys)[0])))

struct schema {
    const char *title;
    const char *help;
    size_t size; // of the struct
    bool placed; // its first member is `const struct node *`, set to the map: so are items of lists
    const struct key *keys;
    int count;
    const char *shorthand; // a scalar in place of the map is the value of this key; NULL: none
};

struct list {
    int count;
    void *items; // lives as long as the document
};

// Of TYPE_LIST and TYPE_NAMED without `map`: one item. For TYPE_NAMED the name is node->key.
struct item {
    const struct node *node;
    union {
        char text[64];
        int integer;
        int range[2];
        uint64_t raw;
    };
};

struct load {
    struct document *document;
    struct faults *faults;
};

// Fills `target` (of schema->size bytes, zeroed by the caller) from a map; what is absent gets its
// standard. Every fault is told; the value is then left as it was. `node` may be NULL: all
// standards.
void schema_load(const struct load *load, const struct schema *schema, const struct node *node,
                 void *target);

// Copies from `source` to `target` each value that the map does not give.
void schema_inherit(const struct schema *schema, const struct node *node, const void *source,
                    void *target);

// Reads one scalar as the key says. -1 with a message. Used for standards as well.
int scalar_read(const struct key *key, const char *text, void *target, struct err *err);

// JSON Schema (draft 2020-12), and the reference page in Markdown.
void schema_print_json(const struct schema *schema, const char *id, struct buf *out);
void schema_print_reference(const struct schema *schema, struct buf *out);

#endif
