#include "config/node.h"

#include "config/fault.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define BLOCK_SIZE 65536

// ---- memory -------------------------------------------------------------------------------------

struct block {
    struct block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *document_take(struct document *document, size_t size)
{
    size_t aligned = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct block *block = document->blocks;
    if (block == NULL || block->size - block->used < aligned) {
        size_t room = aligned > BLOCK_SIZE ? aligned : BLOCK_SIZE;
        block = calloc(1, sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->size = room;
        block->next = document->blocks;
        document->blocks = block;
    }
    void *taken = (char *)block->bytes + block->used;
    block->used += aligned;
    return taken;
}

void document_release(struct document *document)
{
    while (document->blocks != NULL) {
        struct block *next = document->blocks->next;
        free(document->blocks);
        document->blocks = next;
    }
    document->root = NULL;
}

static const char *copy_text(struct document *document, const char *text, size_t length)
{
    char *copy = document_take(document, length + 1);
    return copy == NULL ? NULL : memcpy(copy, text, length);
}

// ---- UTF-8 --------------------------------------------------------------------------------------

size_t utf8_length(const char *text, size_t left)
{
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || left < length)
        return 0;
    unsigned char low = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

// Walks the text to `end` or to the first bytes that are not UTF-8. Returns the offset reached.
static size_t walk(const char *text, size_t length, size_t end, int *line, int *column)
{
    *line = 1;
    *column = 1;
    size_t at = 0;
    while (at < end) {
        size_t step = utf8_length(text + at, length - at);
        if (step == 0)
            break;
        bool breaks =
            text[at] == '\n' || (text[at] == '\r' && (at + 1 == length || text[at + 1] != '\n'));
        *line += breaks ? 1 : 0;
        *column = breaks ? 1 : *column + 1;
        at += step;
    }
    return at;
}

// ---- building the tree --------------------------------------------------------------------------

struct build {
    struct document *document;
    struct faults *faults;
    struct node *parent; // map or list that is open
    bool at_key;         // the next node in an open map is a key
    bool drop;           // the next value belongs to a key that was refused
    const char *key;
    int key_line, key_column;
    int skipped; // open containers inside something that is left out
    int depth;   // open containers in all
    bool stop;
};

static void refuse(struct build *build, const yaml_mark_t *mark, const char *what)
{
    char path[sizeof build->faults->list[0].path] = "";
    if (build->parent != NULL) {
        node_path(build->parent, path, sizeof path);
        if (build->parent->kind == NODE_MAP && !build->at_key && build->key != NULL) {
            size_t length = strlen(path);
            (void)snprintf(path + length, sizeof path - length, "%s%s", length > 0 ? "." : "",
                           build->key);
        }
    }
    fault_add(build->faults, build->document->file, (int)mark->line + 1, (int)mark->column + 1,
              path, "%s", what);
}

static void stop(struct build *build, const yaml_mark_t *mark, const char *what)
{
    refuse(build, mark, what);
    build->stop = true;
}

// A value stands at this place: links a node into the open map or list. NULL when it is to be left
// out.
static struct node *add(struct build *build, enum node_kind kind, const yaml_mark_t *mark)
{
    struct node *parent = build->parent;
    bool in_map = parent != NULL && parent->kind == NODE_MAP;
    bool drop = in_map && build->drop;
    if (in_map) {
        build->at_key = true;
        build->drop = false;
    }
    if (drop)
        return NULL;
    struct node *node = build->document->node_count < NODE_COUNT_MAX
                            ? document_take(build->document, sizeof *node)
                            : NULL;
    if (node == NULL) {
        stop(build, mark,
             build->document->node_count < NODE_COUNT_MAX
                 ? "there is not enough memory to read the file"
                 : "the file holds too many values; allowed: 262144");
        return NULL;
    }
    build->document->node_count++;
    *node = (struct node){.kind = kind,
                          .line = (int)mark->line + 1,
                          .column = (int)mark->column + 1,
                          .parent = parent};
    if (in_map) {
        node->key = build->key;
        node->key_line = build->key_line;
        node->key_column = build->key_column;
    }
    if (parent == NULL) {
        build->document->root = node;
        return node;
    }
    node->index = parent->count++;
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return node;
}

static void check_properties(struct build *build, const yaml_event_t *event, const char *anchor,
                             const char *tag)
{
    if (anchor != NULL)
        refuse(build, &event->start_mark, "anchors (&name) are not allowed; write the value out");
    if (tag != NULL) {
        refuse(build, &event->start_mark,
               "tags (!name) are not allowed; the type of each value is known from its key");
    }
}

// The key was refused: so is its value.
static void drop_key(struct build *build)
{
    build->at_key = false;
    build->drop = true;
    build->key = NULL;
    build->parent->incomplete = true;
}

static void take_key(struct build *build, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && strcmp(text, "<<") == 0) {
        refuse(build, &event->start_mark, "merge keys (<<) are not allowed; write the keys out");
        drop_key(build);
        return;
    }
    if (length == 0 || strlen(text) != length) {
        refuse(build, &event->start_mark, length == 0 ? "a key is empty" : "a key holds a NUL");
        drop_key(build);
        return;
    }
    const struct node *before = node_find(build->parent, text);
    build->key = copy_text(build->document, text, length);
    if (build->key == NULL) {
        stop(build, &event->start_mark, "there is not enough memory to read the file");
        return;
    }
    build->at_key = false;
    build->key_line = (int)event->start_mark.line + 1;
    build->key_column = (int)event->start_mark.column + 1;
    if (before != NULL) {
        char message[160];
        (void)snprintf(message, sizeof message,
                       "the key '%.60s' is given twice; the first one is in line %d", text,
                       before->key_line);
        refuse(build, &event->start_mark, message);
        build->drop = true;
    } else if (build->parent->count >= NODE_KEYS_MAX) {
        stop(build, &event->start_mark, "the map has too many keys; allowed: 256");
    }
}

static void take_scalar(struct build *build, const yaml_event_t *event)
{
    check_properties(build, event, (const char *)event->data.scalar.anchor,
                     (const char *)event->data.scalar.tag);
    if (build->parent != NULL && build->parent->kind == NODE_MAP && build->at_key) {
        take_key(build, event);
        return;
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    struct node *node = add(build, NODE_SCALAR, &event->start_mark);
    if (node == NULL)
        return;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (strlen(text) != length) {
        fault_at(build->faults, build->document->file, node, "the value holds a NUL character");
        node->kind = NODE_BROKEN;
        return;
    }
    node->text = copy_text(build->document, text, length);
    if (node->text == NULL)
        stop(build, &event->start_mark, "there is not enough memory to read the file");
}

static void take_alias(struct build *build, const yaml_event_t *event)
{
    refuse(build, &event->start_mark, "aliases (*name) are not allowed; write the value out");
    if (build->parent != NULL && build->parent->kind == NODE_MAP && build->at_key) {
        drop_key(build);
        return;
    }
    (void)add(build, NODE_BROKEN, &event->start_mark);
}

static void open_container(struct build *build, const yaml_event_t *event)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    if (++build->depth > NODE_DEPTH_MAX) {
        stop(build, &event->start_mark, "the values are nested too deep; allowed: 16 levels");
        return;
    }
    if (build->skipped > 0) {
        build->skipped++;
        return;
    }
    check_properties(
        build, event,
        (const char *)(map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor),
        (const char *)(map ? event->data.mapping_start.tag : event->data.sequence_start.tag));
    if (build->parent != NULL && build->parent->kind == NODE_MAP && build->at_key) {
        refuse(build, &event->start_mark, "a key must be text, not a map or a list");
        drop_key(build);
        build->skipped = 1;
        return;
    }
    struct node *node = add(build, map ? NODE_MAP : NODE_LIST, &event->start_mark);
    if (node == NULL) {
        build->skipped = 1;
        return;
    }
    build->parent = node;
    build->at_key = map;
}

static void close_container(struct build *build)
{
    build->depth--;
    if (build->skipped > 0) {
        build->skipped--;
        return;
    }
    assert(build->parent != NULL); // libyaml's events nest
    build->parent = (struct node *)build->parent->parent;
    build->at_key = build->parent != NULL && build->parent->kind == NODE_MAP;
}

static void take_document(struct build *build, const yaml_event_t *event, int *documents)
{
    if (++*documents > 1) {
        stop(build, &event->start_mark, "a second document begins here; allowed: one in a file");
        return;
    }
    const yaml_tag_directive_t *start = event->data.document_start.tag_directives.start;
    if (start != event->data.document_start.tag_directives.end)
        refuse(build, &event->start_mark, "tag directives (%TAG) are not allowed");
}

// One event of the parser. False at the end of the text.
static bool take_event(struct build *build, const yaml_event_t *event, int *documents)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT: take_document(build, event, documents); break;
    case YAML_SCALAR_EVENT:
        if (build->skipped == 0)
            take_scalar(build, event);
        break;
    case YAML_ALIAS_EVENT:
        if (build->skipped == 0)
            take_alias(build, event);
        break;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT: open_container(build, event); break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: close_container(build); break;
    case YAML_STREAM_END_EVENT: return false;
    default: break;
    }
    return !build->stop;
}

