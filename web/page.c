#include "web/page.h"

#include "base/writer.h"
#include "web/guard.h"

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A request whose answer the gateway still has to give.
struct waiting {
    struct page *page;
    struct evhttp_request *request;
    unsigned long number; // of the relay
    bool opens;           // login or claim: the answer holds a token
    bool closes;          // logout
    bool metrics;         // the answer's text is the body
};

static const char *header(struct evhttp_request *request, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(request), name);
}

static void say(struct evhttp_request *request, const char *name, const char *value)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

static void say_security(struct evhttp_request *request)
{
    say(request, "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'");
    say(request, "Strict-Transport-Security", "max-age=31536000");
    say(request, "X-Content-Type-Options", "nosniff");
    say(request, "X-Frame-Options", "DENY");
    say(request, "Referrer-Policy", "no-referrer");
    say(request, "Cross-Origin-Opener-Policy", "same-origin");
    say(request, "Cross-Origin-Resource-Policy", "same-origin");
    say(request, "Permissions-Policy", "camera=(), geolocation=(), microphone=()");
}

static void send_json(struct evhttp_request *request, int status, const char *text, size_t length)
{
    struct evbuffer *body = evbuffer_new();
    say(request, "Content-Type", "application/json");
    say(request, "Cache-Control", "no-store");
    if (body != NULL)
        (void)evbuffer_add(body, text, length);
    evhttp_send_reply(request, status, NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

// `code` and `error` are our own: nothing in them needs an escape.
static void send_error(struct evhttp_request *request, int status, const char *code,
                       const char *error)
{
    char text[512];
    int length =
        snprintf(text, sizeof text, "{\"ok\":false,\"code\":\"%s\",\"error\":\"%s\"}", code, error);
    send_json(request, status, text, (size_t)length);
}

// --- files ---

// A strong ETag: the start of the SHA-256 of the content.
static void make_tag(const struct asset *asset, char tag[static 20])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(asset->bytes, asset->length, digest, &length, EVP_sha256(), NULL) != 1)
        digest[0] = 0; // the browser will only ask for it again
    tag[0] = '"';
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(tag + 1 + 2 * i, 3, "%02x", digest[i]);
    (void)snprintf(tag + 17, 2, "\"");
}

static void send_asset(struct evhttp_request *request, const struct asset *asset)
{
    char tag[20];
    const char *known = header(request, "If-None-Match");
    make_tag(asset, tag);
    say(request, "ETag", tag);
    say(request, "Cache-Control", "no-cache"); // kept, but asked for each time
    if (known != NULL && strcmp(known, tag) == 0) {
        evhttp_send_reply(request, 304, NULL, NULL);
        return;
    }
    struct evbuffer *body = evbuffer_new();
    say(request, "Content-Type", asset->type);
    if (body != NULL)
        (void)evbuffer_add_reference(body, asset->bytes, asset->length, NULL, NULL);
    evhttp_send_reply(request, 200, NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

// The catalogue of a language as a JSON object: the page can speak also while no gateway runs.
static void fill_texts(struct buf *out, enum language language)
{
    struct writer writer;
    writer_init(&writer, out);
    writer_object(&writer);
    for (size_t i = 0; catalogue_key(i) != NULL; i++)
        writer_key_text(&writer, catalogue_key(i), catalogue_text(catalogue_key(i), language));
    writer_end(&writer);
}

static const struct asset *find_asset(const struct page *page, const char *path)
{
    for (const struct asset *asset = assets; asset->path != NULL; asset++)
        if (strcmp(asset->path, path) == 0)
            return asset;
    for (int i = 0; i < LANGUAGE_COUNT; i++)
        if (strcmp(page->texts[i].path, path) == 0)
            return &page->texts[i];
    return NULL;
}

static void answer_file(const struct page *page, struct evhttp_request *request, const char *path)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    const struct asset *asset = find_asset(page, path);
    if (asset == NULL) {
        send_error(request, 404, "unknown", "there is no such page");
    } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        say(request, "Allow", "GET, HEAD");
        send_error(request, 405, "method", "this is only there to be read");
    } else {
        send_asset(request, asset);
    }
}

