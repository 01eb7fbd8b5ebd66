// From the profile's entries to fields, channels and requests that belong together.
#include "config/profile_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- fields -------------------------------------------------------------------------------------

// The field with these words, made when it is new. -1 when it does not fit; told at `node`.
static int field_take(struct build *build, const struct node *node, struct field field)
{
    struct profile *profile = build->profile;
    for (int i = 0; i < profile->field_count; i++) {
        const struct field *other = &profile->fields[i];
        if (other->first == field.first && other->function == field.function &&
            other->words == field.words && other->type == field.type && other->order == field.order)
            return i;
    }
    bool wide = build->draft->register_size == 4 && field.words > 1;
    field.register_size = wide ? 4 : 2;
    if (wide && field.words % 2 != 0) {
        TELL(build, node,
             "a value of %d bytes does not fill whole registers of 4; allowed with "
             "limits.register_size 4: values of 2, 4 or 8 bytes",
             2 * field.words);
    } else if (field_end(&field) > 65536) {
        TELL(build, node, "the value would end at register %d; allowed: at most 65535",
             field_end(&field) - 1);
    } else if (field_registers(&field) > build->draft->max_registers) {
        TELL(build, node, "the value needs %d registers in one request, limits.max_registers is %d",
             field_registers(&field), build->draft->max_registers);
    } else if (profile->field_count == PROFILE_FIELDS_MAX) {
        TELL(build, node, "the profile reads too many fields; allowed: %d", PROFILE_FIELDS_MAX);
    } else if (profile->word_count + field.words > PROFILE_WORDS_MAX) {
        TELL(build, node, "the profile reads too many registers; allowed: %d", PROFILE_WORDS_MAX);
    } else {
        field.place = profile->word_count;
        profile->word_count = (uint16_t)(profile->word_count + field.words);
        profile->fields[profile->field_count] = field;
        return profile->field_count++;
    }
    return -1;
}

int order_take(struct build *build, const struct node *map, int order, int words, bool is_text,
               uint8_t *out)
{
    *out = ORDER_ABCD;
    if (order < 0)
        return 0;
    const struct node *node = place_of(map, "order");
    if (is_text || (words != 2 && words != 4)) {
        TELL(build, node, "%s has no order; allowed: order with values of two or four registers",
             is_text      ? "text"
             : words == 1 ? "a value of one register"
                          : "a value of three registers");
        return -1;
    }
    if ((words == 2) != (order < ORDERS_OF_TWO)) {
        TELL(build, node, "%s is not for a value of %d registers; allowed: %s", order_names[order],
             words,
             words == 2 ? "ABCD, CDAB, BADC, DCBA" : "ABCDEFGH, GHEFCDAB, BADCFEHG, HGFEDCBA");
        return -1;
    }
    *out = (uint8_t)(order % ORDERS_OF_TWO);
    return 0;
}

// The field of a place. -1 when it is not whole or not right; told.
static int place_take(struct build *build, const struct node *map, const struct place_entry *place)
{
    if (place->first < 0 || place->type < 0)
        return -1; // told when it was loaded
    const struct type_form *form = &type_forms[place->type];
    struct field field = {.first = (uint16_t)place->first,
                          .function = (uint8_t)place->function,
                          .words = (uint8_t)form->words,
                          .type = (uint8_t)form->type};
    if (order_take(build, map, place->order, form->words, form->type == RAW_STRING, &field.order) !=
        0)
        return -1;
    if (place->function <= 2 && form->type != RAW_U16) {
        TELL(build, place_of(map, "type"),
             "a coil or discrete input is one bit; allowed with function %d: u16", place->function);
        return -1;
    }
    return field_take(build, place_of(map, "register"), field);
}

// The field of a scale register, -1 without or when it is wrong (then told).
static int scale_take(struct build *build, const struct place_entry *place,
                      const struct scale_entry *scale)
{
    static const struct type_form forms[] = {
        {RAW_I16, 1}, {RAW_U16, 1}, {RAW_I32, 2}, {RAW_U32, 2}};
    if (scale->node == NULL || scale->first < 0)
        return -1;
    int function = scale->function >= 0 ? scale->function : place->function;
    if (function <= 2) {
        TELL(build, scale->node,
             "a coil cannot scale a value; allowed: a register of function 3 or 4");
        return -1;
    }
    struct field field = {.first = (uint16_t)scale->first,
                          .function = (uint8_t)function,
                          .words = (uint8_t)forms[scale->type].words,
                          .type = (uint8_t)forms[scale->type].type};
    return field_take(build, scale->node, field);
}

