// How the periods of one meter are found. Their one index goes along time in each span, because
// what closes together then lies together: an index that begins with the meter costs a page for
// each meter at each quarter hour. Inside of store/.
#ifndef METERGATE_STORE_PERIOD_FIND_H
#define METERGATE_STORE_PERIOD_FIND_H

// Table `start` with column start_ms: each instant from `from` on at which a period of the span
// begins, whoever's, rising, up to the first that is not before `to`. One look-up for each.
#define PERIOD_STARTS(span, from, to)                                                              \
    "WITH RECURSIVE start(start_ms) AS (SELECT min(from_ms) FROM period WHERE span = " span        \
    " AND from_ms >= " from " UNION ALL SELECT (SELECT min(from_ms) FROM period WHERE"             \
    " span = " span " AND from_ms > start_ms) FROM start WHERE start_ms < " to " ORDER BY 1)"

// The row p of `period` is the newest version of its period.
#define PERIOD_NEWEST                                                                              \
    " p.version = (SELECT max(version) FROM period WHERE meter = p.meter AND span = p.span"        \
    " AND from_ms = p.from_ms)"

#endif