int page_init(struct page *page, struct err *err)
{
    static const char *const paths[] = {
        [LANGUAGE_EN] = "/texts.en.json", [LANGUAGE_ZH] = "/texts.zh.json"};
    *page = (struct page){0};
    for (int i = 0; i < LANGUAGE_COUNT; i++) {
        buf_init(&page->text_bytes[i], PAGE_TEXTS_MAX);
        fill_texts(&page->text_bytes[i], (enum language)i);
        if (page->text_bytes[i].failed) {
            page_release(page);
            return err_set(err, "not enough memory for the page's texts");
        }
        page->texts[i] = (struct asset){paths[i], "application/json",
                                        (const unsigned char *)page->text_bytes[i].data,
                                        page->text_bytes[i].length};
    }
    return 0;
}

void page_release(struct page *page)
{
    for (int i = 0; i < LANGUAGE_COUNT; i++)
        buf_release(&page->text_bytes[i]);
}

// --- answers of the gateway ---

static const struct {
    const char *code;
    int status;
} statuses[] = {{"session", 401}, {"role", 403},      {"denied", 403}, {"throttled", 429},
                {"unknown", 404}, {"arguments", 400}, {"busy", 503}};

static int status_of(const char *code)
{
    for (size_t i = 0; code != NULL && i < sizeof statuses / sizeof statuses[0]; i++)
        if (strcmp(statuses[i].code, code) == 0)
            return statuses[i].status;
    return 422;
}

// "" takes the cookie away.
static void say_cookie(struct evhttp_request *request, const char *token)
{
    char text[160];
    (void)snprintf(text, sizeof text,
                   GUARD_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict%s", token,
                   token[0] == '\0' ? "; Max-Age=0" : "");
    say(request, "Set-Cookie", text);
}

// The token goes into the cookie and nowhere else: the page's script never sees it.
static void send_opened(struct evhttp_request *request, const char *text, size_t length)
{
    char whole[1024];
    json_t *reply = NULL;
    if (length + 2 < sizeof whole) {
        whole[0] = '{';
        memcpy(whole + 1, text, length);
        reply = json_loadb(whole, length + 1, JSON_REJECT_DUPLICATES, NULL);
    }
    json_t *result = json_object_get(reply, "result");
    const char *token = json_string_value(json_object_get(result, "token"));
    char checked[GUARD_TOKEN_SIZE];
    char cookie[160];
    (void)snprintf(cookie, sizeof cookie, GUARD_COOKIE "=%.64s", token != NULL ? token : "");
    if (!guard_cookie(cookie, checked)) {
        json_decref(reply);
        send_error(request, 502, "away", "the gateway's answer cannot be read");
        return;
    }
    say_cookie(request, checked);
    (void)json_object_del(result, "token");
    char *body = json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    if (body == NULL) {
        send_error(request, 503, "busy", "not enough memory");
        return;
    }
    send_json(request, 200, body, strlen(body));
    free(body);
}

// Prometheus gets the text as it is.
static void send_metrics(struct evhttp_request *request, const char *reply, size_t length)
{
    char *whole = malloc(length + 2);
    if (whole == NULL) {
        send_error(request, 503, "busy", "not enough memory");
        return;
    }
    whole[0] = '{';
    memcpy(whole + 1, reply, length);
    json_t *value = json_loadb(whole, length + 1, JSON_REJECT_DUPLICATES, NULL);
    free(whole);
    json_t *text = json_object_get(json_object_get(value, "result"), "text");
    struct evbuffer *body = evbuffer_new();
    if (!json_is_string(text) || body == NULL) {
        send_error(request, 502, "away", "the gateway's answer cannot be read");
    } else {
        say(request, "Content-Type", "text/plain; version=0.0.4");
        say(request, "Cache-Control", "no-store");
        (void)evbuffer_add(body, json_string_value(text), json_string_length(text));
        evhttp_send_reply(request, 200, NULL, body);
    }
    if (body != NULL)
        evbuffer_free(body);
    json_decref(value);
}

