// What one unit has answered so far: the registers that it gave, and what it refused. Profiles
// overlap, so a register is asked for once and looked up for all. Pure.
#ifndef METERGATE_SCAN_WORDS_H
#define METERGATE_SCAN_WORDS_H

#include "drivers/frame.h"

#define SCAN_ASKED_MAX 256  // requests; further ones are not kept: `full`
#define SCAN_WORDS_MAX 8192 // registers in their replies

struct scan_asked {
    uint8_t function, register_size; // 2 or 4 bytes
    uint16_t first, count;
    uint16_t why;   // WHY_NONE, or why nothing came
    uint16_t place; // of its first word
};

struct scan_words {
    int asked_count, word_count;
    bool full; // something was not kept
    struct scan_asked asked[SCAN_ASKED_MAX];
    uint16_t words[SCAN_WORDS_MAX];
};

// Whether all registers of a span (function, register size, first, count) are known. SCAN_UNKNOWN:
// some were never asked for. WHY_NONE: all were read (copied to `out` where that is given). Else
// why not: a meter that refuses a part of a span refuses the whole.
#define SCAN_UNKNOWN 0xFFFF
uint16_t scan_words_find(const struct scan_words *words, const struct request *span, uint16_t *out);

// Keeps what came of a request.
void scan_words_add(struct scan_words *words, const struct request *request,
                    const struct reply *reply);

// Forgets the requests that met silence or a spoilt reply, so that they are asked again. True when
// there were any.
bool scan_words_forget_lost(struct scan_words *words);
// Whether it ever refused a request with an exception.
bool scan_words_refuse(const struct scan_words *words);

// How many requests were answered with registers, and how many refused with an exception.
void scan_words_share(const struct scan_words *words, int *given, int *refused);

// How many requests of a function were answered, an exception reply counted too, and how many met
// silence.
void scan_words_count(const struct scan_words *words, uint8_t function, int *answered, int *silent);

#endif
