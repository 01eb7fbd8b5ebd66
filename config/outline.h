// What a report needs of a configuration that was valid when it was stored: who the meters are.
// Nothing is looked for on this machine: no profile, no certificate.
#ifndef METERGATE_CONFIG_OUTLINE_H
#define METERGATE_CONFIG_OUTLINE_H

#include "config/config.h"

struct outline_meter {
    char id[ID_SIZE];
    char name[CONFIG_NAME_MAX];
    char customer[64];
    struct config_gas gas;
};

struct config_outline {
    int count;
    struct outline_meter meters[];
};

// The caller frees *out with free(). -1 when the text is no configuration.
int config_outline(const char *text, size_t length, struct config_outline **out, struct err *err);

#endif