// `text` is the reply behind its first brace and id: it becomes whole again by the brace.
static void send_reply(const struct waiting *waiting, const char *text, size_t length)
{
    static const char good[] = "\"ok\":true";
    struct evhttp_request *request = waiting->request;
    bool ok = length > sizeof good - 1 && memcmp(text, good, sizeof good - 1) == 0;
    if (ok && waiting->opens) {
        send_opened(request, text, length);
        return;
    }
    if (ok && waiting->metrics) {
        send_metrics(request, text, length);
        return;
    }
    int status = 200;
    if (!ok) {
        char whole[2048];
        size_t part = length < sizeof whole - 1 ? length : sizeof whole - 1;
        whole[0] = '{';
        memcpy(whole + 1, text, part);
        json_t *reply = json_loadb(whole, part + 1, 0, NULL);
        status = status_of(json_string_value(json_object_get(reply, "code")));
        json_decref(reply);
    }
    if (status == 401 || (ok && waiting->closes))
        say_cookie(request, "");
    struct evbuffer *body = evbuffer_new();
    say(request, "Content-Type", "application/json");
    say(request, "Cache-Control", "no-store");
    if (body != NULL) {
        (void)evbuffer_add(body, "{", 1);
        (void)evbuffer_add(body, text, length);
    }
    evhttp_send_reply(request, status, NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

static void on_reply(void *context, enum relay_result result, const char *text, size_t length)
{
    struct waiting *waiting = context;
    struct evhttp_request *request = waiting->request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    switch (result) {
    case RELAY_REPLY: send_reply(waiting, text, length); break;
    case RELAY_AWAY: send_error(request, 503, "away", "the gateway does not run"); break;
    case RELAY_LATE: send_error(request, 504, "late", "the gateway did not answer in time"); break;
    case RELAY_FULL: send_error(request, 503, "busy", "too many requests wait already"); break;
    }
    free(waiting);
}

static void on_closed(struct evhttp_connection *connection, void *context)
{
    struct waiting *waiting = context;
    (void)connection;
    relay_forget(waiting->page->relay, waiting->number);
    free(waiting);
}

// --- /api/ ---

// NULL when the request comes from this very page, else what is wrong. A foreign page can neither
// send the header of our own nor, in any browser of today, hide where it comes from.
static const char *check_origin(struct evhttp_request *request, const char *host)
{
    const char *origin = header(request, "Origin");
    const char *site = header(request, "Sec-Fetch-Site");
    const char *own = header(request, "X-Metergate");
    if (origin != NULL && !guard_origin(origin, host))
        return "the request comes from another page";
    if (site != NULL && strcmp(site, "same-origin") != 0)
        return "the request comes from another site";
    if (own == NULL || (strcmp(own, "page") != 0 && strcmp(own, "background") != 0))
        return "the header X-Metergate is missing";
    return NULL;
}

// The body as one piece, checked to be a JSON object ("{}" when it is empty); NULL when it is none.
static const char *take_arguments(struct evhttp_request *request, size_t *length)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    *length = evbuffer_get_length(body);
    if (*length == 0) {
        *length = 2;
        return "{}";
    }
    const char *text = (const char *)evbuffer_pullup(body, -1);
    json_t *value = text != NULL ? json_loadb(text, *length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool good = json_is_object(value);
    json_decref(value);
    return good ? text : NULL;
}

static void relay_command(struct page *page, struct evhttp_request *request, const char *name)
{
    char token[GUARD_TOKEN_SIZE];
    size_t length = 0;
    const char *arguments = take_arguments(request, &length);
    if (arguments == NULL) {
        send_error(request, 400, "arguments", "the body must be a JSON object");
        return;
    }
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL) {
        send_error(request, 503, "busy", "not enough memory");
        return;
    }
    *waiting = (struct waiting){.page = page,
                                .request = request,
                                .opens = strcmp(name, "login") == 0 || strcmp(name, "claim") == 0,
                                .closes = strcmp(name, "logout") == 0};
    bool known = guard_cookie(header(request, "Cookie"), token);
    const struct relay_request order = {
        .command = name,
        .token = known ? token : NULL,
        .background = strcmp(header(request, "X-Metergate"), "background") == 0,
        .arguments = arguments,
        .arguments_length = length};
    // Set before: an answer may come at once, and then frees `waiting`.
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, waiting);
    unsigned long number = relay_send(page->relay, &order, on_reply, waiting);
    if (number != 0)
        waiting->number = number;
}

