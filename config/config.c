#include "config/config.h"
#include "drivers/wire.h"

#include "base/file.h"
#include "config/config_check.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- life ---------------------------------------------------------------------------------------

// Frees what hangs on a configuration, not the struct.
static void release(struct config *config)
{
    for (int i = 0; i < config->profile_count; i++)
        profile_free(config->profiles[i]);
    free(config->profiles);
    free(config->links);
    free(config->meters);
    free(config->text);
}

struct config *config_ref(struct config *config)
{
    (void)__atomic_add_fetch(&config->references, 1, __ATOMIC_RELAXED);
    return config;
}

void config_unref(struct config *config)
{
    if (config != NULL && __atomic_sub_fetch(&config->references, 1, __ATOMIC_ACQ_REL) == 0) {
        release(config);
        free(config);
    }
}

// ---- loading ------------------------------------------------------------------------------------

// First 16 hex digits of the SHA-256.
static int set_revision(struct config *config)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(config->text, config->text_length, hash, &length, EVP_sha256(), NULL) != 1)
        return -1;
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(config->revision + 2 * i, 3, "%02x", hash[i]);
    return 0;
}

// Moves what was checked out of the document's memory. -1 when memory is short.
static int keep(struct draft *draft, const char *text, size_t length)
{
    struct config *config = &draft->config;
    const struct link_entry *links = draft->links.items;
    const struct meter_entry *meters = draft->meters.items;
    config->links = calloc((size_t)draft->links.count + 1, sizeof *config->links);
    config->meters = calloc((size_t)draft->meters.count + 1, sizeof *config->meters);
    config->text = malloc(length + 1);
    if (config->links == NULL || config->meters == NULL || config->text == NULL)
        return -1;
    config->link_count = draft->links.count;
    for (int i = 0; i < config->link_count; i++)
        config->links[i] = links[i].link;
    config->meter_count = draft->meters.count;
    for (int i = 0; i < config->meter_count; i++)
        config->meters[i] = meters[i].meter;
    memcpy(config->text, text, length);
    config->text[length] = '\0';
    config->text_length = length;
    return set_revision(config);
}

// Loads the tree into the draft; every fault is told.
static void load_tree(const struct load *load, struct draft *draft,
                      const struct config_search *search)
{
    struct document *document = load->document;
    if (document->root->kind != NODE_MAP) {
        fault_at(load->faults, document->file, document->root,
                 "a configuration is a map (key: value); begin with gateway:");
        return;
    }
    schema_load(load, &config_schema, document->root, draft);
    config_check(load, draft);
    config_profiles_load(load, draft, document->file, search);
}

static int finish(struct draft *draft, const char *path, const char *text, size_t length,
                  struct config **out, struct faults *faults)
{
    struct config *config = NULL;
    if (faults->count == 0) {
        config = malloc(sizeof *config);
        if (config == NULL || keep(draft, text, length) != 0)
            fault_add(faults, path, 0, 0, "", "there is not enough memory to load the file");
    }
    if (config == NULL || faults->count > 0) {
        release(&draft->config);
        free(config);
        return -1;
    }
    *config = draft->config;
    config->references = 1;
    *out = config;
    return 0;
}

int config_load_text(const char *path, const char *text, size_t length,
                     const struct config_search *search, struct config **out, struct faults *faults)
{
    faults->count = 0;
    if (length > CONFIG_TEXT_MAX) {
        fault_add(faults, path, 0, 0, "", "the file has %zu bytes; allowed: %d", length,
                  CONFIG_TEXT_MAX);
        return -1;
    }
    struct document document;
    if (document_parse(&document, path, text, length, faults) != 0) {
        faults_sort(faults, path);
        return -1;
    }
    int result = -1;
    struct draft *draft = document_take(&document, sizeof *draft);
    if (draft == NULL) {
        fault_add(faults, path, 0, 0, "", "there is not enough memory to load the file");
    } else {
        struct load load = {&document, faults};
        load_tree(&load, draft, search);
        result = finish(draft, path, text, length, out, faults);
    }
    document_release(&document);
    faults_sort(faults, path);
    return result;
}

int config_load(const char *path, const struct config_search *search, struct config **out,
                struct faults *faults)
{
    struct buf text;
    struct err err;
    buf_init(&text, CONFIG_TEXT_MAX);
    int result = -1;
    if (file_read(path, &text, &err) != 0) {
        faults->count = 0;
        fault_add(faults, path, 0, 0, "", "%s", err.text);
    } else {
        result = config_load_text(path, text.data, text.length, search, out, faults);
    }
    buf_release(&text);
    return result;
}

