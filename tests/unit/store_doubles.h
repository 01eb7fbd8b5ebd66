// Until detect/ is here.
#ifndef METERGATE_TESTS_UNIT_STORE_DOUBLES_H
#define METERGATE_TESTS_UNIT_STORE_DOUBLES_H

#include "store/store.h"

__attribute__((weak)) const char *alert_kind_text(enum alert_kind kind)
{
    return kind == ALERT_NO_ANSWER ? "no-answer" : "other";
}

__attribute__((weak)) const char *alert_severity_text(enum alert_severity severity)
{
    return severity == SEVERITY_MAJOR ? "major" : "other";
}

__attribute__((weak)) const char *alert_state_text(enum alert_state alert_state)
{
    return alert_state == ALERT_OPEN ? "open" : "other";
}

#endif