// ---- channels -----------------------------------------------------------------------------------

static bool part_take(struct build *build, const struct node *map, const struct place_entry *place,
                      struct part *out)
{
    if (place->type >= 0 && type_forms[place->type].type == RAW_STRING) {
        TELL(build, place_of(map, "type"),
             "text is no quantity; allowed: a number's type (text belongs under identity)");
        return false;
    }
    if (place->scale.mantissa == 0) {
        TELL(build, place_of(map, "scale"), "a scale of 0 leaves nothing; allowed: any other");
        return false;
    }
    int field = place_take(build, map, place);
    if (field < 0)
        return false;
    *out = (struct part){.field = (uint8_t)field,
                         .scale = place->scale,
                         .scale_field = scale_take(build, place, &place->scale_register),
                         .scale_is_exponent = place->scale_register.meaning == 0};
    return true;
}

static void parts_take(struct build *build, const struct channel_entry *entry,
                       struct profile_channel *channel)
{
    static const char *const single[] = {"register", "function", "type",
                                         "order",    "scale",    "scale_register"};
    if (node_find(entry->node, "parts") == NULL) {
        if (node_find(entry->node, "register") == NULL) {
            TELL_MISSING(build, entry->node, "register",
                         "the key is missing; needed: register and type, or parts");
        }
        if (node_find(entry->node, "type") == NULL) {
            TELL_MISSING(build, entry->node, "type",
                         "the key is missing; needed: register and type, or parts");
        }
        channel->part_count = part_take(build, entry->node, &entry->place, channel->parts) ? 1 : 0;
        return;
    }
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        const struct node *extra = node_find(entry->node, single[i]);
        if (extra != NULL) {
            TELL_KEY(build, extra, "'%s' does not go with parts; write it into each part",
                     single[i]);
        }
    }
    const struct place_entry *parts = entry->parts.items;
    for (int i = 0; i < entry->parts.count; i++)
        if (part_take(build, parts[i].node, &parts[i], &channel->parts[channel->part_count]))
            channel->part_count++;
    const struct node *list = node_find(entry->node, "parts");
    if (list->kind == NODE_LIST && list->count == 0)
        TELL(build, list, "there is no part; needed: at least one");
}

// "m3, l, dm3" of the units that fit.
static const char *units_text(const struct channel *channel, char text[static 160])
{
    size_t length = 0;
    const char *unit = NULL;
    text[0] = '\0';
    for (int i = 0; (unit = channel_unit_at(channel, i)) != NULL && length < 160; i++) {
        int added = snprintf(text + length, 160 - length, "%s%s", i > 0 ? ", " : "", unit);
        length += added > 0 ? (size_t)added : 0;
    }
    return text;
}

void unit_take(struct build *build, const struct node *map, const struct channel *channel,
               const char *unit, bool config_allowed, char out[static 16],
               struct unit_conversion *conversion)
{
    char units[160];
    const char *config = config_allowed ? ", or config" : "";
    if (unit[0] == '\0' && strcmp(channel->unit, "1") == 0)
        unit = "1";
    *conversion = (struct unit_conversion){{1, 0}, {0, 0}};
    (void)snprintf(out, 16, "%s", unit);
    if (config_allowed && strcmp(unit, "config") == 0)
        return;
    if (node_find(map, "unit") == NULL && unit[0] == '\0') {
        TELL_MISSING(build, map, "unit", "the key is missing; allowed: %s%s",
                     units_text(channel, units), config);
    } else if (unit[0] != '\0' && channel_unit_conversion(channel, unit, conversion) != 0) {
        TELL(build, place_of(map, "unit"), "'%s' is no unit of %s; allowed: %s%s", unit,
             channel->name, units_text(channel, units), config);
    }
}

static void not_available_take(struct build *build, const struct channel_entry *entry,
                               struct profile_channel *channel)
{
    const struct item *items = entry->not_available.items;
    if (channel->part_count == 0)
        return;
    int words = build->profile->fields[channel->parts[0].field].words;
    uint64_t most = words == 4 ? UINT64_MAX : (UINT64_C(1) << (16 * words)) - 1;
    for (int i = 0; i < entry->not_available.count; i++) {
        if (items[i].raw > most) {
            TELL(build, items[i].node, "0x%llX does not fit %d registers; allowed: 0 to 0x%llX",
                 (unsigned long long)items[i].raw, words, (unsigned long long)most);
        }
        channel->not_available[channel->not_available_count++] = items[i].raw;
    }
}

