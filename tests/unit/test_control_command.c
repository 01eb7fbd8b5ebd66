// The command table over a real store: who may do what, accounts, logins, the claim, the audit
// chain.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control_fixture.h"
#include "store/seal.h"

#include <openssl/evp.h>

static struct command_context running; // through a gateway
static struct command_context offline_of(struct store *store)
{
    return (struct command_context){.store = store, .clock = &hands};
}

static int set_up(void **state)
{
    if (site_open(state) != 0)
        return -1;
    running =
        (struct command_context){.gateway = &site, .clock = &hands, .access = access_new(&hands)};
    return 0;
}

static int tear_down(void **state)
{
    access_free(running.access);
    return site_close(state);
}

static struct principal with_role(enum role role)
{
    struct principal who = {.role = role};
    (void)snprintf(who.name, sizeof who.name, "test-%d", (int)role);
    return who;
}

// Calls with arguments in JSON; the answer stays in `answer`, the message in `failure`.
static char answer[2 * 1024 * 1024]; // all texts fit, and a piece of a backup
static int call(const struct command_context *context, const struct principal *who,
                const char *name, const char *arguments)
{
    struct buf result;
    json_error_t fault;
    json_t *parsed = json_loads(arguments, 0, &fault);
    assert_non_null(parsed);
    buf_init(&result, sizeof answer - 1);
    failure.text[0] = '\0';
    int status = command_call(context, who, name, parsed, &result, &failure);
    (void)snprintf(answer, sizeof answer, "%s", result.data != NULL ? result.data : "");
    buf_release(&result);
    json_decref(parsed);
    return status;
}

static int call_as(enum role role, const char *name, const char *arguments)
{
    struct principal who = with_role(role);
    return call(&running, &who, name, arguments);
}

static void call_well(enum role role, const char *name, const char *arguments)
{
    int status = call_as(role, name, arguments);
    if (status != 0)
        print_error("%s: %s\n", name, failure.text);
    assert_int_equal(status, 0);
}

// --- roles ---

static const struct {
    const char *name;
    enum role least;
} expected[] = {{"status", ROLE_VIEWER},
                {"live", ROLE_VIEWER},
                {"alerts", ROLE_VIEWER},
                {"completeness", ROLE_VIEWER},
                {"read", ROLE_TECHNICIAN},
                {"scan", ROLE_TECHNICIAN},
                {"reload", ROLE_SPECIALIST},
                {"texts", ROLE_NONE},
                {"login", ROLE_NONE},
                {"logout", ROLE_NONE},
                {"session", ROLE_NONE},
                {"claim-state", ROLE_NONE},
                {"claim", ROLE_NONE},
                {"user-add", ROLE_LEADER},
                {"user-remove", ROLE_LEADER},
                {"user-list", ROLE_LEADER},
                {"user-passwd", ROLE_LEADER},
                {"config-get", ROLE_TECHNICIAN},
                {"audit", ROLE_LEADER},
                {"page-settings", ROLE_NONE},
                {"bus", ROLE_VIEWER},
                {"backup", ROLE_LEADER},
                {"backup-read", ROLE_LEADER},
                {"resend", ROLE_SPECIALIST},
                {"resend-cancel", ROLE_SPECIALIST},
                {"feed-acknowledge", ROLE_LEADER},
                {"metrics", ROLE_NONE}};

static void test_every_command_is_expected(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct command *row = command_table; row->name != NULL; row++, count++) {
        assert_ptr_equal(command_find(row->name), row); // no name twice
        bool found = false;
        for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
            if (strcmp(expected[i].name, row->name) == 0) {
                assert_int_equal(row->least, expected[i].least);
                found = true;
            }
        }
        assert_true(found);
        assert_non_null(row->help);
    }
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
}

// Every role at every command: below its least role, or not offered to head office, refused and
// recorded before anything is looked at; else the arguments are looked at.
static void test_role_matrix(void **state)
{
    (void)state;
    for (const struct command *row = command_table; row->name != NULL; row++) {
        for (enum role role = ROLE_NONE; role <= ROLE_OFFICE; role++) {
            boot_ms += 60000; // within the bound on recorded refusals
            int before = audit_sum().count;
            int status = call_as(role, row->name, "{\"no such argument\": 1}");
            struct audit_sum after = audit_sum();
            if (role == ROLE_OFFICE ? row->offered : role >= row->least) {
                assert_int_equal(status, COMMAND_ARGUMENTS);
                assert_int_equal(after.count - before, row->audited ? 1 : 0);
            } else {
                assert_int_equal(status, role == ROLE_NONE ? COMMAND_NO_SESSION : COMMAND_ROLE);
                assert_int_equal(after.count - before, 1);
                assert_string_equal(after.last.action, row->name);
                assert_string_equal(after.last.result, command_result_text(status));
                assert_string_equal(after.last.who, with_role(role).name);
            }
            assert_string_equal(answer, "");
            assert_string_not_equal(failure.text, "");
        }
    }
    assert_int_equal(site.reloads, 0);
}

