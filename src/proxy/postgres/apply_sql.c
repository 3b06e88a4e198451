// Effects of log entries as set-wise SQL: see the header.
#include "proxy/postgres/apply_sql.h"

#include "base/hash.h"
#include "base/memory.h"
#include "proxy/postgres/pg_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct apply_run {
    struct rest_shape shape; // owned copy
    struct cc_arena arena;
    enum effect_tag tag;
    bool rekeyed; // rows come with their old key
    uint32_t n_rows;
    struct pg_array *values;   // per shape column
    struct pg_array *old_keys; // per key column, if rekeyed
    uint32_t n_key;
    uint64_t *hashes; // of the keys in the run: an update must not meet a row twice
    size_t n_slots;
    struct apply_run *next;
};

void apply_sql_init(struct apply_sql *apply, apply_sink *sink, void *context)
{
    *apply = (struct apply_sql){.sink = sink, .context = context};
}

void apply_sql_identifier(struct cc_buffer *sql, struct cc_slice name)
{
    cc_buffer_append_text(sql, "\"");
    for (size_t i = 0; i < name.n; i++) {
        cc_buffer_append(sql, &name.data[i], 1);
        if (name.data[i] == '"') {
            cc_buffer_append_text(sql, "\"");
        }
    }
    cc_buffer_append_text(sql, "\"");
}

// -- Runs ----------------------------------------------------------------------------------------------------------------

static bool is_key(const struct rest_shape *shape, uint32_t column)
{
    return (shape->columns[column].flags & REST_COLUMN_KEY) != 0;
}

static bool is_written(const struct rest_shape *shape, uint32_t column)
{
    return (shape->columns[column].flags & REST_COLUMN_GENERATED) == 0;
}

// Columns whose values the statement needs as parameters.
static bool is_parameter(const struct apply_run *run, uint32_t column)
{
    return run->tag == EFFECT_DELETE ? is_key(&run->shape, column) : is_written(&run->shape, column) || is_key(&run->shape, column);
}

static struct apply_run *run_create(const struct rest_shape *shape, enum effect_tag tag, bool rekeyed)
{
    struct apply_run *run = cc_alloc(sizeof(*run));
    cc_arena_init(&run->arena);
    run->tag = tag;
    run->rekeyed = rekeyed;
    run->shape = *shape;
    run->shape.table = cc_arena_slice(&run->arena, shape->table);
    run->shape.columns = cc_arena_array(&run->arena, shape->n_columns, sizeof(*run->shape.columns));
    run->values = cc_arena_array(&run->arena, shape->n_columns, sizeof(*run->values));
    run->old_keys = cc_arena_array(&run->arena, shape->n_columns, sizeof(*run->old_keys));
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        run->shape.columns[i] = (struct rest_shape_column){cc_arena_slice(&run->arena, shape->columns[i].name),
                                                           cc_arena_slice(&run->arena, shape->columns[i].type), shape->columns[i].flags};
        enum pg_type type = pg_array_type_of(shape->columns[i].type);
        pg_array_init(&run->values[i], type);
        pg_array_init(&run->old_keys[i], type);
        run->n_key += is_key(shape, i);
    }
    return run;
}

static void run_free(struct apply_run *run)
{
    for (uint32_t i = 0; i < run->shape.n_columns; i++) {
        pg_array_finish(&run->values[i]);
        pg_array_finish(&run->old_keys[i]);
    }
    free(run->hashes);
    cc_arena_finish(&run->arena);
    free(run);
}

static bool run_takes(const struct apply_run *run, const struct rest_shape *shape, enum effect_tag tag)
{
    // Where values are unique, updates must come one by one: each was allowed on the state that the one before it left.
    bool row_by_row = tag == EFFECT_UPDATE && (run->shape.row_by_row || shape->row_by_row);
    if (run->tag != tag || row_by_row || run->rekeyed || run->shape.n_columns != shape->n_columns) {
        return false;
    }
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        const struct rest_shape_column *a = &run->shape.columns[i];
        const struct rest_shape_column *b = &shape->columns[i];
        const uint8_t which = REST_COLUMN_KEY | REST_COLUMN_GENERATED;
        if ((a->flags & which) != (b->flags & which) || !cc_slice_equal(a->name, b->name) || !cc_slice_equal(a->type, b->type)) {
            return false;
        }
    }
    return true;
}

