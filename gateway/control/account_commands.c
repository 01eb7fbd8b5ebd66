// Commands about who may come in: login and sessions, the claim, accounts.
#include "control/access.h"
#include "control/claim.h"
#include "control/command.h"
#include "control/password.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNTS_MAX 256 // a further one is refused

// --- what is stored ---

// 1 found, 0 not, -1.
static int read_account(const struct command_context *context, const char *name,
                        struct account *account, struct err *err)
{
    struct store *store = NULL;
    if (command_reader_open(context, &store, err) != 0)
        return -1;
    int found = store_account_get(store, name, account, err);
    command_reader_close(context, store);
    return found;
}

struct tally {
    int accounts, leaders;
};

static bool count_account(void *context, const struct account *account)
{
    struct tally *tally = context;
    tally->accounts++;
    tally->leaders += account->role == ROLE_LEADER;
    return true;
}

static int count_accounts(struct store *store, struct tally *tally, struct err *err)
{
    *tally = (struct tally){0};
    return store_accounts(store, count_account, tally, err);
}

// Whether an account exists, and the hash of the claim code ("" without).
static int read_claim(const struct command_context *context, bool *claimed,
                      char hash[static PASSWORD_HASH_SIZE], struct err *err)
{
    struct store *store = NULL;
    struct tally tally;
    if (command_reader_open(context, &store, err) != 0)
        return -1;
    hash[0] = '\0';
    int result = count_accounts(store, &tally, err);
    if (result == 0 && store_setting_get(store, CLAIM_SETTING, hash, PASSWORD_HASH_SIZE, err) < 0)
        result = -1;
    command_reader_close(context, store);
    if (result == 0)
        *claimed = tally.accounts > 0;
    return result;
}

// --- rules ---

static int check_name(const char *name, struct err *err)
{
    size_t length = strlen(name);
    bool good = length >= 1 && length <= 32 &&
                strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length &&
                strchr("._-", name[0]) == NULL;
    if (!good) {
        (void)err_set(err, "a name has 1 to 32 of a-z, 0-9, '.', '_' and '-', and begins with a "
                           "letter or digit");
        return COMMAND_ARGUMENTS;
    }
    // Names that the audit chain uses for others.
    static const char *const reserved[] = {"office", "page", "gateway", "signal", "start"};
    bool taken = false;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        taken = taken || strcmp(name, reserved[i]) == 0;
    if (taken) {
        (void)err_set(err, "'%s' is reserved: choose another name", name);
        return COMMAND_ARGUMENTS;
    }
    return 0;
}

// An account ready to be stored: name, role and password checked, password hashed.
static int make_account(const char *name, enum role role, const char *password,
                        struct account *account, struct err *err)
{
    int fault = check_name(name, err);
    if (fault != 0)
        return fault;
    if (role < ROLE_VIEWER || role > ROLE_LEADER) {
        (void)err_set(err, "a role is viewer, technician, specialist or leader");
        return COMMAND_ARGUMENTS;
    }
    if (password_check(password, err) != 0)
        return COMMAND_ARGUMENTS;
    struct account made = {.role = role};
    (void)snprintf(made.name, sizeof made.name, "%s", name);
    if (password_hash(password, made.hash, err) != 0)
        return COMMAND_FAILED;
    *account = made;
    return 0;
}

static void print_account(struct writer *result, const char *name, enum role role)
{
    writer_object(result);
    writer_key_text(result, "name", name);
    writer_key_text(result, "role", role_text(role));
    writer_end(result);
}

// --- login ---

static int need_access(const struct command_context *context, struct err *err)
{
    if (context->access != NULL)
        return 0;
    (void)err_set(err, "%s needs a running gateway", context->command->name);
    return COMMAND_FAILED;
}

static int throttle(const struct command_context *context, const char *account, struct err *err)
{
    int wait_s = 0;
    if (access_try(context->access, account, &wait_s))
        return 0;
    (void)err_set(err, "too many tries: wait %d s", wait_s);
    return COMMAND_THROTTLED;
}

static int begin_session(const struct command_context *context, const struct account *account,
                         struct writer *result, struct err *err)
{
    char token[TOKEN_SIZE];
    struct account now;
    if (access_begin(context->access, account, token, err) != 0)
        return COMMAND_FAILED;
    // The password may have changed while it was being checked.
    if (read_account(context, account->name, &now, err) != 1 ||
        strcmp(now.hash, account->hash) != 0) {
        access_end(context->access, token);
        (void)err_set(err, "the account changed just now: try again");
        return COMMAND_FAILED;
    }
    writer_object(result);
    writer_key_text(result, "token", token);
    writer_key_text(result, "name", account->name);
    writer_key_text(result, "role", role_text(account->role));
    writer_end(result);
    return 0;
}

