// A few threads for commands that wait for a bus, the disk or a hash, so that they hold nobody else
// up.
#ifndef METERGATE_CONTROL_WORKERS_H
#define METERGATE_CONTROL_WORKERS_H

#include "control/command.h"

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
};

struct job *job_new(void);      // NULL when memory is short
void job_free(struct job *job); // NULL is fine
// Runs the command and writes the reply.
void job_run(struct job *job, const struct command_context *context);
// Writes a reply that says no.
void job_refuse(struct job *job, int result, const char *error);

struct workers;
// `done` is called in a worker's thread for each job that was run; it takes the job over.
struct workers *workers_start(const struct command_context *context,
                              void (*done)(void *context, struct job *job), void *argument,
                              struct err *err);
// Runs what runs to its end, drops what waits.
void workers_stop(struct workers *workers);
// Takes the job over; false when too many wait: the caller keeps it.
bool workers_offer(struct workers *workers, struct job *job);

#endif
