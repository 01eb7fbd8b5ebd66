#include "web/guard.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 255

static bool port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 5 && text[digits] == '\0';
}

bool guard_host(const char *host)
{
    if (host == NULL || strlen(host) > HOST_MAX)
        return false;
    const char *rest = host;
    if (host[0] == '[') {
        size_t length = strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (length < 2 || host[1 + length] != ']')
            return false;
        rest = host + 2 + length;
    } else {
        size_t length = 0;
        while (isalnum((unsigned char)host[length]) || strchr(".-_", host[length]) != NULL) {
            if (host[length] == '\0')
                break;
            length++;
        }
        if (length == 0 || host[0] == '.' || host[0] == '-')
            return false;
        rest = host + length;
    }
    return *rest == '\0' || (*rest == ':' && port(rest + 1));
}

bool guard_origin(const char *origin, const char *host)
{
    static const char scheme[] = "https://";
    return origin != NULL && host != NULL && strncmp(origin, scheme, sizeof scheme - 1) == 0 &&
           strcasecmp(origin + sizeof scheme - 1, host) == 0;
}

bool guard_cookie(const char *cookie, char token[static GUARD_TOKEN_SIZE])
{
    static const char name[] = GUARD_COOKIE "=";
    const char *value = NULL;
    for (const char *at = cookie; at != NULL && *at != '\0';) {
        at += strspn(at, " \t");
        if (strncmp(at, name, sizeof name - 1) == 0) {
            if (value != NULL)
                return false; // somebody plants one
            value = at + sizeof name - 1;
        }
        at = strchr(at, ';');
        at = at != NULL ? at + 1 : NULL;
    }
    if (value == NULL || strspn(value, "0123456789abcdef") != GUARD_TOKEN_SIZE - 1 ||
        (value[GUARD_TOKEN_SIZE - 1] != '\0' && value[GUARD_TOKEN_SIZE - 1] != ';'))
        return false;
    memcpy(token, value, GUARD_TOKEN_SIZE - 1);
    token[GUARD_TOKEN_SIZE - 1] = '\0';
    return true;
}

bool guard_command(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 31 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

bool guard_bearer(const char *authorization, char token[static GUARD_BEARER_SIZE])
{
    static const char scheme[] = "Bearer ";
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *value = authorization + sizeof scheme - 1;
    size_t length = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-._~+/=");
    if (length == 0 || length >= GUARD_BEARER_SIZE || value[length] != '\0')
        return false;
    memcpy(token, value, length + 1);
    return true;
}
