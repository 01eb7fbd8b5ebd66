#include "config/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX 254 // of a name in the DNS, with the NUL

struct address {
    char host[HOST_MAX]; // without brackets
    bool bracket;
};

// HOST:PORT, with a port from 1 to 65535 and nothing after it.
static int address_parse(const char *text, struct address *out)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return -1;
    size_t digits = strspn(colon + 1, "0123456789");
    long port = digits > 0 && digits <= 5 ? strtol(colon + 1, NULL, 10) : 0;
    if (colon[1 + digits] != '\0' || port < 1 || port > 65535)
        return -1;
    size_t length = (size_t)(colon - text);
    out->bracket = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    text += out->bracket ? 1 : 0;
    length -= out->bracket ? 2 : 0;
    if (length == 0 || length >= sizeof out->host)
        return -1;
    memcpy(out->host, text, length);
    out->host[length] = '\0';
    return 0;
}

static bool is_ip(const struct address *address)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(address->bracket ? AF_INET6 : AF_INET, address->host, bytes) == 1;
}

static bool is_name(const struct address *address)
{
    const char *host = address->host;
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    return !address->bracket && host[strspn(host, allowed)] == '\0' && host[0] != '-' &&
           host[0] != '.' && strstr(host, "..") == NULL;
}

static bool is_loopback(const struct address *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (address->bracket)
        return inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(address->host, "localhost") == 0 ||
           (inet_pton(AF_INET, address->host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

int office_url_check(const char *text, struct err *err)
{
    bool secure = strncmp(text, "mqtts://", 8) == 0;
    bool plain = strncmp(text, "mqtt://", 7) == 0;
    struct address address;
    if ((!secure && !plain) || address_parse(text + (secure ? 8 : 7), &address) != 0 ||
        (!is_ip(&address) && !is_name(&address))) {
        return err_set(err,
                       "'%.80s' is no address of a broker; allowed: mqtts://HOST:PORT, or "
                       "mqtt://HOST:PORT on this machine",
                       text);
    }
    if (plain && !is_loopback(&address)) {
        return err_set(err,
                       "mqtt:// is not encrypted and may not leave this machine; allowed: "
                       "mqtts://%.80s, or mqtt:// to 127.0.0.1, [::1] or localhost",
                       text + 7);
    }
    return 0;
}

int listen_check(const char *text, struct err *err)
{
    struct address address;
    if (address_parse(text, &address) != 0 || !is_ip(&address)) {
        return err_set(err,
                       "'%.80s' is no address to listen on; allowed: IP:PORT, like 0.0.0.0:8443 "
                       "or [::]:8443",
                       text);
    }
    return 0;
}
