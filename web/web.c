// metergate web: the page's own process. It holds TLS and static files; no database, no bus, no key
// but its own. What it asks of the gateway goes through the control socket with the visitor's
// token.
#include "base/log.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "control/control.h"
#include "web/page.h"
#include "web/tls.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_DEFAULT "0.0.0.0:8443"
#define LISTEN_QUEUE 128
#define SETTINGS_TIMEOUT_MS 5000

static const char help[] =
    "usage: metergate web --state DIR [--listen IP:PORT] [--certificate FILE --key FILE]\n"
    "\n"
    "The page's process: HTTPS only. 'metergate run' starts it as its child.\n"
    "\n"
    "  --state DIR          state directory of the gateway\n"
    "  --listen IP:PORT     where to listen; by default what the gateway's configuration says,\n"
    "                       else " LISTEN_DEFAULT "\n"
    "  --certificate FILE   certificate chain (PEM) to use in place of the one that is made in\n"
    "  --key FILE           DIR/web, and its key\n";

struct options {
    const char *state, *listen, *certificate, *key;
};

// CLI_GO, or an exit status after a message or the help.
static int parse(int argc, char **argv, struct options *options)
{
    const struct cli_option known[] = {{"state", &options->state, NULL},
                                       {"listen", &options->listen, NULL},
                                       {"certificate", &options->certificate, NULL},
                                       {"key", &options->key, NULL},
                                       {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, NULL, 0};
    int status = cli_options(argc, argv, &line);
    if (status != CLI_GO)
        return status;
    if ((options->certificate == NULL) != (options->key == NULL))
        return cli_usage("web", "--certificate and --key go together");
    return cli_state("web", options->state);
}

// The gateway's answer to page-settings, or NULL when none runs: its defaults will do then.
static json_t *ask_settings(const char *directory)
{
    json_t *settings = NULL;
    struct err err;
    int result =
        control_call(directory, "page-settings", NULL, SETTINGS_TIMEOUT_MS, &settings, &err);
    if (result != 0 && result != CONTROL_NOT_RUNNING)
        log_warn("web", "the gateway does not say where the page listens: %s", err.text);
    return result == 0 ? settings : NULL;
}

static const char *setting(const json_t *settings, const char *key)
{
    const char *text = json_string_value(json_object_get(settings, key));
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static int choose_files(const struct options *options, const json_t *settings,
                        struct tls_files *files, struct err *err)
{
    const char *certificate = options->certificate;
    const char *key = options->key;
    if (certificate == NULL) {
        certificate = setting(settings, "certificate");
        key = setting(settings, "key");
    }
    if (certificate == NULL || key == NULL)
        return tls_own_files(options->state, files, err);
    if ((size_t)snprintf(files->certificate, sizeof files->certificate, "%s", certificate) >=
            sizeof files->certificate ||
        (size_t)snprintf(files->key, sizeof files->key, "%s", key) >= sizeof files->key)
        return err_set(err, "the path of the certificate or its key is too long");
    return 0;
}

// Started by `metergate run`: ends with it. By anybody else (a service manager, a shell): stays.
static void follow_parent(void)
{
    char own[PATH_MAX];
    char parent[PATH_MAX];
    char path[32];
    pid_t pid = getppid();
    (void)snprintf(path, sizeof path, "/proc/%ld/exe", (long)pid);
    ssize_t own_length = readlink("/proc/self/exe", own, sizeof own);
    ssize_t parent_length = readlink(path, parent, sizeof parent);
    if (own_length <= 0 || own_length != parent_length ||
        memcmp(own, parent, (size_t)own_length) != 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != pid)
        _exit(EXIT_DONE); // it ended meanwhile
}

static struct evconnlistener *listen_on(struct event_base *base, const char *where, struct err *err)
{
    struct sockaddr_storage address;
    int size = sizeof address;
    if (evutil_parse_sockaddr_port(where, (struct sockaddr *)&address, &size) != 0) {
        (void)err_set(err, "'%s' is not IP:PORT, as 0.0.0.0:8443 or [::]:8443", where);
        return NULL;
    }
    struct evconnlistener *listener = evconnlistener_new_bind(
        base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
        LISTEN_QUEUE, (struct sockaddr *)&address, size);
    if (listener == NULL)
        (void)err_set(err, "%s cannot be listened on: %s", where, strerror(errno));
    return listener;
}

static void on_signal(evutil_socket_t number, short events, void *context)
{
    (void)number;
    (void)events;
    (void)event_base_loopexit(context, NULL);
}

// Serves until a signal ends it.
static void serve(struct event_base *base)
{
    struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
    struct event *interrupt = evsignal_new(base, SIGINT, on_signal, base);
    if (term != NULL && interrupt != NULL && event_add(term, NULL) == 0 &&
        event_add(interrupt, NULL) == 0)
        (void)event_base_dispatch(base);
    if (term != NULL)
        event_free(term);
    if (interrupt != NULL)
        event_free(interrupt);
}

static void set_up_http(struct evhttp *http, struct page *page)
{
    evhttp_set_gencb(http, page_answer, page);
    evhttp_set_max_headers_size(http, PAGE_HEAD_MAX);
    evhttp_set_max_body_size(http, PAGE_BODY_MAX);
    evhttp_set_default_content_type(http, NULL);
    // Known methods all come to page_answer, which says what is allowed; others get 501.
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                         EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
                                         EVHTTP_REQ_PATCH);
}

static int run_server(const char *directory, const char *where, SSL_CTX *context, struct err *err)
{
    struct page page;
    if (page_init(&page, err) != 0)
        return -1;
    struct event_base *base = event_base_new();
    struct evhttp *http = base != NULL ? evhttp_new(base) : NULL;
    int result = err_set(err, "not enough memory for the page");
    struct evconnlistener *listener = http != NULL ? listen_on(base, where, err) : NULL;
    if (listener != NULL) {
        page.relay = relay_new(base, directory);
        page.visitors = visitors_new(base, http, listener, context);
        if (page.relay != NULL && page.visitors != NULL) {
            set_up_http(http, &page);
            log_info("web", "the page is at https://%s", where);
            serve(base);
            result = 0;
        } else if (page.visitors == NULL) {
            evconnlistener_free(listener);
        }
    }
    if (page.visitors != NULL)
        visitors_stop(page.visitors);
    if (http != NULL)
        evhttp_free(http);
    if (base != NULL) {
        // libevent frees connections in its loop.
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
    }
    relay_free(page.relay);
    visitors_free(page.visitors);
    if (base != NULL)
        event_base_free(base);
    page_release(&page);
    return result;
}

int web_main(int argc, char **argv)
{
    struct options options = {0};
    struct tls_files files;
    struct err err;
    char fingerprint[TLS_FINGERPRINT_SIZE];
    int status = parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    follow_parent();
    (void)umask(0077);
    (void)signal(SIGPIPE, SIG_IGN);
    json_t *settings = ask_settings(options.state);
    const char *where = options.listen != NULL ? options.listen : setting(settings, "listen");
    SSL_CTX *context = NULL;
    int result = choose_files(&options, settings, &files, &err);
    if (result == 0) {
        context = tls_server(&files, &err);
        result = context != NULL ? 0 : -1;
    }
    if (result == 0) {
        tls_fingerprint(context, fingerprint);
        log_info("web", "certificate %s, SHA-256 %s", files.certificate, fingerprint);
        result = run_server(options.state, where != NULL ? where : LISTEN_DEFAULT, context, &err);
    }
    SSL_CTX_free(context);
    json_decref(settings);
    return result == 0 ? EXIT_DONE : cli_problem("web", "%s", err.text);
}
