// Any bytes as rules of message faults: refused with a reason and nothing changed, or taken, and then what is listed can be taken again.
#include "proxy/faults/faults_json.h"

#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

// The list without what only the list has.
static char *rules_again(const struct cc_buffer *listed)
{
    json_t *json = json_loadb((const char *)listed->data, listed->n, 0, NULL);
    check(json != NULL);
    json_t *rules = json_object_get(json, "rules");
    for (size_t i = 0; i < json_array_size(rules); i++) {
        json_object_del(json_array_get(rules, i), "id");
        json_object_del(json_array_get(rules, i), "seen");
        json_object_del(json_array_get(rules, i), "hit");
    }
    char *text = json_dumps(rules, JSON_COMPACT);
    json_decref(json);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct faults faults;
    const char *why = NULL;
    faults_init(&faults, 1);
    enum cc_status status = faults_add_json(&faults, cc_slice_of(data, n), &why);
    check(status == CC_OK || (why != NULL && faults.n_rules == 0));
    if (status != CC_OK) {
        return 0;
    }
    struct cc_buffer listed = {0}, again = {0};
    faults_put_json(&listed, &faults);
    char *text = rules_again(&listed);
    struct faults other;
    faults_init(&other, 1);
    check(faults_add_json(&other, cc_slice_text(text), &why) == CC_OK);
    faults_put_json(&again, &other);
    check(cc_slice_equal(cc_buffer_slice(&listed), cc_buffer_slice(&again)));
    for (uint32_t from = 1; from <= 3; from++) {
        (void)faults_decide(&faults, from, 2, from);
    }
    free(text);
    cc_buffer_finish(&listed);
    cc_buffer_finish(&again);
    return 0;
}
