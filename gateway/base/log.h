// Messages to stderr, one line each: "metergate: PART: message", with the priority prefix "<N>" of
// sd-daemon(3) in front when stderr is journald's. Safe from every thread. Text that came from
// outside is printed with control characters replaced by '?', so that a meter name cannot forge a
// line.
#ifndef METERGATE_BASE_LOG_H
#define METERGATE_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// Sets the least important level that is still printed; INFO until it is called. Call before
// threads start.
void log_set_level(enum log_level level);

// `part` is the folder or thread that speaks ("store", "link hall-1").
void log_error(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_debug(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
