// Backup: the whole store in one file while rounds go on, with the files beside it that belong to
// the gateway; and back.
//
// The copy is made in slices on the writing connection: what a round changes meanwhile is changed
// in the copy too, no read transaction is held, and the log does not grow. The file is a SQLite
// database (tables of the store, and backup_note, backup_file), mode 0600, sealed (seal.h).
//
// What is secret in it: the accounts with their password hashes (scrypt), and all figures. What is
// not in it: private keys, passwords and tokens of the configuration's files.
#ifndef METERGATE_STORE_BACKUP_H
#define METERGATE_STORE_BACKUP_H

#include "store/seal.h"
#include "store/store.h"

#define BACKUP_SLICE_PAGES 1024 // 4 MiB: how long a round may wait for the copy
#define BACKUP_FILES_MAX 512
#define BACKUP_FILE_BYTES_MAX (8 * 1024 * 1024)

struct store_backup;

// Begins a copy into `path`.part. Refuses where the disk has no room for it. In the thread of the
// store, between rounds; so is store_backup_step.
int store_backup_begin(struct store *store, const char *path, struct store_backup **out,
                       struct err *err);
// Copies up to `pages` pages: 1 more is left, 0 the copy is whole, and shows the store as of now,
// -1 failed: it can only be freed. `done` and `all` receive pages; NULL is fine.
int store_backup_step(struct store_backup *backup, int pages, int *done, int *all, struct err *err);

struct backup_file {
    char name[64];     // in the backup, such as "office-ca.pem"
    char origin[256];  // where it was read
    const void *bytes; // the caller's
    size_t length;
};
struct backup_about {
    int64_t at_ms; // when the copy was whole
    const char *gateway, *software;
    const struct backup_file *files;
    int file_count;
    const char *left_out; // names of files that could not be read, "" without
};
struct backup_summary {
    int64_t bytes;
    char sum[SEAL_TEXT_SIZE];
};
// Adds the files, and from the store itself "config.yaml" and "profiles/NAME.yaml"; seals the copy
// and gives it its name, where it replaces nothing. In any thread.
int store_backup_finish(struct store_backup *backup, const struct backup_about *about,
                        struct backup_summary *out, struct err *err);
// Takes an unfinished copy away. In the thread of the store while the copy is not whole. NULL is
// fine.
void store_backup_free(struct store_backup *backup);

// --- restore ---

#define RESTORED_FOLDER "restored" // in the state directory: the files of the backup, but the store
#define RESTORE_SETTING "restored" // "STREAM TIME": the stream before, when the backup was made

struct restore_settings {
    const char *directory; // state directory
    const char *path;      // the backup
    const char *who;
    int64_t now_ms;
};
struct restore_report {
    char gateway[ID_SIZE];
    char old_stream[UUID_SIZE], stream[UUID_SIZE];
    int64_t backup_ms;
    int64_t waiting; // messages that were not acknowledged in the backup: they are sent again
    int faults;      // of the store in the backup, by store_verify
    char aside[64];  // folder in the state directory that receives the present state
};
// Checks the backup, and makes the state that it becomes beside the present one: the store under a
// new stream, which says in its audit chain, in an alert and in gaps what has become of the old
// one. When it returns 0 the restore is decided: whoever opens the store for writing next takes it
// over (store_restore_finish), also after a power cut. When it fails nothing has changed. Under
// DIR/lock, or while the gateway that holds it runs: then it is taken over at its next start.
int store_restore(const struct restore_settings *settings, struct restore_report *out,
                  struct err *err);
// Takes a decided restore over: the present state goes aside, never away. Where nothing is decided
// it does nothing. Under DIR/lock. store_open calls it.
int store_restore_finish(const char *directory, struct err *err);
// Whether a decided restore waits for a start.
bool store_restore_waits(const char *directory);

#endif
