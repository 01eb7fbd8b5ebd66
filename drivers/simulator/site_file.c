// A site file's text into a struct site.
#include "drivers/simulator/site_schema.h"

#include "base/file.h"
#include "base/timetext.h"
#include "drivers/simulator/coded.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUS_BAUD 9600
#define BUS_UNIT_MAX 247
#define INDEX_MAX_M3 5000000

struct loading {
    const struct load *load;
    const struct site_options *options;
    const char *path;
    const struct site_file *file;
    struct site *site;
    int *first_link; // of each link entry, index in site->links
};

static const char *file_of(const struct loading *loading)
{
    return loading->load->document->file;
}

static const struct node *node_of(const struct node *map, const char *key)
{
    const struct node *node = node_find(map, key);
    return node != NULL ? node : map;
}

// "ID", or "ID-3" where there is more than one. -1 when that gets too long.
static int number_id(const char *id, int number, int count, char out[static ID_SIZE])
{
    int length =
        count == 1 ? snprintf(out, ID_SIZE, "%s", id) : snprintf(out, ID_SIZE, "%s-%d", id, number);
    return length < ID_SIZE ? 0 : -1;
}

static void tell_long_id(const struct loading *loading, const struct node *map, const char *id)
{
    fault_at(loading->load->faults, file_of(loading), node_of(map, "id"),
             "'%s' with a number behind it is too long; allowed: at most %d characters together",
             id, ID_SIZE - 1);
}

// ---- site ---------------------------------------------------------------------------------------

static void load_head(const struct loading *loading)
{
    const struct site_head *head = &loading->file->site;
    struct site *site = loading->site;
    site->seed = head->seed >= 0 ? (uint64_t)head->seed : loading->options->random;
    if (loading->options->has_seed)
        site->seed = loading->options->seed;
    site->start_ms = loading->options->wall_ms;
    if (head->start[0] != '\0')
        (void)time_parse(head->start, &site->start_ms); // the schema has checked it
    site->calendar.utc_offset_min = head->utc_offset_min;
    const struct item *items = head->holidays.items;
    for (int i = 0; i < head->holidays.count; i++) {
        int64_t ms = 0;
        if (time_parse(items[i].text, &ms) == 0)
            site->calendar.holidays[site->calendar.holiday_count++] = ms / 86400000;
    }
}

// ---- links --------------------------------------------------------------------------------------

static void check_link(const struct loading *loading, const struct link_entry *entry)
{
    static const char *const only_tcp[] = {"listen", "port", NULL};
    struct faults *faults = loading->load->faults;
    for (int i = 0; entry->type == LINK_RTU && only_tcp[i] != NULL; i++) {
        const struct node *node = node_find(entry->node, only_tcp[i]);
        if (node != NULL) {
            fault_at_key(faults, file_of(loading), node,
                         "a serial bus has no %s; allowed: baud, parity, stop, link", only_tcp[i]);
        }
    }
    const struct node *node = node_find(entry->node, "link");
    if (entry->type != LINK_RTU && node != NULL) {
        fault_at_key(faults, file_of(loading), node,
                     "only links of type rtu have a pseudo-terminal to point to");
    }
    node = node_find(entry->node, "baud");
    if (entry->type == LINK_TCP && node != NULL) {
        fault_at_key(faults, file_of(loading), node,
                     "Modbus TCP has no baud rate; allowed: rtu and rtu-over-tcp");
    }
    if (entry->port + entry->count - 1 > 65535) {
        fault_at(faults, file_of(loading), node_of(entry->node, "port"),
                 "%d ports from %d on go beyond 65535", entry->count, entry->port);
    }
    if (entry->count > 1 && entry->link[0] != '\0' && strlen(entry->link) + 16 >= CONFIG_PATH_MAX)
        fault_at(faults, file_of(loading), node_of(entry->node, "link"), "the path is too long");
}

