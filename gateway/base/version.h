// Which software this is: shown by --version, in status, on the page and in the feed's retained
// state.
#ifndef METERGATE_BASE_VERSION_H
#define METERGATE_BASE_VERSION_H

// "0.1.0-gabc1234": the release that this tree works towards, and the commit; without git the
// release alone.
extern const char software_version[];

#endif
