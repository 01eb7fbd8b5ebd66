#include "record/reasons.h"

#include <string.h>

// A pair's place in the order.
static uint32_t key_of(uint8_t quality, uint16_t why)
{
    return (uint32_t)quality << 16 | why;
}

// Place of the first entry that is not before `key`.
static int place_of(const struct reasons *reasons, uint32_t key)
{
    int place = 0;
    while (place < reasons->count &&
           key_of(reasons->list[place].quality, reasons->list[place].why) < key)
        place++;
    return place;
}

static bool is_at(const struct reasons *reasons, int place, uint8_t quality, uint16_t why)
{
    return place < reasons->count && reasons->list[place].quality == quality &&
           reasons->list[place].why == why;
}

static uint32_t add_up(uint32_t a, int64_t b)
{
    int64_t sum = b < UINT32_MAX ? a + b : UINT32_MAX;
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

// Whether one more kind would take the room that is kept for the two kinds of WHY_OTHER.
static bool is_full(const struct reasons *reasons)
{
    int others = 0;
    for (int i = 0; i < reasons->count; i++)
        others += reasons->list[i].why == WHY_OTHER;
    return reasons->count - others >= REASONS_MAX - 2;
}

void reasons_add(struct reasons *reasons, enum quality quality, uint16_t why, int64_t count)
{
    uint8_t kind = quality == QUALITY_MISSING ? QUALITY_MISSING : QUALITY_SUSPECT;
    if (count <= 0)
        return;
    int place = place_of(reasons, key_of(kind, why));
    if (!is_at(reasons, place, kind, why) && why != WHY_OTHER && is_full(reasons)) {
        why = WHY_OTHER;
        place = place_of(reasons, key_of(kind, why));
    }
    if (!is_at(reasons, place, kind, why)) {
        memmove(&reasons->list[place + 1], &reasons->list[place],
                (size_t)(reasons->count - place) * sizeof reasons->list[0]);
        reasons->list[place] = (struct reason){.quality = kind, .why = why};
        reasons->count++;
    }
    reasons->list[place].count = add_up(reasons->list[place].count, count);
}

void reasons_merge(struct reasons *reasons, const struct reasons *more)
{
    for (int i = 0; i < more->count; i++) {
        const struct reason *reason = &more->list[i];
        reasons_add(reasons, (enum quality)reason->quality, reason->why, reason->count);
    }
}

int64_t reasons_total(const struct reasons *reasons, enum quality quality)
{
    int64_t total = 0;
    for (int i = 0; i < reasons->count; i++)
        total += reasons->list[i].quality == quality ? reasons->list[i].count : 0;
    return total;
}

int64_t reasons_of(const struct reasons *reasons, enum quality quality, uint16_t why)
{
    int place = place_of(reasons, key_of((uint8_t)quality, why));
    return is_at(reasons, place, (uint8_t)quality, why) ? reasons->list[place].count : 0;
}

void reasons_move(struct reasons *reasons, uint16_t from, uint16_t to, int64_t count)
{
    int place = place_of(reasons, key_of(QUALITY_MISSING, from));
    if (!is_at(reasons, place, QUALITY_MISSING, from) || count <= 0)
        return;
    struct reason *reason = &reasons->list[place];
    uint32_t moved = count < reason->count ? (uint32_t)count : reason->count;
    reason->count -= moved;
    if (reason->count == 0) {
        reasons->count--;
        memmove(reason, reason + 1, (size_t)(reasons->count - place) * sizeof *reason);
    }
    reasons_add(reasons, QUALITY_MISSING, to, moved);
}

uint16_t reasons_main(const struct reasons *reasons, enum quality quality)
{
    const struct reason *most = NULL;
    for (int i = 0; i < reasons->count; i++) {
        const struct reason *reason = &reasons->list[i];
        if (reason->quality == quality && (most == NULL || reason->count > most->count))
            most = reason;
    }
    return most != NULL ? most->why : WHY_NONE;
}

void reasons_encode(const struct reasons *reasons, struct buf *out)
{
    buf_add_byte(out, (uint8_t)reasons->count);
    for (int i = 0; i < reasons->count; i++) {
        buf_add_byte(out, reasons->list[i].quality);
        buf_add_varint(out, reasons->list[i].why);
        buf_add_varint(out, reasons->list[i].count);
    }
}

void reasons_decode(struct cursor *cursor, struct reasons *out)
{
    struct reasons reasons = {.count = cursor_byte(cursor)};
    if (reasons.count > REASONS_MAX)
        cursor->failed = true;
    uint32_t before = 0;
    for (int i = 0; i < reasons.count && !cursor->failed; i++) {
        uint8_t quality = cursor_byte(cursor);
        uint64_t why = cursor_varint(cursor);
        uint64_t count = cursor_varint(cursor);
        uint32_t key = key_of(quality, (uint16_t)why);
        cursor->failed = cursor->failed || why > UINT16_MAX || count == 0 || count > UINT32_MAX ||
                         (quality != QUALITY_SUSPECT && quality != QUALITY_MISSING) ||
                         (i > 0 && key <= before);
        reasons.list[i] = (struct reason){quality, (uint16_t)why, (uint32_t)count};
        before = key;
    }
    if (!cursor->failed)
        *out = reasons;
}
