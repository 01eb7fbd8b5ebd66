// Who comes in through the page: sessions, the login throttle, the bound on recorded refusals. One
// per running gateway, in memory, safe from every thread.
#ifndef METERGATE_CONTROL_ACCESS_H
#define METERGATE_CONTROL_ACCESS_H

#include "base/clock.h"
#include "control/session.h"

struct access;

// NULL when memory is short. The clock must outlive it.
struct access *access_new(const struct clock *clock);
void access_free(struct access *access); // NULL is fine

// Begins a session and gives its token; -1 when the machine has no random numbers.
int access_begin(struct access *access, const struct account *account,
                 char token[static TOKEN_SIZE], struct err *err);
// Copies the session of a token; false when there is none. `touch`: a person did something.
bool access_find(struct access *access, const char *token, bool touch, struct session *out);
void access_end(struct access *access, const char *token);
void access_end_account(struct access *access, const char *account);

// See throttle_try.
bool access_try(struct access *access, const char *account, int *wait_s);
// Whether a call, or its refusal, may be recorded on its own; else it is counted.
bool access_note(struct access *access, bool refused);
// How many were counted only, in a minute that is over; see flood_count.
uint64_t access_counted(struct access *access, bool refused);
// Whether the next refusal would only be counted: then it needs no worker, because it writes
// nothing.
bool access_refusals_full(struct access *access);

#endif
