#include "cli/fit_notes.h"

#include "poll/load.h"

#include <math.h>
#include <stdio.h>

#define NS_PER_MS 1e6
#define SHARE_GOOD 0.7 // what is left is for retries, meters that are slower, and tasks

// Digits that a percentage needs.
static int digits(double percent)
{
    return percent < 1 ? 2 : percent < 100 ? 1 : 0;
}

// "at 9600 Bd 8N1"
static void print_path(const struct config_link *link)
{
    if (link->url.kind == LINK_RTU)
        fprintf(stderr, "at %d Bd 8%c%d", link->url.baud, link->url.parity, link->url.stop);
    else if (link->url.kind == LINK_RTU_OVER_TCP)
        fputs("if the serial server has 9600 Bd 8N1", stderr);
    else
        fprintf(stderr, "over TCP with a round trip of %d ms", COST_ROUND_TRIP_MS);
}

// Meters that cost the same stand in one line: "boiler-1 and 9 more: …". True for the first of
// them.
static bool is_first(const struct config *config, int index, int *alike)
{
    const struct meter *meter = &config->meters[index];
    *alike = 0;
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *other = &config->meters[i];
        if (other->link != meter->link || other->profile != meter->profile ||
            other->interval_s != meter->interval_s)
            continue;
        if (i < index)
            return false;
        ++*alike;
    }
    return true;
}

static void print_meters(const struct config *config, int link)
{
    for (int i = 0; i < config->meter_count; i++) {
        const struct meter *meter = &config->meters[i];
        struct meter_load load;
        int alike = 0;
        if (meter->link != link || !is_first(config, i, &alike) ||
            load_of_meter(&config->links[link], meter, &load) != 0)
            continue;
        double poll_ms = (double)load.poll_ns / NS_PER_MS;
        double percent = poll_ms / (10.0 * meter->interval_s);
        fprintf(stderr, "note: link %s:   %s", config->links[link].id, meter->id);
        if (alike > 1)
            fprintf(stderr, " and %d more like it, each", alike - 1);
        fprintf(stderr, ": %d request%s, %.1f ms every %d s, %.*f %%\n", load.requests,
                load.requests == 1 ? "" : "s", poll_ms, meter->interval_s, digits(percent),
                percent);
    }
}

static void print_remedy(const struct config *config, int link, double share)
{
    const struct config_link *of = &config->links[link];
    fprintf(stderr, "; make interval_s %.3g times as long", ceil(share / SHARE_GOOD * 10) / 10);
    int baud = of->url.kind == LINK_RTU ? load_baud_needed(config, link, SHARE_GOOD) : 0;
    if (baud > of->url.baud)
        fprintf(stderr, ", or set the bus to %d Bd", baud);
    fprintf(stderr, ", or spread the meters over %d links\n", (int)ceil(share / SHARE_GOOD));
}

static void print_late(const struct config *config, const char *link, const struct link_load *load)
{
    const struct meter *late = &config->meters[load->late];
    const struct meter *longest = &config->meters[load->longest];
    fprintf(stderr,
            "warning: link %s: %s is due every %d s, but a poll of %s takes %.1f s and nothing "
            "interrupts it: give %s a longer interval_s, or a link of its own\n",
            link, late->id, late->interval_s, longest->id, (double)load->longest_ns / 1e9,
            late->id);
}

static void print_link(const struct config *config, int link, const struct link_load *load)
{
    const struct config_link *of = &config->links[link];
    double percent = 100 * load->share;
    bool fits = load->share < 1;
    fprintf(stderr, "%s: link %s: its %d meter%s need%s %.*f %% of its time ",
            fits ? "note" : "warning", of->id, load->meters, load->meters == 1 ? "" : "s",
            load->meters == 1 ? "s" : "", digits(percent), percent);
    print_path(of);
    if (!fits) {
        fprintf(stderr, ", %.0f %% more than there is: polls will be late or left out",
                percent - 100);
        print_remedy(config, link, load->share);
    } else if (load->share > SHARE_GOOD) {
        fprintf(stderr, ", %.0f %% are left: little for retries", 100 - percent);
        print_remedy(config, link, load->share);
    } else {
        fprintf(stderr, ", %.*f %% are left\n", digits(100 - percent), 100 - percent);
    }
    print_meters(config, link);
}

void fit_print(const struct config *config)
{
    for (int i = 0; i < config->link_count; i++) {
        struct link_load load;
        if (load_of_link(config, i, &load) != 0) {
            fprintf(stderr, "note: link %s: there is not enough memory to reckon its load\n",
                    config->links[i].id);
            continue;
        }
        if (load.meters == 0)
            continue;
        print_link(config, i, &load);
        if (load.late >= 0 && load.share < 1)
            print_late(config, config->links[i].id, &load);
    }
}
