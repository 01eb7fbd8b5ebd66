#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/scan_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is printed of one unit with these shares.
static char *printed(bool yaml, double first, double second)
{
    json_error_t error;
    json_t *result = json_pack_ex(
        &error, 0,
        "{s:s, s:b, s:f, s:[ii], s:[{s:i, s:i, s:b, s:[{s:s, s:f, s:[]}, {s:s, s:f, s:[]}]}]}",
        "link", "tcp://192.0.2.1:502", "complete", 1, "elapsed_s", 1.0, "configured", 3, 12,
        "units", "unit", 4, "answer_ms", 20, "identified", 1, "profiles", "profile", "one", "share",
        first, "reasons", "profile", "two", "share", second, "reasons");
    assert_non_null(result);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    if (yaml)
        scan_text_yaml(result, out);
    else
        scan_text_table(result, out);
    assert_int_equal(fclose(out), 0);
    json_decref(result);
    return text;
}

static void assert_says(char *text, const char *part, bool says)
{
    if ((strstr(text, part) != NULL) != says)
        fail_msg("'%s' is%s in: %s", part, says ? " not" : "", text);
    free(text);
}

// A model that no profile describes is said to be so and is not read by the least bad of them.
static void test_likely_none(void **state)
{
    (void)state;
    assert_says(printed(true, 0.09, 0.01), "\nmeters: []\n", true);
    assert_says(printed(true, 0.09, 0.01), "\n  # - {id: ", true);
    assert_says(printed(false, 0.09, 0.01), "90 %  most likely none of the profiles", true);
}

// Two that look alike: one of them it is.
static void test_one_of_two(void **state)
{
    (void)state;
    assert_says(printed(true, 0.45, 0.45), "\nmeters:\n  # maybe, 45 %", true);
    assert_says(printed(true, 0.45, 0.45), "\n  - {id: ", true);
    assert_says(printed(false, 0.45, 0.45), "none of the profiles", false);
    assert_says(printed(true, 0.99, 0.01), "maybe", false);
}

static void test_configured_meters_are_named(void **state)
{
    (void)state;
    assert_says(printed(false, 0.99, 0.01), "in the configuration already, not asked: unit 3, 12\n",
                true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likely_none),
        cmocka_unit_test(test_one_of_two),
        cmocka_unit_test(test_configured_meters_are_named),
    };
    return cmocka_run_group_tests_name("cli/scan_text", tests, NULL, NULL);
}
