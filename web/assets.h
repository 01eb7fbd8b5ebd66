// The page's files, compiled in (web/embed.sh makes the table from web/files): no path of a request
// ever reaches a file system.
#ifndef METERGATE_WEB_ASSETS_H
#define METERGATE_WEB_ASSETS_H

#include <stddef.h>

struct asset {
    const char *path; // "/page.css"
    const char *type; // "text/css; charset=utf-8"
    const unsigned char *bytes;
    size_t length;
};
extern const struct asset assets[]; // ends with path NULL

#endif
