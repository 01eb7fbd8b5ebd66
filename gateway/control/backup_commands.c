// A backup while everything goes on, and its way to whoever asked for it.
//
// It is written to DIR/backups, where the newest BACKUPS_KEPT stay. The command line copies it from
// there, the page fetches it in pieces with backup-read, head office leaves it there.
#include "base/file.h"
#include "base/timetext.h"
#include "base/version.h"
#include "control/command.h"
#include "gateway.h"
#include "store/backup.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKUPS_FOLDER "backups"
#define BACKUPS_KEPT 2
#define BACKUP_SUFFIX ".backup"
#define PIECE_BYTES (768 * 1024) // 1 MiB as base64
#define NAME_SIZE 256
#define PATH_SIZE 4096
#define PROGRESS_MAX 256

// One at a time: they would only fill the disk.
static atomic_flag busy = ATOMIC_FLAG_INIT;

// --- the folder ---

static const char *state_folder(const struct command_context *context)
{
    return context->gateway != NULL ? gateway_directory(context->gateway)
                                    : store_directory(context->store);
}

static bool is_backup_name(const char *name)
{
    size_t length = strlen(name);
    size_t suffix = strlen(BACKUP_SUFFIX);
    if (length <= suffix || length >= NAME_SIZE || name[0] == '.' ||
        strcmp(name + length - suffix, BACKUP_SUFFIX) != 0)
        return false;
    for (const char *at = name; *at != '\0'; at++)
        if (isalnum((unsigned char)*at) == 0 && strchr("-.", *at) == NULL)
            return false;
    return true;
}

static int folder_make(const char *folder, struct err *err)
{
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
}

// Finds the oldest by its instant of change; returns how many there are.
static int find_oldest(int folder, char oldest[static NAME_SIZE])
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    struct timespec first = {0};
    int count = 0;
    if (dir == NULL) {
        if (copy >= 0)
            (void)close(copy);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat status;
        if (!is_backup_name(entry->d_name) ||
            fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bool older =
            status.st_mtim.tv_sec < first.tv_sec ||
            (status.st_mtim.tv_sec == first.tv_sec && status.st_mtim.tv_nsec < first.tv_nsec);
        if (count++ == 0 || older) {
            first = status.st_mtim;
            (void)snprintf(oldest, NAME_SIZE, "%s", entry->d_name);
        }
    }
    (void)closedir(dir);
    return count;
}

// Makes room for the next one.
static void drop_old(const char *path)
{
    char oldest[NAME_SIZE];
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    while (folder >= 0 && find_oldest(folder, oldest) >= BACKUPS_KEPT)
        if (unlinkat(folder, oldest, 0) != 0)
            break;
    if (folder >= 0)
        (void)close(folder);
}

// "site-042-20261123T081500.412Z.backup"
static void name_backup(const char *gateway, int64_t now_ms, char name[static NAME_SIZE])
{
    char at[TIME_TEXT_MAX];
    char packed[TIME_TEXT_MAX];
    size_t length = 0;
    (void)time_print(now_ms, at);
    for (const char *letter = at; *letter != '\0'; letter++)
        if (*letter != '-' && *letter != ':')
            packed[length++] = *letter;
    packed[length] = '\0';
    (void)snprintf(name, NAME_SIZE, "%s-%s" BACKUP_SUFFIX, gateway, packed);
}

// --- the files beside the store ---

struct collection {
    int count;
    struct backup_file files[8];
    struct buf contents[8];
    char left_out[256];
};

// A file that cannot be read is named, and is no reason to have no backup.
static void collect(struct collection *collection, const char *name, const char *path)
{
    if (path[0] == '\0')
        return;
    int place = collection->count;
    struct buf *content = &collection->contents[place];
    buf_init(content, BACKUP_FILE_BYTES_MAX);
    if (file_read(path, content, NULL) != 0) {
        size_t length = strlen(collection->left_out);
        (void)snprintf(collection->left_out + length, sizeof collection->left_out - length, "%s%s",
                       length > 0 ? ", " : "", name);
        return;
    }
    struct backup_file *file = &collection->files[place];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    (void)snprintf(file->origin, sizeof file->origin, "%s", path);
    file->bytes = content->data;
    file->length = content->length;
    collection->count++;
}

