#include "scan/line.h"

#include <stdlib.h>

#define HEARD_MAX 512 // bytes of one call
#define SETTLE_MS 50  // after a change of the baud rate: meters must see a silence at theirs

void scan_line_init(struct scan_line *line, const struct wire_settings *settings,
                    const struct clock *clock)
{
    *line = (struct scan_line){.settings = *settings, .clock = clock};
}

void scan_line_borrow(struct scan_line *line, struct wire *wire)
{
    line->wire = wire;
    line->borrowed = true;
}

void scan_line_release(struct scan_line *line)
{
    if (!line->borrowed)
        wire_free(line->wire);
    line->wire = NULL;
}

static bool is_serial(const struct scan_line *line)
{
    return line->settings.url.kind != LINK_TCP;
}

static int line_open(void *context, const struct scan_setting *setting, int timeout_ms, bool echo,
                     struct err *err)
{
    struct scan_line *line = context;
    if (line->borrowed)
        return wire_open(line->wire, err);
    struct wire_settings settings = line->settings;
    settings.response_timeout_ms = timeout_ms;
    settings.echo = settings.echo || echo;
    if (setting->baud != 0) {
        settings.url.baud = setting->baud;
        settings.url.parity = setting->parity;
        settings.url.stop = setting->stop;
    }
    wire_free(line->wire);
    line->wire = wire_new(&settings, line->clock);
    if (line->wire == NULL)
        return err_set(err, "there is not enough memory for the link");
    if (wire_open(line->wire, err) != 0)
        return -1;
    uint8_t bytes[HEARD_MAX];
    int answer_ms = -1;
    if (line->settings.url.kind == LINK_RTU)
        (void)wire_call(line->wire, NULL, SETTLE_MS, bytes, sizeof bytes, &answer_ms);
    return 0;
}

// A serial server may close the connection: it is made anew once.
static long call(struct scan_line *line, const struct request *request, int listen_ms,
                 uint8_t bytes[static HEARD_MAX], int *answer_ms)
{
    long length = wire_call(line->wire, request, listen_ms, bytes, HEARD_MAX, answer_ms);
    if (length >= 0)
        return length;
    wire_close(line->wire);
    if (wire_open(line->wire, NULL) != 0)
        return -1;
    return wire_call(line->wire, request, listen_ms, bytes, HEARD_MAX, answer_ms);
}

static int line_call(void *context, const struct request *request, int listen_ms,
                     struct scan_ear *ear, int *answer_ms)
{
    struct scan_line *line = context;
    uint8_t bytes[HEARD_MAX];
    *answer_ms = -1;
    if (!is_serial(line))
        return 0; // a late reply is known by its transaction
    long length = call(line, request, listen_ms, bytes, answer_ms);
    if (length < 0)
        return -1;
    scan_ear_add(ear, bytes, (size_t)length);
    return 0;
}

static bool line_may_ask(void *context, const struct request *request)
{
    struct scan_line *line = context;
    return wire_may_ask(line->wire, request);
}

static void line_transact(void *context, const struct request *request, struct reply *reply)
{
    struct scan_line *line = context;
    // Over TCP every error but an exception closes the connection.
    if (!is_serial(line) && !wire_is_open(line->wire))
        (void)wire_open(line->wire, NULL);
    wire_transact(line->wire, request, reply);
    line->failed = reply->why != WHY_NONE && reply->why < WHY_EXCEPTION;
}

struct scan_wire scan_line_wire(struct scan_line *line)
{
    return (struct scan_wire){line_open, line_call, line_may_ask, line_transact, line};
}