static uint64_t key_hash(const struct rest_shape *shape, const struct effect_row *row)
{
    static const uint8_t key[16] = {3};
    uint64_t hash = 1;
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        if (is_key(shape, i)) {
            hash = hash * 31 + cc_siphash(key, row->values[i].data, row->values[i].n);
        }
    }
    return hash == 0 ? 1 : hash;
}

static bool hash_add(struct apply_run *run, uint64_t hash) // false: it is there already
{
    size_t at = hash % run->n_slots;
    while (run->hashes[at] != 0) {
        if (run->hashes[at] == hash) {
            return false;
        }
        at = (at + 1) % run->n_slots;
    }
    run->hashes[at] = hash;
    return true;
}

static bool run_add_key(struct apply_run *run, uint64_t hash)
{
    if ((run->n_rows + 1) * 2 > run->n_slots) {
        uint64_t *old = run->hashes;
        size_t n_old = run->n_slots;
        run->n_slots = n_old == 0 ? 64 : n_old * 4;
        run->hashes = cc_alloc_array(run->n_slots, sizeof(*run->hashes));
        for (size_t i = 0; i < n_old; i++) {
            if (old[i] != 0) {
                (void)hash_add(run, old[i]);
            }
        }
        free(old);
    }
    return hash_add(run, hash);
}

static enum cc_status run_add_row(struct apply_run *run, const struct effect_row *row)
{
    uint32_t n_key = 0;
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; status == CC_OK && i < run->shape.n_columns; i++) {
        if (is_parameter(run, i)) {
            status = pg_array_put_value(&run->values[i], row->values[i]);
        }
        if (status == CC_OK && run->rekeyed && is_key(&run->shape, i)) {
            status = pg_array_put_value(&run->old_keys[i], row->old_key[n_key++]);
        }
    }
    run->n_rows++;
    return status;
}

// -- Statements ------------------------------------------------------------------------------------------------------------

struct writer {
    struct cc_buffer sql;
    struct cc_slice *parameters;
    uint8_t *binary;
    uint32_t n;
};

static void append(struct cc_buffer *sql, struct cc_slice text)
{
    cc_buffer_append(sql, text.data, text.n);
}

// "u.c3::integer"
static void append_value(struct cc_buffer *sql, const struct apply_run *run, uint32_t column, bool old)
{
    cc_buffer_printf(sql, "u.%c%u::", old ? 'o' : 'c', column);
    append(sql, run->shape.columns[column].type);
}

// "(SELECT unnest($1::text[]), ...) AS u(c0, ...)"
static void append_rows(struct writer *writer, struct apply_run *run)
{
    struct pg_array **arrays = cc_arena_array(&run->arena, (size_t)run->shape.n_columns * 2, sizeof(struct pg_array *));
    struct cc_buffer names = {0};
    for (uint32_t i = 0; i < run->shape.n_columns; i++) {
        if (is_parameter(run, i)) {
            cc_buffer_printf(&names, "%sc%u", writer->n == 0 ? "" : ", ", i);
            arrays[writer->n++] = &run->values[i];
        }
    }
    for (uint32_t i = 0; run->rekeyed && i < run->shape.n_columns; i++) {
        if (is_key(&run->shape, i)) {
            cc_buffer_printf(&names, "%so%u", writer->n == 0 ? "" : ", ", i);
            arrays[writer->n++] = &run->old_keys[i];
        }
    }
    pg_arrays_source(&writer->sql, arrays, writer->n, writer->parameters, writer->binary);
    cc_buffer_append_text(&writer->sql, " AS u(");
    append(&writer->sql, cc_buffer_slice(&names));
    cc_buffer_append_text(&writer->sql, ")");
    cc_buffer_finish(&names);
}

