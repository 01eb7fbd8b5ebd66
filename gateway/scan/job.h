// A scan on a link that a running gateway polls: a task of low priority in the bus's thread,
// watched by whoever ordered it. Only units that the gateway does not poll are asked, at the link's
// own settings, so that nothing late can be taken for a polled meter's value.
#ifndef METERGATE_SCAN_JOB_H
#define METERGATE_SCAN_JOB_H

#include "config/config.h"
#include "poll/bus.h"
#include "scan/scan.h"
#include "scan/shelf.h"

// A step of the scan takes no longer than this where the meter answers: polls that are due sooner
// go first.
#define SCAN_JOB_STEP_MS 300
#define SCAN_JOB_LINK_WAIT_MS 30000 // a link that cannot be opened for so long ends the scan

struct scan_job;

// `link` of `config`; -1 for `first_unit` takes all units. Takes the shelf over, on failure too.
// NULL with a message when memory is short.
struct scan_job *scan_job_new(const struct config *config, int link, int first_unit, int last_unit,
                              struct scan_shelf *shelf, const struct clock *clock, struct err *err);
// The task to hand to bus_add_task.
struct bus_task scan_job_task(struct scan_job *job);
void scan_job_abandon(struct scan_job *job); // the task was refused

// Waits at most `wait_ms`. True when it has ended: at its end, cancelled, with an error, or because
// the bus stopped.
bool scan_job_wait(struct scan_job *job, int wait_ms);
void scan_job_cancel(struct scan_job *job); // ends within a step
void scan_job_progress(struct scan_job *job, struct writer *writer);
// After its end. -1 with a message where the link could not be used.
int scan_job_report(struct scan_job *job, struct writer *writer, struct err *err);
// Gives back whoever ordered it; the bus may still hold it.
void scan_job_release(struct scan_job *job);

#endif
