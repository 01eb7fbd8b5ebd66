// getaddrinfo with an end.
//
// The broker's name is looked up by paho, in a thread of its own but with paho's lock held, and by
// the probe. A resolver that never answers holds both for as long as it likes, and with them
// whoever waits for paho: the office's thread, and so the end of the program. So this file defines
// getaddrinfo for the process: an address in digits goes straight to the C library; a name is
// looked up by the C library in a thread that may stay behind, and the caller is told EAI_AGAIN
// after LOOKUP_MAX_MS.
#ifndef METERGATE_OFFICE_LOOKUP_H
#define METERGATE_OFFICE_LOOKUP_H

#include <stdbool.h>

#define LOOKUP_MAX_MS 6000   // glibc asks a second server after 5 s
#define LOOKUPS_LEFT_MAX 4   // that stay behind; with more nothing is looked up: EAI_AGAIN
#define LOOKUP_NAME_MAX 1024 // bytes with NUL; a longer one is EAI_NONAME

// False: who waits for a name is told EAI_AGAIN at once, and from now on, until true. The office
// stops.
void lookup_allow(bool allowed);

#endif
