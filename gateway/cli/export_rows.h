// One stored row as CSV rows (one for each channel of a reading or period) or as one line of JSON.
#ifndef METERGATE_CLI_EXPORT_ROWS_H
#define METERGATE_CLI_EXPORT_ROWS_H

#include "store/store.h"

struct exporter {
    struct buf *line; // scratch
    bool json;
    bool failed; // a row did not go out: the walk stopped there
    char gateway[ID_SIZE];
};

#define EXPORT_READING_HEADER "meter,at,channel,value,unit,quality,why"
#define EXPORT_PERIOD_HEADER                                                                       \
    "meter,span,from,to,version,at,channel,start,end,delta,min,mean,max,unit,quality,why,"         \
    "expected,good,suspect,missing"
#define EXPORT_ALERT_HEADER                                                                        \
    "id,at,since,subject,of,kind,severity,state,reason,observed,expected_low,expected_high,unit,"  \
    "rule,from,to"
#define EXPORT_AUDIT_HEADER "number,at,who,action,subject,result,detail,hash"

// Visitors of the store; `context` is a struct exporter *. They write to stdout.
bool export_reading(void *context, const struct stored_reading *reading);
bool export_period(void *context, const struct stored_period *period);
bool export_alert(void *context, const struct stored_alert *alert);
bool export_audit(void *context, const struct audit_record *record);

#endif