static void append_key_condition(struct writer *writer, const struct apply_run *run)
{
    const char *before = " WHERE ";
    for (uint32_t i = 0; i < run->shape.n_columns; i++) {
        if (is_key(&run->shape, i)) {
            cc_buffer_append_text(&writer->sql, before);
            cc_buffer_append_text(&writer->sql, "t.");
            apply_sql_identifier(&writer->sql, run->shape.columns[i].name);
            cc_buffer_append_text(&writer->sql, " = ");
            append_value(&writer->sql, run, i, run->rekeyed);
            before = " AND ";
        }
    }
}

static void write_insert(struct writer *writer, struct apply_run *run)
{
    struct cc_buffer values = {0};
    cc_buffer_append_text(&writer->sql, "INSERT INTO ");
    append(&writer->sql, run->shape.table);
    const char *before = " (";
    for (uint32_t i = 0; i < run->shape.n_columns; i++) {
        if (is_written(&run->shape, i)) {
            cc_buffer_append_text(&writer->sql, before);
            apply_sql_identifier(&writer->sql, run->shape.columns[i].name);
            cc_buffer_append_text(&values, values.n == 0 ? "" : ", ");
            append_value(&values, run, i, false);
            before = ", ";
        }
    }
    cc_buffer_append_text(&writer->sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    append(&writer->sql, cc_buffer_slice(&values));
    cc_buffer_append_text(&writer->sql, " FROM ");
    append_rows(writer, run);
    cc_buffer_finish(&values);
}

static void append_expect(struct writer *writer, struct apply_run *run, const char *what)
{
    // The table's name is a parameter; so is the number of rows: the text must stay the same to be prepared once.
    cc_buffer_printf(&writer->sql,
                     " RETURNING 1) SELECT CASE WHEN count(*) <> $%u::bigint THEN caucus.refuse('%s ' || $%u::text, $%u::bigint, count(*)) END FROM w",
                     writer->n + 2, what, writer->n + 1, writer->n + 2);
    writer->parameters[writer->n] = run->shape.table;
    writer->binary[writer->n++] = 0;
    char *n_rows = cc_arena_printf(&run->arena, "%u", run->n_rows);
    writer->parameters[writer->n] = cc_slice_text(n_rows);
    writer->binary[writer->n++] = 0;
}

static bool write_update(struct writer *writer, struct apply_run *run)
{
    cc_buffer_append_text(&writer->sql, "WITH w AS (UPDATE ");
    append(&writer->sql, run->shape.table);
    const char *before = " AS t SET ";
    bool any = false;
    for (uint32_t i = 0; i < run->shape.n_columns; i++) {
        if (is_written(&run->shape, i) && (run->rekeyed || !is_key(&run->shape, i))) {
            cc_buffer_append_text(&writer->sql, before);
            apply_sql_identifier(&writer->sql, run->shape.columns[i].name);
            cc_buffer_append_text(&writer->sql, " = ");
            append_value(&writer->sql, run, i, false);
            before = ", ";
            any = true;
        }
    }
    cc_buffer_append_text(&writer->sql, " FROM ");
    append_rows(writer, run);
    append_key_condition(writer, run);
    append_expect(writer, run, "update of");
    return any; // an update of nothing but generated columns is made by the update of others
}

static void write_delete(struct writer *writer, struct apply_run *run)
{
    cc_buffer_append_text(&writer->sql, "WITH w AS (DELETE FROM ");
    append(&writer->sql, run->shape.table);
    cc_buffer_append_text(&writer->sql, " AS t USING ");
    append_rows(writer, run);
    append_key_condition(writer, run);
    append_expect(writer, run, "delete from");
}

static void run_write(struct apply_sql *apply, struct apply_run *run)
{
    struct writer writer = {0};
    size_t n_max = (size_t)run->shape.n_columns * 2 + 2;
    writer.parameters = cc_arena_array(&run->arena, n_max, sizeof(*writer.parameters));
    writer.binary = cc_arena_array(&run->arena, n_max, sizeof(*writer.binary));
    bool needed = true;
    switch (run->tag) {
    case EFFECT_INSERT:
        write_insert(&writer, run);
        break;
    case EFFECT_UPDATE:
        needed = write_update(&writer, run);
        break;
    case EFFECT_DELETE:
        write_delete(&writer, run);
        break;
    }
    if (needed) {
        struct apply_statement statement = {
            .sql = cc_buffer_text(&writer.sql), .n_parameters = writer.n, .parameters = writer.parameters, .binary = writer.binary};
        apply->sink(apply->context, &statement);
    }
    cc_buffer_finish(&writer.sql);
}

static void run_close(struct apply_sql *apply, struct apply_run **at)
{
    struct apply_run *run = *at;
    *at = run->next;
    run_write(apply, run);
    run_free(run);
}

void apply_sql_flush(struct apply_sql *apply)
{
    while (apply->runs != NULL) {
        run_close(apply, &apply->runs);
    }
}

void apply_sql_finish(struct apply_sql *apply)
{
    while (apply->runs != NULL) {
        struct apply_run *run = apply->runs;
        apply->runs = run->next;
        run_free(run);
    }
}

// -- Parts -----------------------------------------------------------------------------------------------------------------

static void send_text(struct apply_sql *apply, const char *sql, bool once)
{
    struct apply_statement statement = {.sql = sql, .once = once};
    apply->sink(apply->context, &statement);
}

// The next character of a name as PostgreSQL reads it; -1 at the end, 256 for the dot between schema and table.
static int next_of_name(struct cc_slice name, size_t *at, bool *quoted)
{
    while (*at < name.n && name.data[*at] == '"') {
        bool doubled = *quoted && *at + 1 < name.n && name.data[*at + 1] == '"';
        if (doubled) {
            *at += 2;
            return '"';
        }
        *quoted = !*quoted;
        ++*at;
    }
    if (*at == name.n) {
        return -1;
    }
    int c = name.data[(*at)++];
    return c == '.' && !*quoted ? 256 : c;
}

// Planned writes have each name in quotes, captured ones only where they must be.
static bool same_table(struct cc_slice a, struct cc_slice b)
{
    size_t at_a = 0, at_b = 0;
    bool quoted_a = false, quoted_b = false;
    for (;;) {
        int from_a = next_of_name(a, &at_a, &quoted_a);
        if (from_a != next_of_name(b, &at_b, &quoted_b)) {
            return false;
        }
        if (from_a < 0) {
            return true;
        }
    }
}

static struct apply_run **find_run(struct apply_sql *apply, struct cc_slice table)
{
    struct apply_run **at = &apply->runs;
    while (*at != NULL && !same_table((*at)->shape.table, table)) {
        at = &(*at)->next;
    }
    return at;
}

static enum cc_status add_row(struct apply_sql *apply, const struct effect_part *part, const struct effect_row *row, struct apply_run **run_out)
{
    const struct rest_shape *shape = &part->shape;
    bool rekeyed = part->tag == EFFECT_UPDATE && row->old_key != NULL;
    struct apply_run **at = find_run(apply, shape->table);
    uint64_t hash = part->tag == EFFECT_UPDATE ? key_hash(shape, row) : 0;
    if (*at != NULL && (rekeyed || !run_takes(*at, shape, part->tag) || (hash != 0 && !run_add_key(*at, hash)))) {
        run_close(apply, at);
        at = find_run(apply, shape->table);
    }
    if (*at == NULL) {
        *at = run_create(shape, part->tag, rekeyed);
        if (part->tag != EFFECT_INSERT && (*at)->n_key == 0) {
            return CC_MALFORMED; // without a key it would meet every row
        }
        if (hash != 0) {
            (void)run_add_key(*at, hash);
        }
    }
    *run_out = *at;
    return run_add_row(*at, row);
}

static enum cc_status add_rows(struct apply_sql *apply, const struct effect_part *part)
{
    struct apply_run *run = NULL;
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; status == CC_OK && i < part->n_rows; i++) {
        bool together = run != NULL && part->tag != EFFECT_UPDATE; // rows of one part: only updates may end their run
        status = together ? run_add_row(run, &part->rows[i]) : add_row(apply, part, &part->rows[i], &run);
    }
    return status;
}