int command_login(struct command_context *context, const struct principal *who,
                  const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    const char *name = NULL;
    const char *password = NULL;
    int fault = command_unpack(context, arguments, err, "{s:s, s:s !}", "name", &name, "password",
                               &password);
    if (fault != 0 || (fault = need_access(context, err)) != 0 ||
        (fault = throttle(context, name, err)) != 0)
        return fault;
    struct account account = {0};
    int found = read_account(context, name, &account, err);
    if (found < 0)
        return COMMAND_FAILED;
    // An unknown account costs the same time and gets the same answer.
    bool possible = password[0] != '\0' && strlen(password) <= PASSWORD_BYTES_MAX;
    int fits = password_verify(found == 1 ? account.hash : password_nobody(),
                               possible ? password : "-", err);
    if (fits < 0)
        return COMMAND_FAILED;
    if (found == 0 || fits == 0 || !possible) {
        (void)err_set(err, "name or password is wrong");
        return COMMAND_DENIED;
    }
    return begin_session(context, &account, result, err);
}

int command_logout(struct command_context *context, const struct principal *who,
                   const json_t *arguments, struct writer *result, struct err *err)
{
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0 || (fault = need_access(context, err)) != 0)
        return fault;
    if (who->token != NULL)
        access_end(context->access, who->token);
    writer_object(result);
    writer_end(result);
    return 0;
}

int command_session(struct command_context *context, const struct principal *who,
                    const json_t *arguments, struct writer *result, struct err *err)
{
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0)
        return fault;
    bool known = who->role != ROLE_NONE;
    print_account(result, known ? who->name : NULL, who->role);
    return 0;
}

// --- claim ---

int command_claim_state(struct command_context *context, const struct principal *who,
                        const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    bool claimed = false;
    char hash[PASSWORD_HASH_SIZE];
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0)
        return fault;
    if (read_claim(context, &claimed, hash, err) != 0)
        return COMMAND_FAILED;
    writer_object(result);
    writer_key_bool(result, "claimed", claimed);
    writer_end(result);
    return 0;
}

// The first account, and the end of the claim, in one round.
static int store_first(struct store *store, void *argument, struct err *err)
{
    struct tally tally;
    if (count_accounts(store, &tally, err) != 0)
        return -1;
    if (tally.accounts > 0)
        return err_set(err, "somebody else made the first account just now: log in");
    if (store_account_put(store, argument, err) != 0)
        return -1;
    return store_setting_put(store, CLAIM_SETTING, "", err);
}

static int check_code(const struct command_context *context, const char *typed, struct err *err)
{
    char hash[PASSWORD_HASH_SIZE];
    char code[CLAIM_TEXT_SIZE];
    bool claimed = false;
    if (read_claim(context, &claimed, hash, err) != 0)
        return COMMAND_FAILED;
    if (claimed) {
        (void)err_set(err, "an account exists already: log in with it");
        return COMMAND_DENIED;
    }
    if (hash[0] == '\0') {
        (void)err_set(err, "there is no claim code: restart the gateway, it prints a new one");
        return COMMAND_FAILED;
    }
    int fits = claim_normalize(typed, code) == 0 ? password_verify(hash, code, err) : 0;
    if (fits == 0) {
        (void)err_set(err, "the claim code is wrong: the gateway prints it when it starts");
        return COMMAND_DENIED;
    }
    return fits == 1 ? 0 : COMMAND_FAILED;
}

int command_claim(struct command_context *context, const struct principal *who,
                  const json_t *arguments, struct writer *result, struct err *err)
{
    const char *code = NULL;
    const char *name = NULL;
    const char *password = NULL;
    struct account account;
    int fault = command_unpack(context, arguments, err, "{s:s, s:s, s:s !}", "code", &code, "name",
                               &name, "password", &password);
    // What can be seen to be wrong costs no try.
    if (fault != 0 || (fault = need_access(context, err)) != 0 ||
        (fault = check_name(name, err)) != 0)
        return fault;
    if (password_check(password, err) != 0)
        return COMMAND_ARGUMENTS;
    if ((fault = throttle(context, "claim code", err)) != 0 ||
        (fault = check_code(context, code, err)) != 0 ||
        (fault = make_account(name, ROLE_LEADER, password, &account, err)) != 0 ||
        (fault = command_commit(context, who, name, store_first, &account, err)) != 0)
        return fault;
    return begin_session(context, &account, result, err);
}

