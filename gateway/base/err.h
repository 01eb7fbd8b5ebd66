// One error, with a message that a technician understands: what is wrong, where, what to do.
//
// A function that can fail takes `struct err *` last, returns 0 or -1, leaves its outputs untouched
// on failure and the error untouched on success. A NULL err is allowed: the message is then
// dropped.
#ifndef METERGATE_BASE_ERR_H
#define METERGATE_BASE_ERR_H

#define ERR_TEXT_MAX 512 // bytes with the final NUL; longer messages are cut at a character

struct err {
    char text[ERR_TEXT_MAX];
};

// Writes the message. Always returns -1, so that a failing function can `return err_set(…)`.
int err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Puts context before a message that is there: "FORMAT: old message". Always returns -1.
int err_add(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
