#include "drivers/wire_inside.h"

#include <errno.h>
#include <linux/serial.h>
#include <string.h>
#include <sys/ioctl.h>

// A USB adapter keeps bytes back for up to 16 ms, in case more follow: longer than a whole exchange
// at 38400 Bd. Most drivers give that up when they are asked to; one that cannot is only slower.
static void ask_for_bytes_at_once(int fd)
{
    struct serial_struct serial;
    if (ioctl(fd, TIOCGSERIAL, &serial) != 0)
        return;
    serial.flags = (int)((unsigned)serial.flags | ASYNC_LOW_LATENCY);
    (void)ioctl(fd, TIOCSSERIAL, &serial);
}

// Which way round the adapter's direction line works is the driver's to know (device tree): only
// where it knows nothing, the usual way is set.
static int switch_rs485_on(int fd, const char *device, struct err *err)
{
    struct serial_rs485 rs485;
    memset(&rs485, 0, sizeof rs485);
    bool known = ioctl(fd, TIOCGRS485, &rs485) == 0;
    uint32_t direction = SER_RS485_RTS_ON_SEND | SER_RS485_RTS_AFTER_SEND;
    if (!known || (rs485.flags & direction) == 0 || (rs485.flags & direction) == direction) {
        rs485.flags &= ~direction;
        rs485.flags |= SER_RS485_RTS_ON_SEND;
    }
    rs485.flags |= SER_RS485_ENABLED;
    rs485.flags &= ~(uint32_t)SER_RS485_RX_DURING_TX; // no echo
    if (ioctl(fd, TIOCSRS485, &rs485) == 0)
        return 0;
    bool none = errno == ENOTTY || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS;
    return err_set(err,
                   "serial device %s refuses RS-485 mode: %s; take rs485: true out of the link if "
                   "the adapter switches by itself (most USB adapters do)",
                   device, none ? "its driver does not know it" : strerror(errno));
}

int wire_device_prepare(int fd, const struct wire_settings *settings, struct err *err)
{
    ask_for_bytes_at_once(fd);
    return settings->rs485 ? switch_rs485_on(fd, settings->url.device, err) : 0;
}