static void set_line(const struct link_entry *entry, struct sim_link *link)
{
    static const char parity[] = {'N', 'E', 'O'};
    link->parity = parity[entry->parity];
    link->stop = entry->stop;
    link->bits = 9 + (link->parity != 'N' ? 1 : 0) + entry->stop;
    int standard = entry->type == LINK_RTU ? BUS_BAUD : 0;
    link->baud = entry->baud > 0 ? entry->baud : standard;
}

static void add_links(const struct loading *loading, const struct link_entry *entry)
{
    struct site *site = loading->site;
    for (int i = 0; i < entry->count && site->link_count < SITE_LINKS_MAX; i++) {
        struct sim_link *link = &site->links[site->link_count];
        *link = (struct sim_link){.kind = (enum link_kind)entry->type};
        if (number_id(entry->id, i + 1, entry->count, link->id) != 0) {
            tell_long_id(loading, entry->node, entry->id);
            return;
        }
        (void)snprintf(link->listen, sizeof link->listen, "%s", entry->listen);
        link->port = entry->port > 0 ? entry->port + i : 0;
        set_line(entry, link);
        if (entry->link[0] != '\0' && entry->count == 1) {
            (void)snprintf(link->link, sizeof link->link, "%s", entry->link);
        } else if (entry->link[0] != '\0') {
            (void)snprintf(link->link, sizeof link->link, "%.*s-%d", CONFIG_PATH_MAX - 16,
                           entry->link, i + 1);
        }
        for (int unit = 0; unit < SITE_UNITS; unit++)
            link->meter_of_unit[unit] = -1;
        site->link_count++;
    }
}

static int count_links(const struct site_file *file)
{
    const struct link_entry *entries = file->links.items;
    int count = 0;
    for (int i = 0; i < file->links.count && count <= SITE_LINKS_MAX; i++)
        count += entries[i].count;
    return count;
}

static int load_links(struct loading *loading)
{
    const struct link_entry *entries = loading->file->links.items;
    int count = count_links(loading->file);
    if (count > SITE_LINKS_MAX) {
        fault_at(loading->load->faults, file_of(loading), loading->file->node,
                 "there are %d links or more; allowed: at most %d", count, SITE_LINKS_MAX);
        return -1;
    }
    loading->site->links = calloc((size_t)count + 1, sizeof *loading->site->links);
    loading->first_link = calloc((size_t)loading->file->links.count + 1, sizeof(int));
    if (loading->site->links == NULL || loading->first_link == NULL) {
        fault_at(loading->load->faults, file_of(loading), loading->file->node,
                 "there is not enough memory");
        return -1;
    }
    for (int i = 0; i < loading->file->links.count; i++) {
        loading->first_link[i] = loading->site->link_count;
        for (int j = 0; j < i; j++) {
            if (strcmp(entries[j].id, entries[i].id) == 0 && entries[i].id[0] != '\0') {
                fault_at(loading->load->faults, file_of(loading), node_of(entries[i].node, "id"),
                         "link '%s' is there already, in line %d; ids are unique", entries[i].id,
                         entries[j].node->line);
                break;
            }
        }
        check_link(loading, &entries[i]);
        add_links(loading, &entries[i]);
    }
    return 0;
}

// ---- meters -------------------------------------------------------------------------------------

// Sets the units of the entry, and tells where the profile wants one that is not there.
static void set_units(const struct loading *loading, const struct meter_entry *entry,
                      struct sim_kind *kind)
{
    struct profile *profile = kind->profile;
    struct faults *faults = loading->load->faults;
    const struct item *items = entry->units.items;
    for (int i = 0; i < entry->units.count; i++) {
        struct err err;
        int channel = profile_channel_find(profile, items[i].node->key);
        if (channel < 0) {
            fault_at_key(faults, file_of(loading), items[i].node, "profile %s has no channel '%s'",
                         profile->name, items[i].node->key);
        } else if (profile_set_unit(profile, channel, items[i].text, &err) != 0) {
            fault_at(faults, file_of(loading), items[i].node, "%s", err.text);
        } else {
            (void)snprintf(kind->units[channel], sizeof kind->units[channel], "%.15s",
                           items[i].text);
        }
    }
    for (int i = 0; i < profile->channel_count; i++) {
        const struct profile_channel *channel = &profile->channels[i];
        if (strcmp(channel->unit, "config") == 0 && channel->conversion.factor.mantissa == 0) {
            fault_missing(faults, file_of(loading), entry->node, "units",
                          "profile %s leaves the unit of %s to the meter: set units: {%s: UNIT}",
                          profile->name, channel->channel->name, channel->channel->name);
        }
    }
}

