// Rows of a JSON array of flat objects, as values in the order of given names. For text that rest_json_scan has accepted: it
// looks only for where values begin and end, which is several times as fast as checking again.
#ifndef REST_JSON_ROWS_H
#define REST_JSON_ROWS_H

#include "rest/json_body.h"

// values_out: n_names per object, in the order of the array; null where an object lacks the name. Members with other names are
// passed over. False, with values_out in any state: a value is itself an array or an object.
bool rest_json_rows(struct cc_slice array, const char *const *names, uint32_t n_names, uint64_t n_rows, struct cc_arena *arena,
                    struct rest_json_value *values_out);

#endif
