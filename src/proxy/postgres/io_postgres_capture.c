// Rows that capture triggers wrote, in the order in which they changed.
//
// A capture trigger runs when its statement has done all its rows. What other triggers of the first rows do to later rows of
// the same statement is captured before these: "update of row 2, insert of row 2". The images tell: the old image of each
// change of a row is the new image of the one before it.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/hash.h"

#include <string.h>

const char pg_sql_take_capture[] = "WITH d AS (DELETE FROM caucus.capture RETURNING seq, relation, operation, old, new) "
                                   "SELECT relation, operation, old, new FROM d ORDER BY seq";

const struct pg_table *pg_capture_table(struct io_postgres *postgres, const PGresult *captured, int row)
{
    return pg_table_find(postgres, pg_result_value(captured, row, PG_CAPTURE_RELATION));
}

// -- Order -------------------------------------------------------------------------------------------------------------

// A row as it is known from the changes so far.
struct known {
    const struct pg_table *table;
    const struct cc_slice *key_of; // values that hold its key
    const struct cc_slice *image;  // NULL: deleted
    uint32_t group;
};

struct order {
    struct known *slots;
    size_t n_slots;
    uint32_t *groups; // of each change: changes of one row, also when its key changed
    uint32_t n_groups;
};

static bool same_values(const struct pg_table *table, const struct cc_slice *a, const struct cc_slice *b)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if ((a[i].data == NULL) != (b[i].data == NULL) || !cc_slice_equal(a[i], b[i])) {
            return false;
        }
    }
    return true;
}

static bool same_image(const struct pg_table *table, const struct cc_slice *a, const struct cc_slice *b)
{
    return a == NULL || b == NULL ? a == b : same_values(table, a, b);
}

static struct known *find_known(struct order *order, const struct pg_table *table, const struct cc_slice *values)
{
    static const uint8_t hash_key[16] = {5};
    uint64_t hash = (uintptr_t)table;
    for (uint32_t i = 0; i < table->n_key; i++) {
        struct cc_slice value = values[table->key[i]];
        hash = hash * 31 + cc_siphash(hash_key, value.data, value.n);
    }
    size_t at = hash % order->n_slots;
    for (; order->slots[at].table != NULL; at = (at + 1) % order->n_slots) {
        struct known *known = &order->slots[at];
        bool same = known->table == table;
        for (uint32_t i = 0; same && i < table->n_key; i++) {
            same = cc_slice_equal(known->key_of[table->key[i]], values[table->key[i]]);
        }
        if (same) {
            return known;
        }
    }
    return &order->slots[at];
}

// True when each change follows from the one before it.
static bool is_in_order(struct order *order, const struct pg_captured_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct pg_captured_row *row = &rows[i];
        if (row->table->n_key == 0) {
            continue;
        }
        if (row->old_values != NULL) {
            struct known *old = find_known(order, row->table, row->old_values);
            if (old->table != NULL && !same_image(row->table, old->image, row->old_values)) {
                return false;
            }
            *old = (struct known){.table = row->table, .key_of = row->old_values};
        }
        if (row->new_values != NULL) {
            struct known *new = find_known(order, row->table, row->new_values);
            if (new->table != NULL && new->image != NULL) {
                return false;
            }
            *new = (struct known){.table = row->table, .key_of = row->new_values, .image = row->new_values};
        }
    }
    return true;
}

static uint32_t group_of(struct order *order, const struct pg_table *table, const struct cc_slice *values)
{
    struct known *known = find_known(order, table, values);
    if (known->table == NULL) {
        *known = (struct known){.table = table, .key_of = values, .group = order->n_groups++};
    }
    return known->group;
}

static void rename_group(struct order *order, size_t n, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < n; i++) {
        order->groups[i] = order->groups[i] == from ? to : order->groups[i];
    }
    for (size_t i = 0; i < order->n_slots; i++) {
        if (order->slots[i].table != NULL && order->slots[i].group == from) {
            order->slots[i].group = to;
        }
    }
}

static void make_groups(struct order *order, const struct pg_captured_row *rows, size_t n)
{
    memset(order->slots, 0, order->n_slots * sizeof(*order->slots));
    for (size_t i = 0; i < n; i++) {
        const struct pg_captured_row *row = &rows[i];
        if (row->table->n_key == 0) {
            order->groups[i] = order->n_groups++;
            continue;
        }
        uint32_t old_group = row->old_values == NULL ? UINT32_MAX : group_of(order, row->table, row->old_values);
        uint32_t new_group = row->new_values == NULL ? UINT32_MAX : group_of(order, row->table, row->new_values);
        order->groups[i] = old_group == UINT32_MAX ? new_group : old_group;
        if (old_group != UINT32_MAX && new_group != UINT32_MAX && old_group != new_group) {
            rename_group(order, n, new_group, old_group);
        }
    }
}

