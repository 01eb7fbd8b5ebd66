// What the files of a bus share. Nobody else includes this.
#ifndef METERGATE_POLL_BUS_INSIDE_H
#define METERGATE_POLL_BUS_INSIDE_H

#include "poll/bus.h"
#include "poll/meter_poll.h"
#include "poll/schedule.h"

#include <pthread.h>
#include <time.h>

#define JOBS_MAX 8 // test readings that wait; a further one is refused

struct bus_meter {
    const struct meter *meter;
    struct meter_poll *poll;
    struct schedule schedule;
    int64_t due_ms; // wall clock
    int failures;   // polls in a row without any answer
    bool seen;      // read at least once
};

// A test reading that somebody waits for.
struct job {
    int meter; // index in bus.meters
    struct wire_trace trace;
    struct bus *bus;
    struct reading *reading; // set when done, NULL when there was no memory
    bool running, done;
    bool abandoned; // nobody waits any more: the thread frees it
};

// A task and when it goes on.
struct task_turn {
    struct bus_task task;
    int64_t at_ms; // boot clock: waits for a turn since then, or wants none before
};

struct bus {
    struct bus_settings settings;
    const struct config_link *link;
    int meter_count;
    struct bus_meter *meters;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;   // of the thread
    pthread_cond_t change; // of those who wait for a job or for the last of them to leave
    // Guarded by the mutex:
    bool stop;
    int callers;
    int job_count;
    struct job *jobs[JOBS_MAX];
    int task_count;
    struct task_turn tasks[TASKS_MAX];
    // The thread's own:
    struct wire *wire;
    struct live_link counters;
    int64_t offset_ms;   // wall clock less boot clock
    int64_t retry_at_ms; // boot clock: not opened before
    int backoff_ms;
    bool opened; // at least once
    unsigned jitter;
    char part[8 + ID_SIZE]; // "link ID", for messages
};

// All but the first two run in the bus thread.

bool bus_is_stopping(struct bus *bus);
// The instant so many ms from now, for waits on the bus's conditions.
struct timespec bus_moment_after(int64_t ms);

// bus_link.c: opens the link where it is not open and its time to be tried has come, or at once.
bool bus_open_link(struct bus *bus, bool at_once);
// After a reading: whether the link stood it.
void bus_settle_link(struct bus *bus, const struct reading *reading);

// bus_poll.c: reads a meter where the link can be opened, else marks the link as down.
void bus_read_meter(struct bus *bus, const struct bus_meter *meter, int retries, bool at_once,
                    struct reading *reading);
// Reads a meter for its due time, or (due_ms 0) for the live view only.
void bus_poll_meter(struct bus *bus, struct bus_meter *meter, int64_t due_ms);
void bus_poll_due(struct bus *bus, struct bus_meter *meter);

// bus_jobs.c: makes the first test reading that waits. Called with the mutex held, and returns so.
void bus_run_job(struct bus *bus);

// bus_tasks.c, all with the mutex held. The task whose turn it is while no poll is due for
// `free_ms`, or NULL; then `*wait_ms` falls to when that may change, where that is sooner.
struct task_turn *bus_next_task(struct bus *bus, int64_t now_ms, int64_t free_ms, int64_t *wait_ms);
void bus_run_task(struct bus *bus, struct task_turn *turn, int64_t now_ms);
void bus_release_tasks(struct bus *bus);

#endif
