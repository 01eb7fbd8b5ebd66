// Which units answer behind a TCP address.
#include "scan/scan_inside.h"

#include <stdlib.h>

#define ABSENT_10 (WHY_EXCEPTION + 10) // a converter says: there is no way to that unit
#define ABSENT_11 (WHY_EXCEPTION + 11) // it does not answer
#define TCP_FIRST 3
#define TCP_STRANGERS 3

static bool is_answer(uint16_t why)
{
    return why == WHY_NONE || (why >= WHY_EXCEPTION && why != ABSENT_10 && why != ABSENT_11);
}

// Whether a device of this kind says something to a unit number.
static int ask_tcp(struct scan *scan, const struct scan_wire *wire, int unit, bool *answered,
                   struct err *err)
{
    const struct request request = {.unit = (uint8_t)unit, .function = 3, .count = 1};
    struct reply reply;
    scan->unit = unit;
    wire->transact(wire->context, &request, &reply);
    if (reply.why == WHY_LINK_DOWN && scan_open(scan, wire, -1, err) != 0)
        return -1;
    *answered = is_answer(reply.why);
    scan->answer_ms = (int)(reply.elapsed_us / 1000);
    return 0;
}

// Units in the order of a TCP device's habits: 0, 255 and 1 first.
static int tcp_unit(int index)
{
    static const int first[] = {0, 255, 1};
    return index < TCP_FIRST ? first[index] : index - 1;
}

static bool is_wanted(const struct scan *scan, int unit)
{
    return unit >= scan->options.first_unit && unit <= scan->options.last_unit &&
           !scan->options.skip[unit];
}

// A device that answers to numbers which no bus has so many of looks at none of them.
static int ask_strangers(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    static const int strangers[TCP_STRANGERS] = {247, 113, 86};
    int answers = 0;
    for (int i = 0; i < TCP_STRANGERS; i++) {
        bool answered = false;
        if (ask_tcp(scan, wire, strangers[i], &answered, err) != 0)
            return -1;
        answers += answered ? 1 : 0;
        if (!answered)
            break;
    }
    scan->ignores_unit = answers == TCP_STRANGERS;
    return 0;
}

static bool all_first_found(const struct scan *scan)
{
    for (int i = 0; i < TCP_FIRST; i++)
        if (scan->state[tcp_unit(i)] != UNIT_FOUND)
            return false;
    return true;
}

static void keep_unit(struct scan *scan, int unit)
{
    struct scan_found *kept = NULL;
    for (int i = 0; i < scan->found_count; i++)
        if (scan->found[i]->unit == unit)
            kept = scan->found[i];
        else
            free(scan->found[i]);
    scan->found_count = kept != NULL ? 1 : 0;
    scan->found[0] = kept;
}

int scan_sweep_tcp_step(struct scan *scan, const struct scan_wire *wire, struct err *err)
{
    if (!scan->opened && scan_open(scan, wire, -1, err) != 0)
        return -1;
    if (scan->done == TCP_FIRST && all_first_found(scan) && !scan->ignores_unit &&
        ask_strangers(scan, wire, err) != 0)
        return -1;
    if (scan->ignores_unit)
        keep_unit(scan, 1);
    if (scan->ignores_unit || scan->done == SCAN_TCP_UNITS) {
        scan_enter(scan, SCAN_IDENTIFY, scan->found_count);
        return 1;
    }
    int unit = tcp_unit(scan->done++);
    bool answered = false;
    if (!is_wanted(scan, unit))
        return 1;
    if (ask_tcp(scan, wire, unit, &answered, err) != 0)
        return -1;
    return answered && scan_add_found(scan, unit, scan->answer_ms, err) != 0 ? -1 : 1;
}
