// Commands of head office that were executed: the counter that the next one must be above, and the
// answers, so that the same command again is answered and not executed.
#include "store/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FLOOR_SETTING "command_floor"

// What was executed before the store began, or after the backup that it came from, is not known
// here; its counter is below the instant at which the store (again) began.
int store_command_forget_before(struct store *store, int64_t now_ms, struct err *err)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, now_ms);
    if (store_setting_put(store, FLOOR_SETTING, text, err) != 0)
        return -1;
    return store_execute(store,
                         "UPDATE command SET told = 1 WHERE told = 0;"
                         "UPDATE resend SET state = 2 WHERE state = 0",
                         err);
}

// A floor that lies ahead was written by a clock that was wrong: it would shut out everything.
int store_command_last(struct store *store, const char *key, int64_t now_ms, int64_t *counter,
                       struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_COMMAND_LAST,
                    "SELECT max((SELECT ifnull(max(counter), 0) FROM command WHERE key = ?1),"
                    " ifnull((SELECT CAST(value AS INTEGER) FROM setting"
                    " WHERE key = '" FLOOR_SETTING "' AND CAST(value AS INTEGER) <= ?2), 0))",
                    err) != 0)
        return -1;
    query_text(&query, key);
    query_int(&query, now_ms);
    int found = query_row(&query, err);
    if (found != 1)
        return -1;
    *counter = query_get_int(&query, 0);
    query_end(&query);
    return 0;
}

static int command_insert(struct store *store, const struct stored_command *command,
                          struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_COMMAND_ADD,
                    "INSERT INTO command(key, counter, digest, at_ms, name, response, correlation,"
                    " answer, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
                    err) != 0)
        return -1;
    query_text(&query, command->key);
    query_int(&query, command->counter);
    query_blob(&query, command->digest, sizeof command->digest);
    query_int(&query, command->at_ms);
    query_text(&query, command->name);
    query_text(&query, command->response);
    query_blob(&query, command->correlation, command->correlation_length);
    query_text_part(&query, command->answer, command->answer_length);
    return query_run(&query, err);
}

int store_command_add(struct store *store, const struct stored_command *command, struct err *err)
{
    int64_t last;
    if (store_command_last(store, command->key, command->at_ms, &last, err) != 0)
        return -1;
    if (command->counter <= last) {
        return err_set(err, "counter %" PRId64 " is not above %" PRId64 ", the last one executed",
                       command->counter, last);
    }
    struct query query;
    if (command_insert(store, command, err) != 0 ||
        query_begin(&query, store, SLOT_COMMAND_FORGET,
                    "DELETE FROM command WHERE key = ?1 AND counter <= (SELECT counter FROM command"
                    " WHERE key = ?1 ORDER BY counter DESC LIMIT 1 OFFSET ?2)",
                    err) != 0)
        return -1;
    query_text(&query, command->key);
    query_int(&query, STORE_COMMANDS_MAX);
    return query_run(&query, err);
}

int store_command_find(struct store *store, const char *key,
                       const uint8_t digest[static STORE_DIGEST_SIZE], int64_t *row,
                       struct buf *answer, struct err *err)
{
    struct query query;
    if (query_begin(&query, store, SLOT_COMMAND_FIND,
                    "SELECT id, answer FROM command WHERE key = ?1 AND digest = ?2", err) != 0)
        return -1;
    query_text(&query, key);
    query_blob(&query, digest, STORE_DIGEST_SIZE);
    int found = query_row(&query, err);
    if (found != 1)
        return found;
    *row = query_get_int(&query, 0);
    buf_clear(answer);
    buf_add(answer, sqlite3_column_text(query.statement, 1),
            (size_t)sqlite3_column_bytes(query.statement, 1));
    query_end(&query);
    return answer->failed ? err_set(err, "out of memory for a stored answer") : 1;
}

int store_command_told(struct store *store, int64_t row, struct err *err)
{
    return query_do(store, SLOT_COMMAND_TOLD, "UPDATE command SET told = 1 WHERE id = ?1",
                    (const int64_t[]){row}, 1, err);
}

// The next command after `row` whose answer did not reach the broker.
static int untold_next(struct store *store, int64_t *row, struct stored_command *command,
                       struct buf *answer, struct err *err)
{
    struct query query;
    int found = query_find(&query, store, SLOT_COMMAND_UNTOLD,
                           "SELECT id, response, correlation, answer, key, counter FROM command"
                           " WHERE told = 0 AND id > ?1 ORDER BY id LIMIT 1",
                           *row, err);
    if (found != 1)
        return found;
    *row = command->row = query_get_int(&query, 0);
    query_get_text(&query, 1, command->response, sizeof command->response);
    size_t length = (size_t)sqlite3_column_bytes(query.statement, 2);
    command->correlation_length = length <= sizeof command->correlation ? length : 0;
    if (command->correlation_length > 0)
        memcpy(command->correlation, sqlite3_column_blob(query.statement, 2), length);
    buf_clear(answer);
    buf_add(answer, sqlite3_column_text(query.statement, 3),
            (size_t)sqlite3_column_bytes(query.statement, 3));
    query_get_text(&query, 4, command->key, sizeof command->key);
    command->counter = query_get_int(&query, 5);
    query_end(&query);
    return 1;
}

int store_commands_untold(struct store *store, stored_command_visit *visit, void *context,
                          struct err *err)
{
    struct stored_command command = {.row = 0};
    struct buf answer;
    int64_t row = 0;
    int found;
    buf_init(&answer, STORE_ANSWER_MAX);
    while ((found = untold_next(store, &row, &command, &answer, err)) == 1) {
        command.answer = answer.data != NULL ? answer.data : "";
        command.answer_length = answer.length;
        if (answer.failed)
            continue; // longer than any answer of ours: the file was changed
        if (!visit(context, &command))
            break;
    }
    buf_release(&answer);
    return found < 0 ? -1 : 0;
}
