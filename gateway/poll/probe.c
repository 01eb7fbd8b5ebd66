#include "poll/probe.h"

#include <limits.h>

void probe_missed(struct probe *probe, int retries, int retry_ms, int64_t now_ms)
{
    probe->misses += probe->misses < INT_MAX ? 1 : 0;
    if (probe->misses <= retries)
        probe->pause_ms = retry_ms;
    else if (probe->misses == retries + 1)
        probe->pause_ms = PROBE_FIRST_MS;
    else
        probe->pause_ms = probe->pause_ms < PROBE_MOST_MS / 2 ? 2 * probe->pause_ms : PROBE_MOST_MS;
    probe->at_ms = now_ms + probe->pause_ms;
}

void probe_put_off(struct probe *probe, int64_t now_ms)
{
    if (probe->pause_ms < PROBE_FIRST_MS)
        probe->pause_ms = PROBE_FIRST_MS;
    probe->at_ms = now_ms + probe->pause_ms;
}

void probe_hasten(struct probe *probe, int64_t now_ms)
{
    if (probe->misses == 0 || probe->at_ms <= now_ms)
        return;
    probe->pause_ms = PROBE_FIRST_MS;
    probe->at_ms = now_ms;
}

bool probe_is_silent(const struct probe *probe, int retries)
{
    return probe->misses > retries;
}

int64_t probe_impatient_ms(const struct probe *probe)
{
    int patience_ms = probe->pause_ms < PROBE_PATIENCE_MS ? probe->pause_ms : PROBE_PATIENCE_MS;
    return probe->at_ms + patience_ms;
}