static void put_sequences(struct apply_sql *apply, const struct effect_part *part)
{
    struct pg_array names, values, called;
    pg_array_init(&names, PG_TEXT);
    pg_array_init(&values, PG_INT8);
    pg_array_init(&called, PG_TEXT);
    for (uint32_t i = 0; i < part->n_sequences; i++) {
        pg_array_put(&names, part->sequences[i].name);
        pg_array_put_int8(&values, part->sequences[i].value);
        pg_array_put(&called, cc_slice_text(part->sequences[i].is_called ? "t" : "f"));
    }
    struct pg_array *arrays[3] = {&names, &values, &called};
    struct cc_slice parameters[3];
    uint8_t binary[3];
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT pg_catalog.setval(u.n::pg_catalog.regclass, u.v, u.c::boolean) FROM ");
    pg_arrays_source(&sql, arrays, 3, parameters, binary);
    cc_buffer_append_text(&sql, " AS u(n, v, c)");
    struct apply_statement statement = {.sql = cc_buffer_text(&sql), .n_parameters = 3, .parameters = parameters, .binary = binary};
    if (part->n_sequences > 0) {
        apply->sink(apply->context, &statement);
    }
    cc_buffer_finish(&sql);
    pg_array_finish(&names);
    pg_array_finish(&values);
    pg_array_finish(&called);
}

