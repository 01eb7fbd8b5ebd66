// Reads over many serial lines whose meters answer late (up to ten time-outs), twice, in pieces, in
// another's name: no value that is believed may be that of another request, unit or register.
//
// usage: late_replies READS LINES TIMEOUT_MS SEED; prints one JSON object, exits 1 when a value was
// wrong or when nothing was put to the test.
//
// On three of four lines the meters are polled as the bus does it, on the fourth the wire is asked
// in all shapes. Beside them bare libmodbus reads some lines of the same meters: where it believes
// no wrong value the run was blind.
#include "../support/odd_poll.h"

#include <modbus/modbus.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BARE_LINES 4
#define BARE_READS 2000 // of each
#define SENT_MAX 256    // requests of one poll
#define BLOCK_FIELDS 5
#define LINES_MAX 400
#define LAG_MOST_MS 2500 // drivers/late.h: no reply comes later than 3 s; ten time-outs are 0.5 s
#define DONE_MAX 4096
#define BLIND_LEAST 0.5 // of the polls' values must be good, else little was put to the test

enum kind {
    LATE,
    LATE_PIECES,
    LATE_DRIP,
    LATE_EXCEPTION,
    LATE_TWICE,
    FOREIGN,
    FOREIGN_FIRST,
    TWICE,
    PIECES,
    EXCEPTION,
    SILENT,
    KINDS
};

// How many in 100,000 requests. The first five, 5 %, come after the time-out.
static const struct {
    const char *name;
    unsigned share;
} kinds[KINDS] = {
    [LATE] = {"late_whole", 3000},
    [LATE_PIECES] = {"late_in_pieces", 800},
    [LATE_DRIP] = {"late_drip", 400},
    [LATE_EXCEPTION] = {"late_exception", 600},
    [LATE_TWICE] = {"late_twice", 200},
    [FOREIGN] = {"foreign", 300},
    [FOREIGN_FIRST] = {"foreign_first", 300},
    [TWICE] = {"twice", 300},
    [PIECES] = {"in_pieces", 1000},
    [EXCEPTION] = {"exception", 300},
    [SILENT] = {"silent", 200},
};

static int timeout_ms, line_count;
static int lag_ms; // of the meters
static uint64_t seed;
static int64_t reads_wanted;
static atomic_llong reads, bare_reads, counts[KINDS];
static atomic_llong good, unusable, wrong, bare_wrong;

// ---- the meters ---------------------------------------------------------------------------------

static enum kind draw(const struct odd_request *request)
{
    uint32_t number = odd_random(request, 100000);
    for (int kind = 0; kind < KINDS; kind++) {
        if (number < kinds[kind].share)
            return (enum kind)kind;
        number -= kinds[kind].share;
    }
    return KINDS;
}

// What was done about the last requests of each line, to tell whence a wrong value came.
static _Atomic uint8_t done[LINES_MAX][DONE_MAX];

static void send_exception(const struct odd_request *request, int64_t delay_us)
{
    static const uint8_t codes[] = {1, 2, 3, 4, 5, 6, 10, 11};
    uint8_t frame[8] = {(uint8_t)request->unit, (uint8_t)(request->function | 0x80),
                        codes[odd_random(request, sizeof codes)]};
    odd_send(request, delay_us, frame, odd_seal(frame, 3));
}

// The same registers of another unit, under its own name and a good check sum.
static void send_foreign(const struct odd_request *request, int64_t delay_us)
{
    uint8_t frame[ODD_FRAME_MAX];
    memcpy(frame, request->reply, request->length);
    int unit = request->unit % 2 + 1;
    frame[0] = (uint8_t)unit;
    for (int i = 0; i < request->count; i++) {
        uint16_t word = odd_word(unit, request->first + i, request->serial);
        frame[3 + 2 * i] = (uint8_t)(word >> 8);
        frame[4 + 2 * i] = (uint8_t)word;
    }
    odd_send(request, delay_us, frame, odd_seal(frame, request->length - 2));
}

