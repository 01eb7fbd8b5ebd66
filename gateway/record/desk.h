// Between the links and the recorder, for the meters' own logs: what is asked for lies here until a
// link fetches it, and answers lie here until the recorder takes them. Neither waits for the other.
#ifndef METERGATE_RECORD_DESK_H
#define METERGATE_RECORD_DESK_H

#include "poll/archive.h"
#include "record/round.h"

#define DESK_ASKS_MAX 64 // meters at a time; the others follow
#define DESK_ROWS_MAX 16 // answers that wait; a further one stays with its link
#define DESK_LOOK_MS 1000

struct desk;

struct desk *desk_new(const struct clock *clock); // NULL when memory is short
void desk_free(struct desk *desk);                // NULL is fine
// Safe from every thread.
struct archive_desk desk_interface(struct desk *desk);

// Takes the answers into the store and finds what is to be asked for next. In the recorder's
// thread, as often as it likes.
void desk_work(struct desk *desk, struct round *round);

#endif
