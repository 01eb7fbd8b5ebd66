#include "config/config_check.h"

#include "config/gas_input.h"
#include "config/profile_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELL(load, ...) fault_at((load)->faults, (load)->document->file, __VA_ARGS__)
#define TELL_MISSING(load, ...) fault_missing((load)->faults, (load)->document->file, __VA_ARGS__)

// ---- links --------------------------------------------------------------------------------------

static void check_second_url(const struct load *load, struct link_entry *entry)
{
    struct config_link *link = &entry->link;
    if (link->second_url_text[0] == '\0' ||
        link_url_parse(link->second_url_text, &link->second_url, NULL) != 0)
        return; // told
    if (link->url.listen || link->second_url.kind != link->url.kind) {
        TELL(load, node_find(entry->node, "second_url"),
             "a second address is another way to the same meters; allowed: the kind of url, which "
             "must be tcp:// or rtu-over-tcp://");
    }
}

static void check_modem(const struct load *load, struct link_entry *entry)
{
    struct config_link *link = &entry->link;
    static const char *const keys[] = {"modem_address", "modem_hello", "modem_heartbeat"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!link->url.listen && node_find(entry->node, keys[i]) != NULL)
            TELL(load, node_find(entry->node, keys[i]),
                 "no modem dials in here; allowed: only where url begins with tcp-listen:// or "
                 "rtu-over-tcp-listen://");
    memcpy(link->modem.address, entry->modem_address, sizeof link->modem.address);
    (void)modem_bytes_parse(entry->modem_hello, &link->modem.hello, NULL);
    (void)modem_bytes_parse(entry->modem_heartbeat, &link->modem.heartbeat, NULL);
}

static void check_link(const struct load *load, struct link_entry *links, int index)
{
    struct link_entry *entry = &links[index];
    struct config_link *link = &entry->link;
    if (link->url_text[0] == '\0' || link_url_parse(link->url_text, &link->url, NULL) != 0)
        return; // told
    check_second_url(load, entry);
    check_modem(load, entry);
    if (link->echo && link->url.kind == LINK_TCP) {
        TELL(load, node_find(entry->node, "echo"),
             "over TCP nothing echoes; allowed: echo on rtu and rtu-over-tcp links");
    }
    if (link->rs485 && link->url.kind != LINK_RTU) {
        TELL(load, node_find(entry->node, "rs485"),
             "RS-485 mode belongs to a serial device; allowed: rs485 on rtu links");
    }
    for (int i = 0; i < index; i++) {
        const struct config_link *other = &links[i].link;
        if (link->url.listen && other->url.listen && link->url.port == other->url.port) {
            TELL(load, node_find(entry->node, "url"),
                 "links[%d] listens on port %d already; allowed: a port for each link",
                 links[i].node->index, link->url.port);
        }
        if (link->url.kind == LINK_RTU && other->url.kind == LINK_RTU &&
            strcmp(link->url.device, other->url.device) == 0) {
            TELL(load, node_find(entry->node, "url"),
                 "the device %.60s is used by links[%d] already; allowed: one link for a device",
                 link->url.device, links[i].node->index);
        }
    }
}

static void check_links(const struct load *load, struct draft *draft)
{
    struct link_entry *links = draft->links.items;
    int listening = 0;
    for (int i = 0; i < draft->links.count; i++) {
        for (int j = 0; j < i && links[i].link.id[0] != '\0'; j++) {
            if (strcmp(links[i].link.id, links[j].link.id) == 0) {
                TELL(load, node_find(links[i].node, "id"),
                     "the id '%s' is taken by links[%d]; allowed: an id of its own",
                     links[i].link.id, links[j].node->index);
                break;
            }
        }
        check_link(load, links, i);
        listening += links[i].link.url.listen;
    }
    // One that listens holds two descriptors, and libmodbus bears 1024.
    if (draft->links.count + listening > CONFIG_LINKS_MAX) {
        TELL(load, node_find(draft->node, "links"),
             "%d links, %d of them listening, which count twice; allowed: %d", draft->links.count,
             listening, CONFIG_LINKS_MAX);
    }
}