// ---- looking up and comparing -------------------------------------------------------------------

int config_meter_find(const struct config *config, const char *id)
{
    for (int i = 0; i < config->meter_count; i++)
        if (strcmp(config->meters[i].id, id) == 0)
            return i;
    return -1;
}

int config_link_find(const struct config *config, const char *id)
{
    for (int i = 0; i < config->link_count; i++)
        if (strcmp(config->links[i].id, id) == 0)
            return i;
    return -1;
}

// Two NaN (absent) are equal.
static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_gas(const struct config_gas *a, const struct config_gas *b)
{
    return a->method == b->method && same_number(a->base_pressure_kpa, b->base_pressure_kpa) &&
           same_number(a->base_temperature_c, b->base_temperature_c) &&
           same_number(a->heating_value_mj_m3, b->heating_value_mj_m3) &&
           strcmp(a->heating_value_reference, b->heating_value_reference) == 0 &&
           same_number(a->relative_density, b->relative_density) &&
           same_number(a->co2_mol_percent, b->co2_mol_percent) &&
           same_number(a->h2_mol_percent, b->h2_mol_percent) &&
           same_number(a->compressibility_ratio, b->compressibility_ratio) &&
           same_number(a->altitude_m, b->altitude_m);
}

static bool same_meter(const struct meter *a, const struct meter *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->name, b->name) == 0 && a->unit == b->unit &&
           strcmp(a->profile->name, b->profile->name) == 0 &&
           strcmp(a->profile->source, b->profile->source) == 0 &&
           memcmp(a->units, b->units, sizeof a->units) == 0 &&
           strcmp(a->word_order, b->word_order) == 0 &&
           strcmp(a->display_checked, b->display_checked) == 0 && a->interval_s == b->interval_s &&
           a->priority == b->priority && strcmp(a->customer, b->customer) == 0 &&
           same_number(a->qmin_m3_h, b->qmin_m3_h) && same_number(a->qmax_m3_h, b->qmax_m3_h) &&
           same_gas(&a->gas, &b->gas);
}

void config_wire_settings(const struct config_link *link, struct wire_settings *out)
{
    *out = (struct wire_settings){.url = link->url,
                                  .second_url = link->second_url,
                                  .has_second = link->second_url_text[0] != '\0',
                                  .modem = link->modem,
                                  .response_timeout_ms = link->response_timeout_ms,
                                  .pause_ms = link->pause_ms,
                                  .echo = link->echo,
                                  .rs485 = link->rs485};
}

static bool same_link(const struct config_link *a, const struct config_link *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->url_text, b->url_text) == 0 &&
           strcmp(a->second_url_text, b->second_url_text) == 0 &&
           memcmp(&a->modem, &b->modem, sizeof a->modem) == 0 &&
           a->response_timeout_ms == b->response_timeout_ms && a->pause_ms == b->pause_ms &&
           a->echo == b->echo && a->rs485 == b->rs485 && a->retries == b->retries;
}

// Index of the next meter of a link from `at` on; meter_count at the end.
static int next_meter(const struct config *config, int link, int at)
{
    while (at < config->meter_count && config->meters[at].link != link)
        at++;
    return at;
}

bool config_link_equal(const struct config *a, int link_a, const struct config *b, int link_b)
{
    // Due times count from the boundaries of the shortest period, which summary_minutes may be.
    if (!same_link(&a->links[link_a], &b->links[link_b]) ||
        a->office.summary_minutes != b->office.summary_minutes)
        return false;
    int i = next_meter(a, link_a, 0);
    int j = next_meter(b, link_b, 0);
    while (i < a->meter_count && j < b->meter_count) {
        if (!same_meter(&a->meters[i], &b->meters[j]))
            return false;
        i = next_meter(a, link_a, i + 1);
        j = next_meter(b, link_b, j + 1);
    }
    return i == a->meter_count && j == b->meter_count;
}

bool config_office_equal(const struct config *a, const struct config *b)
{
    const struct config_office *x = &a->office;
    const struct config_office *y = &b->office;
    return strcmp(a->gateway_id, b->gateway_id) == 0 && x->present == y->present &&
           strcmp(x->url, y->url) == 0 && strcmp(x->ca, y->ca) == 0 &&
           strcmp(x->certificate, y->certificate) == 0 && strcmp(x->key, y->key) == 0 &&
           strcmp(x->username, y->username) == 0 &&
           strcmp(x->password_file, y->password_file) == 0 &&
           strcmp(x->client_id, y->client_id) == 0 && strcmp(x->prefix, y->prefix) == 0 &&
           x->accept_unsubscribed == y->accept_unsubscribed;
}
