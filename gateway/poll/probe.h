// A meter that does not answer: when to ask it again. Pure; boot clock, milliseconds.
//
// Until it has missed as often as a failed request may be asked again, the next attempt comes at
// once, behind the polls of its neighbours. After that it gets single requests at a pause that
// doubles: a meter that is dead for a week costs its bus one response time-out a minute.
#ifndef METERGATE_POLL_PROBE_H
#define METERGATE_POLL_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_FIRST_MS 500
#define PROBE_MOST_MS 60000
// How long a probe waits for a gap between polls in which it delays none; its own pause, where that
// is shorter.
#define PROBE_PATIENCE_MS 2000

struct probe {
    int misses;    // requests in a row without an answer; 0: nothing is wrong
    int pause_ms;  // before `at_ms`
    int64_t at_ms; // not asked before
};

// Nothing came, the (misses + 1)th time. The first `retries` of them are followed by an attempt
// after `retry_ms`.
void probe_missed(struct probe *probe, int retries, int retry_ms, int64_t now_ms);
// Could not be asked: the same pause again.
void probe_put_off(struct probe *probe, int64_t now_ms);
// Something has come back that may have brought the meter with it: asked at once, and the pause
// grows from its beginning again.
void probe_hasten(struct probe *probe, int64_t now_ms);
// Whether it has used up its retries: due polls that find it so are missing without being asked.
bool probe_is_silent(const struct probe *probe, int retries);
// When it has waited for a gap for long enough.
int64_t probe_impatient_ms(const struct probe *probe);

#endif
