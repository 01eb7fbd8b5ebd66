// Power cuts under the store: what was acknowledged is there after each, whole and once; at most
// the round that was on its way is there or not; nothing is damaged.
//
// usage: power_cut CUTS SEED [MODE [RUN CUT]]; prints one JSON object, exits 1 when a promise was
// broken, naming run and cut, which then can be repeated alone.
//
// MODE full        as the product runs: the figures that count
//      every       a cut in each single call of the script, each as often as CUTS says
//      killed      a kill of the process in front of each single call, in place of a cut
//      older       the first start brings a store of an earlier version (tests/data/stores, below
//                  the working directory or $METERGATE_STORES) up to date: a cut in each call of it
//      files       the same of files that are replaced whole (base/file.h)
//      normal      PRAGMA synchronous = NORMAL: the cuts must lose rows, else this is blind
//      no-journal  without a journal: they must leave damage
//      lying       a disk whose syncs do nothing from the fourth round on: what is there after it
//      is
//                  damage that is found, or an older state, whole, or a new store; a mixture of
//                  states that nothing finds may come in 1 of 200 cuts (the end of the readings is
//                  in no head yet): only what the office has tells it
//
// A run lives a script (power/script.h) on a disk that writes down every call (power/disk.h), then
// is cut at random calls of it: nothing that happens before a cut depends on it, so one life serves
// for many. Each fourth cut is followed by another one while the store recovers or goes on.
#include "power/disk.h"
#include "power/files.h"
#include "power/random.h"
#include "power/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2
#define CUTS_OF_A_RUN 100
#define ROUNDS_MIN 16
#define ROUNDS_MAX 30
#define ROUNDS_OLDER 2
#define VERSIONS 15     // in tests/data/stores
#define ROUNDS_EVERY 10 // of a life that is cut in each call
#define SECOND_ONE_IN 4
#define LARGE_ONE_IN 40 // runs
#define FAILURES_TOLD 5
#define LYING_MORE 1000 // five more than one in 200: cuts of one life fall alike

enum mode {
    MODE_FULL,
    MODE_EVERY,
    MODE_KILLED,
    MODE_OLDER,
    MODE_FILES,
    MODE_NORMAL,
    MODE_NO_JOURNAL,
    MODE_LYING,
    MODES
};
static const char *const mode_texts[MODES] = {"full",  "every",  "killed",     "older",
                                              "files", "normal", "no-journal", "lying"};

// One life of each worker, and each of its calls.
static bool is_each(enum mode mode)
{
    return mode == MODE_EVERY || mode == MODE_KILLED || mode == MODE_OLDER;
}

// Of all workers; in memory that they share.
struct figures {
    long cuts, second_cuts, runs, steps;
    long kept;     // the round on its way was there whole
    long lost;     // acknowledged and not there: an older state, whole
    long damaged;  // said so by the start, verify or integrity_check
    long anew;     // a new store stands in its place
    long unseen;   // neither a state that ever was, nor said to be damaged
    long failures; // of any kind
    int run, cut;  // where the worker is
};

struct work {
    enum mode mode;
    uint64_t seed;
    long cuts;
    int first_run, only_cut; // -1: all
    char life[64], after[64];
    struct figures *figures;
};

static void tell(const struct work *work, const char *what, const char *why)
{
    if (work->figures->failures++ < FAILURES_TOLD)
        (void)fprintf(stderr, "power_cut: %s: run %d, cut %d, seed %llu: %s\n", what,
                      work->figures->run, work->figures->cut, (unsigned long long)work->seed, why);
}

// In the modes that are worse than the product, a fault is what is looked for.
static void judge(struct work *work, const char *what, struct script *script)
{
    struct figures *figures = work->figures;
    bool lost = strncmp(script->why, "lost:", 5) == 0;
    bool unseen = strncmp(script->why, "it is no state", 14) == 0;
    if (unseen && script_is_new(script)) {
        figures->anew++;
        unseen = false;
    } else {
        figures->damaged += !lost && !unseen;
    }
    figures->lost += lost;
    figures->unseen += unseen;
    if (work->mode <= MODE_OLDER || (work->mode == MODE_LYING && unseen))
        tell(work, what, script->why);
}

