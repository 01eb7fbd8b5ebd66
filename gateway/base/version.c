#include "base/version.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

const char software_version[] = VERSION;
