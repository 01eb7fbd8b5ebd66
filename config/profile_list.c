#include "config/profile_list.h"

#include "config/profile_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDING ".yaml"

// A file that `profile: NAME` would find. Hidden files are an editor's.
static bool is_profile(const char *file)
{
    size_t length = strlen(file);
    size_t ending = sizeof ENDING - 1;
    return file[0] != '.' && length > ending && length - ending < PROFILE_NAME_MAX &&
           strcmp(file + length - ending, ENDING) == 0;
}

static void add(struct profile_list *list, const char *file)
{
    char name[PROFILE_NAME_MAX];
    (void)snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - sizeof ENDING + 1), file);
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return;
    if (list->count < PROFILE_LIST_MAX)
        memcpy(list->names[list->count++], name, sizeof name);
}

static void add_folder(struct profile_list *list, const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (is_profile(entry->d_name))
            add(list, entry->d_name);
    (void)closedir(directory);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

void profile_list_make(const struct config_search *search, struct profile_list *out)
{
    char folder[CONFIG_PATH_MAX];
    out->count = 0;
    for (int i = 0; profile_folder_at(search, i, folder); i++)
        if (folder[0] != '\0')
            add_folder(out, folder);
    qsort(out->names, (size_t)out->count, sizeof out->names[0], compare);
}
