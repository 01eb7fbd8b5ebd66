#include "config/profile_file.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEVELS_ABOVE 3 // build/metergate, and build trees up to two folders deeper

// ---- where --------------------------------------------------------------------------------------

int path_beside(const char *name, const char *beside, char path[static CONFIG_PATH_MAX])
{
    while (strncmp(name, "./", 2) == 0)
        name += 2 + strspn(name + 2, "/");
    const char *slash = beside != NULL && name[0] != '/' ? strrchr(beside, '/') : NULL;
    size_t folder = slash != NULL ? (size_t)(slash - beside) + 1 : 0;
    if (folder + strlen(name) >= CONFIG_PATH_MAX)
        return -1;
    (void)snprintf(path, CONFIG_PATH_MAX, "%.*s%s", (int)folder, slash != NULL ? beside : "", name);
    return 0;
}

static bool in_folder(const char *folder, const char *name, char path[static CONFIG_PATH_MAX])
{
    char found[CONFIG_PATH_MAX];
    int length = snprintf(found, sizeof found, "%s/%s.yaml", folder, name);
    if (length < 0 || length >= CONFIG_PATH_MAX || access(found, R_OK) != 0)
        return false;
    memcpy(path, found, (size_t)length + 1);
    return true;
}

// ../drivers/profiles beside the program, and beside the folders above it: `level` 1 and up.
static bool program_folder(int level, char folder[static CONFIG_PATH_MAX])
{
    char program[CONFIG_PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return false;
    program[length] = '\0';
    for (int i = 0; i <= level; i++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL || slash == program)
            return false;
        *slash = '\0';
    }
    length = snprintf(folder, CONFIG_PATH_MAX, "%s/drivers/profiles", program);
    return length < CONFIG_PATH_MAX;
}

bool profile_folder_at(const struct config_search *search, int index,
                       char folder[static CONFIG_PATH_MAX])
{
    const char *directory = search != NULL ? search->directory : NULL;
    folder[0] = '\0';
    if (index == 0)
        (void)snprintf(folder, CONFIG_PATH_MAX, "%s", directory != NULL ? directory : "");
    else if (index <= LEVELS_ABOVE && !program_folder(index, folder))
        folder[0] = '\0';
    else if (index == LEVELS_ABOVE + 1)
        (void)snprintf(folder, CONFIG_PATH_MAX, "%s", PROFILE_SHARE_FOLDER);
    return index <= LEVELS_ABOVE + 1;
}

static bool in_any_folder(const struct config_search *search, const char *name,
                          char path[static CONFIG_PATH_MAX])
{
    char folder[CONFIG_PATH_MAX];
    for (int i = 0; profile_folder_at(search, i, folder); i++)
        if (folder[0] != '\0' && in_folder(folder, name, path))
            return true;
    return false;
}

int profile_seek(const char *name, const char *beside, const struct config_search *search,
                 char path[static CONFIG_PATH_MAX], struct err *err)
{
    const char *directory = search != NULL ? search->directory : NULL;
    if (strchr(name, '/') != NULL) {
        if (path_beside(name, beside, path) != 0) {
            return err_set(err, "the path of the profile is too long; allowed: %d bytes",
                           CONFIG_PATH_MAX - 1);
        }
        return access(path, R_OK) == 0
                   ? 0
                   : err_set(err, "the profile's file %.200s cannot be read", path);
    }
    if (in_any_folder(search, name, path))
        return 0;
    return err_set(err,
                   "there is no profile '%.60s'; sought in %s%sdrivers/profiles beside the program "
                   "and " PROFILE_SHARE_FOLDER,
                   name, directory != NULL ? directory : "", directory != NULL ? ", " : "");
}

// ---- loading ------------------------------------------------------------------------------------

// The file's name without folder and ".yaml".
static void set_name(struct profile *profile, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".yaml") == 0)
        length -= 5;
    if (length >= sizeof profile->name)
        length = sizeof profile->name - 1;
    memcpy(profile->name, name, length);
}

