// A YAML (or JSON) text as a tree of maps, lists and scalars, each with its place. Typing is not
// done here: a scalar is text, the schema says what it means.
//
// Refused, each with its place: text that is not UTF-8, anchors, aliases, tags, merge keys,
// duplicate keys, a second document, and what passes the bounds below. Parsing goes on after all of
// these but the first and the last, so that one run names every fault.
#ifndef METERGATE_CONFIG_NODE_H
#define METERGATE_CONFIG_NODE_H

#include "config/config.h"

#define NODE_DEPTH_MAX 16
#define NODE_COUNT_MAX 262144
#define NODE_KEYS_MAX 256 // of one map

enum node_kind {
    NODE_SCALAR,
    NODE_MAP,
    NODE_LIST,
    NODE_BROKEN, // a value that was refused; its fault is told already
};

struct node {
    enum node_kind kind;
    bool incomplete; // a map from which something was refused: a missing key is no fault of its own
    bool plain;      // a scalar without quotes
    int line, column;
    int key_line, key_column; // in a map
    const char *key;          // in a map, else NULL
    int index;                // in its map or list
    int count;                // of children
    const char *text;         // of a scalar; without NUL inside
    const struct node *parent;
    struct node *first, *last, *next;
};

struct document {
    const char *file; // as given to document_parse
    struct node *root;
    struct block *blocks; // memory of the tree and of what is loaded from it
    int node_count;
};

// -1 when there is no tree at all. A tree may come with faults: whoever uses it checks
// faults->count.
int document_parse(struct document *document, const char *file, const char *text, size_t length,
                   struct faults *faults);
void document_release(struct document *document);

// Zeroed memory that lives as long as the document; NULL when memory is short.
void *document_take(struct document *document, size_t size);

// The child of a map with that key, NULL without one.
const struct node *node_find(const struct node *map, const char *key);

// "meters[3].unit"; "" for the root.
void node_path(const struct node *node, char *text, size_t size);

// Bytes of the UTF-8 character that begins at `text` (RFC 3629), of which `left` bytes are there; 0
// where it is none.
size_t utf8_length(const char *text, size_t left);

#endif
