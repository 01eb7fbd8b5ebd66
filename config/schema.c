// Loading: a tree of nodes into structs, by the schema.
#include "config/schema.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void load_value(const struct load *load, const struct key *key, const struct node *node,
                       void *target);

static const char *node_kind_text(const struct node *node)
{
    switch (node->kind) {
    case NODE_MAP: return "a map";
    case NODE_LIST: return "a list";
    default: return node->plain && node->text[0] == '\0' ? "nothing" : "a single value";
    }
}

// Whether the value has the shape that is needed; tells if not.
static bool has_kind(const struct load *load, const struct node *node, enum node_kind kind)
{
    if (node->kind == kind)
        return true;
    if (node->kind != NODE_BROKEN) {
        fault_at(load->faults, load->document->file, node, "here stands %s; allowed: %s",
                 node_kind_text(node),
                 kind == NODE_MAP    ? "a map (key: value)"
                 : kind == NODE_LIST ? "a list (- item)"
                                     : "a single value");
    }
    return false;
}

// The first member of a placed struct says where it was written.
static void set_place(const struct schema *schema, const struct node *node, void *target)
{
    if (schema->placed) {
        const struct node **place = target;
        *place = node;
    }
}

static const struct key *key_find(const struct schema *schema, const char *name)
{
    for (int i = 0; i < schema->count; i++)
        if (strcmp(schema->keys[i].name, name) == 0)
            return &schema->keys[i];
    return NULL;
}

// ---- values -------------------------------------------------------------------------------------

static void load_scalar(const struct load *load, const struct key *key, const struct node *node,
                        void *target)
{
    struct err err;
    if (!has_kind(load, node, NODE_SCALAR))
        return;
    if (node->plain && node->text[0] == '\0') {
        fault_at(load->faults, load->document->file, node,
                 "the key has no value; write one, or remove the key");
    } else if (scalar_read(key, node->text, target, &err) != 0) {
        fault_at(load->faults, load->document->file, node, "%s", err.text);
    }
}

static void load_range(const struct load *load, const struct key *key, const struct node *node,
                       void *target)
{
    if (!has_kind(load, node, NODE_LIST))
        return;
    if (node->count != 2) {
        fault_at(load->faults, load->document->file, node,
                 "the list has %d items; allowed: two, [first, last]", node->count);
        return;
    }
    struct key end = *key;
    end.type = TYPE_INTEGER;
    int range[2] = {-1, -1};
    load_scalar(load, &end, node->first, &range[0]);
    load_scalar(load, &end, node->last, &range[1]);
    if (range[0] > range[1] && range[1] >= 0) {
        fault_at(load->faults, load->document->file, node,
                 "%d to %d runs backwards; allowed: [first, last] with first <= last", range[0],
                 range[1]);
        return;
    }
    memcpy(target, range, sizeof range);
}

static void load_map(const struct load *load, const struct schema *schema, const struct node *node,
                     void *target)
{
    if (node->kind == NODE_SCALAR && schema->shorthand != NULL) {
        const struct key *key = key_find(schema, schema->shorthand);
        assert(key != NULL);
        schema_load(load, schema, NULL, target);
        load_scalar(load, key, node, (char *)target + key->offset);
        set_place(schema, node, target);
        return;
    }
    if (has_kind(load, node, NODE_MAP))
        schema_load(load, schema, node, target);
}

// False when there is no item to be had; told.
static bool load_item(const struct load *load, const struct key *key, const struct node *node,
                      void *target)
{
    if (key->map != NULL) {
        load_map(load, key->map, node, target);
        return node->kind == NODE_MAP || (node->kind == NODE_SCALAR && key->map->shorthand != NULL);
    }
    int before = load->faults->count;
    struct item *item = target;
    item->node = node;
    if (key->item == TYPE_RANGE)
        load_range(load, key, node, item->range);
    else
        load_scalar(load, key, node, item->text);
    return node->kind != NODE_BROKEN && load->faults->count == before;
}

static bool name_is_known(const struct load *load, const struct key *key, const struct node *child)
{
    const char *name = NULL;
    for (int i = 0; (name = key->names(NULL, i)) != NULL; i++)
        if (strcmp(name, child->key) == 0)
            return true;
    const char *meant = suggest(child->key, key->names, NULL);
    fault_at_key(load->faults, load->document->file, child,
                 "unknown name '%.60s'%s%s%s; the reference page lists the names", child->key,
                 meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "",
                 meant != NULL ? "'?" : "");
    return false;
}