static int last_state(const struct script *script, int acknowledged)
{
    return acknowledged + 1 < script->state_count ? acknowledged + 1 : acknowledged;
}

static int mark_at(const struct disk_record *record, int at)
{
    return at < record->step_count ? record->steps[at].mark : record->mark;
}

// The power goes again, while the store recovers or goes on.
static void cut_again(struct work *work, struct script *script, int first, int last,
                      struct chance *chance)
{
    static struct disk_record record;
    struct figures *figures = work->figures;
    disk_begin(&record, work->after);
    disk_mark(-1);
    int state = script_reopen(script, work->after, first, last);
    bool went_on = state >= 0 && script_go_on(script, state) == 0;
    disk_end();
    if (!went_on) {
        judge(work, "after the first cut", script);
        script_close(script);
    } else {
        int at = (int)chance_between(chance, 0, record.step_count);
        int mark = mark_at(&record, at) < state ? state : mark_at(&record, at);
        disk_cut(&record, at, chance, work->after);
        figures->second_cuts++;
        if (script_reopen(script, work->after, mark, last_state(script, mark)) < 0)
            judge(work, "after the second cut", script);
        script_close(script);
    }
    disk_release(&record);
}

static void cut_once(struct work *work, struct script *script, const struct disk_record *record,
                     int at, struct chance *chance)
{
    struct figures *figures = work->figures;
    int first = mark_at(record, at);
    int last = last_state(script, first);
    if (work->mode == MODE_KILLED)
        disk_kill(record, at, chance, work->after);
    else
        disk_cut(record, at, chance, work->after);
    figures->cuts++;
    script->why[0] = '\0';
    if (work->mode <= MODE_OLDER && chance_one_in(chance, SECOND_ONE_IN)) {
        static struct script copy;
        copy = *script;
        cut_again(work, &copy, first, last, chance);
        return;
    }
    int state = script_reopen(script, work->after, first, last);
    figures->kept += state > first && first > 0;
    if (state < 0)
        judge(work, "after the cut", script);
    script_close(script);
}

// A quarter of the cuts comes in any call; a quarter while a sync is on its way, so that all is
// written and nothing of it is sure; half in any round, so that the many calls of a checkpoint and
// of a start do not outweigh those of the rounds.
static int draw_call(const struct disk_record *record, struct chance *chance)
{
    int at = (int)chance_between(chance, 0, record->step_count);
    int64_t way = chance_between(chance, 0, 3);
    if (way == 1) {
        while (at < record->step_count && record->steps[at].call != DISK_SYNC)
            at++;
    } else if (way > 1) {
        int mark = (int)chance_between(chance, 1, record->mark);
        int first = 0;
        while (first < record->step_count && record->steps[first].mark < mark)
            first++;
        int end = first;
        while (end < record->step_count && record->steps[end].mark == mark)
            end++;
        at = (int)chance_between(chance, first, end);
    }
    return at;
}

static void cuts_of_run(struct work *work, struct script *script, const struct disk_record *record,
                        long cuts)
{
    for (int i = 0; i < cuts; i++) {
        if (work->only_cut >= 0 && i != work->only_cut)
            continue;
        struct chance chance = chance_of(work->seed, (uint64_t)work->figures->run, (uint64_t)i + 1);
        work->figures->cut = i;
        random_seed(chance);
        int at = is_each(work->mode) ? i % (record->step_count + 1) : draw_call(record, &chance);
        cut_once(work, script, record, at, &chance);
    }
}

static bool older_make(struct work *work, struct script *script, int run)
{
    const char *folder = getenv("METERGATE_STORES");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/v%d.sql", folder == NULL ? "tests/data/stores" : folder,
                   run + 1);
    return script_older(script, work->life, path) == 0;
}

