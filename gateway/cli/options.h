// A command line by a table: options of the form --name, --name VALUE, and words.
#ifndef METERGATE_CLI_OPTIONS_H
#define METERGATE_CLI_OPTIONS_H

#include <stdbool.h>

#define CLI_GO (-1)        // no exit status: the command goes on
#define CLI_OPTIONS_MAX 16 // of one command

// Exactly one of `text` (takes a value, which stays argv's) and `flag` is there. Ends with {NULL}.
struct cli_option {
    const char *name;
    const char **text;
    bool *flag;
};

struct cli_line {
    const char *help; // for --help and -h
    const struct cli_option *options;
    const char **words; // what is no option, in order; those that are not there stay as they are
    int words_max;
};

// Reads argv (argv[0] is the command's name). CLI_GO; else the exit status, after --help or a
// message.
int cli_options(int argc, char **argv, const struct cli_line *line);
// Whether --state was given and the folder is there: CLI_GO, else the exit status, after a message.
int cli_state(const char *name, const char *state);

#endif
