// metergate backup, metergate restore: the whole state in one file, and back.
#include "base/clock.h"
#include "base/log.h"
#include "base/timetext.h"
#include "cli/cli.h"
#include "cli/local_call.h"
#include "cli/options.h"
#include "control/control.h"
#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define RESULT_MAX 65536
#define TIMEOUT_MS 120000 // from one slice to the next
#define CHUNK 65536

struct options {
    const char *state, *path;
    bool json, at_restart;
};

static const char backup_help[] =
    "usage: metergate backup FILE --state DIR [--json]\n"
    "\n"
    "Writes the whole state of the gateway into FILE, also while it runs: readings, periods,\n"
    "alerts, audit, what waits for head office, the configuration with its revisions, the\n"
    "profiles, and the certificates and lists that the configuration names. FILE must not be\n"
    "there yet. It is a SQLite database with a check sum at its end.\n"
    "\n"
    "FILE is secret (mode 0600): it holds the customers' figures and the accounts of the page "
    "with\n"
    "their password hashes. It holds no private key, no password and no token of the\n"
    "configuration's files: keep those elsewhere.\n"
    "\n"
    "  --state DIR   state directory of the gateway\n"
    "  --json        what was written, as JSON\n";

static const char restore_help[] =
    "usage: metergate restore FILE --state DIR [--at-restart] [--json]\n"
    "\n"
    "Makes the state in DIR that of a backup. FILE is checked whole before anything is touched. "
    "The\n"
    "present state is kept, in DIR/before-restore-TIME. The configuration, profiles and\n"
    "certificates of the backup are put into DIR/" RESTORED_FOLDER
    ": the gateway goes on to run with the file that\n"
    "`run --config` names. A new stream begins: messages that head office had not acknowledged\n"
    "when the backup was made are sent again, and a gap names the others.\n"
    "\n"
    "  --state DIR    state directory; the gateway must not run\n"
    "  --at-restart   the gateway may run: it takes the backup over at its next start\n"
    "  --json         what was done, as JSON\n";