static void send_pieces(const struct odd_request *request, int64_t delay_us, size_t piece,
                        uint32_t most_us)
{
    for (size_t at = 0; at < request->length; at += piece) {
        size_t left = request->length - at;
        odd_send(request, delay_us, request->reply + at, left < piece ? left : piece);
        delay_us += odd_random(request, most_us);
    }
}

static void answer(void *context, const struct odd_request *request)
{
    (void)context;
    enum kind kind = draw(request);
    if (request->line < line_count) {
        atomic_store(&done[request->line][request->serial % DONE_MAX], (uint8_t)kind);
        if (kind < KINDS)
            (void)atomic_fetch_add(&counts[kind], 1);
    }
    uint32_t whole_us = (uint32_t)timeout_ms * 1000;
    int64_t soon_us = odd_random(request, 3000);
    int64_t late_us = whole_us + odd_random(request, 9 * whole_us); // 1 to 10 time-outs
    size_t length = request->length;
    switch (kind) {
    case LATE: odd_send(request, late_us, request->reply, length); break;
    case LATE_PIECES:
        send_pieces(request, late_us, 1 + odd_random(request, (uint32_t)length), whole_us / 2);
        break;
    case LATE_DRIP: send_pieces(request, late_us, 1, 3000); break;
    case LATE_EXCEPTION: send_exception(request, late_us); break;
    case LATE_TWICE: // too late for certain: see drivers/late.h on replies that come twice
        late_us = late_us < whole_us * 3 / 2 ? whole_us * 3 / 2 : late_us;
        odd_send(request, late_us, request->reply, length);
        odd_send(request, late_us + odd_random(request, whole_us), request->reply, length);
        break;
    case FOREIGN: send_foreign(request, soon_us); break;
    case FOREIGN_FIRST:
        send_foreign(request, soon_us);
        odd_send(request, soon_us + odd_random(request, 2000), request->reply, length);
        break;
    case TWICE: {
        uint8_t both[2 * ODD_FRAME_MAX];
        memcpy(both, request->reply, length);
        memcpy(both + length, request->reply, length);
        odd_send(request, soon_us, both, 2 * length);
        break;
    }
    case PIECES: send_pieces(request, soon_us, 1 + odd_random(request, 20), 1500); break;
    case EXCEPTION: send_exception(request, soon_us); break;
    case SILENT: break;
    case KINDS: odd_send(request, soon_us, request->reply, length); break;
    }
}

// ---- what is judged -----------------------------------------------------------------------------

struct reader {
    pthread_t thread;
    struct odd_lines *lines;
    int line;
    unsigned random;
    struct odd_reader odd;
};

// `words`: the four of the code that was believed for a register.
static void tell_wrong(const struct reader *reader, const char *what, int unit, int address,
                       const uint16_t *words, uint64_t serial)
{
    if (atomic_fetch_add(&wrong, 1) >= 20)
        return;
    uint64_t code = 0;
    for (int i = 0; i < 4; i++)
        code = code << 16 | words[i];
    uint64_t from = code & 0xFFFFFFFFFF;
    uint8_t kind = atomic_load(&done[reader->line][from % DONE_MAX]);
    (void)fprintf(stderr,
                  "wrong: line %d %s unit %d register %d request %llu: got unit %d register %d of "
                  "request %llu (%s)\n",
                  reader->line, what, unit, address, (unsigned long long)serial, (int)(code >> 56),
                  (int)(code >> 40 & 0xFFFF), (unsigned long long)from,
                  kind < KINDS ? kinds[kind].name : "on time");
}

static bool goes_on(void)
{
    return atomic_load(&reads) < reads_wanted && atomic_load(&wrong) < 1000;
}

// ---- meters that are polled ---------------------------------------------------------------------

// Three blocks of registers of one shape.
static void make_profile(struct profile *profile)
{
    *profile = (struct profile){.limits = {.max_registers = 60, .max_gap = 8}};
    for (int block = 0; block < 3; block++)
        for (int i = 0; i < BLOCK_FIELDS; i++)
            odd_profile_add(profile, 100 * (block + 1) + 4 * i, 4, RAW_U64);
}