// The change that comes next: the first captured one whose old image is `image`; without one, the first whose old image is
// nobody's new image (where the chain begins), else simply the first.
static size_t next_change(const struct pg_captured_row *rows, const size_t *members, const bool *used, size_t n, bool begun,
                          const struct cc_slice *image)
{
    size_t first = n;
    for (size_t i = 0; i < n; i++) {
        if (used[i]) {
            continue;
        }
        first = first == n ? i : first;
        const struct pg_captured_row *row = &rows[members[i]];
        if (begun && same_image(row->table, row->old_values, image)) {
            return i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool follows = used[i];
        for (size_t j = 0; !follows && j < n; j++) {
            const struct pg_captured_row *row = &rows[members[i]];
            follows = j != i && !used[j] && same_image(row->table, rows[members[j]].new_values, row->old_values);
        }
        if (!follows) {
            return i;
        }
    }
    return first;
}

// Puts the changes of one group into the places that they have together, in the order of their images.
static void order_group(struct pg_captured_row *rows, const size_t *members, size_t n, struct cc_arena *arena)
{
    struct pg_captured_row *sorted = cc_arena_array(arena, n, sizeof(*sorted));
    bool *used = cc_arena_array(arena, n, sizeof(*used));
    const struct cc_slice *image = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t next = next_change(rows, members, used, n, i > 0, image);
        used[next] = true;
        sorted[i] = rows[members[next]];
        image = sorted[i].new_values;
    }
    for (size_t i = 0; i < n; i++) {
        rows[members[i]] = sorted[i];
    }
}

static void put_in_order(struct pg_captured_row *rows, size_t n, struct cc_arena *arena)
{
    struct order order = {.n_slots = 4 * n + 1};
    order.slots = cc_arena_array(arena, order.n_slots, sizeof(*order.slots));
    if (n < 2 || is_in_order(&order, rows, n)) {
        return;
    }
    order.groups = cc_arena_array(arena, n, sizeof(*order.groups));
    make_groups(&order, rows, n);
    size_t *n_members = cc_arena_array(arena, order.n_groups + 1, sizeof(*n_members));
    for (size_t i = 0; i < n; i++) {
        n_members[order.groups[i]]++;
    }
    size_t **members = cc_arena_array(arena, order.n_groups + 1, sizeof(*members));
    for (uint32_t g = 0; g < order.n_groups; g++) {
        members[g] = n_members[g] > 1 ? cc_arena_array(arena, n_members[g], sizeof(**members)) : NULL;
        n_members[g] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t g = order.groups[i];
        if (members[g] != NULL) {
            members[g][n_members[g]++] = i;
        }
    }
    for (uint32_t g = 0; g < order.n_groups; g++) {
        if (members[g] != NULL) {
            order_group(rows, members[g], n_members[g], arena);
        }
    }
}

// -- Reading -----------------------------------------------------------------------------------------------------------

static enum cc_status read_image(const struct pg_table *table, struct cc_slice text, struct cc_arena *arena, struct cc_slice **values_out)
{
    if (text.data == NULL) {
        *values_out = NULL;
        return CC_OK;
    }
    *values_out = cc_arena_array(arena, table->n_columns, sizeof(**values_out));
    return pg_record_read(text, arena, *values_out, table->n_columns);
}

enum cc_status pg_capture_read(struct io_postgres *postgres, const PGresult *captured, struct cc_arena *arena,
                               struct pg_captured_row **rows_out, size_t *n_out)
{
    size_t n = (size_t)PQntuples(captured);
    struct pg_captured_row *rows = cc_arena_array(arena, n, sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        struct pg_captured_row *row = &rows[i];
        row->table = pg_capture_table(postgres, captured, (int)i);
        row->operation = PQgetvalue(captured, (int)i, PG_CAPTURE_OPERATION)[0];
        if (row->table == NULL || !row->table->found) {
            return CC_NOT_FOUND;
        }
        enum cc_status status = read_image(row->table, pg_result_value(captured, (int)i, PG_CAPTURE_OLD), arena, &row->old_values);
        if (status == CC_OK) {
            status = read_image(row->table, pg_result_value(captured, (int)i, PG_CAPTURE_NEW), arena, &row->new_values);
        }
        bool has_old = row->operation != 'I', has_new = row->operation != 'D';
        if (status != CC_OK || has_old != (row->old_values != NULL) || has_new != (row->new_values != NULL)) {
            return status != CC_OK ? status : CC_MALFORMED;
        }
    }
    put_in_order(rows, n, arena);
    *rows_out = rows;
    *n_out = n;
    return CC_OK;
}
