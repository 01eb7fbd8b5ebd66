// The scan's wire over a real link: its own, which it opens at one setting after the other, or one
// that a bus has open already (then settings and time-outs stay as they are).
#ifndef METERGATE_SCAN_LINE_H
#define METERGATE_SCAN_LINE_H

#include "drivers/wire.h"
#include "scan/scan.h"

struct scan_line {
    struct wire_settings settings; // URL and time-outs are set by the scan
    const struct clock *clock;
    struct wire *wire;
    bool borrowed;
    bool failed; // the last transaction met silence or a spoilt reply
};

// Opens nothing yet. `settings` of the link; its clock must outlive the line.
void scan_line_init(struct scan_line *line, const struct wire_settings *settings,
                    const struct clock *clock);
// The wire stays the bus's and may be another one at each step.
void scan_line_borrow(struct scan_line *line, struct wire *wire);
void scan_line_release(struct scan_line *line);

// The wire to hand to scan_step; valid as long as the line.
struct scan_wire scan_line_wire(struct scan_line *line);

#endif