static void answer_api(struct page *page, struct evhttp_request *request, const char *name,
                       const char *host)
{
    static const char json[] = "application/json";
    const char *type = header(request, "Content-Type");
    const char *fault = check_origin(request, host);
    if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        say(request, "Allow", "POST");
        send_error(request, 405, "method", "a command is sent with POST");
    } else if (fault != NULL) {
        send_error(request, 403, "origin", fault);
    } else if (type == NULL || strncmp(type, json, sizeof json - 1) != 0 ||
               (type[sizeof json - 1] != '\0' && type[sizeof json - 1] != ';')) {
        send_error(request, 415, "type", "a command is sent as application/json");
    } else if (!guard_command(name)) {
        send_error(request, 404, "unknown", "there is no such command");
    } else {
        relay_command(page, request, name);
    }
}

// --- /metrics ---

static void answer_metrics(struct page *page, struct evhttp_request *request)
{
    char token[GUARD_BEARER_SIZE];
    char arguments[GUARD_BEARER_SIZE + 16];
    if (evhttp_request_get_command(request) != EVHTTP_REQ_GET) {
        say(request, "Allow", "GET");
        send_error(request, 405, "method", "this is only there to be read");
        return;
    }
    if (!guard_bearer(header(request, "Authorization"), token)) {
        say(request, "WWW-Authenticate", "Bearer");
        send_error(request, 401, "session", "the token of web.metrics_token_file is missing");
        return;
    }
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL) {
        send_error(request, 503, "busy", "not enough memory");
        return;
    }
    *waiting = (struct waiting){.page = page, .request = request, .metrics = true};
    int length = snprintf(arguments, sizeof arguments, "{\"token\":\"%s\"}", token);
    const struct relay_request order = {.command = "metrics",
                                        .background = true,
                                        .arguments = arguments,
                                        .arguments_length = (size_t)length};
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, waiting);
    unsigned long number = relay_send(page->relay, &order, on_reply, waiting);
    if (number != 0)
        waiting->number = number;
}

// --- every request ---

static int count_headers(struct evhttp_request *request, const char *name)
{
    int count = 0;
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    for (const struct evkeyval *one = headers->tqh_first; one != NULL; one = one->next.tqe_next)
        count += evutil_ascii_strcasecmp(one->key, name) == 0;
    return count;
}

void page_answer(struct evhttp_request *request, void *context)
{
    static const char api[] = "/api/";
    struct page *page = context;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    const char *host = header(request, "Host");
    visitors_request(page->visitors, request);
    say_security(request);
    if (path == NULL || count_headers(request, "Host") != 1 || !guard_host(host) ||
        evhttp_uri_get_host(uri) != NULL)
        send_error(request, 400, "host", "the request does not say well where it goes");
    else if (strncmp(path, api, sizeof api - 1) == 0)
        answer_api(page, request, path + sizeof api - 1, host);
    else if (strcmp(path, "/metrics") == 0)
        answer_metrics(page, request);
    else
        answer_file(page, request, path);
}
