// Ids of gateways, links and meters: [a-z0-9][a-z0-9-]{0,31}; `gateway` is reserved (contract,
// section 1).
#ifndef METERGATE_BASE_ID_H
#define METERGATE_BASE_ID_H

#include <stdbool.h>

#define ID_SIZE 33 // with the NUL

bool id_is_valid(const char *text);

// A random UUID (version 4) from the kernel's generator, 36 characters and NUL. Ends the process
// when the kernel has no randomness to give: nothing can be named safely then.
#define UUID_SIZE 37
void uuid_make(char text[static UUID_SIZE]);

#endif
