// Status codes: every code has a name and a text.
#include "base/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void every_status_has_its_name_and_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < CC_STATUS_COUNT; i++) {
        assert_non_null(cc_status_name((enum cc_status)i));
        assert_true(cc_status_text((enum cc_status)i)[0] != '\0');
    }
    assert_string_equal(cc_status_name(CC_CORRUPT), "CC_CORRUPT");
    assert_string_equal(cc_status_text(CC_OK), "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_status_has_its_name_and_a_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