// What the configuration names and is no secret: no keys, no passwords, no tokens.
static void collect_all(struct collection *collection, const struct command_context *context)
{
    if (context->gateway == NULL)
        return;
    struct config *config = gateway_config(context->gateway);
    char page[PATH_SIZE];
    (void)snprintf(page, sizeof page, "%s/web/certificate.pem", state_folder(context));
    collect(collection, "office-ca.pem", config->office.ca);
    collect(collection, "office-certificate.pem", config->office.certificate);
    collect(collection, "office-command.pub", config->office.command_key);
    collect(collection, "grading-policy.yaml", config->grading_policy);
    collect(collection, "grading-customers.csv", config->grading_customers);
    if (config->web_certificate[0] != '\0')
        collect(collection, "page-certificate.pem", config->web_certificate);
    else if (access(page, F_OK) == 0)
        collect(collection, "page-certificate.pem", page);
    config_unref(config);
}

static void collection_release(struct collection *collection)
{
    for (int i = 0; i < collection->count; i++)
        buf_release(&collection->contents[i]);
}

// --- the copy ---

struct copy {
    const char *path;
    struct store_backup *backup;
    const struct clock *clock;
    int more, done, all;
    int64_t at_ms;
};

static int copy_begin(struct store *store, void *argument, struct err *err)
{
    struct copy *copy = argument;
    return store_backup_begin(store, copy->path, &copy->backup, err);
}

static int copy_step(struct store *store, void *argument, struct err *err)
{
    struct copy *copy = argument;
    (void)store;
    copy->more = store_backup_step(copy->backup, BACKUP_SLICE_PAGES, &copy->done, &copy->all, err);
    copy->at_ms = clock_wall_ms(copy->clock);
    return copy->more < 0 ? -1 : 0;
}

static int copy_end(struct store *store, void *argument, struct err *err)
{
    struct copy *copy = argument;
    (void)store;
    (void)err;
    store_backup_free(copy->backup);
    copy->backup = NULL;
    return 0;
}

static int on_store(const struct command_context *context, recorder_task *task, struct copy *copy,
                    struct err *err)
{
    if (context->gateway == NULL)
        return task(context->store, copy, err);
    return recorder_run_between(gateway_recorder(context->gateway), task, copy, err);
}

static void tell_progress(const struct command_context *context, const struct copy *copy)
{
    struct buf text;
    struct writer writer;
    if (context->stream == NULL)
        return;
    buf_init(&text, PROGRESS_MAX);
    writer_init(&writer, &text);
    writer_object(&writer);
    writer_key_int(&writer, "pages", copy->done);
    writer_key_int(&writer, "of", copy->all);
    writer_end(&writer);
    context->stream->more(context->stream->context, &text);
    buf_release(&text);
}

// Between slices readings have at least as long as a slice took.
static int copy_all(const struct command_context *context, struct copy *copy, struct err *err)
{
    do {
        int64_t before = clock_boot_ns(&clock_system);
        if (on_store(context, copy_step, copy, err) != 0)
            return COMMAND_FAILED;
        tell_progress(context, copy);
        if (context->stream != NULL && context->stream->is_cancelled(context->stream->context)) {
            (void)err_set(err, "the backup was ended before it was whole");
            return COMMAND_FAILED;
        }
        int64_t took = clock_boot_ns(&clock_system) - before;
        struct timespec rest = {.tv_sec = took / 1000000000, .tv_nsec = took % 1000000000};
        if (copy->more == 1 && context->gateway != NULL)
            (void)nanosleep(&rest, NULL);
    } while (copy->more == 1);
    return COMMAND_DONE;
}

static void print_result(struct writer *result, const char *name, const struct backup_about *about,
                         const struct backup_summary *summary)
{
    writer_object(result);
    writer_key_text(result, "file", name);
    writer_key_text(result, "folder", BACKUPS_FOLDER);
    writer_key_text(result, "gateway", about->gateway);
    writer_key_time(result, "at", about->at_ms);
    writer_key_int(result, "bytes", summary->bytes);
    writer_key_text(result, "sha256", summary->sum);
    writer_key_text(result, "left_out", about->left_out[0] != '\0' ? about->left_out : NULL);
    writer_end(result);
}