// ---- reading ------------------------------------------------------------------------------------

static void tell_syntax(struct build *build, const yaml_parser_t *parser, const char *text,
                        size_t length)
{
    const char *problem = parser->problem != NULL ? parser->problem : "it cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        problem = "there is not enough memory";
    int line = (int)parser->problem_mark.line + 1;
    int column = (int)parser->problem_mark.column + 1;
    if (parser->error == YAML_READER_ERROR)
        (void)walk(text, length, parser->problem_offset, &line, &column);
    // libyaml puts the end of a text without a last line break into a line that is not there.
    int end_line = 0;
    int end_column = 0;
    (void)walk(text, length, length, &end_line, &end_column);
    if (line > end_line) {
        line = end_line;
        column = end_column;
    }
    char path[sizeof build->faults->list[0].path] = "";
    if (build->parent != NULL)
        node_path(build->parent, path, sizeof path);
    fault_add(build->faults, build->document->file, line, column, path, "this is not YAML: %s%s%s",
              problem, parser->context != NULL ? ", " : "",
              parser->context != NULL ? parser->context : "");
}

static void read_events(struct build *build, yaml_parser_t *parser, const char *text, size_t length)
{
    int documents = 0;
    for (bool more = true; more;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            tell_syntax(build, parser, text, length);
            build->stop = true;
            return;
        }
        more = take_event(build, &event, &documents);
        yaml_event_delete(&event);
    }
}

