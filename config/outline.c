#include "config/outline.h"

#include "config/config_table.h"

#include <stdlib.h>
#include <string.h>

// Faults of single keys are no matter here: the text was checked before it was stored.
static int fill(const struct load *load, struct config_outline **out, struct err *err)
{
    struct draft *draft = document_take(load->document, sizeof *draft);
    if (draft == NULL)
        return err_set(err, "out of memory for the stored configuration");
    schema_load(load, &config_schema, load->document->root, draft);
    const struct meter_entry *entries = draft->meters.items;
    int count = draft->meters.count;
    struct config_outline *outline =
        calloc(1, sizeof *outline + (size_t)count * sizeof *outline->meters);
    if (outline == NULL)
        return err_set(err, "out of memory for the stored configuration");
    outline->count = count;
    for (int i = 0; i < count; i++) {
        struct outline_meter *meter = &outline->meters[i];
        memcpy(meter->id, entries[i].meter.id, sizeof meter->id);
        memcpy(meter->name, entries[i].meter.name, sizeof meter->name);
        memcpy(meter->customer, entries[i].meter.customer, sizeof meter->customer);
        meter->gas = entries[i].meter.gas;
        schema_inherit(&gas_schema, node_find(entries[i].node, "gas"), &draft->config.gas,
                       &meter->gas);
    }
    *out = outline;
    return 0;
}

int config_outline(const char *text, size_t length, struct config_outline **out, struct err *err)
{
    struct document document;
    struct faults *faults = calloc(1, sizeof *faults);
    if (faults == NULL)
        return err_set(err, "out of memory for the stored configuration");
    int result = -1;
    if (document_parse(&document, "stored configuration", text, length, faults) != 0) {
        (void)err_set(err, "the stored configuration cannot be read");
    } else {
        const struct load load = {&document, faults};
        result = document.root->kind == NODE_MAP
                     ? fill(&load, out, err)
                     : err_set(err, "the stored configuration cannot be read");
        document_release(&document);
    }
    free(faults);
    return result;
}
