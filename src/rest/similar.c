// Similar names, by the number of inserted, removed and changed characters (Levenshtein).
#include "rest/similar.h"

#include <string.h>

enum { BYTES_MAX = 255 }; // longer ones are like nothing

static uint32_t distance(const char *a, struct cc_slice b)
{
    size_t n = strlen(a);
    if (n > BYTES_MAX || b.n > BYTES_MAX) {
        return BYTES_MAX;
    }
    uint32_t row[BYTES_MAX + 1];
    for (uint32_t j = 0; j <= b.n; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b.n; j++) {
            uint32_t change = diagonal + ((uint8_t)a[i - 1] == b.data[j - 1] ? 0 : 1);
            diagonal = row[j];
            uint32_t least = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[b.n];
}

void rest_similar_init(struct rest_similar *similar, struct cc_slice wanted)
{
    *similar = (struct rest_similar){.wanted = wanted, .least = (uint32_t)(wanted.n > BYTES_MAX ? 0 : wanted.n / 3 + 1)};
}

void rest_similar_try(struct rest_similar *similar, const char *name)
{
    uint32_t now = similar->least == 0 ? 0 : distance(name, similar->wanted);
    if (now < similar->least) {
        similar->least = now;
        similar->best = name;
    }
}
