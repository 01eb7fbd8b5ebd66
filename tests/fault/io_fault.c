// Faults of the disk under the store, at every call: an error once or for good, a full disk, a
// write that does half. The store says so and goes on, or ends with its exit status, after which
// the next start on a disk that works is clean; what was acknowledged is there.
//
// usage: io_fault EACH SEED [FAULT AT]; tries every EACH-th call; prints one JSON object, exits 1
// when a promise was broken, naming fault and call, which then can be repeated alone.
//
// A life (power/script.h) goes on in a process of its own, since the store ends it where the disk
// fails. It writes its list into memory that both share.
#include "power/disk.h"
#include "power/random.h"
#include "power/script.h"

#include "store/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 10
#define HANG_S 60
#define FAILURES_TOLD 5
#define GAVE_UP 3 // exit status of a life that could not start any more
#define NOT_STRUCK 4

#define READS (1U << DISK_READ)
#define WRITES (1U << DISK_WRITE)
#define LENGTHS (1U << DISK_TRUNCATE)
#define SYNCS (1U << DISK_SYNC | 1U << DISK_SYNC_FOLDER)
#define NAMES (1U << DISK_OPEN | 1U << DISK_UNLINK | 1U << DISK_RENAME)

static const struct kind {
    const char *name;
    struct disk_fault fault;
} kinds[] = {
    {"read EIO once", {READS, .error = EIO}},
    {"read EIO", {READS, .error = EIO, .lasting = true}},
    {"write EIO once", {WRITES, .error = EIO}},
    {"write EIO", {WRITES, .error = EIO, .lasting = true}},
    {"write ENOSPC once", {WRITES, .error = ENOSPC}},
    {"write ENOSPC", {WRITES | LENGTHS, .error = ENOSPC, .lasting = true}},
    {"write by half once", {WRITES, .part = true}},
    {"write by half", {WRITES, .part = true, .lasting = true}},
    {"write EINTR once", {WRITES | LENGTHS, .error = EINTR}},
    {"truncate EIO once", {LENGTHS, .error = EIO}},
    {"truncate EIO", {LENGTHS, .error = EIO, .lasting = true}},
    {"sync EIO once", {SYNCS, .error = EIO}},
    {"sync EIO", {SYNCS, .error = EIO, .lasting = true}},
    {"name EIO once", {NAMES, .error = EIO}},
    {"name EIO", {NAMES, .error = EIO, .lasting = true}},
    {"open EMFILE once", {1U << DISK_OPEN, .error = EMFILE}},
    {"open EROFS", {1U << DISK_OPEN, .error = EROFS, .lasting = true}},
    {"all EIO", {READS | WRITES | LENGTHS | SYNCS | NAMES, .error = EIO, .lasting = true}},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

struct figures {
    long cases, went_on, gave_up, ended, failures;
};

static char folder[64];
static uint64_t seed;

// Lives in a process of its own; returns its wait status.
static int live(struct script *script, const struct disk_fault *fault)
{
    static struct disk_record record;
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(HANG_S);
        if (freopen("/dev/null", "w", stderr) == NULL) // it says much of its disk
            _exit(1);
        disk_begin(&record, folder);
        random_seed(chance_of(seed, 0, 0));
        disk_fail(fault);
        bool goes = script_endure(script, folder, ROUNDS);
        _exit(disk_struck() == 0 ? NOT_STRUCK : goes ? 0 : GAVE_UP);
    }
    int status = -1;
    (void)waitpid(child, &status, 0);
    return status;
}

// Another start, on a disk that works: also in a process of its own.
static int start_clean(struct script *script)
{
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(HANG_S);
        script->store = NULL;
        int first = script->acknowledged;
        int state = script_reopen(script, folder, first, first);
        _exit(state >= 0 && script_go_on(script, state) == 0 ? 0 : 1);
    }
    int status = -1;
    (void)waitpid(child, &status, 0);
    return status;
}

static void tell(struct figures *figures, size_t kind, int at, const char *what, const char *why)
{
    if (figures->failures++ >= FAILURES_TOLD)
        return;
    (void)fprintf(stderr, "io_fault: seed %llu, fault %zu (%s), call %d: %s: %s\n",
                  (unsigned long long)seed, kind, kinds[kind].name, at, what, why);
}

// False: the life has fewer calls of this kind.
static bool case_do(size_t kind, int at, struct script *script, struct figures *figures)
{
    struct disk_fault fault = kinds[kind].fault;
    fault.at = at;
    disk_empty(folder);
    int status = live(script, &fault);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == NOT_STRUCK)
        return false;
    figures->cases++;
    figures->went_on += code == 0;
    figures->gave_up += code == GAVE_UP;
    figures->ended += code == STORE_EXIT_DISK;
    if (code != 0 && code != GAVE_UP && code != STORE_EXIT_DISK) {
        char text[64];
        (void)snprintf(text, sizeof text, "wait status %d", status);
        tell(figures, kind, at, "the life ended", text);
    } else if (start_clean(script) != 0) {
        tell(figures, kind, at, "the next start", script->why);
    }
    return true;
}

static struct script *script_shared(struct script *own, struct script *shared)
{
    memcpy(shared, own, sizeof *shared);
    return shared;
}

int main(int count, char **arguments)
{
    int each = count >= 3 ? (int)strtol(arguments[1], NULL, 10) : 0;
    if (each < 1 || (count != 3 && count != 5)) {
        (void)fprintf(stderr, "usage: io_fault EACH SEED [FAULT AT]\n");
        return 2;
    }
    seed = strtoull(arguments[2], NULL, 10);
    (void)snprintf(folder, sizeof folder, "%s/metergate-io-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    struct script *own = script_new(chance_of(seed, 0, 0), SCRIPT_FULL, false);
    struct script *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || mkdtemp(folder) == NULL)
        return 1;
    struct figures figures = {.cases = 0};
    struct timespec began;
    struct timespec ended;
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    for (size_t kind = 0; kind < KINDS; kind++) {
        if (count == 5 && kind != (size_t)strtol(arguments[3], NULL, 10))
            continue;
        int at =
            count == 5 ? (int)strtol(arguments[4], NULL, 10) : 1 + (int)(seed % (unsigned)each);
        while (case_do(kind, at, script_shared(own, shared), &figures) && count == 3)
            at += each;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    disk_empty(folder);
    (void)rmdir(folder);
    (void)printf("{\"seed\": %llu, \"cases\": %ld, \"went_on\": %ld, \"gave_up\": %ld, \"ended\": "
                 "%ld, \"failures\": %ld, \"seconds\": %.1f}\n",
                 (unsigned long long)seed, figures.cases, figures.went_on, figures.gave_up,
                 figures.ended, figures.failures,
                 (double)(ended.tv_sec - began.tv_sec) +
                     (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    script_free(own);
    return figures.failures == 0 && figures.cases > 0 ? 0 : 1;
}
