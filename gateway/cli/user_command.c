// metergate user: the accounts of the page.
#include "cli/cli.h"
#include "cli/local_call.h"
#include "control/password.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
    const char *state, *role, *verb, *name;
    bool json, help;
};

// 0, or an exit status after a message.
static int parse(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"state", required_argument, NULL, 's'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 's': options->state = optarg; break;
        case 'r': options->role = optarg; break;
        case 'j': options->json = true; break;
        case 'h': options->help = true; return 0;
        default: return cli_usage("user", "unknown or incomplete option '%s'", argv[optind - 1]);
        }
    }
    options->verb = optind < argc ? argv[optind++] : NULL;
    options->name = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return cli_usage("user", "'%s' is one too many", argv[optind]);
    return 0;
}

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
    json_t *arguments = json_pack("{s:s, s:s}", "name", options->name, "password", password);
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
        printf("%s is %s now\n", options->name, options->role);
    return fault;
}

static int set_password(const struct options *options, struct buf *result)
{
    int fault = call_with_password(options, "user-passwd", result);
    if (fault == 0)
        printf("%s has a new password; open sessions of the account are ended\n", options->name);
    return fault;
}

static int remove_account(const struct options *options, struct buf *result)
{
    int fault = call(options, "user-remove", json_pack("{s:s}", "name", options->name), result);
    if (fault == 0)
        printf("%s is removed\n", options->name);
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

int user_main(int argc, char **argv)
{
    struct options options = {0};
    int fault = parse(argc, argv, &options);
    if (fault != 0 || options.help)
        return fault != 0 ? fault : (fputs(help, stdout), EXIT_DONE);
    if (options.verb == NULL)
        return cli_usage("user", "say what to do: add, passwd, remove or list");
    const struct verb *verb = find_verb(options.verb);
    if (verb == NULL) {
        return cli_usage("user", "there is no '%s': it is add, passwd, remove or list",
                         options.verb);
    }
    if (verb->needs_name != (options.name != NULL)) {
        return cli_usage("user", verb->needs_name ? "%s needs a name" : "%s takes no name",
                         verb->name);
    }
    if (!verb->takes_role && options.role != NULL)
        return cli_usage("user", "%s takes no --role", verb->name);
    struct stat status;
    if (options.state == NULL)
        return cli_usage("user", "say where the gateway keeps its state: --state DIR");
    if (stat(options.state, &status) != 0)
        return cli_problem("user", "%s: %s", options.state, strerror(errno));
    struct buf result;
    buf_init(&result, RESULT_MAX);
    fault = verb->run(&options, &result);
    buf_release(&result);
    return fault;
}
