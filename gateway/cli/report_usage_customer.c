// What the configuration says of the meters of a report: names, customers, and the gas.
#include "cli/report_usage.h"

#include "config/gas_input.h"
#include "config/outline.h"
#include "report/energy.h"

#include <stdlib.h>
#include <string.h>

static struct usage_entry *entry_of(const struct usage_sheet *sheet, const char *meter)
{
    for (int i = 0; i < sheet->count; i++)
        if (strcmp(sheet->list[i].meter, meter) == 0)
            return &sheet->list[i];
    return NULL;
}

static void take_meter(struct usage_entry *entry, const struct outline_meter *meter)
{
    struct config_gas gas = meter->gas;
    struct conversion_input input;
    struct err err;
    gas.method = GAS_SGERG88; // a fixed Z/Zb is that of the line, not of the reference conditions
    memcpy(entry->name, meter->name, sizeof entry->name);
    memcpy(entry->customer, meter->customer, sizeof entry->customer);
    entry->heating_known =
        gas_input(&gas, &input, &err) == 0 &&
        energy_heating_value(&input, gas.heating_value_mj_m3, gas_reference(&gas).metering_c,
                             &entry->heating_micro, &err) == 0;
}

static void add_to_customer(struct usage_sheet *sheet, const struct usage_entry *entry)
{
    struct usage_customer *customer = NULL;
    for (int i = 0; i < sheet->customer_count && customer == NULL; i++)
        if (strcmp(sheet->customers[i].account, entry->customer) == 0)
            customer = &sheet->customers[i];
    if (customer == NULL) {
        customer = &sheet->customers[sheet->customer_count++];
        memcpy(customer->account, entry->customer, sizeof customer->account);
        memcpy(customer->total.counter, sheet->site_counter, sizeof customer->total.counter);
    }
    usage_total_meter(&customer->total, &entry->usage[USAGE_NOW]);
}

int report_usage_configure(struct usage_sheet *sheet, struct err *err)
{
    struct buf text;
    struct config_outline *outline = NULL;
    buf_init(&text, CONFIG_TEXT_MAX);
    int result = store_walk_revision(sheet->report->store, &text, &sheet->configured_ms, err);
    if (result == 1)
        result = config_outline(text.data, text.length, &outline, err);
    for (int i = 0; outline != NULL && i < outline->count; i++) {
        struct usage_entry *entry = entry_of(sheet, outline->meters[i].id);
        if (entry != NULL)
            take_meter(entry, &outline->meters[i]);
    }
    free(outline);
    buf_release(&text);
    if (result != 0)
        return result;
    sheet->customers = calloc((size_t)sheet->count + 1, sizeof *sheet->customers);
    if (sheet->customers == NULL)
        return err_set(err, "out of memory");
    for (int i = 0; i < sheet->count; i++)
        if (sheet->list[i].customer[0] != '\0')
            add_to_customer(sheet, &sheet->list[i]);
    return 0;
}

// Base conditions are those of the base volume alone.
static bool has_energy(const struct usage *usage)
{
    return usage->main >= 0 && strncmp(usage->counters[usage->main].name, "volume_base", 11) == 0;
}

bool report_usage_energy(const struct usage_entry *entry, enum usage_which which, int64_t *micro_mj)
{
    const struct usage *usage = &entry->usage[which];
    return has_energy(usage) && entry->heating_known && usage->counters[usage->main].known &&
           energy_of(usage->counters[usage->main].volume_micro, entry->heating_micro, micro_mj);
}

struct usage_energy report_usage_energies(const struct usage_sheet *sheet, const char *customer,
                                          enum usage_which which)
{
    struct usage_energy sum = {.known = 0};
    for (int i = 0; i < sheet->count; i++) {
        const struct usage_entry *entry = &sheet->list[i];
        int64_t micro_mj;
        if ((customer != NULL && strcmp(entry->customer, customer) != 0) ||
            !has_energy(&entry->usage[which]))
            continue;
        if (report_usage_energy(entry, which, &micro_mj) &&
            micro_add(sum.micro_mj, micro_mj, &sum.micro_mj) == 0)
            sum.known++;
        else
            sum.unknown++;
    }
    return sum;
}