static void channels_take(struct build *build)
{
    const struct channel_entry *entries = build->draft->channels.items;
    const struct node *node = node_find(build->draft->node, "channels");
    if (node != NULL && node->kind == NODE_MAP && node->count == 0)
        TELL(build, node, "there is no channel; needed: at least one");
    for (int i = 0; i < build->draft->channels.count; i++) {
        const struct channel_entry *entry = &entries[i];
        struct profile_channel *channel =
            &build->profile->channels[build->profile->channel_count++];
        channel->channel = channel_find(entry->node->key);
        channel->offset = entry->offset;
        parts_take(build, entry, channel);
        not_available_take(build, entry, channel);
        unit_take(build, entry->node, channel->channel, entry->unit, true, channel->unit,
                  &channel->conversion);
    }
}

// ---- status and identity ------------------------------------------------------------------------

static void status_value_check(struct build *build, const struct status_entry *entry)
{
    if (entry->value < 0) {
        TELL_MISSING(build, entry->node, "value",
                     "the key is missing; needed: the number of the %d bits that the name stands "
                     "for",
                     entry->bits);
    } else if (entry->value >= 1 << entry->bits) {
        TELL(build, place_of(entry->node, "value"), "%d does not fit %d bits; allowed: 0 to %d",
             entry->value, entry->bits, (1 << entry->bits) - 1);
    }
}

static void status_check(struct build *build, const struct status_entry *entry)
{
    const struct status_entry *entries = build->draft->status.items;
    for (const struct status_entry *other = entries; other < entry; other++) {
        if (entry->name[0] != '\0' && strcmp(other->name, entry->name) == 0) {
            TELL(build, place_of(entry->node, "name"), "the name '%s' is taken by status[%d]",
                 entry->name, other->node->index);
        }
        if (other->first == entry->first && other->function == entry->function &&
            other->bit == entry->bit && other->value == entry->value && entry->first >= 0) {
            TELL(build, place_of(entry->node, "bit"), "the same bit is named by status[%d]",
                 other->node->index);
        }
    }
    int size = entry->function <= 2 ? 1 : entry->type == 1 ? 32 : 16;
    if (size == 1 && entry->type == 1) {
        TELL(build, place_of(entry->node, "type"),
             "a coil or discrete input is one bit; allowed with function %d: u16", entry->function);
    } else if (size == 1 && entry->bit != 0) {
        TELL(build, place_of(entry->node, "bit"),
             "a coil or discrete input is one bit; allowed with function %d: 0", entry->function);
    } else if (entry->bit + entry->bits > size) {
        TELL(build, place_of(entry->node, entry->bits > 1 ? "bits" : "bit"),
             "bit %d lies outside the %d bits that are read; allowed: 0 to %d",
             entry->bit + entry->bits - 1, size, size - 1);
    } else if (entry->bits > 1) {
        status_value_check(build, entry);
    } else if (entry->value >= 0) {
        TELL_KEY(build, node_find(entry->node, "value"),
                 "'value' goes with bits: N, the number of bits that hold it");
    }
}

static void status_take(struct build *build)
{
    static const char *const severities[] = {"minor", "major", "critical"};
    const struct status_entry *entries = build->draft->status.items;
    struct profile *profile = build->profile;
    for (int i = 0; i < build->draft->status.count; i++) {
        const struct status_entry *entry = &entries[i];
        if (entry->first < 0)
            continue; // told
        status_check(build, entry);
        struct field field = {.first = (uint16_t)entry->first,
                              .function = (uint8_t)entry->function,
                              .words = entry->type == 1 ? 2 : 1,
                              .type = entry->type == 1 ? RAW_U32 : RAW_U16};
        if (order_take(build, entry->node, entry->order, field.words, false, &field.order) != 0)
            continue;
        int index = field_take(build, place_of(entry->node, "register"), field);
        struct profile_status *status = &profile->status[profile->status_count++];
        status->field = (uint8_t)(index < 0 ? 0 : index);
        status->bit = (uint8_t)entry->bit;
        status->width = (uint8_t)entry->bits;
        status->value = (uint16_t)(entry->value < 0 ? 0 : entry->value);
        memcpy(status->name, entry->name, sizeof status->name);
        (void)snprintf(status->severity, sizeof status->severity, "%s",
                       entry->severity >= 0 ? severities[entry->severity] : "");
    }
    if (profile->status_count > 0)
        profile->channels[profile->channel_count++].channel = channel_find("status");
}

