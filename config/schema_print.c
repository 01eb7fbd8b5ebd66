// The schema as JSON Schema and as the reference page.
#include "config/schema.h"

#include "base/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_bounded(const struct key *key)
{
    return key->minimum != 0 || key->maximum != 0;
}

static const char *restarts_text(enum restarts restarts)
{
    switch (restarts) {
    case RESTARTS_NOTHING: return "nothing";
    case RESTARTS_METER: return "the meter's link";
    case RESTARTS_LINK: return "the link";
    case RESTARTS_OFFICE: return "the office session";
    case RESTARTS_PAGE: return "the page";
    case RESTARTS_PROGRAM: return "at the next start";
    }
    abort();
}

// ---- JSON Schema --------------------------------------------------------------------------------

static void print_schema(const struct schema *schema, struct writer *writer);

static void print_numbers(const struct key *key, struct writer *writer)
{
    if (is_bounded(key)) {
        writer_key_gauge(writer, "minimum", key->minimum, true);
        writer_key_gauge(writer, "maximum", key->maximum, true);
    }
}

static void print_choices(const struct key *key, bool numbers, struct writer *writer)
{
    writer_key(writer, "enum");
    writer_array(writer);
    for (int i = 0; key->choices[i] != NULL; i++)
        if (numbers)
            writer_raw(writer, key->choices[i], strlen(key->choices[i]));
        else
            writer_text(writer, key->choices[i]);
    writer_end(writer);
}

// A text key takes any scalar as it is written, so a number in JSON is one too.
static void print_text_type(const struct key *key, struct writer *writer)
{
    writer_key(writer, "type");
    writer_array(writer);
    writer_text(writer, "string");
    writer_text(writer, "number");
    writer_text(writer, "boolean");
    writer_end(writer);
    writer_key_int(writer, "minLength", 1);
    writer_key_int(writer, "maxLength", (int64_t)key->size - 1);
    if (key->pattern != NULL)
        writer_key_text(writer, "pattern", key->pattern);
}

static void print_range_type(const struct key *key, struct writer *writer)
{
    writer_key_text(writer, "type", "array");
    writer_key(writer, "items");
    writer_object(writer);
    writer_key_text(writer, "type", "integer");
    print_numbers(key, writer);
    writer_end(writer);
    writer_key_int(writer, "minItems", 2);
    writer_key_int(writer, "maxItems", 2);
}

static void print_scalar(const struct key *key, enum value_type type, struct writer *writer)
{
    switch (type) {
    case TYPE_TEXT: print_text_type(key, writer); break;
    case TYPE_BOOLEAN: writer_key_text(writer, "type", "boolean"); break;
    case TYPE_CHOICE: print_choices(key, false, writer); break;
    case TYPE_RANGE: print_range_type(key, writer); break;
    case TYPE_RAW:
        writer_key_text(writer, "type", "integer");
        writer_key_int(writer, "minimum", 0);
        break;
    case TYPE_INTEGER:
        writer_key_text(writer, "type", "integer");
        print_numbers(key, writer);
        if (key->choices != NULL)
            print_choices(key, true, writer);
        break;
    default:
        writer_key_text(writer, "type", "number");
        print_numbers(key, writer);
        break;
    }
}

static void print_item(const struct key *key, struct writer *writer)
{
    writer_object(writer);
    if (key->map != NULL)
        print_schema(key->map, writer);
    else
        print_scalar(key, key->item, writer);
    writer_end(writer);
}

static void print_named(const struct key *key, struct writer *writer)
{
    writer_key_text(writer, "type", "object");
    writer_key_int(writer, "maxProperties", key->most);
    writer_key(writer, "propertyNames");
    writer_object(writer);
    writer_key(writer, "enum");
    writer_array(writer);
    const char *name = NULL;
    for (int i = 0; (name = key->names(NULL, i)) != NULL; i++)
        writer_text(writer, name);
    writer_end(writer);
    writer_end(writer);
    writer_key(writer, "additionalProperties");
    print_item(key, writer);
}

static void print_standard(const struct key *key, struct writer *writer)
{
    writer_key(writer, "default");
    if (key->type == TYPE_TEXT || key->type == TYPE_CHOICE)
        writer_text(writer, key->standard);
    else
        writer_raw(writer, key->standard, strlen(key->standard));
}

static void print_key(const struct key *key, struct writer *writer)
{
    writer_object(writer);
    writer_key_text(writer, "description", key->help);
    switch (key->type) {
    case TYPE_MAP: print_schema(key->map, writer); break;
    case TYPE_NAMED: print_named(key, writer); break;
    case TYPE_LIST:
        writer_key_text(writer, "type", "array");
        writer_key_int(writer, "maxItems", key->most);
        writer_key(writer, "items");
        print_item(key, writer);
        break;
    default: print_scalar(key, key->type, writer); break;
    }
    if (key->standard != NULL)
        print_standard(key, writer);
    if (key->unit != NULL)
        writer_key_text(writer, "x-unit", key->unit);
    writer_key_text(writer, "x-restarts", restarts_text(key->restarts));
    writer_end(writer);
}

