// metergate user: the accounts of the page.
#include "cli/cli.h"
#include "cli/local_call.h"
#include "cli/options.h"
#include "control/password.h"

#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define RESULT_MAX (1024 * 1024)
#define LINE_SIZE (PASSWORD_BYTES_MAX + 3) // one byte too many is seen, with line end and NUL

static const char help[] =
    "usage: metergate user add NAME --role ROLE --state DIR    make an account\n"
    "       metergate user passwd NAME --state DIR             set its password\n"
    "       metergate user remove NAME --state DIR             remove it\n"
    "       metergate user list [--json] --state DIR           all accounts\n"
    "\n"
    "Accounts of the page. Works through the running gateway, and on the store itself while none\n"
    "runs. `add` and `passwd` read the password from stdin: 12 to 128 characters.\n"
    "\n"
    "  --state DIR   state directory of the gateway\n"
    "  --role ROLE   viewer (sees), technician (and reads meters), specialist (and changes the\n"
    "                configuration), leader (and manages accounts)\n"
    "  --json        the list as JSON\n";

struct options {
    const char *state, *role, *words[2]; // what to do, with whom
    bool json;
};

// Reads one line without showing it. False at the end of stdin.
static bool read_hidden(const char *prompt, char line[static LINE_SIZE])
{
    struct termios shown;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        struct termios hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        // Before the prompt: what is typed as soon as it shows is neither shown nor lost.
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        fputs(prompt, stderr);
    }
    bool got = fgets(line, LINE_SIZE, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    if (got)
        line[strcspn(line, "\r\n")] = '\0';
    return got;
}

// A person types it twice; a pipe gives it once.
static int read_password(char password[static LINE_SIZE])
{
    struct err err;
    char again[LINE_SIZE];
    if (!read_hidden("Password: ", password))
        return cli_problem("user", "no password came on stdin");
    if (password_check(password, &err) != 0)
        return cli_problem("user", "%s", err.text);
    if (!isatty(STDIN_FILENO))
        return 0;
    bool same = read_hidden("Once more: ", again) && strcmp(password, again) == 0;
    OPENSSL_cleanse(again, sizeof again);
    return same ? 0 : cli_problem("user", "the two are not the same: nothing was changed");
}

static int call(const struct options *options, const char *command, json_t *arguments,
                struct buf *result)
{
    struct err err;
    int status = local_call(options->state, command, arguments, result, &err);
    json_decref(arguments);
    return status == 0 ? EXIT_DONE : cli_problem("user", "%s", err.text);
}

static int call_with_password(const struct options *options, const char *command,
                              struct buf *result)
{
    char password[LINE_SIZE];
    int fault = read_password(password);
    if (fault != 0)
        return fault;
    json_t *arguments = json_pack("{s:s, s:s}", "name", options->words[1], "password", password);
    OPENSSL_cleanse(password, sizeof password);
    if (arguments == NULL)
        return cli_problem("user", "the name or the password is not UTF-8");
    if (options->role != NULL)
        (void)json_object_set_new(arguments, "role", json_string(options->role));
    return call(options, command, arguments, result);
}

static int add(const struct options *options, struct buf *result)
{
    if (options->role == NULL)
        return cli_usage("user", "say the role: --role viewer, technician, specialist or leader");
    int fault = call_with_password(options, "user-add", result);
    if (fault == 0)
        printf("%s is %s now\n", options->words[1], options->role);
    return fault;
}

static int set_password(const struct options *options, struct buf *result)
{
    int fault = call_with_password(options, "user-passwd", result);
    if (fault == 0)
        printf("%s has a new password; open sessions of the account are ended\n",
               options->words[1]);
    return fault;
}

static int remove_account(const struct options *options, struct buf *result)
{
    int fault = call(options, "user-remove", json_pack("{s:s}", "name", options->words[1]), result);
    if (fault == 0)
        printf("%s is removed\n", options->words[1]);
    return fault;
}

static int list(const struct options *options, struct buf *result)
{
    int fault = call(options, "user-list", NULL, result);
    if (fault != 0)
        return fault;
    if (options->json) {
        puts(result->data);
        return EXIT_DONE;
    }
    json_t *accounts = json_loadb(result->data, result->length, 0, NULL);
    size_t index;
    json_t *account;
    printf("%-32s  %s\n", "NAME", "ROLE");
    json_array_foreach(accounts, index, account)
    {
        printf("%-32s  %s\n", json_string_value(json_object_get(account, "name")),
               json_string_value(json_object_get(account, "role")));
    }
    json_decref(accounts);
    return EXIT_DONE;
}

static const struct verb {
    const char *name;
    bool needs_name, takes_role;
    int (*run)(const struct options *options, struct buf *result);
} verbs[] = {{"add", true, true, add},
             {"passwd", true, false, set_password},
             {"remove", true, false, remove_account},
             {"list", false, false, list}};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int check(const struct options *options)
{
    const char *word = options->words[0];
    if (word == NULL)
        return cli_usage("user", "say what to do: add, passwd, remove or list");
    const struct verb *verb = find_verb(word);
    if (verb == NULL)
        return cli_usage("user", "there is no '%s': it is add, passwd, remove or list", word);
    if (verb->needs_name != (options->words[1] != NULL)) {
        return cli_usage("user", verb->needs_name ? "%s needs a name" : "%s takes no name",
                         verb->name);
    }
    if (!verb->takes_role && options->role != NULL)
        return cli_usage("user", "%s takes no --role", verb->name);
    return cli_state("user", options->state);
}

int user_main(int argc, char **argv)
{
    struct options options = {0};
    const struct cli_option known[] = {{"state", &options.state, NULL},
                                       {"role", &options.role, NULL},
                                       {"json", NULL, &options.json},
                                       {NULL, NULL, NULL}};
    const struct cli_line line = {help, known, options.words, 2};
    int status = cli_options(argc, argv, &line);
    if (status != CLI_GO || (status = check(&options)) != CLI_GO)
        return status;
    struct buf result;
    buf_init(&result, RESULT_MAX);
    status = find_verb(options.words[0])->run(&options, &result);
    buf_release(&result);
    return status;
}
