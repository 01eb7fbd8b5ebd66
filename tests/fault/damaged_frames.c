// Damaged replies on many lines, serial and TCP: nothing is believed that fails a check, and what
// passes the CRC by chance is not called good.
//
// usage: damaged_frames FRAMES LINES TIMEOUT_MS SEED; prints one JSON object, exits 1 when
// something was believed that should not be, or when nothing was put to the test.
//
// One line in sixteen is Modbus TCP, half are RTU over TCP, the others pseudo-terminals. Lines
// differ in how many of their replies are damaged, from 2 to 90 %. Chance lets too few frames
// through to say anything of what happens to them, so a small part is helped: the data is damaged
// and the check sum made to fit. They are counted apart, and come only after a meter's first
// damaged reply: of one before it gateway/poll/confirm.h says how likely it is.
#include "../support/odd_poll.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINES_MAX 1000
#define UNITS 6       // of each line
#define DONE_MAX 4096 // requests of a line that are remembered
#define SIDES 3
#define CALM_SHARE 200 // lines with less damage than so much in 1,000 are not read without a pause
#define CALM_PAUSE_MS 100
#define HELPED_MANY 1000  // frames that are helped past the CRC in a run, about,
#define HELPED_MOST 20    // but at the most one of so many,
#define HELPED_FEWEST 500 // and at least one of so many
#define SHARE_SURE                                                                                 \
    10000 // passing frames from which on the share that is called good is judged as it is
#define CHANCE_DEVIATIONS 4 // standard deviations that a share of fewer may lie above the bar
#define HELPED_LEAST 1000   // of the frames must have met a helped one for each that was believed
#define PASSED_GOOD_MOST 0.01
#define LAG_MOST_MS 2500 // drivers/late.h: no reply comes later than 3 s

// What the meter sent for a request.
enum sent {
    SENT_WHOLE,   // the reply, as it should be
    SENT_AMONG,   // the reply as it should be, among bytes that do not belong to it
    SENT_FAILING, // nothing that passes every check
    SENT_PASSING, // data that is wrong and passes every check by chance
    SENT_HELPED,  // the same, by our help
};

static int timeout_ms, line_count;
static uint32_t helped_each; // of so many damaged frames one
static int lag_ms;           // of the meters
static uint64_t seed;
static int64_t frames_wanted;
static atomic_llong requests, damaged[SIDES], believed_failing, wrong_otherwise, good, suspect;

// Lines of one kind, and what was sent for their last requests.
struct side {
    enum odd_kind kind;
    const char *name;
    int count;
    struct odd_lines *lines;
    bool has_failed[LINES_MAX][UNITS + 1]; // line and unit; the meters' own
    _Atomic uint8_t done[LINES_MAX][DONE_MAX];
};
static struct side sides[SIDES] = {{.kind = ODD_PTY, .name = "serial"},
                                   {.kind = ODD_RTU_OVER_TCP, .name = "rtu_over_tcp"},
                                   {.kind = ODD_TCP, .name = "tcp"}};

// How replies ended that pass the checks with wrong data, by chance or helped.
enum end {
    END_REFUSED,   // not believed at all
    END_DISCARDED, // believed, and gone after a second reply
    END_SUSPECT,   // its words are in a reading, as suspect
    END_GOOD,      // as good
    ENDS,
};
static atomic_llong ends[2][ENDS];
static const unsigned shares[] = {900, 900, 700, 700, 500,
                                  500, 300, 300, 100, 20}; // in 1,000, by line

// ---- damage to RTU frames -----------------------------------------------------------------------

struct bytes {
    uint8_t at[ODD_FRAME_MAX];
    size_t length;
};