static void test_unknown_command(void **state)
{
    (void)state;
    assert_int_equal(call_as(ROLE_LEADER, "format-disk", "{}"), COMMAND_UNKNOWN);
    assert_non_null(strstr(failure.text, "format-disk"));
    assert_string_equal(audit_sum().last.action, "unknown");
}

static void test_refusals_do_not_fill_the_store(void **state)
{
    (void)state;
    boot_ms += 120000;
    int before = audit_sum().count;
    for (int i = 0; i < REFUSALS_MINUTE_MAX + 500; i++)
        assert_int_equal(call_as(ROLE_NONE, "status", "{}"), COMMAND_NO_SESSION);
    assert_int_equal(audit_sum().count - before, REFUSALS_MINUTE_MAX);
    command_tell_counted(&running); // the minute is not over
    assert_int_equal(audit_sum().count - before, REFUSALS_MINUTE_MAX);
    boot_ms += 60000;
    command_tell_counted(&running);
    command_tell_counted(&running);
    assert_int_equal(audit_sum().count - before, REFUSALS_MINUTE_MAX + 1);
    assert_string_equal(audit_sum().last.action, "refusals");
    assert_non_null(strstr(audit_sum().last.detail, "500 refusals"));
    assert_int_equal(call_as(ROLE_NONE, "status", "{}"), COMMAND_NO_SESSION);
    assert_int_equal(audit_sum().count - before, REFUSALS_MINUTE_MAX + 2);
    // What is done and changes nothing has a bound of its own.
    before = audit_sum().count;
    for (int i = 0; i < CALLS_MINUTE_MAX + 7; i++)
        call_well(ROLE_SPECIALIST, "reload", "{}");
    assert_int_equal(audit_sum().count - before, CALLS_MINUTE_MAX);
    boot_ms += 60000;
    command_tell_counted(&running);
    assert_int_equal(audit_sum().count - before, CALLS_MINUTE_MAX + 1);
    assert_non_null(strstr(audit_sum().last.detail, "7 calls"));
}

// --- backup ---

static int name_store(struct store *store, void *argument, struct err *err)
{
    (void)argument;
    return store_setting_put(store, "gateway", "site-1", err);
}

// Adds what the newest answer holds; returns where the next piece begins, -1 after the last.
static json_int_t add_piece(FILE *copy)
{
    json_t *piece = json_loads(answer, 0, NULL);
    const char *data = json_string_value(json_object_get(piece, "data"));
    const json_t *next = json_object_get(piece, "next");
    assert_non_null(data);
    size_t length = strlen(data);
    unsigned char *bytes = malloc(length + 1);
    assert_non_null(bytes);
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)data, (int)length);
    assert_true(decoded >= 0);
    for (size_t i = length; i > 0 && data[i - 1] == '='; i--)
        decoded--;
    assert_int_equal(fwrite(bytes, 1, (size_t)decoded, copy), decoded);
    free(bytes);
    json_int_t at = json_is_integer(next) ? json_integer_value(next) : -1;
    json_decref(piece);
    return at;
}

static void same_bytes(FILE *copy, const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    rewind(copy);
    int a;
    int b;
    do {
        a = fgetc(copy);
        b = fgetc(file);
        assert_int_equal(a, b);
    } while (a != EOF);
    (void)fclose(file);
}