static void judge_field(struct reader *reader, const struct reading *reading, int index)
{
    const struct field *field = &reading->meter->profile->fields[index];
    if (reading->values[index].quality != QUALITY_GOOD) {
        (void)atomic_fetch_add(&unusable, 1);
        return;
    }
    int unit = reading->meter->unit;
    const uint16_t *words = reading->image.words + field->place;
    if (odd_reader_source(&reader->odd, unit, field, words) != NULL)
        (void)atomic_fetch_add(&good, 1);
    else
        tell_wrong(reader, "poll", unit, field->first, words, reader->odd.serial);
}

static void poll_once(struct reader *reader, const struct meter *meter, struct meter_poll *poll)
{
    struct reading *reading = odd_reader_poll(&reader->odd, meter, poll);
    for (int i = 0; i < meter->profile->field_count; i++)
        judge_field(reader, reading, i);
    reading_free(reading);
    (void)atomic_fetch_add(&reads, reader->odd.sent_count);
    // All shapes are held back: the bus would be busy elsewhere.
    if (reader->odd.sent_count == 0)
        (void)usleep((useconds_t)timeout_ms * 1000);
}

static void poll_meters(struct reader *reader)
{
    struct profile *profile = calloc(1, sizeof *profile);
    struct meter meters[2] = {0};
    struct meter_poll *polls[2] = {NULL, NULL};
    if (profile == NULL)
        abort();
    make_profile(profile);
    for (int i = 0; i < 2; i++) {
        meters[i] = (struct meter){.id = "odd", .unit = i + 1, .profile = profile};
        polls[i] = odd_meter_poll(&reader->odd, &meters[i]);
    }
    for (int i = 0; goes_on(); i ^= 1)
        poll_once(reader, &meters[i], polls[i]);
    meter_poll_free(polls[0]);
    meter_poll_free(polls[1]);
    free(profile);
}

// ---- the wire in all shapes ---------------------------------------------------------------------

static int random_below(struct reader *reader, int below)
{
    return (int)((unsigned)rand_r(&reader->random) % (unsigned)below);
}

static void ask_once(struct reader *reader)
{
    struct request request = {.unit = (uint8_t)(1 + random_below(reader, 2)),
                              .function = (uint8_t)(3 + random_below(reader, 2)),
                              .first = (uint16_t)(4 * random_below(reader, 200)),
                              .count = (uint16_t)(4 + random_below(reader, 26))};
    struct wire *wire = reader->odd.wire;
    if (!wire_may_ask(wire, &request)) {
        (void)usleep(1000);
        return;
    }
    odd_reader_begin(&reader->odd);
    struct err err;
    struct reply reply;
    if (wire_open(wire, &err) != 0)
        abort();
    wire_transact(wire, &request, &reply);
    (void)atomic_fetch_add(&reads, reader->odd.sent_count);
    if (reply.why != WHY_NONE) {
        (void)atomic_fetch_add(&unusable, 1);
        return;
    }
    for (int i = 0; i < request.count; i++) {
        if (reply.words[i] != odd_word(request.unit, request.first + i, reader->odd.serial)) {
            int code = i & ~3;
            tell_wrong(reader, "wire", request.unit, request.first + code, reply.words + code,
                       reader->odd.serial);
            return;
        }
    }
    (void)atomic_fetch_add(&good, 1);
}

static void *read_line(void *argument)
{
    struct reader *reader = argument;
    odd_reader_open(&reader->odd, reader->lines, reader->line, ODD_PTY, timeout_ms);
    if (reader->line % 4 != 3)
        poll_meters(reader);
    while (reader->line % 4 == 3 && goes_on())
        ask_once(reader);
    odd_reader_close(&reader->odd);
    return NULL;
}

// ---- bare libmodbus, as the measure -------------------------------------------------------------

static void bare_once(modbus_t *context, uint64_t serial)
{
    static const int firsts[] = {100, 200};
    int unit = 1 + (int)(serial / 2 % 2);
    int first = firsts[serial % 2];
    uint16_t words[20];
    (void)atomic_fetch_add(&bare_reads, 1);
    if (modbus_set_slave(context, unit) != 0 ||
        modbus_read_registers(context, first, 20, words) != 20)
        return;
    for (int i = 0; i < 20; i++) {
        if (words[i] != odd_word(unit, first + i, serial)) {
            (void)atomic_fetch_add(&bare_wrong, 1);
            return;
        }
    }
}

