// Where a simulated link is reached: a listening TCP port, or a pseudo-terminal.
#ifndef METERGATE_DRIVERS_SIMULATOR_ENDPOINT_H
#define METERGATE_DRIVERS_SIMULATOR_ENDPOINT_H

#include "drivers/simulator/line.h"
#include "drivers/simulator/site.h"

#define ENDPOINT_URL_MAX 256

struct endpoint {
    const struct sim_link *link;
    int fd;          // listening socket, or the master side
    int slave_fd;    // kept open, so that a client that leaves hangs up nothing; -1 for TCP
    int port;        // TCP
    char device[64]; // pseudo-terminal: its slave side
    struct wire_speed speed;
    int connections;
};

int endpoint_open(struct endpoint *endpoint, const struct sim_link *link, struct err *err);
// Takes the symbolic link away, where it still points here. A struct of zeros with fd -1 is fine.
void endpoint_close(struct endpoint *endpoint);

// The link URL of the contract, for a gateway's configuration.
void endpoint_url(const struct endpoint *endpoint, char url[static ENDPOINT_URL_MAX]);

// Whether the client's end of a pseudo-terminal is set to the link's baud rate and stop bits: at
// others no meter understands it. Parity cannot be told, a pseudo-terminal has none. True for TCP.
bool endpoint_is_heard(const struct endpoint *endpoint);

// Takes a waiting connection. -1 when there is none (or the machine has no more descriptors).
int endpoint_accept(const struct endpoint *endpoint);

#endif
