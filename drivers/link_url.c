#include "drivers/link_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DEFAULT 502
#define BAUD_DEFAULT 9600

// The rates that every Linux serial driver has; libmodbus takes 9600 for any other without a word.
static const char *const bauds[] = {"300",  "600",   "1200",  "2400",  "4800",
                                    "9600", "19200", "38400", "57600", "115200"};

static int baud_parse(const char *text, struct link_url *out)
{
    for (size_t i = 0; i < sizeof bauds / sizeof bauds[0]; i++) {
        if (strcmp(text, bauds[i]) == 0) {
            out->baud = (int)strtol(text, NULL, 10);
            return 0;
        }
    }
    return -1;
}

// Copies a part of the text; -1 where it is empty or does not fit.
static int copy_part(char *out, size_t size, const char *from, size_t length)
{
    if (length == 0 || length >= size)
        return -1;
    memcpy(out, from, length);
    out[length] = '\0';
    return 0;
}

// ---- TCP ----------------------------------------------------------------------------------------

static int port_parse(const char *text, int *port, struct err *err)
{
    size_t digits = strspn(text, "0123456789");
    long value = digits > 0 && digits <= 5 ? strtol(text, NULL, 10) : 0;
    if (text[digits] != '\0' || value < 1 || value > 65535)
        return err_set(err, "'%s' is no port; allowed: 1 to 65535", text);
    *port = (int)value;
    return 0;
}

// Splits "IP", "IP:PORT", "[IPv6]" or "[IPv6]:PORT"; `port` points to what follows the colon, NULL
// without one.
static int address_split(const char *text, struct link_url *out, const char **port)
{
    bool bracket = text[0] == '[';
    const char *from = bracket ? text + 1 : text;
    size_t length = strcspn(from, bracket ? "]" : ":");
    const char *rest = from + length;
    if (bracket) {
        if (*rest != ']')
            return -1;
        rest++;
    }
    if ((*rest != '\0' && *rest != ':') ||
        copy_part(out->address, sizeof out->address, from, length) != 0)
        return -1;
    unsigned char bytes[sizeof(struct in6_addr)];
    if (inet_pton(bracket ? AF_INET6 : AF_INET, out->address, bytes) != 1)
        return -1;
    *port = *rest == ':' ? rest + 1 : NULL;
    return 0;
}

static int tcp_parse(const char *text, struct link_url *out, struct err *err)
{
    const char *port = NULL;
    if (address_split(text, out, &port) != 0) {
        return err_set(err,
                       "'%.60s' is no IP address; allowed: IP:PORT with an IPv4 address, or an "
                       "IPv6 address in brackets (names are not looked up: a name server must not "
                       "stop a poll)",
                       text);
    }
    out->port = PORT_DEFAULT;
    return port == NULL ? 0 : port_parse(port, &out->port, err);
}

// ---- serial -------------------------------------------------------------------------------------

static int setting_parse(const char *name, const char *value, struct link_url *out, struct err *err)
{
    if (strcmp(name, "baud") == 0) {
        return baud_parse(value, out) == 0
                   ? 0
                   : err_set(err,
                             "baud=%.20s is not possible; allowed: 300, 600, 1200, 2400, 4800, "
                             "9600, 19200, 38400, 57600, 115200",
                             value);
    }
    if (strcmp(name, "parity") == 0) {
        if (value[0] == '\0' || value[1] != '\0' || strchr("NEO", value[0]) == NULL) {
            return err_set(
                err, "parity=%.20s is not possible; allowed: N (none), E (even), O (odd)", value);
        }
        out->parity = value[0];
        return 0;
    }
    if (strcmp(name, "stop") == 0) {
        if (strcmp(value, "1") != 0 && strcmp(value, "2") != 0)
            return err_set(err, "stop=%.20s is not possible; allowed: 1, 2", value);
        out->stop = value[0] - '0';
        return 0;
    }
    return err_set(err, "unknown setting '%.20s'; allowed: baud, parity, stop", name);
}

// One "name=value" of the settings, up to the next '&'.
static int setting_read(const char **at, char *seen, struct link_url *out, struct err *err)
{
    char text[32];
    size_t length = strcspn(*at, "&");
    if (copy_part(text, sizeof text, *at, length) != 0 || strchr(text, '=') == NULL) {
        return err_set(err, "'%.*s' is no setting; write it like baud=9600&parity=N&stop=1",
                       (int)(length < 40 ? length : 40), *at);
    }
    *at += length;
    char *value = strchr(text, '=');
    *value++ = '\0';
    if (setting_parse(text, value, out, err) != 0)
        return -1;
    if (strchr(seen, text[0]) != NULL)
        return err_set(err, "the setting '%s' is given twice", text);
    seen[strlen(seen)] = text[0];
    return 0;
}

static bool device_is_valid(const char *device)
{
    if (device[0] != '/' || device[1] == '\0')
        return false;
    for (const char *at = device; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7F)
            return false;
    return true;
}

static int rtu_parse(const char *text, struct link_url *out, struct err *err)
{
    size_t length = strcspn(text, "?");
    if (copy_part(out->device, sizeof out->device, text, length) != 0 ||
        !device_is_valid(out->device)) {
        return err_set(err,
                       "'%.60s' names no serial device; write the path after rtu://, like "
                       "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1 (at most %zu bytes)",
                       text, sizeof out->device - 1);
    }
    out->baud = BAUD_DEFAULT;
    out->parity = 'N';
    out->stop = 1;
    const char *at = text + length;
    char seen[4] = ""; // first letters: baud, parity, stop
    while (*at != '\0') {
        at++; // '?' or '&'
        if (setting_read(&at, seen, out, err) != 0)
            return -1;
    }
    return 0;
}

int link_url_character_bits(const struct link_url *url)
{
    bool has_parity = url->parity == 'E' || url->parity == 'O';
    return 1 + 8 + (has_parity ? 1 : 0) + (url->stop == 2 ? 2 : 1);
}

int link_url_parse(const char *text, struct link_url *out, struct err *err)
{
    static const struct {
        const char *prefix;
        enum link_kind kind;
        bool listen;
    } kinds[] = {{"tcp://", LINK_TCP, false},
                 {"rtu://", LINK_RTU, false},
                 {"rtu-over-tcp://", LINK_RTU_OVER_TCP, false},
                 {"tcp-listen://", LINK_TCP, true},
                 {"rtu-over-tcp-listen://", LINK_RTU_OVER_TCP, true}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, length) != 0)
            continue;
        struct link_url url = {.kind = kinds[i].kind, .listen = kinds[i].listen};
        int result = url.kind == LINK_RTU ? rtu_parse(text + length, &url, err)
                                          : tcp_parse(text + length, &url, err);
        if (result == 0)
            *out = url;
        return result;
    }
    return err_set(
        err,
        "'%.60s' is no link; allowed: tcp://IP:PORT, "
        "rtu:///dev/ttyS0?baud=9600&parity=N&stop=1, rtu-over-tcp://IP:PORT, and for a modem "
        "that dials in tcp-listen://IP:PORT, rtu-over-tcp-listen://IP:PORT",
        text);
}
