#include "poll/cost.h"

#define NS_PER_MS INT64_C(1000000)
#define FAST_BAUD 19200 // above it the silence is fixed
#define FAST_SILENCE_NS INT64_C(1750000)
#define UNKNOWN_BAUD 9600
#define RTU_BYTES (8 + 5)  // request; unit, function, byte count and check sum of the reply
#define TCP_BYTES (12 + 9) // the same with the MBAP header

void link_cost_of(const struct link_url *url, int pause_ms, struct link_cost *out)
{
    if (url->kind == LINK_TCP) {
        *out = (struct link_cost){
            .request_ns = (COST_ROUND_TRIP_MS + pause_ms) * NS_PER_MS,
            .byte_ns = COST_TCP_BYTE_NS,
            .frame_bytes = TCP_BYTES,
        };
        return;
    }
    int baud = url->baud > 0 ? url->baud : UNKNOWN_BAUD;
    int64_t byte_ns = INT64_C(1000000000) * link_url_character_bits(url) / baud;
    int64_t silence_ns = baud > FAST_BAUD ? FAST_SILENCE_NS : byte_ns * 7 / 2;
    int network_ms = url->kind == LINK_RTU_OVER_TCP ? COST_ROUND_TRIP_MS : 0;
    *out = (struct link_cost){
        .request_ns = 2 * silence_ns + (COST_TURNAROUND_MS + network_ms + pause_ms) * NS_PER_MS,
        .byte_ns = byte_ns,
        .frame_bytes = RTU_BYTES,
    };
}

int64_t cost_request_ns(const struct link_cost *cost, const struct request *request)
{
    return cost->request_ns +
           cost->byte_ns * (cost->frame_bytes + (int64_t)frame_data_size(request));
}
