// What the files of a bus share. Nobody else includes this.
#ifndef METERGATE_POLL_BUS_INSIDE_H
#define METERGATE_POLL_BUS_INSIDE_H

#include "poll/agenda.h"
#include "poll/bus.h"
#include "poll/health.h"
#include "poll/meter_poll.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define JOBS_MAX 8 // test readings that wait; a further one is refused

struct bus_meter {
    const struct meter *meter;
    struct meter_poll *poll;
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
    struct bus_meter *meters; // the agenda's entries have the same order
    struct agenda_entry *entries;
    struct share *shares;
    pthread_t thread;
    pthread_mutex_t mutex;
    sem_t wake;            // of the thread
    bool went_deep;        // the thread's own: a failure has used more of its stack than polls do
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
    struct agenda agenda;
    struct health *health;
    struct job *reading_for; // the test reading that runs now, or NULL
    int64_t offset_ms;       // wall clock less boot clock
    int64_t retry_at_ms;     // boot clock: not opened before
    int backoff_ms;
    bool opened;    // at least once
    bool came_back; // the link was down and is open: the agenda has not been told yet
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
// While nothing is to be done, with the mutex held: tries a link that is down when its time has
// come, so that it is there for the next poll; else `*wait_ms` falls to that time.
void bus_await_link(struct bus *bus, int64_t now_ms, int64_t *wait_ms);

// bus_health.c: shows what passes on the wire to the link's health.
void bus_watch_wire(struct bus *bus);

// bus_poll.c: reads a meter where the link can be opened, else marks the link as down. A test
// reading, for which somebody waits, tries the link at once and asks again at once.
void bus_read_meter(struct bus *bus, const struct bus_meter *meter, bool test,
                    struct reading *reading);
void bus_ask(struct bus *bus, const struct turn *turn, int64_t now_ms);
void bus_miss(struct bus *bus, const struct turn *turn);
// Says so, once, when the link has not enough time, and when it has again.
void bus_note_load(struct bus *bus);

// bus_jobs.c: shows a frame to whoever waits for a test reading.
void bus_show_frame(struct job *job, bool sent, const uint8_t *bytes, size_t length);
// Makes the first test reading that waits. Called with the mutex held, and returns so.
void bus_run_job(struct bus *bus);

// bus_tasks.c, all with the mutex held. The task whose turn it is while no poll is due for
// `free_ms`, or NULL; then `*wait_ms` falls to when that may change, where that is sooner.
struct task_turn *bus_next_task(struct bus *bus, int64_t now_ms, int64_t free_ms, int64_t *wait_ms);
void bus_run_task(struct bus *bus, struct task_turn *turn, int64_t now_ms);
void bus_release_tasks(struct bus *bus);

#endif
