// Programs that a test starts and ends: each ends with the test, whatever happens to it.
#ifndef METERGATE_TESTS_SUPPORT_CHILD_H
#define METERGATE_TESTS_SUPPORT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

// Starts argv[0] (ends with NULL) with stdout and stderr in `log`; it dies with its parent.
pid_t child_start(const char *log, char *const argv[]);
// Sends a signal and waits for the end. 0 is fine.
void child_stop(pid_t child, int signal);

// A TCP port of loopback that nothing listens on now.
int port_free(void);
// Waits until something listens there, at most so many seconds; aborts when nothing does.
void port_wait(int port, int seconds);

// mosquitto on loopback with a configuration file in `folder`; `lines` are added to it. Returns
// when it listens.
pid_t mosquitto_start(const char *folder, int port, const char *lines);

#endif
