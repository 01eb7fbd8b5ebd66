// What must fit together across the keys of a configuration.
#ifndef METERGATE_CONFIG_CONFIG_CHECK_H
#define METERGATE_CONFIG_CONFIG_CHECK_H

#include "config/config_table.h"

// Resolves references and checks everything that needs no other file: ids, links, units, office,
// gas. Each meter's link becomes an index.
void config_check(const struct load *load, struct draft *draft);

// Loads the profiles of all meters into draft->config.profiles and points the meters there.
void config_profiles_load(const struct load *load, struct draft *draft, const char *path,
                          const struct config_search *search);

#endif
