// An image as two short byte strings. Pure.
//
// words: the words of the fields that were read (also of doubted ones), in the order of the
// profile's fields, big-endian. marks: empty when every field was read, else pairs of varints
// (number of fields, why) over all fields.
#ifndef METERGATE_STORE_PACK_H
#define METERGATE_STORE_PACK_H

#include "base/buf.h"
#include "drivers/decode.h"

// The buffers are emptied first; ask them whether all fitted.
void image_pack(const struct profile *profile, const struct image *image, struct buf *words,
                struct buf *marks);
// -1 for bytes that were not packed by this profile. Words of fields that were not read become 0.
int image_unpack(const struct profile *profile, const void *words, size_t words_length,
                 const void *marks, size_t marks_length, struct image *out);

#endif
