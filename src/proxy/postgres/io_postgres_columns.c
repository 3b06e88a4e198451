// Rules for the columns of weak tables.
#include "proxy/postgres/io_postgres_columns.h"

#include "crdt/decimal.h"
#include "crdt/parts.h"
#include "proxy/postgres/io_postgres_internal.h"

#include <string.h>

const char pg_columns_sql[] =
    "SELECT t.oid::text, a.attnum, t.name, a.attname, t.weak, caucus.merge_of(t.oid, a.attnum) AS merge, caucus.type_name(a.atttypid, a.atttypmod), "
    "EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisprimary AND a.attnum = ANY (i.indkey::smallint[])) AS key, "
    "a.attgenerated <> '', a.attnotnull, CASE WHEN t.weak THEN caucus.constant_default(t.oid, a.attnum) END, "
    "(SELECT k.conname FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'c' AND a.attnum = ANY (k.conkey) LIMIT 1), "
    "t.weak AND caucus.has_rows(t.name) "
    "FROM (SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, caucus.is_weak(c.oid) AS weak FROM pg_catalog.pg_class c "
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') "
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'caucus') AND n.nspname !~ '^pg_') t "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> '_caucus' "
    "WHERE t.weak OR caucus.merge_of(t.oid, a.attnum) IS NOT NULL ORDER BY t.name, a.attnum";
enum column_fact { F_OID, F_NUMBER, F_TABLE, F_NAME, F_WEAK, F_MERGE, F_TYPE, F_KEY, F_GENERATED, F_NOT_NULL, F_DEFAULT, F_CHECK, F_ROWS };

struct columns_check {
    const PGresult *before, *after;
    struct cc_arena *arena;
    struct pg_columns_problem problem;
};

static const char *fact(const struct columns_check *check, int row, enum column_fact what)
{
    return PQgetvalue(check->after, row, (int)what);
}

static bool holds(const struct columns_check *check, int row, enum column_fact what)
{
    return fact(check, row, what)[0] == 't';
}

static bool refuse(struct columns_check *check, int row, const char *what, const char *hint)
{
    check->problem.message = cc_arena_printf(check->arena, "The column %s of the table %s %s", fact(check, row, F_NAME), fact(check, row, F_TABLE), what);
    check->problem.hint = hint;
    return true;
}

static const char *hint_of_type(enum crdt_merge merge)
{
    switch (merge) {
    case CRDT_LWW:
        break;
    case CRDT_COUNTER:
        return "Counters are smallint, integer, bigint or numeric";
    case CRDT_MAX:
    case CRDT_MIN:
        return "Greatest and smallest values are numbers, dates, times, text, uuid, boolean or bytea";
    case CRDT_SET:
        return "Sets are arrays";
    }
    return NULL;
}

static bool check_default(struct columns_check *check, int row, enum crdt_merge merge)
{
    struct cc_slice base = pg_result_value(check->after, row, F_DEFAULT);
    if (merge == CRDT_COUNTER && base.data != NULL && !crdt_decimal_is_valid(base)) {
        return refuse(check, row, "is a counter and its default is no finite number", "Use DEFAULT 0");
    }
    if (merge == CRDT_SET && base.data != NULL && !cc_slice_equal_text(base, "{}")) {
        return refuse(check, row, "is a set and its default has elements", "Use DEFAULT '{}'");
    }
    bool extreme = merge == CRDT_MAX || merge == CRDT_MIN;
    if (extreme && base.data == NULL && holds(check, row, F_NOT_NULL)) {
        return refuse(check, row, "is NOT NULL and has no constant default to begin with", "Give it a constant default, or allow NULL");
    }
    return false;
}

