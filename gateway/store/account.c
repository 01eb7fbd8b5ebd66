// Accounts of people: name, role and the hash of the password.
#include "store/chain.h"

#include <string.h>

static const char *const roles[] = {"none",       "viewer", "technician",
                                    "specialist", "leader", "office"};
#define ROLES ((int)(sizeof roles / sizeof roles[0]))

const char *role_text(enum role role)
{
    return (int)role >= 0 && (int)role < ROLES ? roles[role] : roles[ROLE_NONE];
}

enum role role_find(const char *text)
{
    for (int i = 0; i < ROLES; i++)
        if (strcmp(text, roles[i]) == 0)
            return (enum role)i;
    return ROLE_NONE;
}

int store_account_put(struct store *store, const struct account *account, struct err *err)
{
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_ACCOUNT_PUT,
                    "INSERT INTO account VALUES (?1, ?2, ?3)"
                    " ON CONFLICT DO UPDATE SET role = ?2, hash = ?3",
                    err) != 0)
        return -1;
    query_text(&query, account->name);
    query_int(&query, account->role);
    query_text(&query, account->hash);
    return query_run(&query, err);
}

int store_account_remove(struct store *store, const char *name, struct err *err)
{
    struct query query;
    if (register_change(store, err) != 0 ||
        query_begin(&query, store, SLOT_ACCOUNT_REMOVE, "DELETE FROM account WHERE name = ?1",
                    err) != 0)
        return -1;
    query_text(&query, name);
    if (query_run(&query, err) != 0)
        return -1;
    if (sqlite3_changes(store->db) == 0)
        return err_set(err, "there is no account '%s'", name);
    return 0;
}

// Columns name, role, hash. A role that this program does not know gives no rights.
static void account_read(const struct query *query, struct account *out)
{
    int64_t role = query_get_int(query, 1);
    query_get_text(query, 0, out->name, sizeof out->name);
    query_get_text(query, 2, out->hash, sizeof out->hash);
    out->role = role > ROLE_NONE && role < ROLES ? (enum role)role : ROLE_NONE;
}

static int account_one(struct query *query, struct account *out, struct err *err)
{
    int found = query_row(query, err);
    if (found == 1) {
        account_read(query, out);
        query_end(query);
    }
    return found;
}

int store_account_get(struct store *store, const char *name, struct account *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ACCOUNT_GET,
                    "SELECT name, role, hash FROM account WHERE name = ?1", err) != 0)
        return -1;
    query_text(&query, name);
    return account_one(&query, out, err);
}

// The account after `name`, in the order of names.
static int account_next(struct store *store, const char *name, struct account *out, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_ACCOUNT_PAGE,
                    "SELECT name, role, hash FROM account WHERE name > ?1 ORDER BY name LIMIT 1",
                    err) != 0)
        return -1;
    query_text(&query, name);
    return account_one(&query, out, err);
}

int store_accounts(struct store *store, account_visit *visit, void *context, struct err *err)
{
    struct account account = {.name = ""};
    int found;
    do {
        char before[sizeof account.name];
        memcpy(before, account.name, sizeof before);
        found = account_next(store, before, &account, err);
    } while (found == 1 && visit(context, &account));
    return found < 0 ? -1 : 0;
}
