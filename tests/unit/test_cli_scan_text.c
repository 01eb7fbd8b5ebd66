#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/scan_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_progress(int waits_s, const char *wanted, const char *unwanted)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    json_t *progress = json_pack("{s:s, s:i, s:i, s:{s:i, s:s, s:i}, s:i, s:i, s:i}", "phase",
                                 "sweep", "done", 7, "total", 494, "setting", "baud", 600, "parity",
                                 "N", "stop", 1, "unit", 7, "found", 1, "waits_s", waits_s);
    assert_non_null(progress);
    scan_text_progress(progress, out);
    json_decref(progress);
    (void)fclose(out);
    assert_non_null(strstr(text, wanted));
    assert_null(strstr(text, unwanted));
    free(text);
}

// A scan that gets no turn on a full link says so, and what helps.
static void test_progress(void **state)
{
    (void)state;
    expect_progress(0, "600 8N1", "full");
    expect_progress(9, "unit   7, call 7 of 494", "full");
    expect_progress(10, "waits for 10 s: the link is full of polls", "call");
    expect_progress(59, "longer interval_s", "call");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_progress)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