// CLI_GO, or an exit status after a message or the help.
static int parse(int argc, char **argv, const char *help, struct options *options)
{
    const struct cli_option known[] = {{"state", &options->state, NULL},
                                       {"at-restart", NULL, &options->at_restart},
                                       {"json", NULL, &options->json},
                                       {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, &options->path, 1};
    int status = cli_options(argc, argv, &line);
    if (status != CLI_GO)
        return status;
    if (options->path == NULL)
        return cli_usage(argv[0], "name the file of the backup");
    if (options->state == NULL)
        return cli_usage(argv[0], "say where the gateway keeps its state: --state DIR");
    return CLI_GO;
}

// --- backup ---

static bool keep_waiting(void *context, const char *json)
{
    (void)context;
    (void)json;
    return true;
}

// The answer of the command, or NULL with a message. The caller's.
static json_t *make_backup(const char *directory, struct err *err)
{
    struct buf text;
    const struct control_watch watch = {.more = keep_waiting};
    buf_init(&text, RESULT_MAX);
    int status = control_call_stream(directory, "backup", NULL, TIMEOUT_MS, &watch, &text, err);
    if (status == CONTROL_NOT_RUNNING)
        status = local_call_stopped(directory, "backup", NULL, &text, err);
    json_t *result = status == 0 ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (status == 0 && result == NULL)
        (void)err_set(err, "the gateway's answer cannot be read: is it another version?");
    buf_release(&text);
    return result;
}

static int copy_bytes(int from, int to)
{
    char chunk[CHUNK];
    for (;;) {
        ssize_t got = read(from, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        for (ssize_t at = 0; at < got;) {
            ssize_t put = write(to, chunk + at, (size_t)(got - at));
            if (put < 0 && errno != EINTR)
                return -1;
            at += put > 0 ? put : 0;
        }
    }
}

static int sync_folder_of(const char *path)
{
    char copy[PATH_SIZE];
    (void)snprintf(copy, sizeof copy, "%s", path);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = folder >= 0 ? fsync(folder) : -1;
    if (folder >= 0)
        (void)close(folder);
    return result == 0 || errno == EINVAL ? 0 : -1;
}

// The gateway may not write where the caller may: it writes into its own folder, we fetch it there.
static int fetch(const char *from, const char *path, struct err *err)
{
    int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (source < 0)
        return err_set(err, "%s: cannot be opened: %s", from, strerror(errno));
    int target = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (target < 0) {
        int why = errno;
        (void)close(source);
        return err_set(err, "%s: cannot be made: %s; the backup stays in %s", path, strerror(why),
                       from);
    }
    int result = copy_bytes(source, target) == 0 && fsync(target) == 0
                     ? 0
                     : err_set(err, "%s: cannot be written: %s; the backup stays in %s", path,
                               strerror(errno), from);
    (void)close(source);
    (void)close(target);
    if (result == 0 && sync_folder_of(path) != 0)
        result = err_set(err, "%s: its folder cannot be synced: %s", path, strerror(errno));
    if (result != 0)
        (void)unlink(path);
    return result;
}

static int bring(const struct options *options, json_t *result, struct err *err)
{
    char from[PATH_SIZE];
    char sum[SEAL_TEXT_SIZE];
    const char *name = json_string_value(json_object_get(result, "file"));
    const char *folder = json_string_value(json_object_get(result, "folder"));
    const char *said = json_string_value(json_object_get(result, "sha256"));
    if (name == NULL || folder == NULL || said == NULL || strchr(name, '/') != NULL ||
        strchr(folder, '/') != NULL ||
        (size_t)snprintf(from, sizeof from, "%s/%s/%s", options->state, folder, name) >=
            sizeof from)
        return err_set(err, "the gateway's answer cannot be read: is it another version?");
    if (fetch(from, options->path, err) != 0 || seal_check(options->path, sum, err) != 0)
        return -1;
    if (strcmp(sum, said) != 0)
        return err_set(err, "%s: is not what the gateway wrote; do it again", options->path);
    (void)unlink(from);
    (void)json_object_set_new(result, "file", json_string(options->path));
    (void)json_object_del(result, "folder");
    return 0;
}

int backup_main(int argc, char **argv)
{
    struct options options = {0};
    struct err err;
    int status = parse(argc, argv, backup_help, &options);
    if (status != CLI_GO)
        return status;
    if (options.at_restart)
        return cli_usage("backup", "--at-restart belongs to restore");
    if (access(options.path, F_OK) == 0)
        return cli_problem("backup", "%s is there already: name a new file", options.path);
    json_t *result = make_backup(options.state, &err);
    if (result == NULL || bring(&options, result, &err) != 0) {
        json_decref(result);
        return cli_problem("backup", "%s", err.text);
    }
    if (options.json) {
        (void)json_dumpf(result, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        (void)putchar('\n');
    } else {
        const char *left_out = json_string_value(json_object_get(result, "left_out"));
        printf("%s: the state of %s, %" JSON_INTEGER_FORMAT
               " bytes\nKeep it secret: it holds password hashes. Private keys and password files "
               "are not in it.\n",
               options.path, json_string_value(json_object_get(result, "at")),
               json_integer_value(json_object_get(result, "bytes")));
        if (left_out != NULL)
            printf("Could not be read and is not in it: %s\n", left_out);
    }
    json_decref(result);
    return EXIT_DONE;
}

// --- restore ---

static void print_report(const struct options *options, const struct restore_report *report,
                         bool waits)
{
    char at[TIME_TEXT_MAX] = "";
    (void)time_print(report->backup_ms, at);
    if (options->json) {
        struct buf text;
        struct writer writer;
        buf_init(&text, RESULT_MAX);
        writer_init(&writer, &text);
        writer_object(&writer);
        writer_key_text(&writer, "gateway", report->gateway);
        writer_key_text(&writer, "at", at);
        writer_key_text(&writer, "old_stream", report->old_stream);
        writer_key_text(&writer, "stream", report->stream);
        writer_key_int(&writer, "waiting", report->waiting);
        writer_key_int(&writer, "faults", report->faults);
        writer_key_text(&writer, "aside", report->aside);
        writer_key_bool(&writer, "at_restart", waits);
        writer_end(&writer);
        if (!text.failed)
            (void)puts(text.data);
        buf_release(&text);
        return;
    }
    printf("%s: the state of gateway %s of %s\n"
           "New stream %s (before: %s); %lld messages wait for head office\n"
           "The state before %s %s/%s; files of the backup are in %s/%s\n",
           options->path, report->gateway, at, report->stream, report->old_stream,
           (long long)report->waiting, waits ? "goes to" : "is kept in", options->state,
           report->aside, options->state, RESTORED_FOLDER);
    if (report->faults > 0)
        printf("The store in the backup has %d faults: 'metergate verify' names them\n",
               report->faults);
    if (waits)
        (void)puts("Restart the gateway: it takes this over at its start");
}

// Under the lock it is taken over at once.
static int restore(const struct options *options, struct restore_report *report, bool *waits,
                   struct err *err)
{
    char who[32];
    int lock = -1;
    (void)snprintf(who, sizeof who, "local:%u", (unsigned)geteuid());
    const struct restore_settings settings = {.directory = options->state,
                                              .path = options->path,
                                              .who = who,
                                              .now_ms = clock_wall_ms(&clock_system)};
    // A folder that is not there yet: a gateway on a new machine.
    if (mkdir(options->state, 0700) != 0 && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", options->state, strerror(errno));
    *waits = control_lock(options->state, &lock, err) != 0;
    if (*waits && !options->at_restart)
        return err_add(err, "restore needs a gateway that does not run, or --at-restart");
    if (!*waits && store_restore_finish(options->state, err) != 0) {
        (void)close(lock);
        return -1;
    }
    int result = store_restore(&settings, report, err);
    if (result == 0 && !*waits)
        result = store_restore_finish(options->state, err);
    if (lock >= 0)
        (void)close(lock);
    return result;
}

int restore_main(int argc, char **argv)
{
    struct options options = {0};
    struct restore_report report = {.waiting = 0};
    struct err err;
    bool waits = false;
    int status = parse(argc, argv, restore_help, &options);
    if (status != CLI_GO)
        return status;
    log_set_level(LOG_LEVEL_WARN);
    if (restore(&options, &report, &waits, &err) != 0)
        return cli_problem("restore", "%s", err.text);
    print_report(&options, &report, waits);
    return EXIT_DONE;
}
