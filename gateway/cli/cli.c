#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

int cli_usage(const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "metergate %s: ", name);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry 'metergate %s --help'.\n", name);
    return EXIT_USAGE;
}

int cli_problem(const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "metergate %s: ", name);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return EXIT_PROBLEM;
}
