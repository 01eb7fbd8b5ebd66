// Scalars: text to a typed value, by the schema's row.
#include "config/schema.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// "a, b, c" of the choices.
static const char *choices_text(const char *const *choices, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; choices[i] != NULL && length < size; i++) {
        int added = snprintf(text + length, size - length, "%s%s", i > 0 ? ", " : "", choices[i]);
        length += added > 0 ? (size_t)added : 0;
    }
    return text;
}

static int choice_find(const char *const *choices, const char *text)
{
    for (int i = 0; choices[i] != NULL; i++)
        if (strcmp(choices[i], text) == 0)
            return i;
    return -1;
}

static const char *choice_at(const void *context, int index)
{
    const char *const *choices = context;
    return choices[index];
}

static int choice_refuse(const struct key *key, const char *text, struct err *err)
{
    char allowed[240];
    const char *meant = suggest(text, choice_at, key->choices);
    return err_set(err, "'%.40s' is not possible%s%s%s; allowed: %s", text,
                   meant != NULL ? ", did you mean '" : "", meant != NULL ? meant : "",
                   meant != NULL ? "'?" : "", choices_text(key->choices, allowed, sizeof allowed));
}

// ---- numbers ------------------------------------------------------------------------------------

static const char *range_text(const struct key *key, char *text, size_t size)
{
    if (key->minimum == 0 && key->maximum == 0) {
        (void)snprintf(text, size, "%s", key->type == TYPE_INTEGER ? "a whole number" : "a number");
    } else {
        (void)snprintf(text, size, "%.10g to %.10g%s%s", key->minimum, key->maximum,
                       key->unit != NULL ? " " : "", key->unit != NULL ? key->unit : "");
    }
    return text;
}

static bool in_range(const struct key *key, double value)
{
    return (key->minimum == 0 && key->maximum == 0) ||
           (value >= key->minimum && value <= key->maximum);
}

static int number_refuse(const struct key *key, const char *text, const char *why, struct err *err)
{
    char allowed[80];
    return err_set(err, "'%.40s' %s; allowed: %s", text, why,
                   range_text(key, allowed, sizeof allowed));
}

// Decimal, or hexadecimal after 0x, as register maps are printed. -1 where it is no such number, or
// does not fit 64 bits.
static int natural_parse(const char *text, uint64_t *out)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hex ? text + 2 : text;
    size_t count = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    if (count == 0 || digits[count] != '\0')
        return -1;
    if (!hex && digits[0] == '0' && count > 1)
        return -1; // some programs read 010 as eight
    errno = 0;
    *out = strtoull(digits, NULL, hex ? 16 : 10);
    return errno == 0 ? 0 : -1;
}

static int integer_read(const struct key *key, const char *text, void *target, struct err *err)
{
    bool negative = text[0] == '-';
    uint64_t magnitude = 0;
    if (natural_parse(negative ? text + 1 : text, &magnitude) != 0)
        return number_refuse(key, text, "is no whole number", err);
    if (magnitude > INT32_MAX || !in_range(key, negative ? -(double)magnitude : (double)magnitude))
        return number_refuse(key, text, "is out of range", err);
    if (key->choices != NULL && choice_find(key->choices, text) < 0)
        return choice_refuse(key, text, err);
    int value = negative ? -(int)magnitude : (int)magnitude;
    memcpy(target, &value, sizeof value);
    return 0;
}

static int number_read(const struct key *key, const char *text, void *target, struct err *err)
{
    struct decimal exact;
    if (decimal_parse(text, &exact) != 0)
        return number_refuse(key, text, "is no number (written like 20 or 0.581)", err);
    double value = decimal_to_double(exact);
    if (!in_range(key, value))
        return number_refuse(key, text, "is out of range", err);
    memcpy(target, &value, sizeof value);
    return 0;
}

static int decimal_read(const struct key *key, const char *text, void *target, struct err *err)
{
    struct decimal value;
    if (decimal_parse(text, &value) != 0)
        return number_refuse(key, text, "is no number (written like 0.0001, 1e-4 or 1000)", err);
    if (!in_range(key, decimal_to_double(value)))
        return number_refuse(key, text, "is out of range", err);
    memcpy(target, &value, sizeof value);
    return 0;
}

static int raw_read(const char *text, void *target, struct err *err)
{
    uint64_t value = 0;
    if (natural_parse(text, &value) != 0) {
        return err_set(err,
                       "'%.40s' is no raw value; allowed: 0 to 0xFFFFFFFFFFFFFFFF, decimal or "
                       "hexadecimal",
                       text);
    }
    memcpy(target, &value, sizeof value);
    return 0;
}

// ---- text ---------------------------------------------------------------------------------------

static bool matches(const char *pattern, const char *text)
{
    regex_t expression;
    if (regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool match = regexec(&expression, text, 0, NULL, 0) == 0;
    regfree(&expression);
    return match;
}

static bool has_control(const char *text, bool lines)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < ' ' && !(lines && *text == '\n')) || *text == 0x7F)
            return true;
    return false;
}

static int text_read(const struct key *key, const char *text, void *target, struct err *err)
{
    size_t length = strlen(text);
    if (length == 0) {
        return err_set(err, "there is no text; allowed: %s",
                       key->form != NULL ? key->form : "at least one character");
    }
    if (length >= key->size)
        return err_set(err, "the text has %zu bytes; allowed: at most %zu", length, key->size - 1);
    if (has_control(text, key->lines))
        return err_set(err, "the text holds a control character; allowed: one line of text");
    if (key->pattern != NULL && !matches(key->pattern, text))
        return err_set(err, "'%.60s' is not possible; allowed: %s", text, key->form);
    if (key->check != NULL && key->check(text, err) != 0)
        return -1;
    memcpy(target, text, length + 1);
    return 0;
}

static int boolean_read(const char *text, void *target, struct err *err)
{
    bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0)
        return err_set(err, "'%.40s' is not possible; allowed: true, false", text);
    memcpy(target, &value, sizeof value);
    return 0;
}

static int choice_read(const struct key *key, const char *text, void *target, struct err *err)
{
    int value = choice_find(key->choices, text);
    if (value < 0)
        return choice_refuse(key, text, err);
    memcpy(target, &value, sizeof value);
    return 0;
}

int scalar_read(const struct key *key, const char *text, void *target, struct err *err)
{
    bool item = key->type == TYPE_LIST || key->type == TYPE_NAMED;
    switch (item ? key->item : key->type) {
    case TYPE_TEXT: return text_read(key, text, target, err);
    case TYPE_INTEGER: return integer_read(key, text, target, err);
    case TYPE_NUMBER: return number_read(key, text, target, err);
    case TYPE_DECIMAL: return decimal_read(key, text, target, err);
    case TYPE_RAW: return raw_read(text, target, err);
    case TYPE_BOOLEAN: return boolean_read(text, target, err);
    case TYPE_CHOICE: return choice_read(key, text, target, err);
    default: return err_set(err, "a single value is not possible here");
    }
}
