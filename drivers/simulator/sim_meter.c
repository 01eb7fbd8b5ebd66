#include "drivers/simulator/sim_meter.h"

#include "drivers/simulator/channel_source.h"
#include "drivers/simulator/coded.h"
#include "drivers/simulator/encode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EXCEPTION_ADDRESS = 2 };

void sim_meter_init(struct sim_meter *meter, const char *id, uint8_t unit,
                    const struct sim_kind *kind, const struct model_settings *settings,
                    int64_t wall_ms, int64_t base_micro, int64_t measured_micro)
{
    *meter = (struct sim_meter){.unit = unit, .kind = kind, .settings = *settings};
    (void)snprintf(meter->id, sizeof meter->id, "%s", id);
    meter->who = coded_who(id);
    meter->random = settings->seed;
    (void)snprintf(meter->serial_number, sizeof meter->serial_number, "%06u",
                   (unsigned)(model_mix(settings->seed) % 1000000));
    for (int i = 0; i < PROFILE_CHANNELS_MAX; i++)
        meter->ordered[i] = NAN;
    model_start(&meter->state, wall_ms, measured_micro, base_micro);
}

// ---- logs ---------------------------------------------------------------------------------------

void sim_meter_close_logs(struct sim_meter *meter)
{
    for (int i = 0; i < PROFILE_ARCHIVES_MAX; i++) {
        sim_log_free(meter->logs[i]);
        meter->logs[i] = NULL;
    }
}

// The first end of a span of any log after the model's time.
static int64_t next_close_ms(const struct sim_meter *meter)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < PROFILE_ARCHIVES_MAX; i++) {
        int64_t end = meter->logs[i] != NULL ? sim_log_next_ms(meter->logs[i], meter->state.at_ms)
                                             : INT64_MAX;
        next = end < next ? end : next;
    }
    return next;
}

// Brings the model to an instant, and closes the spans of the logs that end on the way.
static void run_model(struct sim_meter *meter, int64_t to_ms)
{
    if (to_ms - meter->state.at_ms > MODEL_CATCH_UP_MS)
        model_advance(&meter->settings, &meter->state, to_ms - MODEL_CATCH_UP_MS);
    int64_t end_ms;
    while ((end_ms = next_close_ms(meter)) <= to_ms) {
        model_advance(&meter->settings, &meter->state, end_ms);
        for (int i = 0; i < PROFILE_ARCHIVES_MAX; i++) {
            struct sim_log *log = meter->logs[i];
            if (log != NULL && sim_log_next_ms(log, end_ms - 1) == end_ms)
                sim_log_close(log, &meter->settings, &meter->state, meter->shift);
        }
    }
    model_advance(&meter->settings, &meter->state, to_ms);
}

// Runs the model from before the start to learn what it adds until then, then again from counters
// that are so much less: at the start they are what they should be.
int sim_meter_open_logs(struct sim_meter *meter, int64_t before_ms, struct err *err)
{
    const struct profile *profile = meter->kind->profile;
    struct model_state start = meter->state;
    int64_t from_ms = start.at_ms - before_ms;
    struct model_state trial;
    model_start(&trial, from_ms, 0, 0);
    if (profile->archive_count > 0)
        model_advance(&meter->settings, &trial, start.at_ms);
    for (int i = 0; i < profile->archive_count; i++) {
        meter->logs[i] = sim_log_new(profile, i, meter->settings.calendar->utc_offset_min);
        if (meter->logs[i] == NULL) {
            sim_meter_close_logs(meter);
            return err_set(err, "there is not enough memory for the log of %s", meter->id);
        }
    }
    model_start(&meter->state, from_ms, start.measured.micro - trial.measured.micro,
                start.base.micro - trial.base.micro);
    run_model(meter, start.at_ms);
    meter->state = start;
    return 0;
}

uint64_t sim_meter_random(struct sim_meter *meter)
{
    meter->random += UINT64_C(0x9E3779B97F4A7C15);
    return model_mix(meter->random);
}

// ---- faults -------------------------------------------------------------------------------------

static void drop_fault(struct sim_meter *meter, int index)
{
    if (meter->faults[index].kind == FAULT_FROZEN)
        meter->has_frozen = false;
    meter->fault_count--;
    memmove(&meter->faults[index], &meter->faults[index + 1],
            (size_t)(meter->fault_count - index) * sizeof meter->faults[0]);
}

