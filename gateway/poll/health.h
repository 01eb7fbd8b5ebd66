// How a link does: what each of its meters answered and how fast, how busy the line is, and the
// newest frames. Written by the bus's thread, read from any thread.
#ifndef METERGATE_POLL_HEALTH_H
#define METERGATE_POLL_HEALTH_H

#include "base/clock.h"
#include "base/writer.h"
#include "drivers/wire.h"

#define HEALTH_BUCKETS 13       // of the response-time histogram; the last has no upper bound
#define HEALTH_EXCEPTIONS 12    // code 1 to 11; 0: all others
#define HEALTH_FRAMES_SIZE 1024 // bytes of newest frames and their heads; older ones are dropped

// Upper bounds in milliseconds, the last one left out.
extern const int health_bucket_ms[HEALTH_BUCKETS - 1];

// Since the bus was started.
struct health_counts {
    uint64_t requests, replies, timeouts, crc_errors, frame_errors, link_down;
    uint64_t exceptions[HEALTH_EXCEPTIONS];
    uint64_t response[HEALTH_BUCKETS]; // replies and exceptions by response time
    int64_t response_us;               // their sum
};

struct config;
struct health;

// For one link of a configuration; its clock must outlive it. NULL when memory is short. Shared by
// reference count: begins with one.
struct health *health_new(const struct config *config, int link, const struct clock *clock);
struct health *health_ref(struct health *health);
void health_unref(struct health *health); // NULL is fine

// From the bus's thread: a frame passed, a transaction ended after so long (silences included).
void health_frame(struct health *health, bool sent, const uint8_t *bytes, size_t length);
void health_note(struct health *health, const struct request *request, const struct reply *reply,
                 int64_t busy_us);

// Of one unit; all zero for a unit that no meter of the configuration has.
void health_counts_of(struct health *health, int unit, struct health_counts *out);
// Of all units, also of those that a scan asked for.
void health_counts_all(struct health *health, struct health_counts *out);
// Part of the last minute (or of the time since start) that the line was busy, in percent.
double health_busy_percent(struct health *health);
// The response time that `share` (0 to 1) of the answers did not exceed: the upper bound of its
// bucket in milliseconds, 0 without answers, -1 beyond the last bound.
int health_response_ms(const struct health_counts *counts, double share);

// Adds
// {"requests","replies","timeouts","crc_errors","frame_errors","link_down","exceptions":{"2":1},
// "response_ms":{"p50","p99"}}; response times as of health_response_ms, null where it has none.
void health_print_summary(struct writer *writer, const struct health_counts *counts);
// The same, and "histogram":[{"up_to","count"}] of response times in milliseconds.
void health_print_counts(struct writer *writer, const struct health_counts *counts);
// Adds the newest frames, oldest first:
// [{"at","sent","bytes":HEX,"kind","unit","text":{"en","zh"}}].
void health_print_frames(struct health *health, struct writer *writer);

#endif