// How many there were.
static int remove_backups(void)
{
    char path[512];
    int count = 0;
    (void)snprintf(path, sizeof path, "%s/backups", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    (void)closedir(dir);
    assert_int_equal(rmdir(path), 0);
    return count;
}

// Fetched piece by piece it is the file that the command made; old ones go.
static void test_backup_is_fetched_in_pieces(void **state)
{
    (void)state;
    char name[256] = "";
    char arguments[512];
    char path[512];
    must(recorder_run(gateway_recorder(&site), name_store, NULL, &failure));
    for (int i = 0; i < 4; i++) {
        wall_ms += 1000;
        call_well(i % 2 == 0 ? ROLE_LEADER : ROLE_OFFICE, "backup", "{}");
    }
    assert_int_equal(sscanf(answer, "{\"file\":\"%255[^\"]", name), 1);
    (void)snprintf(path, sizeof path, "%s/backups/%s", folder, name);
    FILE *copy = tmpfile();
    assert_non_null(copy);
    json_int_t next = 0;
    while (next >= 0) {
        (void)snprintf(arguments, sizeof arguments, "{\"file\": \"%s\", \"offset\": %lld}", name,
                       (long long)next);
        call_well(ROLE_LEADER, "backup-read", arguments);
        next = add_piece(copy);
    }
    same_bytes(copy, path);
    (void)fclose(copy);
    assert_int_equal(
        call_as(ROLE_LEADER, "backup-read", "{\"file\": \"../metergate.db\", \"offset\": 0}"),
        COMMAND_ARGUMENTS);
    assert_int_equal(
        call_as(ROLE_LEADER, "backup-read", "{\"file\": \"site-1-1.backup\", \"offset\": 0}"),
        COMMAND_FAILED);
    char sum[SEAL_TEXT_SIZE];
    must(seal_check(path, sum, &failure));
    assert_int_equal(remove_backups(), 2);
}

// --- views ---

static void test_views(void **state)
{
    (void)state;
    call_well(ROLE_VIEWER, "live", "{}");
    assert_non_null(strstr(answer, "9007199254740.993001")); // verbatim
    call_well(ROLE_VIEWER, "status", "{}");
    assert_string_equal(answer, "{\"gateway\":\"site-1\"}");
    call_well(ROLE_VIEWER, "alerts", "{}");
    assert_string_equal(answer, "{\"open\":[],\"recent\":[]}");
    call_well(ROLE_TECHNICIAN, "config-get", "{}");
    assert_non_null(strstr(answer, "gateway: {id: site-1}\\n"));
    call_well(ROLE_SPECIALIST, "reload", "{}");
    assert_int_equal(site.reloads, 1);
    assert_string_equal(audit_sum().last.action, "reload");
    assert_string_equal(audit_sum().last.who, "test-3");
    call_well(ROLE_NONE, "texts", "{\"language\": \"zh\"}");
    assert_non_null(strstr(answer, "正常"));
    assert_int_equal(call_as(ROLE_NONE, "texts", "{\"language\": \"fr\"}"), COMMAND_ARGUMENTS);
    assert_int_equal(call_as(ROLE_TECHNICIAN, "read", "{\"meter\": \"m9\", \"frames\": true}"),
                     COMMAND_FAILED);
    assert_string_equal(failure.text, "there is no meter 'm9'");
    assert_string_equal(audit_sum().last.subject, "m9");
    assert_string_equal(audit_sum().last.result, "failed");
    // Where the page listens is for its process alone.
    struct principal local = {.name = "local:1000", .role = ROLE_NONE};
    assert_int_equal(call(&running, &local, "page-settings", "{}"), 0);
    assert_non_null(strstr(answer, "127.0.0.1:8443"));
    assert_int_equal(call_as(ROLE_LEADER, "page-settings", "{}"), COMMAND_ROLE);
}

static void test_alerts_are_listed(void **state)
{
    (void)state;
    char id[UUID_SIZE];
    struct alert_change change = {.kind = ALERT_NO_ANSWER,
                                  .severity = SEVERITY_MAJOR,
                                  .state = ALERT_OPEN,
                                  .subject = "m1",
                                  .at_ms = wall_ms - 1000,
                                  .since_ms = wall_ms - 1000,
                                  .evidence = {.rule = "three in a row"}};
    must(store_round_begin(site.store, &failure));
    must(store_alert_add(site.store, &change, true, id, &failure));
    must(store_round_commit(site.store, &failure));
    call_well(ROLE_VIEWER, "alerts", "{}");
    json_t *alerts = json_loads(answer, 0, NULL);
    json_t *open = json_array_get(json_object_get(alerts, "open"), 0);
    assert_string_equal(json_string_value(json_object_get(open, "id")), id);
    assert_string_equal(json_string_value(json_object_get(open, "meter")), "m1");
    assert_int_equal(json_array_size(json_object_get(alerts, "recent")), 1);
    json_decref(alerts);
    // Closed: no longer open, but still of the last day; after that it is history.
    change.state = ALERT_CLOSED;
    change.at_ms = wall_ms;
    must(store_round_begin(site.store, &failure));
    must(store_alert_add(site.store, &change, true, id, &failure));
    must(store_round_commit(site.store, &failure));
    call_well(ROLE_VIEWER, "alerts", "{}");
    alerts = json_loads(answer, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(alerts, "open")), 0);
    json_t *newest = json_array_get(json_object_get(alerts, "recent"), 0);
    assert_string_not_equal(json_string_value(json_object_get(newest, "state")), "open");
    json_decref(alerts);
    wall_ms += INT64_C(86400001);
    call_well(ROLE_VIEWER, "alerts", "{}");
    assert_string_equal(answer, "{\"open\":[],\"recent\":[]}");
}

