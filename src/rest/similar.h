// Of several names the one most like what somebody wrote, for hints. Pure.
#ifndef REST_SIMILAR_H
#define REST_SIMILAR_H

#include "base/slice.h"

#include <stdint.h>

struct rest_similar {
    struct cc_slice wanted;
    const char *best; // borrowed; NULL: none is like it
    uint32_t least;   // changes of characters that lead to it
};

// More than a third of the characters changed is another name.
void rest_similar_init(struct rest_similar *similar, struct cc_slice wanted);
void rest_similar_try(struct rest_similar *similar, const char *name);

#endif
