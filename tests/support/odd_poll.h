// Reads the meters of odd lines through the program's wire and meter polls, as the bus does, and
// knows for each request that was believed its serial: what the values must be of.
#ifndef METERGATE_TESTS_SUPPORT_ODD_POLL_H
#define METERGATE_TESTS_SUPPORT_ODD_POLL_H

#include "config/config.h"
#include "odd_lines.h"
#include "poll/meter_poll.h"

#define ODD_SENT_MAX 512 // requests of one poll

struct odd_sent {
    int unit, function, first, count;
    uint64_t serial;
    uint64_t replies; // that were believed before it was sent
    bool believed;
};

struct odd_reader {
    struct odd_lines *lines;
    int line;
    struct wire *wire;
    struct link_url url;
    struct live_link counters;
    uint64_t serial; // of the last request that was sent
    int sent_count;  // since the last odd_reader_begin
    struct odd_sent sent[ODD_SENT_MAX];
};

// Opens the wire to a line; ends the program when it cannot.
void odd_reader_open(struct odd_reader *reader, struct odd_lines *lines, int line,
                     enum odd_kind kind, int timeout_ms);
void odd_reader_close(struct odd_reader *reader);
// Forgets the requests that were sent.
void odd_reader_begin(struct odd_reader *reader);
// One poll from odd_reader_begin to the mark of each request whether it was believed. The reading
// is the caller's.
struct reading *odd_reader_poll(struct odd_reader *reader, const struct meter *meter,
                                struct meter_poll *poll);
// The newest request since odd_reader_begin that was believed, brought that field and in whose
// reply it has these words; NULL when there is none. (Of several replies that confirm each other it
// need not be the last that counts.)
const struct odd_sent *odd_reader_source(const struct odd_reader *reader, int unit,
                                         const struct field *field, const uint16_t *words);
// Whether a request brought that field.
bool odd_sent_covers(const struct odd_sent *sent, int unit, const struct field *field);

// Adds a counter of so many registers, or a gauge (RAW_F32), under the next free canonical name.
void odd_profile_add(struct profile *profile, int first, int words, enum raw_type type);
// Adds the sixteen bits of a register to the status.
void odd_profile_add_flags(struct profile *profile, int first);
// For a meter with such a profile; ends the program when it cannot.
struct meter_poll *odd_meter_poll(const struct odd_reader *reader, const struct meter *meter);

#endif
