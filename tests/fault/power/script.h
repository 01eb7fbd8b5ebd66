// A seeded life of a store: rounds with readings, periods, alerts, gaps, acknowledgements, audit
// records, settings, accounts, revisions and retention, cancelled ones, checkpoints, clean closes
// and starts. Beside it, outside of the product, a plain list of what was given to it and
// acknowledged, and what the tables held after each acknowledgement.
#ifndef METERGATE_TESTS_FAULT_POWER_SCRIPT_H
#define METERGATE_TESTS_FAULT_POWER_SCRIPT_H

#include "chance.h"
#include "dump.h"

#include "store/store.h"

#define SCRIPT_ROUNDS 64
#define SCRIPT_METERS 3
#define SCRIPT_GIVEN 4096
#define SCRIPT_STATES (2 * SCRIPT_ROUNDS)
#define SCRIPT_WHY 2048
#define SCRIPT_WHO "power:0" // who the audit's records name

// How the store is run: as the product does, or worse, to show that the harness sees it.
enum script_sync {
    SCRIPT_FULL,
    SCRIPT_NORMAL,
    SCRIPT_NO_JOURNAL,
    SCRIPT_LYING // the disk, from a round on
};
#define SCRIPT_LYING_FROM 4

enum given_kind {
    GIVEN_READING,
    GIVEN_PERIOD,
    GIVEN_CHANGE,
    GIVEN_GAP,
    GIVEN_AUDIT,
    GIVEN_ACCOUNT,
    GIVEN_SETTING
};
struct given {
    enum given_kind kind;
    uint64_t key, content;
    int64_t at_ms;
    enum lane lane; // 0: not sent
    int64_t seq;
    int born; // the round that committed it
    int died; // the round that took or replaced it; INT_MAX: none
    int gone; // the round that took its message, or its row; INT_MAX: none
    bool seen;
};

// How things stand after a round.
struct script_after {
    int64_t last[LANES_END], acknowledged[LANES_END], confirmed[LANES_END]; // seqs
    bool open[SCRIPT_METERS][ALERT_KINDS];                                  // alerts
    int audits;
};

struct script {
    struct chance chance;
    enum script_sync sync;
    bool older; // the life begins with a store of an earlier version, which is brought up to date
    bool large; // one round is larger than the log may grow
    const char *folder;
    struct store *store;
    struct meter *meters[SCRIPT_METERS];
    int numbers[SCRIPT_METERS], decoder;
    int64_t now_ms;
    int round; // that is open, or the next one
    struct given given[SCRIPT_GIVEN];
    int given_count;
    struct script_after after[SCRIPT_ROUNDS];
    // What the tables held when the first start was done (state 1, round 0), and after each round;
    // state 0: before.
    struct script_state {
        int round;
        struct dump dump;
    } states[SCRIPT_STATES];
    int state_count;
    // After a first cut: the round that was on its way then. Where the log's frames that the store
    // writes next begin as those of that round did (the same setting), and the power goes before
    // the others are written, the old ones follow: that round is there after all, whole.
    struct script_state belated;
    bool has_belated;
    int acknowledged;     // state
    bool in_flight;       // a commit has not returned: the state behind is there or not
    int refused;          // rounds and starts that failed
    char why[SCRIPT_WHY]; // what went wrong
};

// Free with script_free.
struct script *script_new(struct chance chance, enum script_sync sync, bool large);
void script_free(struct script *script);

// Puts a store of an earlier version into the folder: the SQL text of one. -1 with `why`.
int script_older(struct script *script, const char *folder, const char *sql_path);

// Lives `rounds` rounds in the folder, which is empty or holds a store of an earlier version, and
// closes the store. The disk's marks are the newest acknowledged state. -1 with `why`.
int script_run(struct script *script, const char *folder, int rounds);

// The same on a disk that fails: what fails is given up and the next thing done. False: it did not
// start any more. What is acknowledged stands in `acknowledged`.
bool script_endure(struct script *script, const char *folder, int rounds);

// Opens the store that a cut has left, as the product does, and holds it against the states
// `first`..`last`. Returns which of them it is, and leaves it open in script->store; -1 with `why`.
int script_reopen(struct script *script, const char *folder, int first, int last);
// Goes on with the store that script_reopen found in `state`: what came after it is forgotten, it
// never was. One round more, and a close. -1 with `why`.
int script_go_on(struct script *script, int state);
void script_close(struct script *script);

// Whether the store that script_reopen left open is a new one.
bool script_is_new(struct script *script);

int script_fail(struct script *script, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// --- inside ---

// Gives the open round something of everything, at random. -1 with `why`.
int script_fill(struct script *script);
uint64_t given_key(enum given_kind kind, const char *name, int64_t first, int64_t second);
uint64_t image_hash(const struct profile *profile, const struct image *image);
uint64_t period_hash(const struct period *period);
uint64_t change_hash(const struct alert_change *change);
// What is in the store against the list, as it was after `round`.
int script_check(struct script *script, int round);
// Retention of what is older than `before_ms` has been at work in the open round,: finds
// out what it took, and that none of it was too young or is still to be sent.
int script_retained(struct script *script, int64_t before_ms);
// The list's entry; NULL: the bound of the list is reached.
struct given *script_give(struct script *script, enum given_kind kind, uint64_t key,
                          uint64_t content);

#endif