static void set_fault(const struct loading *loading, const struct fault_entry *entry,
                      struct sim_meter *meter)
{
    struct faults *faults = loading->load->faults;
    struct meter_fault fault =
        fault_make((enum fault_kind)entry->kind, llround(entry->start_s * 1000));
    fault.probability = entry->probability;
    fault.left = entry->count > 0 ? entry->count : -1;
    fault.end_ms = entry->end_s > 0 ? llround(entry->end_s * 1000) : INT64_MAX;
    fault.delay_ms = entry->delay_ms > 0 ? entry->delay_ms : fault.delay_ms;
    fault.delay_max_ms = entry->delay_max_ms > 0 ? entry->delay_max_ms : 0;
    fault.code = entry->code > 0 ? entry->code : fault.code;
    fault.bytes = entry->bytes > 0 ? entry->bytes : 0;
    fault.by = entry->by;
    const struct sim_time start = {.wall_ms = loading->site->start_ms};
    struct err err;
    if (entry->channel[0] != '\0') {
        fault.channel = profile_channel_find(meter->kind->profile, entry->channel);
        if (fault.channel < 0) {
            fault_at(faults, file_of(loading), node_of(entry->node, "channel"),
                     "profile %s has no channel '%s'", meter->kind->profile->name, entry->channel);
        }
    }
    if (fault_check(&fault, &err) != 0 || sim_meter_add_fault(meter, &fault, &start, &err) != 0)
        fault_at(faults, file_of(loading), entry->node, "%s", err.text);
}

static int64_t start_micro(double volume, uint64_t seed, int salt)
{
    if (volume >= 0)
        return llround(volume * 1e6);
    return (int64_t)(model_mix(seed ^ (uint64_t)salt) % INDEX_MAX_M3) * MICRO_PER_UNIT;
}

static void make_meter(const struct loading *loading, const struct meter_entry *entry,
                       const struct sim_kind *kind, const char *id, int unit,
                       struct sim_meter *meter)
{
    struct model_settings settings = {
        .seed = model_mix(loading->site->seed ^ coded_who(id)),
        .pattern = (enum pattern)entry->pattern,
        .capacity = entry->capacity,
        .load = entry->load,
        .supply_kpa = entry->supply_kpa,
        .base_pressure_kpa = entry->base_pressure_kpa,
        .base_temperature_c = entry->base_temperature_c,
        .calendar = &loading->site->calendar,
    };
    sim_meter_init(meter, id, (uint8_t)unit, kind, &settings, loading->site->start_ms,
                   start_micro(entry->volume_base, settings.seed, 1),
                   start_micro(entry->volume_measured, settings.seed, 2));
    if (entry->serial_number[0] != '\0') {
        (void)snprintf(meter->serial_number, sizeof meter->serial_number, "%s",
                       entry->serial_number);
    }
    struct err err;
    if (!kind->coded &&
        sim_meter_open_logs(meter, entry->log_before_h * INT64_C(3600000), &err) != 0)
        fault_at(loading->load->faults, file_of(loading), entry->node, "%s", err.text);
    const struct fault_entry *faults = entry->faults.items;
    for (int i = 0; i < entry->faults.count; i++)
        set_fault(loading, &faults[i], meter);
}

