// Whether a corrector converts as its own pressure and temperature say: the base volume that it
// counted against the one that follows from its measured volume, pressure, temperature and the
// configured gas, over an hour and over a day. Inside detect/ only.
//
// A difference is a fault of the corrector, wrong base conditions or gas data (here or in the
// meter), or a sensor that was replaced or tampered with. Sums run over pairs of readings that
// follow on each other and have all four values; a window with less than 100 counts of either
// counter says nothing, and what the resolution of the counters may do is not held against the
// corrector. Windows begin anew after a restart.
#ifndef METERGATE_DETECT_CORRECTOR_H
#define METERGATE_DETECT_CORRECTOR_H

#include "detect/rules.h"

#include "gas/conversion.h"

struct corrector;

// Of a meter that has both volumes, a pressure and a temperature, with a gas inside its method's
// range; NULL for others, or where memory is short.
struct corrector *corrector_new(const struct meter *meter);
void corrector_free(struct corrector *corrector);

void corrector_feed(struct detect *detect, int meter, const struct reading *reading,
                    const struct outlet *outlet);
void corrector_restore(struct detect *detect, int meter, const struct alert_change *open);

#endif
