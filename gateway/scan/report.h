// What a scan found, as JSON: for `metergate scan --json`, and for the command of the running
// gateway.
#ifndef METERGATE_SCAN_REPORT_H
#define METERGATE_SCAN_REPORT_H

#include "base/writer.h"
#include "scan/scan.h"

// {"link", "id", "setting", "complete", "elapsed_s", "tried", "echo", "other_master",
// "ignores_unit", "heard": [UNIT …], "garbled": [UNIT …], "units": [{"unit", "answer_ms",
// "profiles": [best first], "channels"}]}
// `id`: of a link that the gateway has, NULL (and no key) for another. `complete`: the scan came to
// its end.
void scan_report(const struct scan *scan, const char *link, const char *id, bool complete,
                 int64_t elapsed_ms, struct writer *writer);
// {"phase", "done", "total", "setting", "unit", "found", "waits_s"}; `waits_s`: for a turn on a
// link that a gateway polls.
void scan_report_progress(const struct scan *scan, int waits_s, struct writer *writer);

// "9600 8N1"
#define SCAN_SETTING_TEXT_MAX 24
const char *scan_setting_text(const struct scan_setting *setting,
                              char text[static SCAN_SETTING_TEXT_MAX]);

#endif
