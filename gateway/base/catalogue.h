// Texts for users, each in English and Chinese, from one catalogue (catalogue.def). Alerts, page
// and reports take theirs from here; a text that stands in only one language cannot be added.
#ifndef METERGATE_BASE_CATALOGUE_H
#define METERGATE_BASE_CATALOGUE_H

#include "base/buf.h"

#include <stddef.h>

enum language { LANGUAGE_EN, LANGUAGE_ZH, LANGUAGE_COUNT };

// The text of a key ("alert.no-answer.open") in a language; NULL for a key that is not there.
const char *catalogue_text(const char *key, enum language language);

// One value that a text names in braces, as in "no answer from {meter}".
struct slot {
    const char *name;
    const char *value;
};
// Adds the text with its slots filled. A slot that is not given stays as it stands, so that it is
// seen.
void catalogue_fill(struct buf *out, const char *key, enum language language,
                    const struct slot *slots, size_t count);

// Walks the catalogue in its own order (for the page and for the test that compares both
// languages); NULL at the end.
const char *catalogue_key(size_t index);

#endif
