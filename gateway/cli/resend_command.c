// metergate resend: messages that head office had already go out again.
#include "cli/cli.h"
#include "cli/local_call.h"
#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define RESULT_MAX (64 * 1024)

static const char help[] =
    "usage: metergate resend --state DIR --lane LANE --first SEQ --last SEQ\n"
    "       metergate resend --state DIR --from TIME --to TIME [--lane LANE]\n"
    "       metergate resend --state DIR --cancel ID\n"
    "\n"
    "Sends messages again: the same content under the same stream, lane and seq, with the user\n"
    "property replay=1, after everything that goes out for the first time. What is not stored any\n"
    "more is named by a gap, reason `expired`. At most 100,000 messages at a time; goes on after "
    "a\n"
    "restart; `status` shows how far it is.\n"
    "\n"
    "  --state DIR    state directory of the gateway\n"
    "  --lane LANE    alert, live or backfill\n"
    "  --first SEQ, --last SEQ\n"
    "                 both included\n"
    "  --from TIME, --to TIME\n"
    "                 messages that tell of this time: 2026-11-23T08:00:00Z, `to` not included\n"
    "  --cancel ID    ends one early\n"
    "  --json         the answer as JSON\n";

struct options {
    const char *state, *lane, *from, *to;
    const char *first_text, *last_text, *cancel_text;
    int64_t first, last, cancel; // 0: not given
    bool json;
};

// Above 0; 0 where it is not given; or -1.
static int64_t number_of(const char *text)
{
    char *end;
    if (text == NULL)
        return 0;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' && value > 0 ? value : -1;
}

// CLI_GO, or an exit status after a message.
static int check(const struct options *options)
{
    bool by_seq = options->first != 0 || options->last != 0;
    bool by_time = options->from != NULL || options->to != NULL;
    if (options->first < 0 || options->last < 0 || options->cancel < 0)
        return cli_usage("resend", "SEQ and ID are numbers from 1 on");
    if (by_seq + by_time + (options->cancel != 0) != 1)
        return cli_usage("resend", "say --first and --last, or --from and --to, or --cancel");
    if (by_seq && (options->first == 0 || options->last == 0 || options->lane == NULL))
        return cli_usage("resend", "--lane, --first and --last go together");
    if (by_time && (options->from == NULL || options->to == NULL))
        return cli_usage("resend", "--from and --to go together");
    return cli_state("resend", options->state);
}

static json_t *arguments_of(const struct options *options)
{
    if (options->cancel != 0)
        return json_pack("{s:I}", "id", (json_int_t)options->cancel);
    if (options->first != 0)
        return json_pack("{s:s, s:I, s:I}", "lane", options->lane, "first",
                         (json_int_t)options->first, "last", (json_int_t)options->last);
    return json_pack("{s:s, s:s, s:s*}", "from", options->from, "to", options->to, "lane",
                     options->lane);
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void print(const struct options *options, const struct buf *result)
{
    size_t index;
    json_t *resend;
    if (options->json) {
        puts(result->data);
        return;
    }
    json_t *answer = json_loadb(result->data, result->length, 0, NULL);
    const json_t *list = json_object_get(answer, "resends");
    if (options->cancel != 0)
        printf("%" JSON_INTEGER_FORMAT " is cancelled, it had sent %" JSON_INTEGER_FORMAT
               " messages\n",
               number(answer, "id"), number(answer, "sent"));
    else if (json_array_size(list) == 0)
        puts("nothing of that time is stored and was sent: nothing is sent again");
    json_array_foreach(list, index, resend)
    {
        printf("%" JSON_INTEGER_FORMAT ": %s %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
               ", %" JSON_INTEGER_FORMAT " of them are stored\n",
               number(resend, "id"), json_string_value(json_object_get(resend, "lane")),
               number(resend, "first"), number(resend, "last"), number(resend, "stored"));
    }
    json_decref(answer);
}

int resend_main(int argc, char **argv)
{
    struct options options = {0};
    const struct cli_option known[] = {{"state", &options.state, NULL},
                                       {"lane", &options.lane, NULL},
                                       {"first", &options.first_text, NULL},
                                       {"last", &options.last_text, NULL},
                                       {"from", &options.from, NULL},
                                       {"to", &options.to, NULL},
                                       {"cancel", &options.cancel_text, NULL},
                                       {"json", NULL, &options.json},
                                       {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, NULL, 0};
    int status = cli_options(argc, argv, &line);
    options.first = number_of(options.first_text);
    options.last = number_of(options.last_text);
    options.cancel = number_of(options.cancel_text);
    if (status != CLI_GO || (status = check(&options)) != CLI_GO)
        return status;
    struct buf result;
    struct err err;
    json_t *arguments = arguments_of(&options);
    if (arguments == NULL)
        return cli_usage("resend", "the arguments are not UTF-8");
    buf_init(&result, RESULT_MAX);
    status = local_call(options.state, options.cancel != 0 ? "resend-cancel" : "resend", arguments,
                        &result, &err);
    if (status == 0)
        print(&options, &result);
    else
        status = cli_problem("resend", "%s", err.text);
    json_decref(arguments);
    buf_release(&result);
    return status;
}