void sim_meter_strike(struct sim_meter *meter, const struct sim_time *now, struct struck *struck)
{
    *struck = (struct struck){0};
    bool any = false;
    for (int i = 0; i < meter->fault_count; i++) {
        struct meter_fault *fault = &meter->faults[i];
        bool of_values = fault_is_of_values(fault->kind);
        if ((struck->of[fault->kind] != NULL && !of_values) ||
            !fault_strikes(fault, now->since_start_ms, sim_meter_random(meter)))
            continue;
        any = true;
        if (struck->of[fault->kind] == NULL)
            struck->of[fault->kind] = fault;
        if (of_values)
            struck->values[struck->value_count++] = fault;
    }
    meter->struck += any ? 1 : 0;
}

// Brings the model to `now`, backwards where a fault says so, from its start to its end.
static void advance(struct sim_meter *meter, const struct sim_time *now)
{
    int64_t start_wall_ms = now->wall_ms - now->since_start_ms;
    for (int i = 0; i < meter->fault_count; i++) {
        const struct meter_fault *fault = &meter->faults[i];
        if (fault->kind != FAULT_REVERSE || now->since_start_ms <= fault->start_ms)
            continue;
        int64_t end_ms = fault->end_ms < now->since_start_ms ? fault->end_ms : now->since_start_ms;
        run_model(meter, start_wall_ms + fault->start_ms);
        meter->state.reverse = true;
        run_model(meter, start_wall_ms + end_ms);
        meter->state.reverse = false;
    }
    run_model(meter, now->wall_ms);
}

int sim_meter_add_fault(struct sim_meter *meter, const struct meter_fault *fault,
                        const struct sim_time *now, struct err *err)
{
    advance(meter, now);
    for (int i = meter->fault_count - 1; i >= 0; i--)
        if (fault_is_over(&meter->faults[i], now->since_start_ms))
            drop_fault(meter, i);
    if (meter->fault_count == METER_FAULTS_MAX) {
        return err_set(err, "%s has %d faults already: clear one first", meter->id,
                       METER_FAULTS_MAX);
    }
    meter->faults[meter->fault_count++] = *fault;
    return 0;
}

int sim_meter_clear_faults(struct sim_meter *meter, const struct sim_time *now, int kind)
{
    advance(meter, now); // what ran backwards until now stays so
    int cleared = 0;
    for (int i = meter->fault_count - 1; i >= 0; i--) {
        if (kind < 0 || (int)meter->faults[i].kind == kind) {
            drop_fault(meter, i);
            cleared++;
        }
    }
    return cleared;
}

// ---- values -------------------------------------------------------------------------------------

static double *model_override(struct sim_meter *meter, const char *channel)
{
    if (strcmp(channel, "flow_measured") == 0)
        return &meter->state.flow_measured;
    if (strcmp(channel, "pressure") == 0)
        return &meter->state.pressure_kpa;
    return strcmp(channel, "temperature") == 0 ? &meter->state.temperature_c : NULL;
}

// What drives the model may be set also where the meter does not show it.
int sim_meter_set(struct sim_meter *meter, const struct sim_time *now, const char *channel,
                  double number, struct err *err)
{
    const struct profile *profile = meter->kind->profile;
    int index = profile_channel_find(profile, channel);
    double *override = model_override(meter, channel);
    if (index < 0 && override == NULL) {
        return err_set(err, "%s: profile %s has no channel '%s'", meter->id, profile->name,
                       channel);
    }
    enum channel_kind kind = index >= 0 ? profile->channels[index].channel->kind : CHANNEL_GAUGE;
    if (kind == CHANNEL_IDENTITY)
        return err_set(err, "%s: %s is no number", meter->id, channel);
    if (fabs(number) > 1e12)
        return err_set(err, "%s: %g is out of range, at most 1e12", channel, number);
    advance(meter, now);
    if (override != NULL) {
        *override = number;
    } else if (kind == CHANNEL_COUNTER) {
        int64_t micro = source_counter(channel, &meter->state);
        meter->shift[index] = isnan(number) ? 0 : llround(number * 1e6) - micro;
    } else {
        meter->ordered[index] = number;
    }
    return 0;
}

static bool strikes_channel(const struct struck *struck, enum fault_kind kind, int channel)
{
    for (int i = 0; i < struck->value_count; i++) {
        const struct meter_fault *fault = struck->values[i];
        if (fault->kind == kind &&
            (fault->channel == FAULT_CHANNEL_ALL || fault->channel == channel))
            return true;
    }
    return false;
}

