#include "drivers/wire_inside.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/select.h>

#define SILENCE_FAST_BAUD 19200 // above it the standard fixes the silence
#define SILENCE_FAST_NS 1750000

// libmodbus waits with select(), which writes beyond its set for a descriptor of 1024 or more, and
// ends the process.
int wire_refuse_fd(int fd, struct err *err)
{
    if (fd < FD_SETSIZE)
        return 0;
    return err_set(
        err,
        "too many open files: descriptor %d, libmodbus can use those below %d; lower the "
        "limit of open files to 1024 and configure at most 900 links",
        fd, FD_SETSIZE);
}

int wire_adopt(struct wire *wire, modbus_t *context, struct err *err)
{
    if (context == NULL)
        return err_set(err, "libmodbus cannot make a context: %s", modbus_strerror(errno));
    uint32_t ms = (uint32_t)wire->settings.response_timeout_ms;
    // A byte time-out starts again with each byte: a meter that drips could hold the line for
    // minutes. Zero makes the response time-out that of the whole reply. And libmodbus's own
    // recovery sleeps and repeats without an end.
    if (modbus_set_error_recovery(context, MODBUS_ERROR_RECOVERY_NONE) != 0 ||
        modbus_set_byte_timeout(context, 0, 0) != 0 ||
        modbus_set_response_timeout(context, ms / 1000, ms % 1000 * 1000) != 0) {
        modbus_free(context);
        return err_set(err, "libmodbus refuses the time-outs: %s", modbus_strerror(errno));
    }
    wire->context = context;
    return 0;
}

// ---- serial devices -----------------------------------------------------------------------------

// What a character takes on this line, and the silence of 3.5 of them, both rounded up: a silence
// is never too short.
static void set_speed(struct wire *wire, const struct link_url *url)
{
    int bits = link_url_character_bits(url);
    int64_t character_ns = INT64_C(1000000000) * bits;
    wire->char_ns = (character_ns + url->baud - 1) / url->baud;
    wire->silence_ns = url->baud > SILENCE_FAST_BAUD
                           ? SILENCE_FAST_NS
                           : (character_ns * 7 / 2 + url->baud - 1) / url->baud;
}

int wire_open_serial(struct wire *wire, struct err *err)
{
    const struct link_url *url = &wire->settings.url;
    modbus_t *context = modbus_new_rtu(url->device, url->baud, url->parity, 8, url->stop);
    if (wire_adopt(wire, context, err) != 0)
        return -1;
    if (modbus_connect(context) != 0) {
        (void)err_set(err, "cannot open serial device %s: %s", url->device,
                      errno == ENOENT ? "it is not there; is the adapter plugged in?"
                                      : strerror(errno));
        goto fail;
    }
    int fd = modbus_get_socket(context);
    if (wire_refuse_fd(fd, err) != 0) {
        modbus_close(context);
        goto fail;
    }
    // Two programs on one bus would take each other's replies.
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        (void)err_set(err, "serial device %s is in use by another program", url->device);
        modbus_close(context);
        goto fail;
    }
    if (wire_device_prepare(fd, &wire->settings, err) != 0) {
        modbus_close(context);
        goto fail;
    }
    wire->fd = fd;
    set_speed(wire, url);
    wire_sharpen_thread();
    return 0;
fail:
    modbus_free(context);
    wire->context = NULL;
    return -1;
}