// ---- meters -------------------------------------------------------------------------------------

static const char *link_name(const void *context, int index)
{
    const struct draft *draft = context;
    const struct link_entry *links = draft->links.items;
    return index < draft->links.count ? links[index].link.id : NULL;
}

static void find_link(const struct load *load, const struct draft *draft, struct meter_entry *entry)
{
    const struct link_entry *links = draft->links.items;
    entry->meter.link = -1;
    if (entry->link[0] == '\0')
        return; // told
    const struct node *list = node_find(draft->node, "links");
    bool whole = list == NULL || (list->kind == NODE_LIST && list->count == draft->links.count);
    for (int i = 0; i < draft->links.count; i++) {
        if (strcmp(links[i].link.id, entry->link) == 0) {
            entry->meter.link = i;
            return;
        }
        whole = whole && links[i].link.id[0] != '\0';
    }
    if (!whole)
        return; // it may be a link that could not be read
    const char *meant = suggest(entry->link, link_name, draft);
    TELL(load, node_find(entry->node, "link"),
         "there is no link '%s'%s%s%s; allowed: the id of one of the links", entry->link,
         meant != NULL ? ", did you mean '" : "", meant != NULL ? meant : "",
         meant != NULL ? "'?" : "");
}

static void check_unit(const struct load *load, const struct draft *draft,
                       const struct meter_entry *meters, int index)
{
    const struct meter_entry *entry = &meters[index];
    const struct link_entry *links = draft->links.items;
    int unit = entry->meter.unit;
    if (unit < 0 || entry->meter.link < 0)
        return; // told
    const struct config_link *link = &links[entry->meter.link].link;
    const struct node *node = node_find(entry->node, "unit");
    if (link->url.kind != LINK_TCP && link->url_text[0] != '\0' && (unit < 1 || unit > 247)) {
        TELL(load, node, "unit %d is not possible on the serial bus %s; allowed: 1 to 247", unit,
             link->id);
    }
    for (int i = 0; i < index; i++) {
        if (meters[i].meter.link == entry->meter.link && meters[i].meter.unit == unit) {
            TELL(load, node,
                 "unit %d of link %s is meters[%d] already; allowed: one meter for a "
                 "unit of a link",
                 unit, link->id, meters[i].node->index);
            break;
        }
    }
}

static void check_gas(const struct load *load, const struct node *node,
                      const struct config_gas *gas)
{
    if (gas->method == GAS_FIXED && isnan(gas->compressibility_ratio)) {
        const struct node *method = node_find(node, "method");
        TELL(load, method != NULL ? method : node,
             "method fixed needs compressibility_ratio; allowed: sgerg88, or fixed with a "
             "compressibility_ratio of 0.5 to 1.5");
        return;
    }
    struct conversion_input input;
    struct conversion conversion;
    struct err err = {""};
    if (gas_input(gas, &input, &err) != 0 || conversion_init(&conversion, &input, &err) != 0)
        TELL(load, node, "%s; allowed: properties of one gas inside the range of the method",
             err.text);
}

static void check_meter(const struct load *load, struct draft *draft, int index)
{
    struct meter_entry *meters = draft->meters.items;
    struct meter_entry *entry = &meters[index];
    struct meter *meter = &entry->meter;
    for (int i = 0; i < index && meter->id[0] != '\0'; i++) {
        if (strcmp(meters[i].meter.id, meter->id) == 0) {
            TELL(load, node_find(entry->node, "id"),
                 "the id '%s' is taken by meters[%d]; allowed: an id of its own", meter->id,
                 meters[i].node->index);
            break;
        }
    }
    find_link(load, draft, entry);
    check_unit(load, draft, meters, index);
    if (meter->qmin_m3_h >= meter->qmax_m3_h) { // false when one is absent
        TELL(load, node_find(entry->node, "qmin_m3_h"),
             "qmin_m3_h %g is not below qmax_m3_h %g; allowed: less than that", meter->qmin_m3_h,
             meter->qmax_m3_h);
    }
    const struct node *gas = node_find(entry->node, "gas");
    schema_inherit(&gas_schema, gas, &draft->config.gas, &meter->gas);
    if (gas != NULL && gas->kind == NODE_MAP)
        check_gas(load, gas, &meter->gas);
}