// A jump without a channel is one of all counters.
static double jump_of(const struct struck *struck, int channel, enum channel_kind kind)
{
    double sum = 0;
    for (int i = 0; i < struck->value_count; i++) {
        const struct meter_fault *fault = struck->values[i];
        bool hit = fault->channel == channel ||
                   (fault->channel == FAULT_CHANNEL_ALL && kind == CHANNEL_COUNTER);
        sum += fault->kind == FAULT_JUMP && hit ? fault->by : 0;
    }
    return sum;
}

static int64_t counter_of(const struct sim_meter *meter, int channel, const struct struck *struck)
{
    const struct channel *of = meter->kind->profile->channels[channel].channel;
    int64_t micro = source_counter(of->name, &meter->state) + meter->shift[channel] +
                    llround(jump_of(struck, channel, of->kind) * 1e6);
    int64_t span = encode_counter_span(meter->kind->profile, channel);
    if (span > 0)
        micro = (micro % span + span) % span; // it rolls over, as a meter does
    return micro;
}

static double gauge_of(const struct sim_meter *meter, int channel,
                       const struct model_values *values, const struct struck *struck)
{
    const struct channel *of = meter->kind->profile->channels[channel].channel;
    double number = meter->ordered[channel];
    if (isnan(number)) {
        number =
            source_gauge(of->name, &meter->settings, &meter->state, values, meter->state.at_ms);
    }
    return number + jump_of(struck, channel, of->kind);
}

static void put_channel(const struct sim_meter *meter, int channel,
                        const struct model_values *values, const struct struck *struck,
                        struct image *image)
{
    const struct profile *profile = meter->kind->profile;
    char serial[VALUE_TEXT_MAX];
    // A value that the registers cannot hold leaves them at zero, as a meter's display would.
    switch (profile->channels[channel].channel->kind) {
    case CHANNEL_COUNTER:
        (void)encode_counter(profile, channel, counter_of(meter, channel, struck), image, NULL);
        break;
    case CHANNEL_GAUGE:
    case CHANNEL_EXACT:
        (void)encode_gauge(profile, channel, gauge_of(meter, channel, values, struck), image, NULL);
        break;
    case CHANNEL_BITS:
        encode_status(
            profile, isnan(meter->ordered[channel]) ? 0 : (uint64_t)meter->ordered[channel], image);
        break;
    case CHANNEL_IDENTITY:
        (void)snprintf(serial, sizeof serial, "%s", meter->serial_number);
        if (struck->of[FAULT_SWAPPED_SERIAL] != NULL)
            serial[0] = serial[0] == '9' ? '1' : (char)(serial[0] + 1);
        (void)encode_identity(profile, channel, serial, image, NULL);
        break;
    }
}

// What "no number" looks like in a field of each type.
static void put_no_number(const struct profile *profile, int channel, struct image *image)
{
    const struct profile_channel *of = &profile->channels[channel];
    for (int i = 0; i < of->part_count; i++) {
        int field = of->parts[i].field;
        switch ((enum raw_type)profile->fields[field].type) {
        case RAW_F32: encode_raw(profile, field, UINT64_C(0x7FC00000), image); break;
        case RAW_F64: encode_raw(profile, field, UINT64_C(0x7FF8000000000000), image); break;
        case RAW_BCD: encode_raw(profile, field, UINT64_C(0xF), image); break;
        default:
            if (i == 0 && of->not_available_count > 0)
                encode_raw(profile, field, of->not_available[0], image);
        }
    }
}

static void copy_channel(const struct profile *profile, int channel, const struct image *from,
                         struct image *to)
{
    const struct profile_channel *of = &profile->channels[channel];
    for (int i = 0; i < of->part_count; i++) {
        const struct field *field = &profile->fields[of->parts[i].field];
        memcpy(&to->words[field->place], &from->words[field->place],
               field->words * sizeof to->words[0]);
    }
}

static void freeze(struct sim_meter *meter, const struct struck *struck, struct image *image)
{
    if (struck->of[FAULT_FROZEN] == NULL) {
        meter->has_frozen = false;
        return;
    }
    if (!meter->has_frozen) {
        meter->frozen = *image;
        meter->has_frozen = true;
    }
    for (int i = 0; i < meter->kind->profile->channel_count; i++)
        if (strikes_channel(struck, FAULT_FROZEN, i))
            copy_channel(meter->kind->profile, i, &meter->frozen, image);
}