static void load_items(const struct load *load, const struct key *key, const struct node *node,
                       struct list *list)
{
    bool named = key->type == TYPE_NAMED;
    if (!has_kind(load, node, named ? NODE_MAP : NODE_LIST))
        return;
    if (node->count > key->most) {
        fault_at(load->faults, load->document->file, node,
                 "there are %d items; allowed: at most %d", node->count, key->most);
        return;
    }
    size_t size = key->map != NULL ? key->map->size : sizeof(struct item);
    char *items = document_take(load->document, size * (size_t)(node->count + 1));
    if (items == NULL) {
        fault_at(load->faults, load->document->file, node, "there is not enough memory");
        return;
    }
    int count = 0;
    for (const struct node *child = node->first; child != NULL; child = child->next)
        if (!named || name_is_known(load, key, child))
            count += load_item(load, key, child, items + size * (size_t)count) ? 1 : 0;
    *list = (struct list){count, items};
}

static void load_value(const struct load *load, const struct key *key, const struct node *node,
                       void *target)
{
    switch (key->type) {
    case TYPE_MAP: load_map(load, key->map, node, target); break;
    case TYPE_LIST:
    case TYPE_NAMED: load_items(load, key, node, target); break;
    case TYPE_RANGE: load_range(load, key, node, target); break;
    default: load_scalar(load, key, node, target); break;
    }
}

// ---- maps ---------------------------------------------------------------------------------------

static const char *key_at(const void *context, int index)
{
    const struct schema *schema = context;
    return index < schema->count ? schema->keys[index].name : NULL;
}

static void tell_unknown(const struct load *load, const struct schema *schema,
                         const struct node *child)
{
    const char *meant = suggest(child->key, key_at, schema);
    if (meant != NULL) {
        fault_at_key(load->faults, load->document->file, child,
                     "unknown key '%.60s'; did you mean '%s'?", child->key, meant);
        return;
    }
    char allowed[200];
    size_t length = 0;
    for (int i = 0; i < schema->count && length < sizeof allowed; i++) {
        int added = snprintf(allowed + length, sizeof allowed - length, "%s%s", i > 0 ? ", " : "",
                             schema->keys[i].name);
        length += added > 0 ? (size_t)added : 0;
    }
    fault_at_key(load->faults, load->document->file, child, "unknown key '%.60s'; allowed: %s",
                 child->key, allowed);
}

static size_t value_size(const struct key *key)
{
    switch (key->type) {
    case TYPE_TEXT: return key->size;
    case TYPE_NUMBER: return sizeof(double);
    case TYPE_DECIMAL: return sizeof(struct decimal);
    case TYPE_RAW: return sizeof(uint64_t);
    case TYPE_BOOLEAN: return sizeof(bool);
    case TYPE_RANGE: return 2 * sizeof(int);
    case TYPE_MAP: return key->map->size;
    case TYPE_LIST:
    case TYPE_NAMED: return sizeof(struct list);
    default: return sizeof(int);
    }
}

static void set_nothing(const struct key *key, void *target)
{
    static const double no_number = NAN;
    static const int no_integer = -1;
    static const struct list no_items = {0, NULL};
    switch (key->type) {
    case TYPE_TEXT: memset(target, 0, key->size); break;
    case TYPE_NUMBER: memcpy(target, &no_number, sizeof no_number); break;
    case TYPE_INTEGER:
    case TYPE_CHOICE: memcpy(target, &no_integer, sizeof no_integer); break;
    case TYPE_LIST:
    case TYPE_NAMED: memcpy(target, &no_items, sizeof no_items); break;
    default: memset(target, 0, value_size(key)); break;
    }
}

static void set_standard(const struct load *load, const struct key *key, void *target)
{
    struct err err;
    if (key->type == TYPE_MAP)
        schema_load(load, key->map, NULL, target);
    else if (key->standard == NULL)
        set_nothing(key, target);
    else if (scalar_read(key, key->standard, target, &err) != 0)
        assert(!"a standard of our own table cannot be read");
}

void schema_load(const struct load *load, const struct schema *schema, const struct node *node,
                 void *target)
{
    set_place(schema, node, target);
    for (int i = 0; i < schema->count; i++) {
        const struct key *key = &schema->keys[i];
        char *place = (char *)target + key->offset;
        set_standard(load, key, place);
        const struct node *child = node_find(node, key->name);
        if (child != NULL) {
            load_value(load, key, child, place);
        } else if (node != NULL && key->required) {
            fault_missing(load->faults, load->document->file, node, key->name,
                          "the key is missing: %s", key->help);
        }
    }
    for (const struct node *child = node != NULL ? node->first : NULL; child != NULL;
         child = child->next)
        if (key_find(schema, child->key) == NULL)
            tell_unknown(load, schema, child);
}

void schema_inherit(const struct schema *schema, const struct node *node, const void *source,
                    void *target)
{
    for (int i = 0; i < schema->count; i++) {
        const struct key *key = &schema->keys[i];
        if (node_find(node, key->name) == NULL) {
            memcpy((char *)target + key->offset, (const char *)source + key->offset,
                   value_size(key));
        }
    }
}
