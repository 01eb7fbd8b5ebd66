// Instants as text: UTC, RFC 3339 with milliseconds and Z. Unix milliseconds inside.
#ifndef METERGATE_BASE_TIMETEXT_H
#define METERGATE_BASE_TIMETEXT_H

#include <stddef.h>
#include <stdint.h>

#define TIME_TEXT_MAX 32

// Prints years 0000 to 9999 ("2026-11-23T08:15:00.412Z"); other instants are clamped. Returns the
// length.
size_t time_print(int64_t wall_ms, char text[static TIME_TEXT_MAX]);

// Reads "2026-11-23", "2026-11-23T08:15:00Z", with or without a fraction, with Z or +hh:mm; a date
// alone is midnight UTC. -1 when the text is not exactly that or names no real day.
int time_parse(const char *text, int64_t *wall_ms);

// Days since 1970-01-01 of a civil date, and back (proleptic Gregorian calendar).
int64_t days_from_civil(int year, int month, int day);
void civil_from_days(int64_t days, int *year, int *month, int *day);

#endif