static void print_object(const struct schema *schema, struct writer *writer)
{
    writer_key_text(writer, "type", "object");
    writer_key_bool(writer, "additionalProperties", false);
    writer_key(writer, "properties");
    writer_object(writer);
    for (int i = 0; i < schema->count; i++) {
        writer_key(writer, schema->keys[i].name);
        print_key(&schema->keys[i], writer);
    }
    writer_end(writer);
    writer_key(writer, "required");
    writer_array(writer);
    for (int i = 0; i < schema->count; i++)
        if (schema->keys[i].required)
            writer_text(writer, schema->keys[i].name);
    writer_end(writer);
}

// The members of a schema object that describe the map, or the scalar that may stand for it.
static void print_schema(const struct schema *schema, struct writer *writer)
{
    if (schema->shorthand == NULL) {
        print_object(schema, writer);
        return;
    }
    writer_key(writer, "anyOf");
    writer_array(writer);
    for (int i = 0; i < schema->count; i++) {
        if (strcmp(schema->keys[i].name, schema->shorthand) == 0) {
            writer_object(writer);
            print_scalar(&schema->keys[i], schema->keys[i].type, writer);
            writer_end(writer);
        }
    }
    writer_object(writer);
    print_object(schema, writer);
    writer_end(writer);
    writer_end(writer);
}

void schema_print_json(const struct schema *schema, const char *id, struct buf *out)
{
    struct writer writer;
    writer_init(&writer, out);
    writer_object(&writer);
    writer_key_text(&writer, "$schema", "https://json-schema.org/draft/2020-12/schema");
    writer_key_text(&writer, "$id", id);
    writer_key_text(&writer, "title", schema->title);
    writer_key_text(&writer, "description", schema->help);
    print_schema(schema, &writer);
    writer_end(&writer);
}

// ---- reference page -----------------------------------------------------------------------------

static const char *type_text(enum value_type type)
{
    switch (type) {
    case TYPE_TEXT: return "text";
    case TYPE_INTEGER: return "whole number";
    case TYPE_NUMBER: return "number";
    case TYPE_DECIMAL: return "exact decimal";
    case TYPE_RAW: return "raw bits";
    case TYPE_BOOLEAN: return "true or false";
    case TYPE_CHOICE: return "choice";
    case TYPE_RANGE: return "[first, last]";
    case TYPE_MAP: return "map";
    case TYPE_LIST: return "list";
    case TYPE_NAMED: return "map by name";
    }
    abort();
}

static void add_allowed(const struct key *key, struct buf *out)
{
    bool listed = key->type == TYPE_LIST || key->type == TYPE_NAMED;
    if (listed)
        buf_addf(out, "at most %d", key->most);
    else if (key->choices != NULL)
        for (int i = 0; key->choices[i] != NULL; i++)
            buf_addf(out, "%s`%s`", i > 0 ? ", " : "", key->choices[i]);
    else if (is_bounded(key))
        buf_addf(out, "%.10g to %.10g", key->minimum, key->maximum);
    else if (key->form != NULL)
        buf_add_text(out, key->form);
    else if (key->type == TYPE_TEXT)
        buf_addf(out, "at most %zu bytes", key->size - 1);
}

static void add_row(const struct key *key, struct buf *out)
{
    buf_addf(out, "| `%s`%s | %s", key->name, key->required ? " (required)" : "",
             type_text(key->type));
    if (key->type == TYPE_LIST && key->map == NULL)
        buf_addf(out, " of %s", type_text(key->item));
    buf_addf(out, " | %s | ", key->unit != NULL ? key->unit : "");
    add_allowed(key, out);
    buf_addf(out, " | %s%s%s | %s | %s |\n", key->standard != NULL ? "`" : "",
             key->standard != NULL ? key->standard : "", key->standard != NULL ? "`" : "",
             key->help, restarts_text(key->restarts));
}

static void add_names(const struct key *key, const char *path, struct buf *out)
{
    buf_addf(out, "\nNames under `%s`: ", path);
    const char *name = NULL;
    for (int i = 0; (name = key->names(NULL, i)) != NULL; i++)
        buf_addf(out, "%s`%s`", i > 0 ? ", " : "", name);
    buf_add_text(out, ".\n");
}

static void add_section(const struct schema *schema, const char *path, struct buf *out)
{
    buf_addf(out, "\n## %s\n\n%s\n", path[0] != '\0' ? path : "Top level", schema->help);
    if (schema->shorthand != NULL)
        buf_addf(out, "\nA single value in its place is its `%s`.\n", schema->shorthand);
    buf_add_text(out, "\n| key | type | unit | allowed | default | meaning | a change restarts |\n"
                      "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < schema->count; i++)
        add_row(&schema->keys[i], out);
    for (int i = 0; i < schema->count; i++) {
        const struct key *key = &schema->keys[i];
        char below[128];
        (void)snprintf(below, sizeof below, "%s%s%s%s", path, path[0] != '\0' ? "." : "", key->name,
                       key->type == TYPE_LIST    ? "[]"
                       : key->type == TYPE_NAMED ? ".NAME"
                                                 : "");
        if (key->names != NULL)
            add_names(key, below, out);
        if (key->map != NULL)
            add_section(key->map, below, out);
    }
}

void schema_print_reference(const struct schema *schema, struct buf *out)
{
    buf_addf(out, "# %s\n", schema->title);
    add_section(schema, "", out);
}