static void put_ddl(struct apply_sql *apply, struct cc_slice sql)
{
    apply_sql_flush(apply);
    char *text = cc_strndup(sql.data, sql.n);
    send_text(apply, "SET LOCAL session_replication_role = origin", false);
    send_text(apply, text, true);
    send_text(apply, "SET LOCAL session_replication_role = replica", false);
    free(text);
}

static void put_migration(struct apply_sql *apply, const struct effect_part *part, uint64_t index)
{
    apply_sql_flush(apply);
    struct cc_buffer number = {0};
    cc_buffer_printf(&number, "%" PRIu64, index);
    struct cc_slice parameters[3] = {part->name, part->sql, cc_buffer_slice(&number)};
    struct apply_statement statement = {.sql = "INSERT INTO caucus.migrations (position, name, sql, index) SELECT "
                                               "1 + (SELECT count(*) FROM caucus.migrations), $1::text, $2::text, $3::bigint",
                                        .n_parameters = 3,
                                        .parameters = parameters};
    apply->sink(apply->context, &statement);
    send_text(apply, "SELECT caucus.protect()", false);
    apply->n_migrations++;
    cc_buffer_finish(&number);
}

enum cc_status apply_sql_effects(struct apply_sql *apply, uint64_t index, struct cc_slice effects)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct effect_reader reader;
    effect_reader_init(&reader, effects, &arena);
    struct effect_part part;
    enum cc_status status;
    while ((status = effect_reader_next(&reader, &part)) == CC_OK) {
        switch (part.kind) {
        case EFFECT_SHAPE:
            break;
        case EFFECT_ROWS:
            status = add_rows(apply, &part);
            break;
        case EFFECT_SEQUENCES:
            put_sequences(apply, &part);
            break;
        case EFFECT_DDL:
            put_ddl(apply, part.sql);
            break;
        case EFFECT_MIGRATION:
            put_migration(apply, &part, index);
            break;
        }
        if (status != CC_OK) {
            break;
        }
    }
    cc_arena_finish(&arena);
    return status == CC_NOT_FOUND ? CC_OK : status;
}
