// Why the reads of a period were not good: counts by quality and reason. Pure.
#ifndef METERGATE_RECORD_REASONS_H
#define METERGATE_RECORD_REASONS_H

#include "base/buf.h"
#include "drivers/value.h"

#define REASONS_MAX 12 // kinds that are told apart; what has no room is counted as WHY_OTHER

struct reason {
    uint8_t quality; // QUALITY_SUSPECT or QUALITY_MISSING
    uint16_t why;
    uint32_t count; // above 0
};

// In order of quality, then why, each pair once: so that equal counts are equal bytes.
struct reasons {
    int count;
    struct reason list[REASONS_MAX];
};

// Adds `count` reads (0: nothing). A sum beyond 32 bits stays there.
void reasons_add(struct reasons *reasons, enum quality quality, uint16_t why, int64_t count);
void reasons_merge(struct reasons *reasons, const struct reasons *more);
// Reads of a quality, and those of one reason.
int64_t reasons_total(const struct reasons *reasons, enum quality quality);
int64_t reasons_of(const struct reasons *reasons, enum quality quality, uint16_t why);
// Takes `count` missing reads (at most what there are) from one reason and gives them another.
void reasons_move(struct reasons *reasons, uint16_t from, uint16_t to, int64_t count);
// The reason with most reads of a quality, the first of equals; WHY_NONE when there is none.
uint16_t reasons_main(const struct reasons *reasons, enum quality quality);

// Compact form: one byte when there are none. What decode does not understand marks the cursor as
// failed.
void reasons_encode(const struct reasons *reasons, struct buf *out);
void reasons_decode(struct cursor *cursor, struct reasons *out);

#endif