static int check_text(const char *file, const char *text, size_t length, struct faults *faults)
{
    int line = 0;
    int column = 0;
    size_t at = walk(text, length, length, &line, &column);
    if (at < length) {
        fault_add(faults, file, line, column, "",
                  "the byte 0x%02X is not UTF-8; save the file as UTF-8",
                  (unsigned)(unsigned char)text[at]);
        return -1;
    }
    return 0;
}

int document_parse(struct document *document, const char *file, const char *text, size_t length,
                   struct faults *faults)
{
    *document = (struct document){.file = file};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { // byte order mark of some editors
        text += 3;
        length -= 3;
    }
    if (check_text(file, text, length, faults) != 0)
        return -1;
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        fault_add(faults, file, 0, 0, "", "there is not enough memory to read the file");
        return -1;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    struct build build = {.document = document, .faults = faults};
    read_events(&build, &parser, text, length);
    yaml_parser_delete(&parser);
    if (build.stop) {
        document_release(document);
        return -1;
    }
    if (document->root == NULL) {
        fault_add(faults, file, 1, 1, "", "the file is empty");
        document_release(document);
        return -1;
    }
    return 0;
}

// ---- walking ------------------------------------------------------------------------------------

const struct node *node_find(const struct node *map, const char *key)
{
    if (map == NULL || map->kind != NODE_MAP)
        return NULL;
    for (const struct node *child = map->first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

void node_path(const struct node *node, char *text, size_t size)
{
    const struct node *way[NODE_DEPTH_MAX + 1];
    int depth = 0;
    for (; node->parent != NULL && depth <= NODE_DEPTH_MAX; node = node->parent)
        way[depth++] = node;
    size_t length = 0;
    text[0] = '\0';
    while (depth > 0 && length < size) {
        const struct node *step = way[--depth];
        int added = step->key != NULL ? snprintf(text + length, size - length, "%s%.40s",
                                                 length > 0 ? "." : "", step->key)
                                      : snprintf(text + length, size - length, "[%d]", step->index);
        length += added > 0 ? (size_t)added : 0;
    }
}