void sim_meter_image(struct sim_meter *meter, const struct sim_time *now,
                     const struct struck *struck, struct image *image)
{
    const struct profile *profile = meter->kind->profile;
    memset(image, 0, sizeof *image);
    advance(meter, now);
    if (meter->kind->coded) {
        coded_image(profile, meter->who, meter->unit, now->tick, image);
    } else {
        struct model_values values;
        model_values(&meter->settings, &meter->state, meter->state.at_ms, &values);
        for (int i = 0; i < profile->channel_count; i++)
            put_channel(meter, i, &values, struck, image);
    }
    freeze(meter, struck, image);
    for (int i = 0; i < profile->channel_count; i++)
        if (strikes_channel(struck, FAULT_NAN, i))
            put_no_number(profile, i, image);
}

// ---- registers ----------------------------------------------------------------------------------

static unsigned field_width(const struct field *field)
{
    return field->register_size == 4 ? 2 : 1;
}

static bool field_is_in(const struct field *field, uint8_t function, int first, int end)
{
    return field->function == function && field->first < end && field_end(field) > first;
}

// Words of a register in a request; 0 when it touches registers of both sizes.
static unsigned request_width(const struct profile *profile, uint8_t function, int first, int end)
{
    unsigned width = 0;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (!field_is_in(field, function, first, end))
            continue;
        if (width != 0 && width != field_width(field))
            return 0;
        width = field_width(field);
    }
    if (width == 0)
        width = profile->limits.register_size == 4 && function >= 3 ? 2 : 1;
    return width;
}

// Whether the profile's fields of a function lie on both sides of a request or at its ends.
static bool is_inside(const struct profile *profile, uint8_t function, int first, int end)
{
    int known_first = 0x10000;
    int known_end = 0;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (field->function != function)
            continue;
        known_first = field->first < known_first ? field->first : known_first;
        known_end = field_end(field) > known_end ? field_end(field) : known_end;
    }
    return first >= known_first && end <= known_end;
}

int sim_meter_registers(const struct sim_meter *meter, const struct image *image, uint8_t function,
                        uint16_t first, uint16_t count, uint16_t words[static SIM_WORDS_MAX],
                        unsigned *word_count)
{
    const struct profile *profile = meter->kind->profile;
    int end = first + count;
    *word_count = count;
    for (int i = 0; i < PROFILE_ARCHIVES_MAX; i++)
        if (meter->logs[i] != NULL &&
            sim_log_registers(meter->logs[i], function, first, count, words))
            return 0;
    unsigned width = request_width(profile, function, first, end);
    unsigned found = 0;
    bool seen[SIM_WORDS_MAX] = {false};
    *word_count = count * width;
    if (width == 0 || *word_count > SIM_WORDS_MAX || !is_inside(profile, function, first, end))
        return EXCEPTION_ADDRESS;
    memset(words, 0, *word_count * sizeof words[0]);
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *field = &profile->fields[i];
        if (!field_is_in(field, function, first, end))
            continue;
        for (int word = 0; word < field->words; word++) {
            int at = (field->first - first) * (int)width + word;
            if (at < 0 || at >= (int)*word_count)
                continue;
            words[at] = image->words[field->place + word];
            found += seen[at] ? 0 : 1;
            seen[at] = true;
        }
    }
    return meter->kind->strict && found < *word_count ? EXCEPTION_ADDRESS : 0;
}

void sim_meter_print(struct sim_meter *meter, const struct sim_time *now, struct writer *writer)
{
    const struct profile *profile = meter->kind->profile;
    const struct struck none = {0};
    struct model_values values;
    advance(meter, now);
    model_values(&meter->settings, &meter->state, meter->state.at_ms, &values);
    writer_object(writer);
    for (int i = 0; i < profile->channel_count; i++) {
        const struct channel *channel = profile->channels[i].channel;
        if (channel->kind == CHANNEL_COUNTER)
            writer_key_micro(writer, channel->name, counter_of(meter, i, &none));
        else if (channel->kind == CHANNEL_GAUGE || channel->kind == CHANNEL_EXACT)
            writer_key_gauge(writer, channel->name, gauge_of(meter, i, &values, &none), true);
        else if (channel->kind == CHANNEL_IDENTITY)
            writer_key_text(writer, channel->name, meter->serial_number);
    }
    writer_end(writer);
}
