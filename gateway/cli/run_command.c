// `metergate run`: the gateway in the foreground, with the page as its child.
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "control/claim.h"
#include "gateway.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART "run"

#define PAGE_PAUSE_FIRST_S 1 // before a page that ended is started again; doubled up to
#define PAGE_PAUSE_LAST_S 60
#define PAGE_WELL_S 60 // a page that ran so long starts again at the first pause

struct page {
    bool wanted;
    char directory[CONFIG_PATH_MAX];
    pid_t pid;
    int pause_s;
    int64_t started_ms, due_ms; // boot clock
    struct config *config;      // that it was started with
};

static void print_help(void)
{
    puts("usage: metergate run --config FILE [--state DIR] [--no-web] [--profiles DIR]\n\n"
         "Runs the gateway in the foreground: polls the meters of FILE, keeps their readings in "
         "DIR\n"
         "(" STATE_DEFAULT
         "), reports to head office, and serves the page as a process of its own.\n\n"
         "  --config FILE   the configuration; 'metergate check FILE' says whether it is good\n"
         "  --state DIR     where the store lives; made if it is not there\n"
         "  --no-web        without the page\n"
         "  --profiles DIR  look for meter profiles here first\n"
         "  --verbose       also say what is only of use to a developer\n\n"
         "SIGTERM and SIGINT end it cleanly, SIGHUP reads FILE again.");
}

static void start_page(struct page *page, struct gateway *gateway, int64_t now_ms)
{
    char *arguments[] = {(char *)"metergate", (char *)"web", (char *)"--state", page->directory,
                         NULL};
    sigset_t none;
    posix_spawnattr_t attributes;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawn(&page->pid, "/proc/self/exe", NULL, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    config_unref(page->config);
    page->config = gateway_config(gateway);
    page->started_ms = now_ms;
    page->due_ms = INT64_MAX;
    if (error != 0) {
        log_error(PART, "cannot start the page: %s", strerror(error));
        page->pid = 0;
        page->due_ms = now_ms + page->pause_s * 1000;
    }
}

// The page may break as it likes: polling goes on, and the page comes back.
static void reap_page(struct page *page, int64_t now_ms)
{
    int status = 0;
    if (page->pid <= 0 || waitpid(page->pid, &status, WNOHANG) != page->pid)
        return;
    bool well = now_ms - page->started_ms >= PAGE_WELL_S * 1000;
    page->pause_s = well ? PAGE_PAUSE_FIRST_S : page->pause_s * 2;
    if (page->pause_s > PAGE_PAUSE_LAST_S)
        page->pause_s = PAGE_PAUSE_LAST_S;
    page->pid = 0;
    page->due_ms = now_ms + page->pause_s * 1000;
    log_warn(PART, "the page ended (%s %d); it starts again in %d s",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), page->pause_s);
}

// A page that listens where the configuration no longer says is ended; it comes back at the new
// place.
static void follow_config(struct page *page, struct gateway *gateway)
{
    if (page->pid <= 0)
        return;
    struct config *now = gateway_config(gateway);
    if (strcmp(now->web_listen, page->config->web_listen) != 0 ||
        strcmp(now->web_certificate, page->config->web_certificate) != 0 ||
        strcmp(now->web_key, page->config->web_key) != 0)
        kill(page->pid, SIGTERM);
    config_unref(now);
}

static void stop_page(struct page *page)
{
    if (page->pid <= 0)
        return;
    kill(page->pid, SIGTERM);
    while (waitpid(page->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    page->pid = 0;
}

static void wait_signals(struct gateway *gateway, struct page *page, const sigset_t *signals)
{
    for (;;) {
        int64_t now_ms = clock_boot_ms(&clock_system);
        if (page->wanted && page->pid == 0 && now_ms >= page->due_ms)
            start_page(page, gateway, now_ms);
        follow_config(page, gateway);
        struct timespec pause = {.tv_sec = 1};
        int signal = sigtimedwait(signals, NULL, &pause);
        if (signal == SIGTERM || signal == SIGINT)
            return;
        if (signal == SIGHUP) {
            struct err err;
            gateway_reload(gateway, RELOAD_BY_SIGNAL, &err); // says itself how it went
        }
        reap_page(page, clock_boot_ms(&clock_system));
        gateway_tend(gateway);
    }
}

// In place of a default password: whoever can read this console may make the first account.
static void print_claim(struct gateway *gateway)
{
    char code[CLAIM_TEXT_SIZE];
    struct err err = {0};
    if (control_claim_begin(gateway_recorder(gateway), gateway_directory(gateway), code, &err) < 0)
        log_error(PART, "no claim code for the page: %s", err.text);
    else if (code[0])
        log_info(PART, "nobody has an account yet: the page asks for this claim code: %s", code);
}

static int run(const struct gateway_settings *settings, bool with_page)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a limit on files is an error of a write, not the end

    struct err err = {0};
    struct gateway *gateway = gateway_start(settings, &err);
    if (!gateway)
        return cli_problem("run", "%s", err.text);
    struct page page = {.wanted = with_page, .pause_s = PAGE_PAUSE_FIRST_S};
    snprintf(page.directory, sizeof page.directory, "%s", settings->directory);
    if (with_page)
        print_claim(gateway);
    log_info(PART, "ready");
    wait_signals(gateway, &page, &signals);
    log_info(PART, "stopping");
    stop_page(&page);
    config_unref(page.config);
    gateway_stop(gateway);
    log_info(PART, "stopped");
    return EXIT_DONE;
}

int run_main(int argc, char **argv)
{
    enum { OPTION_NO_WEB = 256, OPTION_PROFILES };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"state", required_argument, NULL, 's'},
        {"no-web", no_argument, NULL, OPTION_NO_WEB},
        {"profiles", required_argument, NULL, OPTION_PROFILES},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct gateway_settings settings = {.directory = STATE_DEFAULT, .clock = &clock_system};
    bool with_page = true;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'c': settings.config_path = optarg; break;
        case 's': settings.directory = optarg; break;
        case OPTION_NO_WEB: with_page = false; break;
        case OPTION_PROFILES: settings.search.directory = optarg; break;
        case 'v': log_set_level(LOG_LEVEL_DEBUG); break;
        case 'h': print_help(); return EXIT_DONE;
        default: return cli_usage("run", "unknown option");
        }
    }
    if (optind < argc)
        return cli_usage("run", "'%s' is too much", argv[optind]);
    if (!settings.config_path)
        return cli_usage("run", "--config FILE is missing");
    return run(&settings, with_page);
}
