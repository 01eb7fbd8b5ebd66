#include "scan/words.h"

#include <string.h>

// Words that a register has in a reply.
static int width_of(uint8_t register_size)
{
    return register_size == 4 ? 2 : 1;
}

static bool is_alike(const struct scan_asked *asked, const struct request *span)
{
    return asked->function == span->function &&
           width_of(asked->register_size) == width_of(span->register_size);
}

// The newest answer counts.
static const struct scan_asked *find_register(const struct scan_words *words,
                                              const struct request *span, int at)
{
    for (int i = words->asked_count - 1; i >= 0; i--) {
        const struct scan_asked *asked = &words->asked[i];
        if (is_alike(asked, span) && asked->why == WHY_NONE && at >= asked->first &&
            at < asked->first + asked->count)
            return asked;
    }
    return NULL;
}

static uint16_t find_refusal(const struct scan_words *words, const struct request *span)
{
    for (int i = 0; i < words->asked_count; i++) {
        const struct scan_asked *asked = &words->asked[i];
        if (is_alike(asked, span) && asked->why != WHY_NONE && asked->first >= span->first &&
            asked->first + asked->count <= span->first + span->count)
            return asked->why;
    }
    return SCAN_UNKNOWN;
}

uint16_t scan_words_find(const struct scan_words *words, const struct request *span, uint16_t *out)
{
    uint16_t found[FRAME_WORDS_MAX] = {0};
    int width = width_of(span->register_size);
    if (span->count * width > FRAME_WORDS_MAX)
        return SCAN_UNKNOWN;
    for (int i = 0; i < span->count; i++) {
        const struct scan_asked *asked = find_register(words, span, span->first + i);
        if (asked == NULL)
            return find_refusal(words, span);
        int place = asked->place + (span->first + i - asked->first) * width;
        memcpy(found + (size_t)i * (size_t)width, words->words + place,
               (size_t)width * sizeof found[0]);
    }
    if (out != NULL)
        memcpy(out, found, (size_t)(span->count * width) * sizeof found[0]);
    return WHY_NONE;
}

void scan_words_add(struct scan_words *words, const struct request *request,
                    const struct reply *reply)
{
    int needed = reply->why == WHY_NONE ? frame_word_count(request) : 0;
    if (words->asked_count == SCAN_ASKED_MAX || words->word_count + needed > SCAN_WORDS_MAX) {
        words->full = true;
        return;
    }
    words->asked[words->asked_count++] = (struct scan_asked){
        .function = request->function,
        .register_size = request->register_size,
        .first = request->first,
        .count = request->count,
        .why = reply->why,
        .place = (uint16_t)words->word_count,
    };
    memcpy(words->words + words->word_count, reply->words, (size_t)needed * sizeof words->words[0]);
    words->word_count += needed;
}

static bool is_lost(const struct scan_asked *asked)
{
    return asked->why != WHY_NONE && asked->why < WHY_EXCEPTION;
}

// The reply came, with registers of another size.
static bool is_other_width(const struct scan_asked *asked)
{
    return asked->register_size == 4 && asked->why == WHY_FRAME;
}

bool scan_words_forget_lost(struct scan_words *words)
{
    int kept = 0;
    for (int i = 0; i < words->asked_count; i++)
        if (!is_lost(&words->asked[i]) || is_other_width(&words->asked[i]))
            words->asked[kept++] = words->asked[i];
    bool any = kept < words->asked_count;
    words->asked_count = kept;
    return any;
}

bool scan_words_refuse(const struct scan_words *words)
{
    for (int i = 0; i < words->asked_count; i++)
        if (words->asked[i].why >= WHY_EXCEPTION)
            return true;
    return false;
}

void scan_words_share(const struct scan_words *words, int *given, int *refused)
{
    *given = 0;
    *refused = 0;
    for (int i = 0; i < words->asked_count; i++) {
        *given += words->asked[i].why == WHY_NONE ? 1 : 0;
        *refused += words->asked[i].why >= WHY_EXCEPTION ? 1 : 0;
    }
}

void scan_words_count(const struct scan_words *words, uint8_t function, int *answered, int *silent)
{
    *answered = 0;
    *silent = 0;
    for (int i = 0; i < words->asked_count; i++) {
        const struct scan_asked *asked = &words->asked[i];
        if (asked->function != function)
            continue;
        *answered += is_lost(asked) ? 0 : 1;
        *silent += is_lost(asked) ? 1 : 0;
    }
}