// "*views" holds what replicas have counted in "views".
static bool has_name_with_star(const struct columns_check *check, int row)
{
    for (int other = 0; other < PQntuples(check->after); other++) {
        const char *name = fact(check, other, F_NAME);
        if (strcmp(fact(check, other, F_OID), fact(check, row, F_OID)) == 0 && name[0] == '*' && strcmp(name + 1, fact(check, row, F_NAME)) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_merge(struct columns_check *check, int row)
{
    static const char make_strong[] = "Make the table weak, or take the line out of the column's comment";
    enum crdt_merge merge = CRDT_LWW;
    struct crdt_kind kind;
    const char *word = fact(check, row, F_MERGE);
    if (PQgetisnull(check->after, row, F_MERGE)) {
        return false;
    }
    if (crdt_merge_of_text(cc_slice_text(word), &merge) != CC_OK) {
        return refuse(check, row, cc_arena_printf(check->arena, "says \"@caucus %.60s\", which is no merge type", word),
                      "Merge types are lww, counter, max, min and set");
    }
    if (!holds(check, row, F_WEAK)) {
        return refuse(check, row, cc_arena_printf(check->arena, "has the merge type %s, but the table is strong: nothing is merged", word), make_strong);
    }
    if (merge == CRDT_LWW) {
        return false;
    }
    if (holds(check, row, F_KEY)) {
        return refuse(check, row, "has a merge type and is of the primary key: keys are not merged", "Take the line out of the column's comment");
    }
    if (holds(check, row, F_GENERATED)) {
        return refuse(check, row, "has a merge type and is generated: it is not merged", "Take the line out of the column's comment");
    }
    if (crdt_kind_of(merge, cc_slice_text(fact(check, row, F_TYPE)), check->arena, &kind) != CC_OK) {
        return refuse(check, row, cc_arena_printf(check->arena, "of type %s cannot have the merge type %s", fact(check, row, F_TYPE), word), hint_of_type(merge));
    }
    if ((merge == CRDT_COUNTER || merge == CRDT_SET) && !PQgetisnull(check->after, row, F_CHECK)) {
        return refuse(check, row, cc_arena_printf(check->arena, "has the check constraint %s, which a merged value may break", fact(check, row, F_CHECK)),
                      "Drop the constraint, or the merge type");
    }
    if (has_name_with_star(check, row)) {
        return refuse(check, row, "has a merge type, and there is a column of that name with a star in front", "Rename the other column");
    }
    return check_default(check, row, merge);
}

static int row_before(const struct columns_check *check, int row)
{
    for (int i = 0; i < PQntuples(check->before); i++) {
        if (strcmp(PQgetvalue(check->before, i, F_OID), fact(check, row, F_OID)) == 0 &&
            strcmp(PQgetvalue(check->before, i, F_NUMBER), fact(check, row, F_NUMBER)) == 0) {
            return i;
        }
    }
    return -1;
}

static bool same_fact(const struct columns_check *check, int row, int earlier, enum column_fact what)
{
    struct cc_slice now = pg_result_value(check->after, row, (int)what), then = pg_result_value(check->before, earlier, (int)what);
    return (now.data == NULL) == (then.data == NULL) && cc_slice_equal(now, then);
}

// Not to say anything is to say lww.
static bool is_lww(struct cc_slice word)
{
    return word.data == NULL || cc_slice_equal_text(word, "lww");
}

static bool same_merge(const struct columns_check *check, int row, int earlier)
{
    struct cc_slice now = pg_result_value(check->after, row, F_MERGE), then = pg_result_value(check->before, earlier, F_MERGE);
    return is_lww(now) ? is_lww(then) : cc_slice_equal(now, then);
}

static bool check_change(struct columns_check *check, int row)
{
    int earlier = holds(check, row, F_ROWS) && !holds(check, row, F_KEY) ? row_before(check, row) : -1;
    if (earlier < 0) {
        return false;
    }
    if (!same_merge(check, row, earlier)) {
        return refuse(check, row, "has rows under another merge type", "Add a new column with the merge type, and copy the values in the application");
    }
    if (!same_fact(check, row, earlier, F_DEFAULT)) {
        return refuse(check, row, "has rows under another default: replicas that merge older writes would show different values",
                      "Add a new column with the default, and copy the values in the application");
    }
    return false;
}

bool pg_columns_check(const PGresult *before, const PGresult *after, struct cc_arena *arena, struct pg_columns_problem *problem_out)
{
    struct columns_check check = {.before = before, .after = after, .arena = arena};
    for (int row = 0; row < PQntuples(after); row++) {
        if (check_merge(&check, row) || check_change(&check, row)) {
            *problem_out = check.problem;
            return true;
        }
    }
    return false;
}