// --- accounts ---

static int store_new(struct store *store, void *argument, struct err *err)
{
    const struct account *account = argument;
    struct account old;
    struct tally tally;
    int found = store_account_get(store, account->name, &old, err);
    if (found == 1)
        return err_set(err, "there is an account '%s' already", account->name);
    if (found < 0 || count_accounts(store, &tally, err) != 0)
        return -1;
    if (tally.accounts >= ACCOUNTS_MAX) {
        return err_set(err, "there are %d accounts, more are not kept: remove one first",
                       ACCOUNTS_MAX);
    }
    if (store_account_put(store, account, err) != 0)
        return -1;
    return store_setting_put(store, CLAIM_SETTING, "", err);
}

int command_user_add(struct command_context *context, const struct principal *who,
                     const json_t *arguments, struct writer *result, struct err *err)
{
    const char *name = NULL;
    const char *role = NULL;
    const char *password = NULL;
    struct account account;
    int fault = command_unpack(context, arguments, err, "{s:s, s:s, s:s !}", "name", &name, "role",
                               &role, "password", &password);
    if (fault != 0 || (fault = make_account(name, role_find(role), password, &account, err)) != 0 ||
        (fault = command_commit(context, who, name, store_new, &account, err)) != 0)
        return fault;
    print_account(result, account.name, account.role);
    return 0;
}

static int remove_account(struct store *store, void *argument, struct err *err)
{
    const char *name = argument;
    struct account account;
    struct tally tally;
    int found = store_account_get(store, name, &account, err);
    if (found == 0)
        return err_set(err, "there is no account '%.32s'", name);
    if (found < 0 || count_accounts(store, &tally, err) != 0)
        return -1;
    if (account.role == ROLE_LEADER && tally.leaders == 1)
        return err_set(err, "'%s' is the last leader: add another leader first", name);
    return store_account_remove(store, name, err);
}

int command_user_remove(struct command_context *context, const struct principal *who,
                        const json_t *arguments, struct writer *result, struct err *err)
{
    const char *name = NULL;
    char copy[sizeof((struct account *)0)->name];
    int fault = command_unpack(context, arguments, err, "{s:s !}", "name", &name);
    if (fault != 0 || (fault = check_name(name, err)) != 0)
        return fault;
    (void)snprintf(copy, sizeof copy, "%s", name);
    fault = command_commit(context, who, copy, remove_account, copy, err);
    if (fault != 0)
        return fault;
    if (context->access != NULL)
        access_end_account(context->access, copy);
    writer_object(result);
    writer_key_text(result, "name", copy);
    writer_end(result);
    return 0;
}

static int change_password(struct store *store, void *argument, struct err *err)
{
    struct account *account = argument;
    struct account old;
    int found = store_account_get(store, account->name, &old, err);
    if (found == 0)
        return err_set(err, "there is no account '%s'", account->name);
    account->role = old.role; // as it is now
    return found == 1 ? store_account_put(store, account, err) : -1;
}

int command_user_passwd(struct command_context *context, const struct principal *who,
                        const json_t *arguments, struct writer *result, struct err *err)
{
    const char *name = NULL;
    const char *password = NULL;
    struct account account;
    int fault = command_unpack(context, arguments, err, "{s:s, s:s !}", "name", &name, "password",
                               &password);
    if (fault != 0 || (fault = make_account(name, ROLE_VIEWER, password, &account, err)) != 0 ||
        (fault = command_commit(context, who, name, change_password, &account, err)) != 0)
        return fault;
    if (context->access != NULL)
        access_end_account(context->access, account.name);
    print_account(result, account.name, account.role);
    return 0;
}

static bool print_one(void *context, const struct account *account)
{
    print_account(context, account->name, account->role);
    return true;
}

int command_user_list(struct command_context *context, const struct principal *who,
                      const json_t *arguments, struct writer *result, struct err *err)
{
    (void)who;
    struct store *store = NULL;
    int fault = command_unpack(context, arguments, err, "{!}");
    if (fault != 0)
        return fault;
    if (command_reader_open(context, &store, err) != 0)
        return COMMAND_FAILED;
    writer_array(result);
    int status = store_accounts(store, print_one, result, err);
    writer_end(result);
    command_reader_close(context, store);
    return status == 0 ? COMMAND_DONE : COMMAND_FAILED;
}