static void identity_take(struct build *build)
{
    const struct place_entry *place = &build->draft->serial_number;
    if (place->node == NULL)
        return;
    enum raw_type type = place->type >= 0 ? type_forms[place->type].type : RAW_U16;
    if (type == RAW_F32 || type == RAW_F64) {
        TELL(build, place_of(place->node, "type"),
             "a serial number is no fraction; allowed: string8 to string32, bcd4 to bcd16, u16 to "
             "i64");
        return;
    }
    struct profile_channel *channel = &build->profile->channels[build->profile->channel_count++];
    int field = place_take(build, place->node, place);
    channel->channel = channel_find("serial_number");
    channel->part_count = 1;
    channel->parts[0] = (struct part){
        .field = (uint8_t)(field < 0 ? 0 : field), .scale = {1, 0}, .scale_field = -1};
    channel->conversion = (struct unit_conversion){{1, 0}, {0, 0}};
}

// ---- together -----------------------------------------------------------------------------------

static void together_check(struct build *build, const struct node *node, int first, int last)
{
    int held = 0;
    int function = 0;
    for (int i = 0; i < build->profile->field_count; i++) {
        const struct field *field = &build->profile->fields[i];
        int end = field_end(field) - 1;
        if (end < first || field->first > last)
            continue;
        if (field->first < first || end > last) {
            TELL(build, node,
                 "the group cuts the value of registers %d to %d in two; allowed: "
                 "groups that hold whole values",
                 field->first, end);
            return;
        }
        if (held++ > 0 && field->function != function) {
            TELL(build, node,
                 "the group holds values of functions %d and %d; allowed: one function", function,
                 field->function);
            return;
        }
        function = field->function;
    }
    if (held == 0)
        TELL(build, node, "no value lies in the registers %d to %d", first, last);
    if (last - first + 1 > build->draft->max_registers) {
        TELL(build, node, "the group has %d registers, limits.max_registers is %d",
             last - first + 1, build->draft->max_registers);
    }
}

static void together_take(struct build *build)
{
    const struct item *items = build->draft->together.items;
    struct profile *profile = build->profile;
    for (int i = 0; i < build->draft->together.count; i++) {
        const int *range = items[i].range;
        for (int j = 0; j < profile->together_count; j++) {
            if (range[0] <= profile->together[j].last && range[1] >= profile->together[j].first) {
                TELL(build, items[i].node, "the group overlaps [%d, %d]; write one group",
                     profile->together[j].first, profile->together[j].last);
            }
        }
        together_check(build, items[i].node, range[0], range[1]);
        profile->together[profile->together_count++] =
            (struct profile_together){(uint16_t)range[0], (uint16_t)range[1]};
    }
}

// ---- limits -------------------------------------------------------------------------------------

// What goes with registers of four bytes.
static void limits_check(struct build *build)
{
    const struct profile_draft *draft = build->draft;
    const struct node *limits = node_find(draft->node, "limits");
    if (draft->register_size != 4 || limits == NULL)
        return;
    int most = PROFILE_REQUEST_REGISTERS_MAX / 2;
    if (draft->max_registers > most) {
        TELL(build, place_of(limits, "max_registers"),
             "%d registers of 4 bytes do not fit one reply; allowed with register_size 4: 1 to %d",
             draft->max_registers, most);
    }
    if (draft->archives.count > 0) {
        TELL(build, place_of(limits, "register_size"),
             "the archive of a meter with registers of 4 bytes cannot be read with functions 3 and "
             "4; leave archives out");
    }
}

// ---- all ----------------------------------------------------------------------------------------

void profile_build(const struct load *load, const struct profile_draft *draft,
                   struct profile *profile)
{
    struct build build = {load, draft, profile};
    memcpy(profile->model, draft->model, sizeof profile->model);
    (void)snprintf(profile->medium, sizeof profile->medium, "%s", medium_names[draft->medium]);
    profile->verified = draft->verified;
    profile->serial_baud_known = draft->baud > 0;
    profile->serial_baud = draft->baud > 0 ? draft->baud : 0;
    profile->serial_parity = "NEO"[draft->parity];
    profile->serial_stop = draft->stop;
    profile->limits = (struct profile_limits){.max_registers = (uint16_t)draft->max_registers,
                                              .max_gap = (uint16_t)draft->max_gap,
                                              .pause_ms = draft->pause_ms,
                                              .reply_ms = draft->reply_ms,
                                              .wake_request = draft->wake_request,
                                              .wake_after_s = draft->wake_after_s,
                                              .wake_wait_ms = draft->wake_wait_ms,
                                              .register_size = draft->register_size};
    limits_check(&build);
    channels_take(&build);
    status_take(&build);
    identity_take(&build);
    together_take(&build);
    archives_take(&build);
}
