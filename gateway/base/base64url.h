// base64url (RFC 4648, section 5), as signed commands carry it.
#ifndef METERGATE_BASE_BASE64URL_H
#define METERGATE_BASE_BASE64URL_H

#include "base/buf.h"

// Bytes that `length` characters stand for, at most.
#define BASE64URL_BYTES(length) ((length) / 4 * 3 + 3)

// Adds the text of the bytes, without padding.
void base64url_add(struct buf *out, const void *bytes, size_t length);

// Reads a text with or without its padding; nothing else is forgiven: other characters, padding
// that is not exactly right, bits beyond the last byte (so no two texts of one form stand for the
// same bytes). `bytes` has room for `size`. Returns how many bytes, -1.
long base64url_read(const char *text, size_t length, uint8_t *bytes, size_t size);

#endif
