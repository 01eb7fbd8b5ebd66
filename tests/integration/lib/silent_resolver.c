// A resolver that never answers, in front of the C library's: for a process that is started with
// LD_PRELOAD. SILENT_NAME is the name it is silent about; each question is told to SILENT_FILE.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof found);
    const char *silent = getenv("SILENT_NAME");
    const char *path = getenv("SILENT_FILE");
    int digits = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    if (digits || name == NULL || silent == NULL || path == NULL || strcmp(name, silent) != 0)
        return real(name, service, hints, out);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, "?\n", 2) != 2)
        abort();
    (void)close(file);
    for (;;)
        (void)pause();
}
