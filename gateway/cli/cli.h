// The subcommands of the program (contract, section 2). argv[0] is the subcommand's name. Exit
// status: 0 done, 1 the work found a problem, 2 wrong usage. Results go to stdout, messages to
// stderr.
#ifndef METERGATE_CLI_CLI_H
#define METERGATE_CLI_CLI_H

#define STATE_DEFAULT "/var/lib/metergate" // state directory where none is named

enum { EXIT_DONE = 0, EXIT_PROBLEM = 1, EXIT_USAGE = 2 };

int run_main(int argc, char **argv);
int web_main(int argc, char **argv);
int check_main(int argc, char **argv);
int read_main(int argc, char **argv);
int scan_main(int argc, char **argv);
int simulate_main(int argc, char **argv);
int convert_main(int argc, char **argv);
int export_main(int argc, char **argv);
int report_main(int argc, char **argv);
int forecast_main(int argc, char **argv);
int status_main(int argc, char **argv);
int verify_main(int argc, char **argv);
int user_main(int argc, char **argv);
int backup_main(int argc, char **argv);
int restore_main(int argc, char **argv);
int resend_main(int argc, char **argv);
int office_main(int argc, char **argv);

// "metergate NAME: MESSAGE" and "Try 'metergate NAME --help'." to stderr; returns EXIT_USAGE.
int cli_usage(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
// "metergate NAME: MESSAGE" to stderr; returns EXIT_PROBLEM.
int cli_problem(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
