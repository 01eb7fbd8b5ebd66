// The result of a scan for people: a table with reasons, and entries for the configuration. Made
// from its JSON, which is the same whether the gateway or this program has scanned.
#ifndef METERGATE_CLI_SCAN_TEXT_H
#define METERGATE_CLI_SCAN_TEXT_H

#include <jansson.h>
#include <stdio.h>

void scan_text_table(const json_t *result, FILE *out);
// `links:` and `meters:`, ready to paste; ids are made from the link and the unit. Only `meters:`
// where the gateway has the link already.
void scan_text_yaml(const json_t *result, FILE *out);
// One line of progress, of what scan_report_progress makes.
void scan_text_progress(const json_t *progress, FILE *out);

#endif
