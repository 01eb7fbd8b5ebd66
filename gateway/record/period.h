// Closed periods of one meter, from its readings. Pure: readings and time in, periods out.
// Rules: contract section 4, Periods.
//
// The shortest span is built from readings; each longer one is summed from the closed periods of
// the next shorter one.
//
// A value is usable when it is present and good, or doubted only because its profile is unverified:
// then indices and gauges are there too, all of them `suspect` (unverified).
// Reads belong to periods by due time, values by `at`. Of a counter that stands on the meter, the
// index at a boundary follows from the instants of the readings alone, so that a restart or a late
// timer changes no figure. A gauge's mean weighs each usable value with the time until the meter's
// next reading, at most 2 x interval and not beyond the period. A counter that went backwards keeps
// its indices as read: the period is `suspect` (reversed), nothing is rebased. One that has passed
// the end of its register (record/counter.h) goes on: its period advances over it. Where another
// meter begins (reading.begins), its first index and the last one of the meter before are the jump:
// the period advances without it and is `suspect` (exchanged).
#ifndef METERGATE_RECORD_PERIOD_H
#define METERGATE_RECORD_PERIOD_H

#include "base/buf.h"
#include "gas/gasday.h"
#include "poll/reading.h"
#include "poll/schedule.h"
#include "record/reasons.h"

#define PERIOD_CHANNELS_MAX PROFILE_CHANNELS_MAX

// One channel of a closed period.
struct period_channel {
    char name[32]; // canonical channel
    uint8_t kind;  // enum channel_kind: CHANNEL_COUNTER, CHANNEL_GAUGE or CHANNEL_EXACT
    uint8_t quality;
    uint16_t why;
    // counter: index at both boundaries
    bool start_known, end_known;
    uint8_t start_quality, end_quality;
    int64_t start_micro, end_micro;
    // counter: another meter stands there since a reading between the two boundaries; its index
    // less that of the one before, where both are known. Gas that flowed between the two is not
    // counted. A register that began again at 0 on the way is a jump of its range down, without an
    // exchange.
    bool exchanged, jump_known;
    int64_t jump_micro;
    // counter: newest usable reading before the end, also of an earlier period (last_ms 0: none); a
    // builder that resumes after this period interpolates from it. Quality missing: another
    // meter began then and had told no index; not before the end: the exchange at that instant is
    // in this period
    int64_t last_ms, last_micro;
    uint8_t last_quality;
    // gauge: of good readings; weight is the time that the mean stands for (0: no good reading)
    int64_t weight_ms;
    double min, mean, max;
};

struct period {
    enum span span;
    int version; // from 1
    int64_t from_ms, to_ms;
    bool first; // holds the meter's very first reading: its indices start there, not at from
    int64_t expected, good, suspect, missing; // reads
    // why: they add up to `suspect` and to `missing`. Due times of which there is no reading at all
    // are WHY_NOT_POLLED here; what the gateway knows of them is in the ledger.
    struct reasons reasons;
    uint8_t quality;
    int channel_count;
    struct period_channel channels[PERIOD_CHANNELS_MAX];
};

// What a counter advanced between the boundaries, on the meter before and on the one after an
// exchange. False when an index is not known, or the difference has no room.
bool period_delta(const struct period_channel *channel, int64_t *delta_micro);

// The counter of that name; NULL: the period has none.
const struct period_channel *period_counter(const struct period *period, const char *name);

// Whether an index at the period's end is not measured: unknown, or estimated.
bool period_lacks(const struct period *period);

// Sets quality and why of each channel and of the whole from the figures. A channel without an
// index keeps the `why` that it has.
void period_judge(struct period *period);

// Sets `expected` and `missing` from the due times and what was counted. A shorter interval before
// a change of the configuration made more reads than this one expects: then those were due.
void period_count(struct period *period, int64_t due);

// Compact form for the store, with a format byte in front; decode returns -1 for bytes that it did
// not write. Of a period of an older format, without reasons, they are WHY_OTHER.
void period_encode(const struct period *period, struct buf *out);
int period_decode(const void *bytes, size_t length, struct period *out);

// Running state of the shortest span of one meter. Keeps a pointer to the meter.
struct period_builder;
// NULL when memory is short. Due times before `configured_ms` are not expected.
struct period_builder *period_builder_new(const struct meter *meter,
                                          const struct schedule *schedule,
                                          const struct gas_calendar *calendar,
                                          int64_t configured_ms);
void period_builder_free(struct period_builder *builder); // NULL is fine

// Continues after a stored period (the last closed one of the shortest span, or any that ends at
// one of its boundaries), NULL at the very first start. Then feed the stored readings from its end
// on.
void period_builder_resume(struct period_builder *builder, const struct period *last);

// Feeds one reading, in order of `at`; one that is not after the newest is only counted. Every
// period that this closes goes to `closed`, in order.
typedef void period_closed(void *context, const struct period *period);
void period_builder_feed(struct period_builder *builder, const struct reading *reading,
                         period_closed *closed, void *context);
// Closes what is overdue at `now_ms` (2 x interval + 60 s after the boundary), with missing ends.
// After a long rest that is many: a caller that bounds its rounds goes there in steps.
void period_builder_expire(struct period_builder *builder, int64_t now_ms, period_closed *closed,
                           void *context);
// When expire next has something to do; INT64_MAX when never.
int64_t period_builder_deadline(const struct period_builder *builder);

// Newest usable reading of a counter; false: there is none of this meter.
bool period_builder_last(const struct period_builder *builder, const char *channel, int64_t *at_ms,
                         int64_t *micro, uint8_t *quality);
// The index at a boundary is known after all: where the oldest open period begins there, it begins
// with it.
void period_builder_amend(struct period_builder *builder, int64_t boundary_ms, const char *channel,
                          int64_t micro, uint8_t quality);

// Sums consecutive periods of the next shorter span, all within [from, to), into one of that range.
// Missing parts count as missing reads (`expected` is given). Indices: start of the first, end of
// the last part where they touch from and to; the start also where the first part is the meter's
// very first.
void period_sum(const struct period *parts, int count, enum span span, int64_t from_ms,
                int64_t to_ms, int64_t expected, struct period *out);

#endif
