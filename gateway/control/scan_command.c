// A scan of a link that the gateway holds, between its polls.
#include "control/command.h"
#include "gateway.h"
#include "scan/job.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 500
#define PROGRESS_MAX 1024 // bytes

// One at a time: a second one would only make both slower.
static atomic_flag busy = ATOMIC_FLAG_INIT;

static bool is_same_path(const struct link_url *url, const struct link_url *wanted)
{
    if (url->kind != wanted->kind)
        return false;
    return url->kind == LINK_RTU
               ? strcmp(url->device, wanted->device) == 0
               : url->port == wanted->port && strcmp(url->address, wanted->address) == 0;
}

// By id, or by a URL that leads to the same device or address, be it the second one. -1 without.
static int find_link(const struct config *config, const char *link)
{
    struct link_url wanted;
    if (strstr(link, "://") == NULL)
        return config_link_find(config, link);
    if (link_url_parse(link, &wanted, NULL) != 0)
        return -1;
    for (int i = 0; i < config->link_count; i++) {
        const struct config_link *at = &config->links[i];
        bool second = at->second_url_text[0] != '\0' && is_same_path(&at->second_url, &wanted);
        if (second || is_same_path(&at->url, &wanted))
            return i;
    }
    return -1;
}

static int parse_unit(const char *text, char **end, int *out)
{
    long value = *text >= '0' && *text <= '9' ? strtol(text, end, 10) : -1;
    if (value < 0 || value >= SCAN_UNITS)
        return -1;
    *out = (int)value;
    return 0;
}

// "A-B", "A", or NULL for all (-1).
static int parse_units(const char *text, int units[2])
{
    char *end = NULL;
    units[0] = units[1] = -1;
    if (text == NULL)
        return 0;
    if (parse_unit(text, &end, &units[0]) != 0)
        return -1;
    units[1] = units[0];
    if (*end == '-' && parse_unit(end + 1, &end, &units[1]) != 0)
        return -1;
    return *end == '\0' && units[0] <= units[1] ? 0 : -1;
}

static void tell_progress(struct command_context *context, struct scan_job *job)
{
    struct buf text;
    struct writer writer;
    if (context->stream == NULL)
        return;
    buf_init(&text, PROGRESS_MAX);
    writer_init(&writer, &text);
    scan_job_progress(job, &writer);
    context->stream->more(context->stream->context, &text);
    buf_release(&text);
}

static int watch_job(struct command_context *context, struct scan_job *job, struct writer *result,
                     struct err *err)
{
    while (!scan_job_wait(job, PROGRESS_MS)) {
        tell_progress(context, job);
        if (context->stream != NULL && context->stream->is_cancelled(context->stream->context))
            scan_job_cancel(job);
    }
    return scan_job_report(job, result, err) != 0 ? COMMAND_FAILED : COMMAND_DONE;
}

static int run_job(struct command_context *context, const struct config *config, int link,
                   const int units[2], struct writer *result, struct err *err)
{
    struct config_search search = gateway_search(context->gateway);
    struct scan_shelf *shelf = scan_shelf_new(&search, &config->links[link].url, NULL, err);
    if (shelf == NULL)
        return COMMAND_FAILED;
    struct scan_job *job =
        scan_job_new(config, link, units[0], units[1], shelf, context->clock, err);
    if (job == NULL)
        return COMMAND_FAILED;
    const struct bus_task task = scan_job_task(job);
    int status = COMMAND_FAILED;
    if (gateway_add_task(context->gateway, config->links[link].id, &task, err) == 0)
        status = watch_job(context, job, result, err);
    else
        scan_job_abandon(job);
    scan_job_release(job);
    return status;
}

static int scan_link(struct command_context *context, const char *name, const int units[2],
                     struct writer *result, struct err *err)
{
    struct config *config = gateway_config(context->gateway);
    int link = find_link(config, name);
    int status = COMMAND_DONE;
    if (link >= 0) {
        status = run_job(context, config, link, units, result, err);
    } else if (strstr(name, "://") != NULL) {
        writer_null(result); // whoever asks may open that link itself
    } else {
        (void)err_set(err, "there is no link '%.32s'; 'metergate status' lists the links", name);
        status = COMMAND_ARGUMENTS;
    }
    config_unref(config);
    return status;
}

int command_scan(struct command_context *context, const struct principal *who,
                 const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *link = NULL;
    const char *text = NULL;
    int units[2];
    int fault =
        command_unpack(context, arguments, err, "{s:s, s?s !}", "link", &link, "units", &text);
    if (fault != 0 || (fault = command_need_gateway(context, err)) != 0)
        return fault;
    if (parse_units(text, units) != 0) {
        (void)err_set(err, "units '%.16s': two numbers from 0 to 255, such as 1-32", text);
        return COMMAND_ARGUMENTS;
    }
    if (atomic_flag_test_and_set(&busy)) {
        (void)err_set(err, "a scan runs already: wait for its end, or end it");
        return COMMAND_BUSY;
    }
    int status = scan_link(context, link, units, result, err);
    atomic_flag_clear(&busy);
    return status;
}