// --- accounts ---

#define GOOD "correct horse battery"

static void test_accounts_under_the_lock(void **state)
{
    (void)state;
    struct command_context offline = offline_of(site.store);
    struct principal local = {.name = "local:0", .role = ROLE_LEADER};
    struct command_context *c = &offline;
    assert_int_equal(call(c, &local, "user-add",
                          "{\"name\":\"anna\",\"role\":\"leader\",\"password\":\"" GOOD "\"}"),
                     0);
    assert_string_equal(audit_sum().last.action, "user-add");
    assert_string_equal(audit_sum().last.subject, "anna");
    assert_string_equal(audit_sum().last.who, "local:0");
    assert_int_equal(audit_sum().count, 1);
    assert_int_equal(call(c, &local, "user-add",
                          "{\"name\":\"anna\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}"),
                     COMMAND_FAILED);
    assert_non_null(strstr(failure.text, "already"));
    static const char *const bad[] = {
        "{\"name\":\"Anna\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"a b\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"-x\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"local:0\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"office\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"abcdefghijklmnopqrstuvwxyz0123456\",\"role\":\"viewer\",\"password\":\"" GOOD
        "\"}",
        "{\"name\":\"bert\",\"role\":\"office\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"bert\",\"role\":\"none\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"bert\",\"role\":\"god\",\"password\":\"" GOOD "\"}",
        "{\"name\":\"bert\",\"role\":\"viewer\",\"password\":\"short\"}",
        "{\"name\":\"bert\",\"role\":\"viewer\"}",
        "{\"name\":\"bert\",\"role\":\"viewer\",\"password\":\"" GOOD "\",\"more\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(call(c, &local, "user-add", bad[i]), COMMAND_ARGUMENTS);
    assert_int_equal(call(c, &local, "user-add",
                          "{\"name\":\"bert\",\"role\":\"viewer\",\"password\":\"" GOOD "\"}"),
                     0);
    assert_int_equal(call(c, &local, "user-list", "{}"), 0);
    assert_string_equal(answer, "[{\"name\":\"anna\",\"role\":\"leader\"},"
                                "{\"name\":\"bert\",\"role\":\"viewer\"}]");
    assert_null(strstr(answer, "scrypt"));
    assert_int_equal(call(c, &local, "user-remove", "{\"name\":\"anna\"}"), COMMAND_FAILED);
    assert_non_null(strstr(failure.text, "last leader"));
    assert_int_equal(call(c, &local, "user-remove", "{\"name\":\"carl\"}"), COMMAND_FAILED);
    assert_int_equal(call(c, &local, "user-remove", "{\"name\":\"bert\"}"), 0);
    assert_int_equal(
        call(c, &local, "user-passwd", "{\"name\":\"bert\",\"password\":\"" GOOD "\"}"),
        COMMAND_FAILED);
    assert_int_equal(call(c, &local, "login", "{\"name\":\"anna\",\"password\":\"" GOOD "\"}"),
                     COMMAND_FAILED); // no sessions without a gateway
    struct account anna;
    assert_int_equal(store_account_get(site.store, "anna", &anna, &failure), 1);
    assert_memory_equal(anna.hash, "scrypt$32768$8$3$", 17);
    assert_int_equal(call(c, &local, "live", "{}"), COMMAND_FAILED);
    assert_non_null(strstr(failure.text, "metergate run"));
}

static char token[TOKEN_SIZE];

static int log_in(const char *name, const char *password)
{
    char arguments[256];
    (void)snprintf(arguments, sizeof arguments, "{\"name\":\"%s\",\"password\":\"%s\"}", name,
                   password);
    struct principal page = {.name = "page"};
    int status = call(&running, &page, "login", arguments);
    if (status == 0) {
        json_t *result = json_loads(answer, 0, NULL);
        (void)snprintf(token, sizeof token, "%s",
                       json_string_value(json_object_get(result, "token")));
        json_decref(result);
    }
    return status;
}

static void test_login(void **state)
{
    (void)state;
    struct session session;
    struct err unknown;
    call_well(ROLE_LEADER, "user-add",
              "{\"name\":\"anna\",\"role\":\"technician\",\"password\":\"" GOOD "\"}");
    assert_int_equal(log_in("anna", "wrong horse battery"), COMMAND_DENIED);
    assert_string_equal(audit_sum().last.result, "denied");
    assert_string_equal(audit_sum().last.subject, "anna");
    assert_null(strstr(audit_sum().last.detail, "horse")); // no password in the chain
    unknown = failure;
    assert_int_equal(log_in("nobody", GOOD), COMMAND_DENIED);
    assert_string_equal(failure.text, unknown.text); // the same answer
    assert_int_equal(log_in("anna", ""), COMMAND_DENIED);
    assert_int_equal(log_in("anna", GOOD), 0);
    assert_int_equal(strlen(token), 32);
    assert_string_equal(audit_sum().last.result, "done");
    assert_true(access_find(running.access, token, true, &session));
    assert_int_equal(session.role, ROLE_TECHNICIAN);
    char first[TOKEN_SIZE];
    memcpy(first, token, sizeof first);
    assert_int_equal(log_in("anna", GOOD), 0);
    assert_string_not_equal(first, token);
    struct principal anna = {.name = "anna", .role = ROLE_TECHNICIAN, .token = first};
    assert_int_equal(call(&running, &anna, "session", "{}"), 0);
    assert_string_equal(answer, "{\"name\":\"anna\",\"role\":\"technician\"}");
    assert_int_equal(call(&running, &anna, "logout", "{}"), 0);
    assert_false(access_find(running.access, first, true, &session));
    assert_true(access_find(running.access, token, true, &session));
    // A new password ends what is open, and the old one fits no more.
    call_well(ROLE_LEADER, "user-passwd", "{\"name\":\"anna\",\"password\":\"another long one\"}");
    assert_false(access_find(running.access, token, true, &session));
    assert_int_equal(log_in("anna", GOOD), COMMAND_DENIED);
    assert_int_equal(log_in("anna", "another long one"), 0);
    assert_int_equal(session.role, ROLE_TECHNICIAN); // passwd does not touch the role
}

static void test_login_throttle(void **state)
{
    (void)state;
    boot_ms += 3600000;
    int done = audit_sum().count;
    for (int i = 0; i < THROTTLE_MINUTE_MAX; i++)
        assert_int_equal(log_in("nobody", "no such password"), COMMAND_DENIED);
    assert_int_equal(log_in("nobody", "no such password"), COMMAND_THROTTLED);
    assert_int_equal(log_in("anna", GOOD), COMMAND_THROTTLED);
    assert_non_null(strstr(failure.text, "60 s"));
    assert_int_equal(audit_sum().count - done, THROTTLE_MINUTE_MAX + 2);
    assert_string_equal(audit_sum().last.result, "throttled");
}

// --- claim ---

static int claim(const char *code, const char *name)
{
    char arguments[256];
    (void)snprintf(arguments, sizeof arguments,
                   "{\"code\":\"%s\",\"name\":\"%s\",\"password\":\"" GOOD "\"}", code, name);
    struct principal page = {.name = "page"};
    return call(&running, &page, "claim", arguments);
}

static void test_claim(void **state)
{
    (void)state;
    char first[CLAIM_TEXT_SIZE];
    char code[CLAIM_TEXT_SIZE];
    char stored[PASSWORD_HASH_SIZE];
    struct recorder *recorder = gateway_recorder(&site);
    call_well(ROLE_NONE, "claim-state", "{}");
    assert_string_equal(answer, "{\"claimed\":false}");
    assert_int_equal(claim("ABCD", "anna"), COMMAND_FAILED); // none was made yet
    must(control_claim_begin(recorder, folder, first, &failure));
    must(control_claim_begin(recorder, folder, code, &failure)); // the next start
    assert_int_equal(strlen(code), CLAIM_TEXT_SIZE - 1);
    assert_string_not_equal(first, code);
    assert_int_equal(store_setting_get(site.store, CLAIM_SETTING, stored, sizeof stored, &failure),
                     1);
    assert_memory_equal(stored, "scrypt$", 7); // not the code itself
    assert_int_equal(claim(first, "anna"), COMMAND_DENIED);
    assert_int_equal(claim("", "anna"), COMMAND_DENIED);
    assert_int_equal(claim(code, "Not A Name"), COMMAND_ARGUMENTS);
    // As a person types it.
    char typed[CLAIM_TEXT_SIZE];
    for (size_t i = 0; i < sizeof code; i++) {
        typed[i] = code[i] == '-' ? ' ' : (char)(code[i] == '0' ? 'o' : code[i] | 0x20);
        typed[i] = code[i] == '\0' ? '\0' : typed[i];
    }
    assert_int_equal(claim(typed, "anna"), 0);
    assert_non_null(strstr(answer, "\"role\":\"leader\""));
    assert_string_equal(audit_sum().last.action, "claim");
    call_well(ROLE_NONE, "claim-state", "{}");
    assert_string_equal(answer, "{\"claimed\":true}");
    assert_int_equal(claim(code, "eve"), COMMAND_DENIED); // dead from now on
    must(control_claim_begin(recorder, folder, code, &failure));
    assert_string_equal(code, "");
    assert_int_equal(store_setting_get(site.store, CLAIM_SETTING, stored, sizeof stored, &failure),
                     1);
    assert_string_equal(stored, "");
}

static void test_claim_text(void **state)
{
    (void)state;
    unsigned char random[CLAIM_SYMBOLS];
    char text[CLAIM_TEXT_SIZE];
    char again[CLAIM_TEXT_SIZE];
    for (unsigned i = 0; i < CLAIM_SYMBOLS; i++)
        random[i] = (unsigned char)(i + 224); // the top bits do not count
    claim_print(random, text);
    assert_string_equal(text, "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV");
    assert_int_equal(claim_normalize("o1l3456-89abcdef-ghjkmnpqrstv", again), -1); // one short
    must(claim_normalize("oi23 4567 89ab cdef ghjk mnpq rstv", again));
    assert_string_equal(again, text);
    assert_int_equal(claim_normalize("0123-4567-89AB-CDEF-GHJK-MNPQ-RSTU", again), -1);
    assert_int_equal(claim_normalize("0123-4567-89AB-CDEF-GHJK-MNPQ-RSTVW", again), -1);
    assert_int_equal(claim_normalize("", again), -1);
}

// --- the chain ---

static void print_fault(void *context, const char *text)
{
    (void)context;
    print_error("%s\n", text);
}

static void test_audit_tail(void **state)
{
    (void)state;
    // Records of long ago are found when there are no others.
    for (int i = 0; i < 4; i++) {
        wall_ms += INT64_C(20) * 86400000;
        call_well(ROLE_SPECIALIST, i < 3 ? "config-get" : "reload", "{}");
        assert_int_equal(call_as(ROLE_VIEWER, "reload", "{}"), COMMAND_ROLE);
    }
    call_well(ROLE_SPECIALIST, "reload", "{}");
    call_well(ROLE_LEADER, "audit", "{\"limit\": 3}");
    json_t *tail = json_loads(answer, 0, NULL);
    assert_int_equal(json_array_size(tail), 3);
    json_int_t newest = json_integer_value(json_object_get(json_array_get(tail, 0), "number"));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_integer_value(json_object_get(json_array_get(tail, i), "number")),
                         newest - (json_int_t)i);
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(tail, 0), "action")),
                        "reload");
    json_decref(tail);
    assert_int_equal(call_as(ROLE_LEADER, "audit", "{\"limit\": 0}"), COMMAND_ARGUMENTS);
    assert_int_equal(call_as(ROLE_LEADER, "audit", "{\"limit\": 501}"), COMMAND_ARGUMENTS);
    assert_int_equal(store_verify(site.store, print_fault, NULL, &failure), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "hash") == 0) // the helper of password.c
        return hash_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_command_is_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_role_matrix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals_do_not_fill_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_backup_is_fetched_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alerts_are_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_accounts_under_the_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_login_throttle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claim, set_up, tear_down),
        cmocka_unit_test(test_claim_text),
        cmocka_unit_test_setup_teardown(test_audit_tail, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
