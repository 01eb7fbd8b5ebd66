#include "drivers/simulator/meter_fault.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTION_S_MAX 1e9

const char *const fault_kind_names[] = {
    [FAULT_SILENCE] = "silence",
    [FAULT_LATE] = "late",
    [FAULT_WRONG_UNIT] = "wrong-unit",
    [FAULT_WRONG_FUNCTION] = "wrong-function",
    [FAULT_WRONG_COUNT] = "wrong-count",
    [FAULT_BAD_CRC] = "bad-crc",
    [FAULT_WRONG_TRANSACTION] = "wrong-transaction",
    [FAULT_WRONG_PROTOCOL] = "wrong-protocol",
    [FAULT_WRONG_LENGTH] = "wrong-length",
    [FAULT_EXCEPTION] = "exception",
    [FAULT_TRUNCATED] = "truncated",
    [FAULT_TRAILING] = "trailing",
    [FAULT_DRIP] = "drip",
    [FAULT_ECHO] = "echo",
    [FAULT_NOISE] = "noise",
    [FAULT_DISCONNECT] = "disconnect",
    [FAULT_JUMP] = "jump",
    [FAULT_FROZEN] = "frozen",
    [FAULT_REVERSE] = "reverse",
    [FAULT_NAN] = "nan",
    [FAULT_SWAPPED_SERIAL] = "swapped-serial",
    [FAULT_KIND_COUNT] = NULL,
};

const char *fault_kind_name(int kind)
{
    return kind >= 0 && kind < FAULT_KIND_COUNT ? fault_kind_names[kind] : NULL;
}

int fault_kind_parse(const char *name, enum fault_kind *out, struct err *err)
{
    char known[400] = "";
    size_t length = 0;
    for (int kind = 0; kind < FAULT_KIND_COUNT; kind++) {
        if (strcmp(fault_kind_names[kind], name) == 0) {
            *out = (enum fault_kind)kind;
            return 0;
        }
        int added = snprintf(known + length, sizeof known - length, "%s%s", kind ? ", " : "",
                             fault_kind_names[kind]);
        length += (size_t)added < sizeof known - length ? (size_t)added : 0;
    }
    return err_set(err, "there is no fault '%s'; the faults are %s", name, known);
}

bool fault_is_of_values(enum fault_kind kind)
{
    return kind >= FAULT_JUMP;
}

struct meter_fault fault_make(enum fault_kind kind, int64_t start_ms)
{
    return (struct meter_fault){
        .kind = kind,
        .probability = 1,
        .left = -1,
        .start_ms = start_ms,
        .end_ms = INT64_MAX,
        .delay_ms = kind == FAULT_DRIP ? 400 : 2000,
        .code = 4,
        .channel = FAULT_CHANNEL_ALL,
        .by = 1000,
    };
}

static int read_number(const char *key, const char *value, double low, double high, double *out,
                       struct err *err)
{
    char *end = NULL;
    errno = 0;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !(number >= low && number <= high))
        return err_set(err, "%s: '%s' is not a number from %g to %g", key, value, low, high);
    *out = number;
    return 0;
}

int fault_set_option(struct meter_fault *fault, const char *key, const char *value, struct err *err)
{
    static const struct {
        const char *key;
        double low, high;
    } options[] = {
        {"probability", 0, 1},
        {"count", 1, 1e9},
        {"start_s", 0, OPTION_S_MAX},
        {"end_s", 0, OPTION_S_MAX},
        {"for_s", 0, OPTION_S_MAX},
        {"delay_ms", 1, FAULT_DELAY_MAX_MS},
        {"delay_max_ms", 1, FAULT_DELAY_MAX_MS},
        {"code", 1, 255},
        {"bytes", 1, FAULT_BYTES_MAX},
        {"by", -1e12, 1e12},
    };
    enum { PROBABILITY, COUNT, START, END, FOR, DELAY, DELAY_MAX, CODE, BYTES, BY, OPTIONS };
    for (int i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].key, key) != 0)
            continue;
        double number = 0;
        if (read_number(key, value, options[i].low, options[i].high, &number, err) != 0)
            return -1;
        switch (i) {
        case PROBABILITY: fault->probability = number; break;
        case COUNT: fault->left = (int64_t)number; break;
        case START: fault->start_ms = llround(number * 1000); break;
        case END: fault->end_ms = llround(number * 1000); break;
        case FOR: fault->end_ms = fault->start_ms + llround(number * 1000); break;
        case DELAY: fault->delay_ms = (int)number; break;
        case DELAY_MAX: fault->delay_max_ms = (int)number; break;
        case CODE: fault->code = (int)number; break;
        case BYTES: fault->bytes = (int)number; break;
        default: fault->by = number; break;
        }
        return 0;
    }
    return err_set(err,
                   "there is no option '%s'; the options are probability, count, start_s, end_s, "
                   "for_s, delay_ms, delay_max_ms, code, bytes, channel, by",
                   key);
}

int fault_check(const struct meter_fault *fault, struct err *err)
{
    if (fault->end_ms <= fault->start_ms)
        return err_set(err, "the fault ends before it starts: end_s must be above start_s");
    if (fault->delay_max_ms != 0 && fault->delay_max_ms < fault->delay_ms)
        return err_set(err, "delay_max_ms must not be below delay_ms");
    bool lasting = fault->kind == FAULT_FROZEN || fault->kind == FAULT_REVERSE;
    if (lasting && (fault->probability < 1 || fault->left >= 0)) {
        return err_set(err,
                       "%s is a state of the meter: it takes start_s and end_s, but neither "
                       "probability nor count",
                       fault_kind_names[fault->kind]);
    }
    return 0;
}

bool fault_is_active(const struct meter_fault *fault, int64_t now_ms)
{
    return fault->left != 0 && now_ms >= fault->start_ms && now_ms < fault->end_ms;
}

bool fault_strikes(struct meter_fault *fault, int64_t now_ms, uint64_t random)
{
    if (!fault_is_active(fault, now_ms))
        return false;
    double drawn = (double)(random >> 11) / (double)(UINT64_C(1) << 53);
    if (drawn >= fault->probability)
        return false;
    fault->left -= fault->left > 0 ? 1 : 0;
    return true;
}

bool fault_is_over(const struct meter_fault *fault, int64_t now_ms)
{
    return fault->left == 0 || now_ms >= fault->end_ms;
}
