#include "office/lookup.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int getaddrinfo_function(const char *, const char *, const struct addrinfo *,
                                 struct addrinfo **);
static getaddrinfo_function *real_getaddrinfo;

// Of all lookups.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; // on the monotonic clock
static int left_behind;
static bool refused;

// Belongs to both sides until one of them has left it.
struct lookup {
    char name[LOOKUP_NAME_MAX], service[32];
    bool has_service;
    struct addrinfo hints, *found;
    int result;
    bool done, abandoned;
};

static void prepare(void)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real_getaddrinfo, &found, sizeof found);
    if (real_getaddrinfo == NULL)
        abort(); // the C library has it
}

static void prepare_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, prepare);
}

void lookup_allow(bool allowed)
{
    prepare_once();
    (void)pthread_mutex_lock(&mutex);
    refused = !allowed;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

static void *look_up(void *argument)
{
    struct lookup *lookup = argument;
    struct addrinfo *found = NULL;
    (void)pthread_setname_np(pthread_self(), "lookup");
    int result = real_getaddrinfo(lookup->name, lookup->has_service ? lookup->service : NULL,
                                  &lookup->hints, &found);
    (void)pthread_mutex_lock(&mutex);
    bool abandoned = lookup->abandoned;
    lookup->result = result;
    lookup->found = found;
    lookup->done = true;
    left_behind -= abandoned;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
    if (abandoned) {
        if (result == 0)
            freeaddrinfo(found);
        free(lookup);
    }
    return NULL;
}

static struct lookup *lookup_new(const char *name, const char *service,
                                 const struct addrinfo *hints)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL)
        return NULL;
    (void)snprintf(lookup->name, sizeof lookup->name, "%s", name);
    (void)snprintf(lookup->service, sizeof lookup->service, "%s", service != NULL ? service : "");
    lookup->has_service = service != NULL;
    if (hints != NULL)
        lookup->hints = *hints;
    else
        lookup->hints.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG; // what NULL means
    return lookup;
}

// Without signals: they are for others.
static int thread_start(struct lookup *lookup)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int failure = pthread_create(&thread, NULL, look_up, lookup);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure == 0 ? pthread_detach(thread) : failure;
}

static bool wait_for(struct lookup *lookup)
{
    struct timespec end = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += LOOKUP_MAX_MS / 1000;
    int failure = 0;
    (void)pthread_mutex_lock(&mutex);
    while (!lookup->done && !refused && failure == 0)
        failure = pthread_cond_timedwait(&changed, &mutex, &end);
    bool done = lookup->done;
    lookup->abandoned = !done;
    left_behind += !done;
    (void)pthread_mutex_unlock(&mutex);
    return done;
}

static int look_up_name(const char *name, const char *service, const struct addrinfo *hints,
                        struct addrinfo **out)
{
    if (strlen(name) >= LOOKUP_NAME_MAX || (service != NULL && strlen(service) >= 32))
        return EAI_NONAME;
    (void)pthread_mutex_lock(&mutex);
    bool room = left_behind < LOOKUPS_LEFT_MAX && !refused;
    (void)pthread_mutex_unlock(&mutex);
    if (!room)
        return EAI_AGAIN;
    struct lookup *lookup = lookup_new(name, service, hints);
    if (lookup == NULL)
        return EAI_MEMORY;
    if (thread_start(lookup) != 0) {
        free(lookup);
        return EAI_AGAIN;
    }
    if (!wait_for(lookup))
        return EAI_AGAIN; // it is the other thread's now
    int result = lookup->result;
    if (result == 0)
        *out = lookup->found;
    free(lookup);
    return result;
}

// Declared here and not by a header of ours: callers know it from the C library's.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    prepare_once();
    struct addrinfo digits = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG};
    if (hints != NULL)
        digits = *hints;
    digits.ai_flags |= AI_NUMERICHOST;
    int result = real_getaddrinfo(name, service, &digits, out);
    if (result != EAI_NONAME || name == NULL ||
        (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return result;
    return look_up_name(name, service, hints, out);
}
