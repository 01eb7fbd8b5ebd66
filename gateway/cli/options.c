#include "cli/options.h"

#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HELP 256 // behind the places of the table

int cli_options(int argc, char **argv, const struct cli_line *line)
{
    struct option known[CLI_OPTIONS_MAX + 2] = {{"help", no_argument, NULL, HELP}};
    int count = 0;
    for (; line->options[count].name != NULL; count++) {
        const struct cli_option *option = &line->options[count];
        assert(count < CLI_OPTIONS_MAX && (option->text != NULL) != (option->flag != NULL));
        known[count + 1] =
            (struct option){option->name, option->text != NULL ? required_argument : no_argument,
                            NULL, HELP + 1 + count};
    }
    int found;
    opterr = 0;
    optind = 0;
    while ((found = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (found == HELP || found == 'h') {
            fputs(line->help, stdout);
            return EXIT_DONE;
        }
        if (found < HELP)
            return cli_usage(argv[0], "unknown or incomplete option '%s'", argv[optind - 1]);
        const struct cli_option *option = &line->options[found - HELP - 1];
        if (option->text != NULL)
            *option->text = optarg;
        else
            *option->flag = true;
    }
    if (argc - optind > line->words_max)
        return cli_usage(argv[0], "'%s' is one too many", argv[optind + line->words_max]);
    for (int i = 0; optind + i < argc; i++)
        line->words[i] = argv[optind + i];
    return CLI_GO;
}

int cli_state(const char *name, const char *state)
{
    struct stat status;
    if (state == NULL)
        return cli_usage(name, "say where the gateway keeps its state: --state DIR");
    if (stat(state, &status) != 0)
        return cli_problem(name, "%s: %s: name the folder that `run --state` names", state,
                           strerror(errno));
    return CLI_GO;
}