static int gateway_name(const struct command_context *context, char name[static ID_SIZE],
                        struct err *err)
{
    struct store *store = NULL;
    if (command_reader_open(context, &store, err) != 0)
        return -1;
    int found = store_setting_get(store, "gateway", name, ID_SIZE, err);
    command_reader_close(context, store);
    if (found == 0)
        return err_set(err, "the store belongs to no gateway yet: start the gateway once");
    return found == 1 ? 0 : -1;
}

static int finish(const struct command_context *context, const struct copy *copy,
                  const char *gateway, struct writer *result, struct err *err)
{
    struct collection collection = {.count = 0};
    struct backup_summary summary;
    collect_all(&collection, context);
    struct backup_about about = {.at_ms = copy->at_ms,
                                 .gateway = gateway,
                                 .software = software_version,
                                 .files = collection.files,
                                 .file_count = collection.count,
                                 .left_out = collection.left_out};
    int status = store_backup_finish(copy->backup, &about, &summary, err) == 0 ? COMMAND_DONE
                                                                               : COMMAND_FAILED;
    if (status == COMMAND_DONE)
        print_result(result, strrchr(copy->path, '/') + 1, &about, &summary);
    collection_release(&collection);
    return status;
}

static int make_backup(const struct command_context *context, struct writer *result,
                       struct err *err)
{
    char gateway[ID_SIZE];
    char folder[PATH_SIZE];
    char path[PATH_SIZE + NAME_SIZE];
    char name[NAME_SIZE];
    struct copy copy = {.path = path, .clock = context->clock};
    (void)snprintf(folder, sizeof folder, "%s/" BACKUPS_FOLDER, state_folder(context));
    if (gateway_name(context, gateway, err) != 0 || folder_make(folder, err) != 0)
        return COMMAND_FAILED;
    drop_old(folder);
    name_backup(gateway, clock_wall_ms(context->clock), name);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int status = on_store(context, copy_begin, &copy, err) != 0 ? COMMAND_FAILED
                                                                : copy_all(context, &copy, err);
    if (status == COMMAND_DONE)
        status = finish(context, &copy, gateway, result, err);
    (void)on_store(context, copy_end, &copy, NULL);
    return status;
}

int command_backup(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0)
        return fault;
    if (atomic_flag_test_and_set(&busy)) {
        (void)err_set(err, "a backup is being made already: wait for its end");
        return COMMAND_BUSY;
    }
    int status = make_backup(context, result, err);
    atomic_flag_clear(&busy);
    return status;
}

// --- piece by piece to the page ---

static int print_piece(int file, int64_t offset, int64_t size, struct writer *result,
                       struct err *err)
{
    unsigned char *bytes = malloc(PIECE_BYTES);
    unsigned char *text = malloc(PIECE_BYTES / 3 * 4 + 1);
    ssize_t got = bytes != NULL && text != NULL ? pread(file, bytes, PIECE_BYTES, offset) : -1;
    if (got >= 0) {
        (void)EVP_EncodeBlock(text, bytes, (int)got);
        writer_object(result);
        writer_key_text(result, "data", (const char *)text);
        writer_key(result, "next");
        if (got > 0 && offset + got < size)
            writer_int(result, offset + got);
        else
            writer_null(result);
        writer_end(result);
    }
    free(bytes);
    free(text);
    if (got < 0)
        (void)err_set(err, "the backup cannot be read now");
    return got >= 0 ? COMMAND_DONE : COMMAND_FAILED;
}

int command_backup_read(struct command_context *context, const struct principal *who,
                        const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *name = NULL;
    json_int_t offset = 0;
    char path[PATH_SIZE + NAME_SIZE];
    struct stat status;
    int fault =
        command_unpack(context, arguments, err, "{s:s, s:I !}", "file", &name, "offset", &offset);
    if (fault != 0)
        return fault;
    if (!is_backup_name(name) || offset < 0) {
        (void)err_set(err, "'%.64s' is no name of a backup, or the offset is below 0", name);
        return COMMAND_ARGUMENTS;
    }
    (void)snprintf(path, sizeof path, "%s/" BACKUPS_FOLDER "/%s", state_folder(context), name);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || fstat(file, &status) != 0) {
        if (file >= 0)
            (void)close(file);
        (void)err_set(err, "there is no backup '%.64s' any more: make a new one", name);
        return COMMAND_FAILED;
    }
    int done = print_piece(file, offset, (int64_t)status.st_size, result, err);
    (void)close(file);
    return done;
}