static void *read_bare(void *argument)
{
    struct reader *reader = argument;
    modbus_t *context = modbus_new_rtu(odd_device(reader->lines, reader->line), 115200, 'N', 8, 1);
    if (context == NULL ||
        modbus_set_response_timeout(context, 0, (uint32_t)timeout_ms * 1000) != 0 ||
        modbus_connect(context) != 0)
        abort();
    for (uint64_t serial = 1; serial <= BARE_READS; serial++)
        bare_once(context, serial);
    modbus_close(context);
    modbus_free(context);
    return NULL;
}

// ---- the run ------------------------------------------------------------------------------------

static void start_thread(struct reader *reader, void *(*run)(void *))
{
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, 256 * 1024);
    if (pthread_create(&reader->thread, &attributes, run, reader) != 0)
        abort();
    (void)pthread_attr_destroy(&attributes);
}

static void run_all(void)
{
    int total = line_count + BARE_LINES;
    struct reader *readers = calloc((size_t)total, sizeof *readers);
    struct odd_lines *lines = odd_start(total, ODD_PTY, seed, answer, NULL);
    if (readers == NULL)
        abort();
    for (int i = 0; i < total; i++) {
        readers[i].lines = lines;
        readers[i].line = i;
        readers[i].random = (unsigned)(seed + (uint64_t)i);
        start_thread(&readers[i], i < line_count ? read_line : read_bare);
    }
    for (int i = 0; i < total; i++)
        (void)pthread_join(readers[i].thread, NULL);
    lag_ms = odd_lag_ms(lines);
    odd_stop(lines);
    free(readers);
}

static int print_result(double seconds)
{
    long long late = 0;
    for (int kind = LATE; kind <= LATE_TWICE; kind++)
        late += atomic_load(&counts[kind]);
    long long values = atomic_load(&good) + atomic_load(&unusable);
    double share = values > 0 ? (double)atomic_load(&good) / (double)values : 0;
    (void)printf("{\"reads\":%lld,\"wrong\":%lld,\"late\":%lld,\"good_values\":%lld,"
                 "\"good_share\":%.4f,\"lines\":%d,\"timeout_ms\":%d,\"lag_ms\":%d,\"seed\":%llu,"
                 "\"seconds\":%.1f,\"reads_per_s\":%.0f,\"bare_reads\":%lld,\"bare_wrong\":%lld",
                 atomic_load(&reads), atomic_load(&wrong), late, atomic_load(&good), share,
                 line_count, timeout_ms, lag_ms, (unsigned long long)seed, seconds,
                 (double)atomic_load(&reads) / seconds, atomic_load(&bare_reads),
                 atomic_load(&bare_wrong));
    for (int kind = 0; kind < KINDS; kind++)
        (void)printf(",\"%s\":%lld", kinds[kind].name, atomic_load(&counts[kind]));
    (void)printf("}\n");
    if (lag_ms > LAG_MOST_MS)
        (void)fprintf(stderr,
                      "the machine was too busy: the meters were up to %d ms later than "
                      "they were meant to be\n",
                      lag_ms);
    bool tested = atomic_load(&bare_wrong) > 0 && share >= BLIND_LEAST &&
                  late * 100 >= atomic_load(&reads) * 4;
    if (!tested)
        (void)fprintf(stderr, "the run was blind: see bare_wrong, good_share and late\n");
    return atomic_load(&wrong) == 0 && tested ? 0 : 1;
}

int main(int count, char **arguments)
{
    char *end = "";
    if (count == 5) {
        reads_wanted = strtoll(arguments[1], NULL, 10);
        timeout_ms = (int)strtol(arguments[3], NULL, 10);
        seed = strtoull(arguments[4], &end, 10);
    }
    line_count = count == 5 ? (int)strtol(arguments[2], NULL, 10) : 0;
    if (reads_wanted < 1 || timeout_ms < 5 || *end != '\0' || line_count < 4 ||
        line_count > LINES_MAX) {
        (void)fprintf(stderr, "usage: late_replies READS LINES TIMEOUT_MS SEED\n");
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