// Gives the meter its unit on the link; tells when it is taken or not possible there.
static bool take_unit(const struct loading *loading, const struct meter_entry *entry,
                      struct sim_link *link, int unit)
{
    struct faults *faults = loading->load->faults;
    const struct node *node = node_of(entry->node, "unit");
    bool serial = link->kind != LINK_TCP;
    if (unit > 255 || (serial && (unit < 1 || unit > BUS_UNIT_MAX))) {
        fault_at(faults, file_of(loading), node, "unit %d is not possible on %s; allowed: %s", unit,
                 link->id, serial ? "1 to 247" : "0 to 255");
        return false;
    }
    int other = link->meter_of_unit[unit];
    if (other >= 0) {
        fault_at(faults, file_of(loading), node, "unit %d of %s is %s already", unit, link->id,
                 loading->site->meters[other].id);
        return false;
    }
    link->meter_of_unit[unit] = (int16_t)loading->site->meter_count;
    return true;
}

// Each fault once, however many meters have the profile.
static void copy_faults(const struct faults *from, struct faults *to)
{
    for (int i = 0; i < from->count && i < FAULTS_MAX; i++) {
        const struct fault *fault = &from->list[i];
        bool told = false;
        for (int j = 0; j < to->count && j < FAULTS_MAX && !told; j++) {
            const struct fault *other = &to->list[j];
            told = fault->line == other->line && fault->column == other->column &&
                   strcmp(fault->file, other->file) == 0 &&
                   strcmp(fault->message, other->message) == 0;
        }
        if (!told) {
            fault_add(to, fault->file, fault->line, fault->column, fault->path, "%s",
                      fault->message);
        }
    }
}

static struct sim_kind *make_kind(const struct loading *loading, const struct meter_entry *entry)
{
    struct profile *profile = NULL;
    struct faults *faults = loading->load->faults;
    static struct faults own; // of the profile: large, and the program has one thread
    memset(&own, 0, sizeof own);
    if (entry->profile[0] == '\0')
        return NULL; // told already
    if (profile_load(entry->profile, loading->path, &loading->options->search, &profile, &own) !=
        0) {
        fault_at(faults, file_of(loading), node_of(entry->node, "profile"),
                 "profile '%.120s' cannot be used; its faults follow", entry->profile);
        copy_faults(&own, faults);
        return NULL;
    }
    struct sim_kind *kind = &loading->site->kinds[loading->site->kind_count++];
    *kind = (struct sim_kind){
        .profile = profile,
        .word_order = entry->word_order >= 0 ? word_order_names[entry->word_order] : "",
        .strict = entry->strict,
        .coded = entry->values == VALUES_CODED,
        .reply_delay_ms = entry->reply_delay_ms,
        .sleep_after_ms = (int)(entry->sleep_after_s * 1000),
    };
    set_units(loading, entry, kind);
    if (entry->word_order >= 0 &&
        !profile_set_word_order(profile, (enum word_order)entry->word_order)) {
        fault_at(faults, file_of(loading), node_of(entry->node, "word_order"),
                 "profile %s has no number of two or four registers", profile->name);
    }
    return kind;
}

static int link_entry_find(const struct loading *loading, const char *id)
{
    const struct link_entry *entries = loading->file->links.items;
    for (int i = 0; i < loading->file->links.count; i++)
        if (strcmp(entries[i].id, id) == 0)
            return i;
    return -1;
}

static void add_meters(const struct loading *loading, const struct meter_entry *entry)
{
    struct site *site = loading->site;
    int at = link_entry_find(loading, entry->link);
    if (at < 0 && entry->link[0] != '\0') {
        fault_at(loading->load->faults, file_of(loading), node_of(entry->node, "link"),
                 "there is no link '%s' in this file", entry->link);
    }
    const struct sim_kind *kind = make_kind(loading, entry);
    if (at < 0 || kind == NULL)
        return;
    const struct link_entry *links = loading->file->links.items;
    int total = links[at].count * entry->count;
    for (int i = 0; i < total; i++) {
        int link = loading->first_link[at] + i / entry->count;
        int unit = entry->unit + i % entry->count;
        char id[ID_SIZE];
        if (link >= site->link_count || site->meter_count == SITE_METERS_MAX)
            return;
        if (number_id(entry->id, i + 1, total, id) != 0) {
            tell_long_id(loading, entry->node, entry->id);
            return;
        }
        if (site_meter_find(site, id) >= 0) {
            fault_at(loading->load->faults, file_of(loading), node_of(entry->node, "id"),
                     "meter '%s' is there already; ids are unique", id);
            return;
        }
        if (!take_unit(loading, entry, &site->links[link], unit))
            return;
        make_meter(loading, entry, kind, id, unit, &site->meters[site->meter_count]);
        site->meter_count++;
    }
}

