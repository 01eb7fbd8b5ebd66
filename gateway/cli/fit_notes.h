// Whether what the meters of each link need fits its time: notes of `metergate check`.
#ifndef METERGATE_CLI_FIT_NOTES_H
#define METERGATE_CLI_FIT_NOTES_H

#include "config/config.h"

// A note for each link that has meters, and a warning with what to do for each on which they do not
// fit. On stderr.
void fit_print(const struct config *config);

#endif
