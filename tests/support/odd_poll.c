#include "odd_poll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool done, const char *what)
{
    if (!done) {
        (void)fprintf(stderr, "odd_poll: %s\n", what);
        abort();
    }
}

// ---- requests -----------------------------------------------------------------------------------

static void settle_last(struct odd_reader *reader)
{
    if (reader->sent_count == 0)
        return;
    struct odd_sent *last = &reader->sent[reader->sent_count - 1];
    last->believed = reader->counters.replies > last->replies;
}

// Every frame that leaves is the next request of its line.
static void note_frame(void *context, bool is_sent, const uint8_t *bytes, size_t length)
{
    struct odd_reader *reader = context;
    if (!is_sent)
        return;
    bool tcp = reader->url.kind == LINK_TCP;
    must(length == (tcp ? 12U : 8U) && reader->sent_count < ODD_SENT_MAX, "a strange request");
    settle_last(reader);
    reader->serial = odd_next_serial(tcp, reader->serial, bytes);
    odd_asked(reader->lines, reader->line, reader->serial);
    const uint8_t *at = bytes + (tcp ? 6 : 0);
    reader->sent[reader->sent_count++] = (struct odd_sent){.unit = at[0],
                                                           .function = at[1],
                                                           .first = at[2] << 8 | at[3],
                                                           .count = at[4] << 8 | at[5],
                                                           .serial = reader->serial,
                                                           .replies = reader->counters.replies};
}

void odd_reader_open(struct odd_reader *reader, struct odd_lines *lines, int line,
                     enum odd_kind kind, int timeout_ms)
{
    *reader = (struct odd_reader){.lines = lines, .line = line};
    reader->url = (struct link_url){.kind = kind == ODD_TCP   ? LINK_TCP
                                            : kind == ODD_PTY ? LINK_RTU
                                                              : LINK_RTU_OVER_TCP,
                                    .address = "127.0.0.1",
                                    .port = odd_port(lines, line),
                                    .baud = 115200,
                                    .parity = 'N',
                                    .stop = 1};
    (void)snprintf(reader->url.device, sizeof reader->url.device, "%s", odd_device(lines, line));
    struct wire_settings settings = {.url = reader->url, .response_timeout_ms = timeout_ms};
    reader->wire = wire_new(&settings, &clock_system);
    must(reader->wire != NULL, "no memory");
    struct err err = {""};
    if (wire_open(reader->wire, &err) != 0)
        must(false, err.text);
    wire_set_trace(reader->wire, (struct wire_trace){.frame = note_frame, .context = reader});
}

void odd_reader_close(struct odd_reader *reader)
{
    wire_free(reader->wire);
}

void odd_reader_begin(struct odd_reader *reader)
{
    reader->sent_count = 0;
}

struct reading *odd_reader_poll(struct odd_reader *reader, const struct meter *meter,
                                struct meter_poll *poll)
{
    struct reading *reading = reading_new(NULL, meter);
    must(reading != NULL, "no memory");
    odd_reader_begin(reader);
    meter_poll_read(poll, reader->wire, 1, &clock_system, reading, &reader->counters);
    settle_last(reader);
    return reading;
}

bool odd_sent_covers(const struct odd_sent *sent, int unit, const struct field *field)
{
    return sent->unit == unit && sent->function == field->function && sent->first <= field->first &&
           field->first + field->words <= sent->first + sent->count;
}

static bool words_are_of(int unit, const struct field *field, const uint16_t *words,
                         uint64_t serial)
{
    for (int i = 0; i < field->words; i++)
        if (words[i] != odd_word(unit, field->first + i, serial))
            return false;
    return true;
}

const struct odd_sent *odd_reader_source(const struct odd_reader *reader, int unit,
                                         const struct field *field, const uint16_t *words)
{
    for (int i = reader->sent_count - 1; i >= 0; i--) {
        const struct odd_sent *sent = &reader->sent[i];
        if (sent->believed && odd_sent_covers(sent, unit, field) &&
            words_are_of(unit, field, words, sent->serial))
            return sent;
    }
    return NULL;
}

// ---- profiles -----------------------------------------------------------------------------------

// The n-th canonical channel of a kind.
static const struct channel *channel_of(enum channel_kind kind, int n)
{
    for (int i = 0; channel_at(i) != NULL; i++)
        if (channel_at(i)->kind == kind && n-- == 0)
            return channel_at(i);
    must(false, "no channel is left");
    return NULL;
}

static uint8_t add_field(struct profile *profile, int first, int words, enum raw_type type)
{
    must(profile->field_count < PROFILE_FIELDS_MAX &&
             profile->word_count + words <= PROFILE_WORDS_MAX,
         "the profile is full");
    profile->fields[profile->field_count] = (struct field){.first = (uint16_t)first,
                                                           .function = 3,
                                                           .words = (uint8_t)words,
                                                           .place = profile->word_count,
                                                           .type = (uint8_t)type};
    profile->word_count = (uint16_t)(profile->word_count + words);
    return profile->field_count++;
}

void odd_profile_add(struct profile *profile, int first, int words, enum raw_type type)
{
    enum channel_kind kind = type == RAW_F32 ? CHANNEL_GAUGE : CHANNEL_COUNTER;
    int count = 0;
    for (int i = 0; i < profile->channel_count; i++)
        count += profile->channels[i].channel->kind == kind ? 1 : 0;
    struct decimal scale = {1, type == RAW_F32 ? 0 : type == RAW_BCD ? -4 : -6};
    profile->channels[profile->channel_count++] =
        (struct profile_channel){.channel = channel_of(kind, count),
                                 .part_count = 1,
                                 .parts = {{.field = add_field(profile, first, words, type),
                                            .scale = scale,
                                            .scale_field = -1}},
                                 .conversion = {.factor = {1, 0}}};
}

void odd_profile_add_flags(struct profile *profile, int first)
{
    uint8_t field = add_field(profile, first, 1, RAW_U16);
    if (profile->status_count == 0)
        profile->channels[profile->channel_count++] =
            (struct profile_channel){.channel = channel_find("status")};
    for (int bit = 0; bit < 16; bit++) {
        struct profile_status *status = &profile->status[profile->status_count++];
        *status = (struct profile_status){.field = field, .bit = (uint8_t)bit};
        (void)snprintf(status->name, sizeof status->name, "bit_%d_%d", first, bit);
    }
}

struct meter_poll *odd_meter_poll(const struct odd_reader *reader, const struct meter *meter)
{
    struct link_cost cost;
    struct err err = {""};
    link_cost_of(&reader->url, 0, &cost);
    struct meter_poll *poll = meter_poll_new(meter, &cost, &err);
    if (poll == NULL)
        must(false, err.text);
    return poll;
}