static int count_meters(const struct loading *loading)
{
    const struct meter_entry *entries = loading->file->meters.items;
    const struct link_entry *links = loading->file->links.items;
    int count = 0;
    for (int i = 0; i < loading->file->meters.count && count <= SITE_METERS_MAX; i++) {
        int at = link_entry_find(loading, entries[i].link);
        count += entries[i].count * (at >= 0 ? links[at].count : 1);
    }
    return count;
}

static void load_meters(const struct loading *loading)
{
    const struct meter_entry *entries = loading->file->meters.items;
    struct site *site = loading->site;
    int count = count_meters(loading);
    if (count > SITE_METERS_MAX) {
        fault_at(loading->load->faults, file_of(loading), loading->file->node,
                 "there are more than %d meters; allowed: at most so many", SITE_METERS_MAX);
        return;
    }
    site->meters = calloc((size_t)count + 1, sizeof *site->meters);
    site->kinds = calloc((size_t)loading->file->meters.count + 1, sizeof *site->kinds);
    if (site->meters == NULL || site->kinds == NULL) {
        fault_at(loading->load->faults, file_of(loading), loading->file->node,
                 "there is not enough memory");
        return;
    }
    for (int i = 0; i < loading->file->meters.count; i++)
        add_meters(loading, &entries[i]);
}

// ---- the file -----------------------------------------------------------------------------------

static void load_document(const char *path, const struct site_options *options,
                          struct document *document, struct site *site, struct faults *faults)
{
    struct load load = {.document = document, .faults = faults};
    struct site_file file = {0};
    if (document->root->kind != NODE_MAP) {
        fault_at(faults, document->file, document->root,
                 "a site file is a map with the keys site, links, meters");
        return;
    }
    schema_load(&load, &site_schema, document->root, &file);
    struct loading loading = {
        .load = &load, .options = options, .path = path, .file = &file, .site = site};
    load_head(&loading);
    if (load_links(&loading) == 0)
        load_meters(&loading);
    free(loading.first_link);
}

int site_load(const char *path, const struct site_options *options, struct site **out,
              struct faults *faults)
{
    struct buf text;
    struct err err;
    struct document document = {0};
    struct site *site = calloc(1, sizeof *site);
    buf_init(&text, SITE_TEXT_MAX);
    faults->count = 0;
    if (site == NULL) {
        fault_add(faults, path, 0, 0, "", "there is not enough memory");
    } else if (file_read(path, &text, &err) != 0) {
        fault_add(faults, path, 0, 0, "", "%s", err.text);
    } else if (document_parse(&document, path, text.data != NULL ? text.data : "", text.length,
                              faults) == 0) {
        load_document(path, options, &document, site, faults);
        document_release(&document);
    }
    buf_release(&text);
    if (faults->count > 0) {
        faults_sort(faults, path);
        site_free(site);
        return -1;
    }
    *out = site;
    return 0;
}

void site_free(struct site *site)
{
    if (site == NULL)
        return;
    for (int i = 0; i < site->meter_count; i++)
        sim_meter_close_logs(&site->meters[i]);
    for (int i = 0; i < site->kind_count; i++)
        profile_free(site->kinds[i].profile);
    free(site->kinds);
    free(site->meters);
    free(site->links);
    free(site);
}

int site_meter_find(const struct site *site, const char *id)
{
    for (int i = 0; i < site->meter_count; i++)
        if (strcmp(site->meters[i].id, id) == 0)
            return i;
    return -1;
}

void site_print_reference(struct buf *out)
{
    schema_print_reference(&site_schema, out);
}