static void flip_bits(const struct odd_request *request, struct bytes *bytes)
{
    for (uint32_t i = 1 + odd_random(request, 8); i > 0; i--) {
        uint32_t bit = odd_random(request, (uint32_t)bytes->length * 8);
        bytes->at[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

// A run of 3 to 200 bits of anything.
static void burst(const struct odd_request *request, struct bytes *bytes)
{
    uint32_t bits = (uint32_t)bytes->length * 8;
    uint32_t first = odd_random(request, bits);
    uint32_t end = first + 3 + odd_random(request, 198);
    for (uint32_t bit = first; bit < end && bit < bits; bit++)
        if (odd_random(request, 2) == 1)
            bytes->at[bit / 8] ^= (uint8_t)(1U << bit % 8);
}

static void remove_bytes(struct bytes *bytes, size_t at, size_t count)
{
    count = count < bytes->length - at ? count : bytes->length - at;
    memmove(bytes->at + at, bytes->at + at + count, bytes->length - at - count);
    bytes->length -= count;
}

// Noise, or (`same`) the byte that is there once more.
static void insert_bytes(const struct odd_request *request, struct bytes *bytes, size_t at,
                         size_t count, bool same)
{
    memmove(bytes->at + at + count, bytes->at + at, bytes->length - at);
    for (size_t i = 0; i < count; i++)
        bytes->at[at + i] = same ? bytes->at[at + count] : (uint8_t)odd_random(request, 256);
    bytes->length += count;
}

// Everything behind the head, the check sum too.
static void scramble_data(const struct odd_request *request, struct bytes *bytes)
{
    for (size_t i = 3; i < bytes->length; i++)
        bytes->at[i] = (uint8_t)odd_random(request, 256);
}

// A unit that is not polled: a polled one's name on a frame that comes a moment too late would be a
// reply by every check.
static uint8_t stranger(const struct odd_request *request)
{
    return (uint8_t)(100 + odd_random(request, 100));
}

// A head that is wrong under a good check sum.
static void lie(const struct odd_request *request, struct bytes *bytes)
{
    int at = (int)odd_random(request, 3);
    bytes->at[at] ^= (uint8_t)(1 + odd_random(request, 255));
    if (at == 0)
        bytes->at[0] = stranger(request);
    if (at == 2 && odd_random(request, 2) == 0) { // as long as it says
        size_t data = bytes->at[2];
        bytes->length = 3 + data + 2;
    }
    bytes->length = odd_seal(bytes->at, bytes->length - 2);
}

// The reply and another unit's, in one row.
static void concatenate(const struct odd_request *request, struct bytes *bytes)
{
    struct bytes other = *bytes;
    other.at[0] = stranger(request);
    other.length = odd_seal(other.at, other.length - 2);
    struct bytes first = odd_random(request, 2) == 0 ? *bytes : other;
    struct bytes second = first.at[0] == bytes->at[0] ? other : *bytes;
    memcpy(bytes->at, first.at, first.length);
    memcpy(bytes->at + first.length, second.at, second.length);
    bytes->length = first.length + second.length;
}

// Data as chance could damage it: more than the 16 bits that a CRC always finds.
static void help(const struct odd_request *request, struct bytes *bytes)
{
    uint32_t bits = (uint32_t)(bytes->length - 5) * 8;
    uint32_t length = 17 + odd_random(request, 100);
    uint32_t first = odd_random(request, bits > length ? bits - length : 1);
    for (uint32_t bit = first; bit < first + length && bit < bits; bit++)
        if (bit == first || odd_random(request, 2) == 1)
            bytes->at[3 + bit / 8] ^= (uint8_t)(1U << bit % 8);
    bytes->length = odd_seal(bytes->at, bytes->length - 2);
}

static void damage_rtu(const struct odd_request *request, struct bytes *bytes)
{
    size_t at = odd_random(request, (uint32_t)bytes->length);
    size_t few = 1 + odd_random(request, 3);
    switch (odd_random(request, 12)) {
    case 0: flip_bits(request, bytes); break;
    case 1:
    case 2: burst(request, bytes); break;
    case 3: remove_bytes(bytes, at, few); break;
    case 4: insert_bytes(request, bytes, at, few, true); break;
    case 5: remove_bytes(bytes, at, bytes->length); break; // cut short
    case 6: insert_bytes(request, bytes, 0, few, false); break;
    case 7: insert_bytes(request, bytes, at, few, false); break;
    case 8: insert_bytes(request, bytes, bytes->length, few, false); break;
    case 9: lie(request, bytes); break;
    case 10: concatenate(request, bytes); break;
    default: scramble_data(request, bytes); break;
    }
}

// Whether the right reply stands somewhere in the bytes.
static bool is_among(const struct odd_request *request, const struct bytes *bytes)
{
    return memmem(bytes->at, bytes->length, request->reply, request->length) != NULL;
}

static enum sent answer_rtu(struct side *side, const struct odd_request *request)
{
    struct bytes bytes = {.length = request->length};
    memcpy(bytes.at, request->reply, request->length);
    bool *has_failed = &side->has_failed[request->line][request->unit];
    bool helped = odd_random(request, helped_each) == 0 && *has_failed;
    if (helped)
        help(request, &bytes);
    else
        damage_rtu(request, &bytes);
    if (bytes.length > 0)
        odd_send(request, odd_random(request, 500), bytes.at, bytes.length);
    if (is_among(request, &bytes))
        return bytes.length == request->length ? SENT_WHOLE : SENT_AMONG;
    if (odd_passes(request, bytes.at, bytes.length))
        return helped ? SENT_HELPED : SENT_PASSING;
    *has_failed = *has_failed || bytes.length > 0;
    return SENT_FAILING;
}

// ---- damage to TCP replies ----------------------------------------------------------------------

// Changes one or two bytes of what TCP does not guard against: the header and the PDU's head.
static void damage_head(const struct odd_request *request, struct bytes *bytes)
{
    for (uint32_t i = 1 + odd_random(request, 2); i > 0; i--)
        bytes->at[odd_random(request, 9)] ^= (uint8_t)(1 + odd_random(request, 255));
}

// The header's length: fewer or more than come, none, more than any frame has.
static void damage_length(const struct odd_request *request, struct bytes *bytes)
{
    static const int lengths[] = {0, 1, 2, 3, 254, 255, 256, 1000, 65535};
    int length = lengths[odd_random(request, 9)];
    if (odd_random(request, 2) == 0)
        length = (int)bytes->length - 6 + (odd_random(request, 2) == 0 ? -1 : 1);
    bytes->at[4] = (uint8_t)(length >> 8);
    bytes->at[5] = (uint8_t)length;
}

static void send_split(const struct odd_request *request, const struct bytes *bytes)
{
    int64_t delay_us = 0;
    for (size_t at = 0; at < bytes->length;) {
        size_t piece = 1 + odd_random(request, 6);
        piece = piece < bytes->length - at ? piece : bytes->length - at;
        odd_send(request, delay_us, bytes->at + at, piece);
        delay_us += odd_random(request, 400);
        at += piece;
    }
}

static enum sent answer_tcp(const struct odd_request *request)
{
    struct bytes bytes = {.length = request->length};
    memcpy(bytes.at, request->reply, request->length);
    size_t few = 1 + odd_random(request, 3);
    bool reset = false;
    switch (odd_random(request, 8)) {
    case 0:
    case 1: damage_head(request, &bytes); break;
    case 2: damage_length(request, &bytes); break;
    case 3: insert_bytes(request, &bytes, odd_random(request, 8), few, false); break;
    case 4: remove_bytes(&bytes, odd_random(request, 8), few); break;
    case 5: // cut short, and the connection reset or left open
        remove_bytes(&bytes, odd_random(request, (uint32_t)bytes.length), bytes.length);
        reset = odd_random(request, 2) == 0;
        break;
    case 6: insert_bytes(request, &bytes, bytes.length, few, false); break;
    default: { // two replies in one segment, one of another transaction
        bool other_first = odd_random(request, 2) == 0;
        memcpy(bytes.at + bytes.length, bytes.at, bytes.length);
        bytes.at[other_first ? 0 : bytes.length] ^= (uint8_t)(1 + odd_random(request, 255));
        bytes.length *= 2;
        break;
    }
    }
    if (bytes.length > 0 && odd_random(request, 4) == 0)
        send_split(request, &bytes);
    else if (bytes.length > 0)
        odd_send(request, 0, bytes.at, bytes.length);
    if (reset)
        odd_reset(request, 0);
    // Behind other bytes it is no reply any more.
    if (!odd_passes(request, bytes.at, bytes.length))
        return SENT_FAILING;
    bool right = memcmp(bytes.at, request->reply, request->length) == 0;
    return right ? SENT_AMONG : SENT_PASSING;
}

static unsigned share_of(int line)
{
    return shares[line % (int)(sizeof shares / sizeof shares[0])];
}

static void answer(void *context, const struct odd_request *request)
{
    struct side *side = context;
    unsigned share = share_of(request->line);
    enum sent sent = SENT_WHOLE;
    if (odd_random(request, 1000) >= share) {
        odd_send(request, 0, request->reply, request->length);
    } else {
        sent = side->kind == ODD_TCP ? answer_tcp(request) : answer_rtu(side, request);
        (void)atomic_fetch_add(&damaged[side->kind], 1);
    }
    atomic_store(&side->done[request->line][request->serial % DONE_MAX], (uint8_t)sent);
}

// ---- readers ------------------------------------------------------------------------------------

struct reader {
    pthread_t thread;
    struct side *side;
    int line;
    struct odd_reader odd;
};

static bool goes_on(void)
{
    return atomic_load(&damaged[0]) + atomic_load(&damaged[1]) + atomic_load(&damaged[2]) <
               frames_wanted &&
           atomic_load(&believed_failing) + atomic_load(&wrong_otherwise) < 100;
}

static enum sent sent_for(const struct reader *reader, uint64_t serial)
{
    return (enum sent)atomic_load(&reader->side->done[reader->line][serial % DONE_MAX]);
}

static void make_profile(struct profile *profile)
{
    *profile = (struct profile){.limits = {.max_registers = 60, .max_gap = 8}};
    for (int i = 0; i < 4; i++)
        odd_profile_add(profile, 100 + 4 * i, 4, RAW_U64);
    for (int i = 0; i < 6; i++)
        odd_profile_add(profile, ODD_FLOATS + 2 * i, 2, RAW_F32);
    for (int i = 0; i < 4; i++)
        odd_profile_add(profile, ODD_BCD + 3 * i, 3, RAW_BCD);
    for (int i = 0; i < 4; i++)
        odd_profile_add_flags(profile, ODD_FLAGS + i);
}

static void tell(const struct reader *reader, const char *what, uint64_t serial)
{
    (void)fprintf(stderr, "%s line %d request %llu: %s\n", reader->side->name, reader->line,
                  (unsigned long long)serial, what);
}

static bool has_words(uint16_t why)
{
    return why == WHY_NONE || why == WHY_UNCONFIRMED;
}

// Whether a field holds words that no request of this poll brought.
static bool is_wrong(const struct reader *reader, const struct reading *reading, int index)
{
    const struct field *field = &reading->meter->profile->fields[index];
    return odd_reader_source(&reader->odd, reading->meter->unit, field,
                             reading->image.words + field->place) == NULL;
}

static bool has_passing(const struct reader *reader, int unit, const struct field *field)
{
    for (int i = 0; i < reader->odd.sent_count; i++) {
        const struct odd_sent *sent = &reader->odd.sent[i];
        if (sent->believed && odd_sent_covers(sent, unit, field) &&
            sent_for(reader, sent->serial) >= SENT_PASSING)
            return true;
    }
    return false;
}

static void judge_field(struct reader *reader, const struct reading *reading, int index)
{
    uint16_t why = reading->image.why[index];
    if (!has_words(why))
        return;
    (void)atomic_fetch_add(why == WHY_NONE ? &good : &suspect, 1);
    const struct field *field = &reading->meter->profile->fields[index];
    if (is_wrong(reader, reading, index) && !has_passing(reader, reading->meter->unit, field)) {
        (void)atomic_fetch_add(&wrong_otherwise, 1);
        char what[120];
        const uint16_t *words = reading->image.words + field->place;
        (void)snprintf(what, sizeof what,
                       "register %d (why %d) has %04x %04x %04x, which no request of this poll "
                       "brought; lag so far %d ms",
                       field->first, why, words[0], words[1], words[field->words - 1],
                       odd_lag_ms(reader->side->lines));
        tell(reader, what, reader->odd.serial);
    }
}

// How a reply ended that was believed with wrong data.
static enum end end_of(const struct reader *reader, const struct reading *reading,
                       const struct odd_sent *sent)
{
    const struct profile *profile = reading->meter->profile;
    enum end end = END_DISCARDED;
    for (int i = 0; i < profile->field_count; i++) {
        uint16_t why = reading->image.why[i];
        if (!has_words(why) || !odd_sent_covers(sent, sent->unit, &profile->fields[i]) ||
            !is_wrong(reader, reading, i))
            continue;
        enum end here = why == WHY_NONE ? END_GOOD : END_SUSPECT;
        end = here > end ? here : end;
    }
    return end;
}

static void judge(struct reader *reader, const struct reading *reading)
{
    for (int i = 0; i < reading->meter->profile->field_count; i++)
        judge_field(reader, reading, i);
    for (int i = 0; i < reader->odd.sent_count; i++) {
        const struct odd_sent *sent = &reader->odd.sent[i];
        enum sent kind = sent_for(reader, sent->serial);
        if (sent->believed && kind == SENT_FAILING) {
            (void)atomic_fetch_add(&believed_failing, 1);
            tell(reader, "a reply that fails a check was believed", sent->serial);
        }
        if (kind < SENT_PASSING)
            continue;
        enum end end = sent->believed ? end_of(reader, reading, sent) : END_REFUSED;
        (void)atomic_fetch_add(&ends[kind == SENT_HELPED][end], 1);
    }
}

static void *read_line(void *argument)
{
    struct reader *reader = argument;
    struct profile *profile = calloc(1, sizeof *profile);
    struct meter meters[UNITS] = {0};
    struct meter_poll *polls[UNITS] = {NULL};
    if (profile == NULL)
        abort();
    make_profile(profile);
    odd_reader_open(&reader->odd, reader->side->lines, reader->line, reader->side->kind,
                    timeout_ms);
    for (int i = 0; i < UNITS; i++) {
        meters[i] = (struct meter){.id = "odd", .unit = i + 1, .profile = profile};
        polls[i] = odd_meter_poll(&reader->odd, &meters[i]);
    }
    for (int i = 0; goes_on(); i = (i + 1) % UNITS) {
        struct reading *reading = odd_reader_poll(&reader->odd, &meters[i], polls[i]);
        judge(reader, reading);
        reading_free(reading);
        (void)atomic_fetch_add(&requests, reader->odd.sent_count);
        // All shapes are held back: the bus would be busy elsewhere.
        if (reader->odd.sent_count == 0)
            (void)usleep((useconds_t)timeout_ms * 1000);
        if (share_of(reader->line) < CALM_SHARE)
            (void)usleep(CALM_PAUSE_MS * 1000);
    }
    for (int i = 0; i < UNITS; i++)
        meter_poll_free(polls[i]);
    odd_reader_close(&reader->odd);
    free(profile);
    return NULL;
}

// ---- the run ------------------------------------------------------------------------------------

static void start_thread(struct reader *reader)
{
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, 256 * 1024);
    if (pthread_create(&reader->thread, &attributes, read_line, reader) != 0)
        abort();
    (void)pthread_attr_destroy(&attributes);
}

static void run_all(void)
{
    struct reader *readers = calloc((size_t)line_count, sizeof *readers);
    if (readers == NULL)
        abort();
    sides[ODD_TCP].count = line_count / 16;
    sides[ODD_RTU_OVER_TCP].count = line_count / 2;
    sides[ODD_PTY].count = line_count - line_count / 16 - line_count / 2;
    struct reader *next = readers;
    for (int i = 0; i < SIDES; i++) {
        struct side *side = &sides[i];
        side->lines = odd_start(side->count, side->kind, seed + (uint64_t)i, answer, side);
        for (int line = 0; line < side->count; line++, next++) {
            next->side = side;
            next->line = line;
            start_thread(next);
        }
    }
    for (int i = 0; i < line_count; i++)
        (void)pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < SIDES; i++) {
        int lag = odd_lag_ms(sides[i].lines);
        lag_ms = lag > lag_ms ? lag : lag_ms;
        odd_stop(sides[i].lines);
    }
    free(readers);
}

static long long ends_in(int helped, enum end end)
{
    return atomic_load(&ends[helped][end]);
}

static int print_result(double seconds)
{
    static const char *const names[] = {"by_chance", "helped"};
    (void)printf(
        "{\"damaged_serial\":%lld,\"damaged_rtu_over_tcp\":%lld,\"damaged_tcp\":%lld,\"requests\":%"
        "lld,"
        "\"believed_failing\":%lld,\"wrong_otherwise\":%lld,\"good_values\":%lld,"
        "\"suspect_values\":%lld,\"lines\":%d,\"timeout_ms\":%d,\"lag_ms\":%d,\"seed\":%llu,"
        "\"seconds\":%.1f",
        atomic_load(&damaged[0]), atomic_load(&damaged[1]), atomic_load(&damaged[2]),
        atomic_load(&requests), atomic_load(&believed_failing), atomic_load(&wrong_otherwise),
        atomic_load(&good), atomic_load(&suspect), line_count, timeout_ms, lag_ms,
        (unsigned long long)seed, seconds);
    for (int i = 0; i < 2; i++)
        (void)printf(",\"%s\":{\"refused\":%lld,\"discarded\":%lld,\"suspect\":%lld,"
                     "\"good\":%lld}",
                     names[i], ends_in(i, END_REFUSED), ends_in(i, END_DISCARDED),
                     ends_in(i, END_SUSPECT), ends_in(i, END_GOOD));
    (void)printf("}\n");
    long long passing = 0;
    long long called_good = 0;
    for (int i = 0; i < 2; i++) {
        called_good += ends_in(i, END_GOOD);
        for (int end = END_DISCARDED; end < ENDS; end++)
            passing += ends_in(i, (enum end)end);
    }
    bool tested = passing * HELPED_LEAST >= atomic_load(&damaged[0]) + atomic_load(&damaged[1]) &&
                  atomic_load(&good) > 0;
    if (!tested)
        (void)fprintf(stderr, "the run was blind: too little passed the checks\n");
    if (lag_ms > LAG_MOST_MS)
        (void)fprintf(stderr,
                      "the machine was too busy: the meters were up to %d ms late, more "
                      "than the wire reckons with\n",
                      lag_ms);
    // A short run has so few of them that chance alone would break the bar now and then.
    double most = PASSED_GOOD_MOST * (double)passing;
    if (passing < SHARE_SURE)
        most += CHANCE_DEVIATIONS * sqrt(most);
    bool held = atomic_load(&believed_failing) == 0 && atomic_load(&wrong_otherwise) == 0 &&
                (double)called_good <= most;
    return held && tested ? 0 : 1;
}

int main(int count, char **arguments)
{
    char *end = "";
    if (count == 5) {
        frames_wanted = strtoll(arguments[1], NULL, 10);
        line_count = (int)strtol(arguments[2], NULL, 10);
        timeout_ms = (int)strtol(arguments[3], NULL, 10);
        seed = strtoull(arguments[4], &end, 10);
    }
    int64_t each = frames_wanted / HELPED_MANY;
    helped_each = (uint32_t)(each < HELPED_MOST     ? HELPED_MOST
                             : each > HELPED_FEWEST ? HELPED_FEWEST
                                                    : each);
    if (frames_wanted < 1 || timeout_ms < 5 || *end != '\0' || line_count < 8 ||
        line_count > LINES_MAX) {
        (void)fprintf(stderr, "usage: damaged_frames FRAMES LINES TIMEOUT_MS SEED\n");
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    int64_t start_ns = clock_boot_ns(&clock_system);
    run_all();
    return print_result((double)(clock_boot_ns(&clock_system) - start_ns) / 1e9);
}