static bool run_do(struct work *work, int run)
{
    static const enum script_sync syncs[MODES] = {[MODE_NORMAL] = SCRIPT_NORMAL,
                                                  [MODE_NO_JOURNAL] = SCRIPT_NO_JOURNAL,
                                                  [MODE_LYING] = SCRIPT_LYING};
    static struct disk_record record;
    struct chance chance = chance_of(work->seed, (uint64_t)run, 0);
    bool large = work->mode == MODE_FULL && chance_one_in(&chance, LARGE_ONE_IN);
    int rounds = work->mode == MODE_OLDER ? ROUNDS_OLDER
                 : is_each(work->mode)    ? ROUNDS_EVERY
                                          : (int)chance_between(&chance, ROUNDS_MIN, ROUNDS_MAX);
    struct script *script = script_new(chance, syncs[work->mode], large);
    work->figures->run = run;
    work->figures->cut = -1;
    random_seed(chance);
    disk_empty(work->life);
    bool lived = work->mode != MODE_OLDER || older_make(work, script, run);
    disk_begin(&record, work->life);
    lived = lived && script_run(script, work->life, rounds) == 0;
    disk_end();
    if (lived) {
        long cuts = is_each(work->mode) ? work->cuts * (record.step_count + 1) : CUTS_OF_A_RUN;
        cuts_of_run(work, script, &record, cuts);
        work->figures->runs++;
        work->figures->steps += record.step_count;
    } else {
        tell(work, "without a cut", script->why);
    }
    disk_release(&record);
    script_free(script);
    return lived;
}

// --- small files ---

static void files_cut(struct work *work, const struct files *files,
                      const struct disk_record *record, int i)
{
    char why[SCRIPT_WHY];
    struct chance chance = chance_of(work->seed, (uint64_t)work->figures->run, (uint64_t)i + 1);
    // Each call once, then at random.
    int at = i <= record->step_count ? i : (int)chance_between(&chance, 0, record->step_count);
    work->figures->cut = i;
    disk_cut(record, at, &chance, work->after);
    work->figures->cuts++;
    if (files_check(files, work->after, mark_at(record, at), why, sizeof why) != 0) {
        work->figures->damaged++;
        tell(work, "after the cut", why);
    }
}

static bool files_run(struct work *work, int run)
{
    static struct disk_record record;
    struct files files;
    char why[SCRIPT_WHY];
    struct chance chance = chance_of(work->seed, (uint64_t)run, 0);
    work->figures->run = run;
    work->figures->cut = -1;
    disk_empty(work->life);
    disk_begin(&record, work->life);
    bool lived = files_live(&files, work->life, &chance, why, sizeof why) == 0;
    disk_end();
    for (int i = 0; lived && i < CUTS_OF_A_RUN; i++)
        if (work->only_cut < 0 || work->only_cut == i)
            files_cut(work, &files, &record, i);
    if (!lived)
        tell(work, "without a cut", why);
    work->figures->runs++;
    work->figures->steps += record.step_count;
    disk_release(&record);
    return lived;
}

// --- workers ---

static void folder_make(char path[static 64], const char *which, int worker)
{
    struct stat info;
    const char *root =
        stat("/dev/shm", &info) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(path, 64, "%s/metergate-%s-%d-XXXXXX", root, which, worker);
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(1);
    }
}

static long runs_wanted(const struct work *work)
{
    if (work->mode == MODE_OLDER)
        return VERSIONS;
    return is_each(work->mode) ? WORKERS : (work->cuts + CUTS_OF_A_RUN - 1) / CUTS_OF_A_RUN;
}

static void work_do(struct work *work, int worker)
{
    long runs = runs_wanted(work);
    for (int run = worker; run < runs; run += WORKERS)
        if ((work->first_run < 0 || work->first_run == run) &&
            !(work->mode == MODE_FILES ? files_run(work, run) : run_do(work, run)))
            break;
}

static void folder_remove(const char *path)
{
    disk_empty(path);
    (void)rmdir(path);
}