// Loads the tree into `profile`; faults are told.
static void load_tree(struct document *document, struct profile *profile, struct faults *faults)
{
    struct load load = {document, faults};
    if (document->root->kind != NODE_MAP) {
        fault_at(faults, document->file, document->root, "a profile is a map (key: value)");
        return;
    }
    struct profile_draft *draft = document_take(document, sizeof *draft);
    if (draft == NULL) {
        fault_at(faults, document->file, document->root, "there is not enough memory");
        return;
    }
    schema_load(&load, &profile_schema, document->root, draft);
    profile_build(&load, draft, profile);
}

int profile_read_text(const char *path, const char *text, size_t length, struct profile **out,
                      struct faults *faults)
{
    int before = faults->count;
    if (length > PROFILE_TEXT_MAX) {
        fault_add(faults, path, 0, 0, "", "the profile has %zu bytes; allowed: %d", length,
                  PROFILE_TEXT_MAX);
        return -1;
    }
    struct document document;
    if (document_parse(&document, path, text, length, faults) != 0)
        return -1;
    struct profile *profile = calloc(1, sizeof *profile);
    if (profile != NULL)
        profile->source = strndup(text, length);
    if (profile == NULL || profile->source == NULL) {
        fault_add(faults, path, 0, 0, "", "there is not enough memory");
    } else {
        set_name(profile, path);
        load_tree(&document, profile, faults);
    }
    document_release(&document);
    if (faults->count > before) {
        profile_free(profile);
        return -1;
    }
    *out = profile;
    return 0;
}

int profile_read(const char *path, struct profile **out, struct faults *faults)
{
    struct buf text;
    struct err err;
    buf_init(&text, PROFILE_TEXT_MAX);
    int result = -1;
    if (file_read(path, &text, &err) != 0)
        fault_add(faults, path, 0, 0, "", "%s", err.text);
    else
        result = profile_read_text(path, text.data, text.length, out, faults);
    buf_release(&text);
    return result;
}

int profile_load_text(const char *path, const char *text, size_t length, struct profile **out,
                      struct faults *faults)
{
    faults->count = 0;
    int result = profile_read_text(path, text, length, out, faults);
    faults_sort(faults, path);
    return result;
}

int profile_load(const char *name, const char *beside, const struct config_search *search,
                 struct profile **out, struct faults *faults)
{
    char path[CONFIG_PATH_MAX];
    struct err err;
    faults->count = 0;
    if (profile_seek(name, beside, search, path, &err) != 0) {
        fault_add(faults, name, 0, 0, "", "%s", err.text);
        return -1;
    }
    int result = profile_read(path, out, faults);
    faults_sort(faults, path);
    return result;
}

// ---- life ---------------------------------------------------------------------------------------

void profile_free(struct profile *profile)
{
    if (profile != NULL) {
        free(profile->archives);
        free(profile->source);
        free(profile);
    }
}

struct profile *profile_copy(const struct profile *profile)
{
    struct profile *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    *copy = *profile;
    copy->source = strdup(profile->source);
    copy->archives = NULL;
    size_t size = (size_t)profile->archive_count * sizeof profile->archives[0];
    if (size > 0)
        copy->archives = malloc(size);
    if (copy->source == NULL || (size > 0 && copy->archives == NULL)) {
        profile_free(copy);
        return NULL;
    }
    if (size > 0)
        memcpy(copy->archives, profile->archives, size);
    return copy;
}

int profile_set_unit(struct profile *profile, int channel, const char *unit, struct err *err)
{
    struct profile_channel *row = &profile->channels[channel];
    if (strcmp(row->unit, "config") != 0) {
        return err_set(err, "the profile %s gives the unit of %s itself (%s)", profile->name,
                       row->channel->name, row->unit);
    }
    if (channel_unit_conversion(row->channel, unit, &row->conversion) != 0) {
        const char *fitting[3] = {"", "", ""};
        for (int i = 0; i < 3 && channel_unit_at(row->channel, i) != NULL; i++)
            fitting[i] = channel_unit_at(row->channel, i);
        return err_set(err, "'%.20s' is no unit of %s; allowed: %s %s %s and others of its kind",
                       unit, row->channel->name, fitting[0], fitting[1], fitting[2]);
    }
    (void)snprintf(row->unit, sizeof row->unit, "%s", unit);
    return 0;
}
