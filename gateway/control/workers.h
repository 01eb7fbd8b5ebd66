// A few threads for commands that wait for a bus, the disk or a hash, so that they hold nobody else
// up.
#ifndef METERGATE_CONTROL_WORKERS_H
#define METERGATE_CONTROL_WORKERS_H

#include "control/command.h"

#include <stdatomic.h>
#include <stdint.h>

// One request, from the socket to its reply. Owned by whoever holds it last.
struct job {
    struct job *next;
    uint64_t client; // number of the connection that asked
    json_int_t id;
    struct principal who;
    char token[40]; // who.token points here
    char command[32];
    json_t *arguments; // own reference; NULL: none
    struct buf reply;  // JSON text
    bool more;         // the reply is not the last one
    atomic_bool cancelled;
};

struct job *job_new(void);      // NULL when memory is short
void job_free(struct job *job); // NULL is fine
// Runs the command and writes the reply. `stream`: NULL where nobody watches.
void job_run(struct job *job, const struct command_context *context,
             const struct command_stream *stream);
// Writes a reply that says no.
void job_refuse(struct job *job, int result, const char *error);

struct workers;
// `done` is called in a worker's thread for each job that was run, and for each partial answer
// (job->more); it takes the job over.
struct workers *workers_start(const struct command_context *context,
                              void (*done)(void *context, struct job *job), void *argument,
                              struct err *err);
// Runs what runs to its end, drops what waits.
void workers_stop(struct workers *workers);
// Tells the jobs of a client that their answers are not wanted any more: the one with `id` of that
// person, or all (who NULL). Whether there was one.
bool workers_cancel(struct workers *workers, uint64_t client, json_int_t id, const char *who);
// Takes the job over; false when too many wait: the caller keeps it.
bool workers_offer(struct workers *workers, struct job *job);

#endif