// Folders are removed here, whatever becomes of the worker.
static bool workers_run(struct work work, struct figures figures[static WORKERS])
{
    struct work works[WORKERS];
    pid_t pids[WORKERS];
    bool well = true;
    for (int i = 0; i < WORKERS; i++) {
        works[i] = work;
        works[i].figures = &figures[i];
        folder_make(works[i].life, "life", i);
        folder_make(works[i].after, "after", i);
        pids[i] = fork();
        if (pids[i] == 0) {
            work_do(&works[i], i);
            _exit(0);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status = -1;
        (void)waitpid(pids[i], &status, 0);
        if (status != 0) {
            (void)fprintf(stderr, "power_cut: ended with status %d at run %d, cut %d, seed %llu\n",
                          status, figures[i].run, figures[i].cut, (unsigned long long)work.seed);
            well = false;
        }
        folder_remove(works[i].life);
        folder_remove(works[i].after);
    }
    return well;
}

// Each mode has its own promise. The weak ones show that the harness sees what it looks for.
static bool is_kept(enum mode mode, const struct figures *all)
{
    switch (mode) {
    case MODE_NORMAL: return all->lost * 2 >= all->cuts && all->damaged + all->unseen == 0;
    case MODE_NO_JOURNAL: return (all->damaged + all->unseen) * 10 >= all->cuts;
    case MODE_LYING:
        return all->unseen * 200 <= all->cuts + LYING_MORE && all->damaged * 20 >= all->cuts;
    default: return all->failures == 0;
    }
}

static void print(const struct work *work, const struct figures *all, double seconds)
{
    (void)printf("{\"mode\": \"%s\", \"seed\": %llu, \"cuts\": %ld, \"second_cuts\": %ld, "
                 "\"runs\": %ld, \"calls\": %ld, \"kept\": %ld, \"lost\": %ld, \"damaged\": %ld, "
                 "\"anew\": %ld, \"unseen\": %ld, \"failures\": %ld, \"seconds\": %.1f}\n",
                 mode_texts[work->mode], (unsigned long long)work->seed, all->cuts,
                 all->second_cuts, all->runs, all->steps, all->kept, all->lost, all->damaged,
                 all->anew, all->unseen, all->failures, seconds);
}

static bool arguments_read(int count, char **arguments, struct work *work)
{
    *work = (struct work){.first_run = -1, .only_cut = -1};
    if (count < 3 || count == 5 || count > 6)
        return false;
    work->cuts = strtol(arguments[1], NULL, 10);
    work->seed = strtoull(arguments[2], NULL, 10);
    while (count > 3 && work->mode < MODES && strcmp(arguments[3], mode_texts[work->mode]) != 0)
        work->mode++;
    if (count == 6) {
        work->first_run = (int)strtol(arguments[4], NULL, 10);
        work->only_cut = (int)strtol(arguments[5], NULL, 10);
    }
    return work->cuts > 0 && work->mode < MODES;
}

int main(int count, char **arguments)
{
    struct work work;
    if (!arguments_read(count, arguments, &work)) {
        (void)fprintf(stderr,
                      "usage: power_cut CUTS SEED "
                      "[full|every|killed|older|files|normal|no-journal|lying [RUN CUT]]\n");
        return 2;
    }
    struct figures *figures = mmap(NULL, WORKERS * sizeof *figures, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (figures == MAP_FAILED)
        return 1;
    struct timespec began;
    struct timespec ended;
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    bool well = workers_run(work, figures);
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    struct figures all = {.cuts = 0};
    for (int i = 0; i < WORKERS; i++) {
        all.cuts += figures[i].cuts;
        all.second_cuts += figures[i].second_cuts;
        all.runs += figures[i].runs;
        all.steps += figures[i].steps;
        all.kept += figures[i].kept;
        all.lost += figures[i].lost;
        all.damaged += figures[i].damaged;
        all.anew += figures[i].anew;
        all.unseen += figures[i].unseen;
        all.failures += figures[i].failures;
    }
    print(&work, &all,
          (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    return well && all.cuts > 0 && is_kept(work.mode, &all) ? 0 : 1;
}
