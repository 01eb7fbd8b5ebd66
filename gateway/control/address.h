// Where the control socket is: DIR/control.sock, and an abstract address made of DIR's device and
// inode where no file can be made (a read-only or full disk). Anybody on the machine may use an
// abstract address, so both sides look at the other's user (SO_PEERCRED).
#ifndef METERGATE_CONTROL_ADDRESS_H
#define METERGATE_CONTROL_ADDRESS_H

#include "base/err.h"

#include <sys/socket.h>
#include <sys/un.h>

struct control_address {
    struct sockaddr_un name;
    socklen_t length;
};

// -1 when the path is too long for a socket.
int control_address_file(const char *directory, struct control_address *out, struct err *err);
// `what` tells several of one folder apart. -1 when the folder is not there.
int control_address_abstract(const char *directory, const char *what, struct control_address *out);

// Connects to the one at which a gateway of that folder listens; not blocking. The descriptor, -1
// with errno: ENOENT or ECONNREFUSED when none listens, EACCES when it is a stranger's.
int control_connect(const char *directory);

#endif
