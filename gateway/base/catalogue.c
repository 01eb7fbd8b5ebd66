#include "base/catalogue.h"

#include <string.h>

struct entry {
    const char *key;
    const char *text[LANGUAGE_COUNT];
};

#define TEXT(key, english, chinese) {(key), {[LANGUAGE_EN] = (english), [LANGUAGE_ZH] = (chinese)}},
static const struct entry entries[] = {
#include "base/catalogue.def"
};
#undef TEXT

#define ENTRY_COUNT (sizeof entries / sizeof entries[0])

const char *catalogue_key(size_t index)
{
    return index < ENTRY_COUNT ? entries[index].key : NULL;
}

const char *catalogue_text(const char *key, enum language language)
{
    if ((unsigned)language >= LANGUAGE_COUNT)
        return NULL;
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        if (strcmp(entries[i].key, key) == 0)
            return entries[i].text[language];
    return NULL;
}

static const struct slot *find_slot(const char *name, size_t length, const struct slot *slots,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            return &slots[i];
    return NULL;
}

static void fill(struct buf *out, const char *text, const struct slot *slots, size_t count)
{
    while (*text != '\0') {
        const char *close = *text == '{' ? strchr(text, '}') : NULL;
        const struct slot *slot = NULL;
        if (close != NULL)
            slot = find_slot(text + 1, (size_t)(close - text) - 1, slots, count);
        if (slot != NULL) {
            buf_add_text(out, slot->value);
            text = close + 1;
        } else {
            size_t plain = 1 + strcspn(text + 1, "{");
            buf_add(out, text, plain);
            text += plain;
        }
    }
}

void catalogue_fill(struct buf *out, const char *key, enum language language,
                    const struct slot *slots, size_t count)
{
    // A key that is not there is shown itself: a gap that a user can report.
    const char *text = catalogue_text(key, language);
    fill(out, text != NULL ? text : key, slots, count);
}
