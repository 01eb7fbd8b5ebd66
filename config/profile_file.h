// Profiles: where they are sought, and how a text becomes a struct profile.
#ifndef METERGATE_CONFIG_PROFILE_FILE_H
#define METERGATE_CONFIG_PROFILE_FILE_H

#include "config/profile_table.h"

// Packages put the profiles here.
#define PROFILE_SHARE_FOLDER "/usr/share/metergate/profiles"
#define PROFILE_TEXT_MAX (256 * 1024) // bytes of a profile's file

// Finds the file of a profile: a path where `name` holds a slash (relative to the folder of
// `beside`), else NAME.yaml in the folders of the search. -1 with a message that names the folders.
int profile_seek(const char *name, const char *beside, const struct config_search *search,
                 char path[static CONFIG_PATH_MAX], struct err *err);

// The folders of the search, in order: false beyond the last. One that there is not is "".
bool profile_folder_at(const struct config_search *search, int index,
                       char folder[static CONFIG_PATH_MAX]);

// `name` relative to the folder of the file `beside` (NULL: as it is). -1 when it is too long.
int path_beside(const char *name, const char *beside, char path[static CONFIG_PATH_MAX]);

// As profile_load_text, but adds to `faults` what it finds. -1 when it added any.
int profile_read_text(const char *path, const char *text, size_t length, struct profile **out,
                      struct faults *faults);
// As profile_load, with the path known, and adding.
int profile_read(const char *path, struct profile **out, struct faults *faults);

// A copy of its own; NULL when memory is short.
struct profile *profile_copy(const struct profile *profile);

// Gives the fields of a loaded draft their places in the image, and checks what belongs together.
void profile_build(const struct load *load, const struct profile_draft *draft,
                   struct profile *profile);

#endif
