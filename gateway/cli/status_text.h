// Status as text on a terminal. Inside of cli/.
#ifndef METERGATE_CLI_STATUS_TEXT_H
#define METERGATE_CLI_STATUS_TEXT_H

#include <jansson.h>

#define CELL_SIZE 1000 // a frame in hex and its meaning

// The text of a member; "-" where there is none. What comes from meters and names could hold
// characters that a terminal acts on: they print as '?'.
const char *status_cell(const json_t *object, const char *key, char text[static CELL_SIZE]);
json_int_t status_number(const json_t *object, const char *key);

// One link as the command `bus` tells it: counts of each meter, response times, newest frames.
void status_link_print(const json_t *bus);

#endif
