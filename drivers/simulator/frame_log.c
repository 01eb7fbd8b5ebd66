#include "drivers/simulator/frame_log.h"

#include "drivers/simulator/answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)

struct frame_log {
    FILE *file;
    char *path;
    int error; // errno of the first failure
};

int frame_log_open(const char *path, struct frame_log **out, struct err *err)
{
    struct frame_log *log = calloc(1, sizeof *log);
    char *copy = strdup(path);
    FILE *file = log != NULL && copy != NULL ? fopen(path, "we") : NULL;
    if (file == NULL) {
        free(log);
        free(copy);
        return err_set(err, "cannot write the log %s: %s", path, strerror(errno));
    }
    *log = (struct frame_log){.file = file, .path = copy};
    *out = log;
    return 0;
}

// Ids, names of faults and hexadecimal digits need no escapes in JSON.
void frame_log_add(struct frame_log *log, const struct frame_record *record)
{
    if (log == NULL)
        return;
    static const char digits[] = "0123456789abcdef";
    char hex[2 * ANSWER_MAX + 1];
    size_t length = record->length < ANSWER_MAX ? record->length : ANSWER_MAX;
    for (size_t i = 0; i < length; i++) {
        hex[2 * i] = digits[record->bytes[i] >> 4];
        hex[2 * i + 1] = digits[record->bytes[i] & 0xF];
    }
    hex[2 * length] = '\0';
    const char *quote = record->meter != NULL ? "\"" : "";
    const char *fault_quote = record->fault[0] != '\0' ? "\"" : "";
    int written = fprintf(
        log->file,
        "{\"t\":%lld.%06lld,\"tick\":%lu,\"link\":\"%s\",\"meter\":%s%s%s,\"unit\":%d,"
        "\"dir\":\"%s\",\"hex\":\"%s\",\"fault\":%s%s%s}\n",
        (long long)(record->wall_ns / SECOND_NS), (long long)(record->wall_ns % SECOND_NS / 1000),
        (unsigned long)record->tick, record->link, quote,
        record->meter != NULL ? record->meter : "null", quote, record->unit, record->dir, hex,
        fault_quote, record->fault[0] != '\0' ? record->fault : "null", fault_quote);
    if (written < 0 && log->error == 0)
        log->error = errno;
}

void frame_log_flush(struct frame_log *log)
{
    if (log != NULL && fflush(log->file) != 0 && log->error == 0)
        log->error = errno;
}

int frame_log_close(struct frame_log *log, struct err *err)
{
    if (log == NULL)
        return 0;
    int error = log->error;
    if (fclose(log->file) != 0 && error == 0)
        error = errno;
    int result = 0;
    if (error != 0)
        result = err_set(err, "the log %s is not complete: %s", log->path, strerror(error));
    free(log->path);
    free(log);
    return result;
}
