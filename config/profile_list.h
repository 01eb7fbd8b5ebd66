// All profiles that can be found by name, for the scan and the page's list.
#ifndef METERGATE_CONFIG_PROFILE_LIST_H
#define METERGATE_CONFIG_PROFILE_LIST_H

#include "config/config.h"

#define PROFILE_LIST_MAX 256 // further ones are left out

struct profile_list {
    int count;
    char names[PROFILE_LIST_MAX][PROFILE_NAME_MAX]; // sorted, each once
};

// Looks through the folders of the search; a folder that is not there holds none.
void profile_list_make(const struct config_search *search, struct profile_list *out);

#endif
