// Head office as a witness that this project did not write: mosquitto_sub takes the feed, and what
// it prints is counted here against what was put in. Nothing of the product is asked.
//
// A reading's identity is in its value: meter-M (from 0) sends (M + 1) x 100000 + T as volume_base
// with its reading number T.
#ifndef METERGATE_TESTS_SUPPORT_FEED_TALLY_H
#define METERGATE_TESTS_SUPPORT_FEED_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#define TALLY_TICKS_MAX 40000 // readings of a meter
#define TALLY_METERS_MAX 256
#define TALLY_SAMPLES_MAX 64
#define TALLY_VALUE_STEP 100000

struct feed_counts {
    int64_t messages;     // with a lane
    int64_t readings;     // each once
    int64_t summaries;    // each (meter, from) once
    int64_t alerts, gaps; // messages
    int64_t repeated;     // a seq that had been there
    int64_t holes;        // a first appearance that was not the lane's next seq
    int64_t wrong;        // a reading or summary that nobody put in
    char fault[400];      // the first wrong one
};

struct feed_tally;

// Subscribes to BASE/# of the broker on that port, and to BESIDE/#, which is not counted, so that a
// yardstick there costs the broker as much; once more, by a connection of its own that has little
// to carry, to BASE/alert/# and the readings of meter `watched`. `start_ms`,
// `quarter_ticks`: where the first summary begins, and what each must count.
struct feed_tally *feed_tally_start(int port, const char *base, const char *beside, int watched,
                                    int64_t start_ms, int quarter_ticks);
void feed_tally_stop(struct feed_tally *tally);

struct feed_counts feed_tally_counts(struct feed_tally *tally);
bool feed_tally_has(struct feed_tally *tally, int meter, int tick);
// CLOCK_MONOTONIC when the first alert of a meter arrived, when a live reading of the watched meter
// did; 0: not.
double feed_tally_alert_s(struct feed_tally *tally, int meter);
double feed_tally_live_s(struct feed_tally *tally, int tick);
// Payloads as they came, for a yardstick; NULL beyond what was kept. Valid until the stop.
const char *feed_tally_sample(struct feed_tally *tally, int index);

#endif
