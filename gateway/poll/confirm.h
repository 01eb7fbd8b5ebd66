// Second readings where a line is noisy. Pure.
//
// CRC-16 finds every burst of damage of up to 16 bits, and all but one in 65,536 (1.5e-5) of those
// that are longer. So on a line that damages replies a wrong value passes now and then. It is not
// believed alone: while a meter is in doubt, a value counts only when two replies in a row agree on
// it; a counter that moved between them when a third goes on from there, and then it is the middle
// one that counts, which neither neighbour's damage can reach. What nothing confirms is suspect
// (unconfirmed).
//
// A meter is in doubt for DOUBT_REQUESTS requests after each reply of it that came damaged, or in a
// shape that was not asked for. Doubt is the meter's own: a bad one costs its neighbours no bus
// time. A time-out does not count, for nothing came that could be wrong.
//
// What stays possible is that the first damage of all passes the CRC. With a share p of the replies
// damaged, of which 1.5e-5 pass, a read is wrong and called good with a probability of
// 1.5e-5 p (1 - p)^1000: 5.5e-9 at the worst (p = 0.001), 6e-12 at p = 0.01.
#ifndef METERGATE_POLL_CONFIRM_H
#define METERGATE_POLL_CONFIRM_H

#include "drivers/decode.h"

#define DOUBT_REQUESTS 1000
// Replies to one block in one poll, after which what does not agree stays suspect.
#define CONFIRM_REPLIES_MAX 5

// How much two replies may differ and still agree. A counter may have advanced, by what the largest
// of customers take; meters may bring their registers up to date once a second only.
#define CONFIRM_PACE 50           // of the counter's unit in a second (180,000 m3/h)
#define CONFIRM_UPDATE_MS 1000    // added to the time between the replies
#define CONFIRM_GAUGE_SHARE 0.005 // of the larger of the two,
#define CONFIRM_GAUGE_LEAST 0.01  // or of the gauge's unit

struct doubt {
    int requests_left;
};

// How a request ended: its why.
void doubt_note(struct doubt *doubt, uint16_t why);
bool doubt_holds(const struct doubt *doubt);

// Whether a channel's values of two replies, the second so much later, agree: a counter has not
// fallen and not advanced beyond CONFIRM_PACE; a gauge has moved by no more than a two-hundredth of
// itself or a hundredth of its unit; an exact gauge (a balance, a clock) by no more than a counter,
// either way; bits and identity are the same. Where both replies hold no number, for the same
// reason, they agree.
bool confirm_agrees(enum channel_kind kind, const struct value *first, const struct value *second,
                    int64_t apart_ms);

// Settles the fields (indices in profile.fields) whose words in `now` just came, `apart_ms` after
// those in `earlier`: WHY_NONE where all channels that a field belongs to are confirmed, else
// WHY_UNCONFIRMED. A field of which `earlier` has no words is unconfirmed. Where a channel has
// fields beyond the list, those in it must be the same word for word. `moved` (one for each of the
// profile's fields, false before the first reply) remembers counters that wait for a third reply;
// where that goes on from the second, the words of the second are put back.
void confirm_fields(const struct profile *profile, const uint8_t *fields, int field_count,
                    const struct image *earlier, struct image *now, int64_t apart_ms, bool *moved);

#endif