// ---- office and page ----------------------------------------------------------------------------

// Two keys that go together only.
static void check_pair(const struct load *load, const struct node *map, const char *a,
                       const char *b)
{
    bool has_a = node_find(map, a) != NULL;
    bool has_b = node_find(map, b) != NULL;
    if (has_a != has_b) {
        const char *given = has_a ? a : b;
        const char *missing = has_a ? b : a;
        TELL_MISSING(load, map, missing, "the key is missing; %s needs %s", given, missing);
    }
}

static void check_office(const struct load *load, struct draft *draft)
{
    const struct node *map = node_find(draft->node, "office");
    struct config_office *office = &draft->config.office;
    office->present = map != NULL;
    office->accept_unsubscribed = draft->unsubscribed == 1;
    office->keep_unconfirmed = draft->acknowledge == 1;
    if (office->client_id[0] == '\0')
        memcpy(office->client_id, draft->config.gateway_id, sizeof draft->config.gateway_id);
    if (map == NULL || map->kind != NODE_MAP)
        return;
    if (strncmp(office->url, "mqtts://", 8) == 0 && node_find(map, "ca") == NULL) {
        TELL_MISSING(load, map, "ca",
                     "the key is missing; mqtts:// needs the certificates that the broker is "
                     "checked against, like /etc/ssl/certs/ca-certificates.crt");
    }
    check_pair(load, map, "certificate", "key");
    check_pair(load, map, "username", "password_file");
}

// Relative paths count from the folder of the configuration.
static void anchor(const struct load *load, const char *file, const char *section, const char *key,
                   const struct draft *draft, char path[static CONFIG_PATH_MAX])
{
    char anchored[CONFIG_PATH_MAX];
    if (path[0] == '\0')
        return;
    if (path_beside(path, file, anchored) != 0) {
        const struct node *node = node_find(node_find(draft->node, section), key);
        TELL(load, node != NULL ? node : draft->node,
             "the path and the folder of this file are too long together; allowed: %d bytes",
             CONFIG_PATH_MAX - 1);
        return;
    }
    memcpy(path, anchored, sizeof anchored);
}

static void anchor_paths(const struct load *load, struct draft *draft)
{
    const char *file = load->document->file;
    struct config_office *office = &draft->config.office;
    anchor(load, file, "office", "ca", draft, office->ca);
    anchor(load, file, "office", "certificate", draft, office->certificate);
    anchor(load, file, "office", "key", draft, office->key);
    anchor(load, file, "office", "password_file", draft, office->password_file);
    anchor(load, file, "office", "command_key", draft, office->command_key);
    anchor(load, file, "web", "certificate", draft, draft->config.web_certificate);
    anchor(load, file, "web", "key", draft, draft->config.web_key);
    anchor(load, file, "web", "metrics_token_file", draft, draft->config.web_metrics_token_file);
    anchor(load, file, "grading", "policy", draft, draft->config.grading_policy);
    anchor(load, file, "grading", "customers", draft, draft->config.grading_customers);
}

// ---- all ----------------------------------------------------------------------------------------

void config_check(const struct load *load, struct draft *draft)
{
    const char *start = draft->gas_day_start; // HH:MM by its pattern
    draft->config.gas_day_start_minutes =
        (start[0] - '0') * 600 + (start[1] - '0') * 60 + (start[3] - '0') * 10 + (start[4] - '0');
    const struct node *gas = node_find(draft->node, "gas");
    if (gas != NULL && gas->kind == NODE_MAP)
        check_gas(load, gas, &draft->config.gas);
    check_links(load, draft);
    for (int i = 0; i < draft->meters.count; i++)
        check_meter(load, draft, i);
    check_office(load, draft);
    const struct node *web = node_find(draft->node, "web");
    if (web != NULL && web->kind == NODE_MAP)
        check_pair(load, web, "certificate", "key");
    anchor_paths(load, draft);
}
