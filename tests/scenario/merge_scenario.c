// Scenario files of weak tables: readable text, run against the pure merge of src/crdt. One file per kind of conflict.
//
//   replicas A B C                 a cluster without connections; one table, key column first
//   columns status seen_at! level=1   nullable; '!': NOT NULL without constant default (sticky); '=v': constant default
//   columns n:counter:bigint=0 t:set:text[]   merge types, with the columns' types
//   A 10 insert k1 status=on       a local write at A, at time 10
//   A 10 update k1 n+=2 t+=x t-=y under=key   what it adds to what A sees, under an Idempotency-Key
//   B 11 update k1 status=off seen_at=~     '~' is NULL
//   C 12 upsert k1 status=away
//   A 13 delete k1
//   meet A B                       each tells the other everything that it holds
//   tell A B C                     A tells B what it holds of C's writes
//   show A B                       prints their rows; the lines below are what is expected
//
// After the last line everything is delivered everywhere, and to 200 fresh replicas in random orders with repetitions: all must
// hold the same rows. REWRITE=1 writes what was printed into the file.
#include "base/arena.h"
#include "base/hash.h"
#include "base/prng.h"
#include "crdt/decimal.h"
#include "crdt/row.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICAS_MAX = 8, ROWS_MAX = 16, CHANGES_MAX = 64, COLUMNS_MAX = 8, WORDS_MAX = 16, RANDOM_ORDERS = 200 };

struct replica {
    char name;
    size_t n_rows;
    struct cc_slice keys[ROWS_MAX];
    struct crdt_row rows[ROWS_MAX];
    bool holds[CHANGES_MAX];
};

struct scenario {
    struct cc_arena arena;
    size_t n_replicas, n_changes;
    struct replica replicas[REPLICAS_MAX];
    struct crdt_column columns[COLUMNS_MAX];
    uint32_t n_columns;
    struct {
        struct crdt_row_change change;
        struct clock_stamp stamp;
    } changes[CHANGES_MAX];
    struct cc_buffer out; // the file as it should be
    const char *file;
    size_t line;
};

static void broken(const struct scenario *scenario, const char *why)
{
    fprintf(stderr, "%s:%zu: %s\n", scenario->file, scenario->line, why);
    exit(2);
}

static struct crdt_row *row_of(struct scenario *scenario, struct replica *replica, struct cc_slice key)
{
    for (size_t i = 0; i < replica->n_rows; i++) {
        if (cc_slice_equal(replica->keys[i], key)) {
            return &replica->rows[i];
        }
    }
    assert(replica->n_rows < ROWS_MAX);
    replica->keys[replica->n_rows] = key;
    struct crdt_row *row = &replica->rows[replica->n_rows++];
    struct crdt_register *registers = cc_arena_array(&scenario->arena, scenario->n_columns, sizeof(*registers));
    crdt_row_init(row, scenario->columns, scenario->n_columns, registers, &scenario->arena);
    return row;
}

static void deliver(struct scenario *scenario, struct replica *replica, size_t number)
{
    const struct crdt_row_change *change = &scenario->changes[number].change;
    crdt_row_merge(row_of(scenario, replica, change->key), change, &scenario->changes[number].stamp);
    replica->holds[number] = true;
}

static struct replica *replica_named(struct scenario *scenario, const char *name)
{
    for (size_t i = 0; i < scenario->n_replicas; i++) {
        if (name[0] == scenario->replicas[i].name && name[1] == '\0') {
            return &scenario->replicas[i];
        }
    }
    broken(scenario, "no such replica");
    return NULL;
}

// -- Local writes, as PostgreSQL would see them ------------------------------------------------------------------------

static const char *given(char **words, size_t n, struct cc_slice column)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(words[i], (const char *)column.data, column.n) == 0 && words[i][column.n] == '=') {
            return words[i] + column.n + 1;
        }
    }
    return NULL;
}

static struct cc_slice value_of(struct scenario *scenario, const char *text)
{
    return strcmp(text, "~") == 0 ? cc_slice_of(NULL, 0) : cc_slice_text(cc_arena_text(&scenario->arena, text));
}

// "n+=2": what follows the sign, for this column; NULL: none.
static const char *operand(const char *word, struct cc_slice column, char sign)
{
    bool fits = strncmp(word, (const char *)column.data, column.n) == 0 && word[column.n] == sign && word[column.n + 1] == '=';
    return fits ? word + column.n + 2 : NULL;
}

// "{a,b}" with or without x. Elements without quotes.
static struct cc_slice with_element(struct scenario *scenario, struct cc_slice set, const char *element, bool with)
{
    char *copy = cc_arena_text_n(&scenario->arena, set.data == NULL ? (const uint8_t *)"{}" : set.data, set.data == NULL ? 2 : set.n);
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{");
    char *rest = NULL;
    for (char *held = strtok_r(copy, "{},", &rest); held != NULL; held = strtok_r(NULL, "{},", &rest)) {
        if (strcmp(held, element) != 0) {
            cc_buffer_printf(&out, "%s%s", out.n > 1 ? "," : "", held);
        }
    }
    if (with) {
        cc_buffer_printf(&out, "%s%s", out.n > 1 ? "," : "", element);
    }
    cc_buffer_append_text(&out, "}");
    struct cc_slice result = cc_arena_slice(&scenario->arena, cc_buffer_slice(&out));
    cc_buffer_finish(&out);
    return result;
}

// The value that words like "n+=2" make of the one that is shown. False: there are none.
static bool operated(struct scenario *scenario, char **words, size_t n, const struct crdt_column *column, struct cc_slice shown,
                     struct cc_slice *value_out)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const char *plus = operand(words[i], column->name, '+'), *minus = operand(words[i], column->name, '-');
        const char *what = plus != NULL ? plus : minus;
        if (what == NULL) {
            continue;
        }
        any = true;
        struct cc_slice amount = cc_slice_text(cc_arena_text(&scenario->arena, what));
        struct cc_slice number = shown.data == NULL ? cc_slice_text("0") : shown;
        shown = column->kind.merge == CRDT_SET ? with_element(scenario, shown, what, plus != NULL)
                : plus != NULL                 ? crdt_decimal_add(number, amount, &scenario->arena)
                                               : crdt_decimal_subtract(number, amount, &scenario->arena);
    }
    *value_out = shown;
    return any;
}

// With its writer's part, if the column has a merge type. False: nothing changes.
static bool make_part(struct scenario *scenario, const struct crdt_row *row, uint32_t column, const struct clock_stamp *stamp,
                      const char *under, struct crdt_field *field)
{
    static const uint8_t hash_key[16];
    const struct crdt_kind *kind = &row->columns[column].kind;
    struct crdt_part_write write = {.stamp = *stamp, .value = field->value, .keyed = under != NULL};
    write.key = under == NULL ? 0 : cc_siphash(hash_key, under, strlen(under));
    if (kind->merge == CRDT_LWW) {
        return true;
    }
    if (crdt_part_make(kind, &row->registers[column].parts, &write, &scenario->arena, &field->part) != CC_OK) {
        broken(scenario, "the column cannot take this value");
    }
    return field->part.data != NULL;
}

static enum crdt_operation operation_named(const struct scenario *scenario, const char *name)
{
    static const char *const names[] = {
        [CRDT_INSERT] = "insert", [CRDT_UPDATE] = "update", [CRDT_UPSERT] = "upsert", [CRDT_DELETE] = "delete"};
    for (size_t i = CRDT_INSERT; i <= CRDT_DELETE; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum crdt_operation)i;
        }
    }
    broken(scenario, "no such write");
    return CRDT_INSERT;
}

// "A 10 update k1 status=off": words[0..]
static void write_row(struct scenario *scenario, char **words, size_t n_words)
{
    if (n_words < 4 || scenario->n_changes == CHANGES_MAX) {
        broken(scenario, "a write is: replica, time, insert|update|upsert|delete, key, column=value ...");
    }
    struct replica *replica = replica_named(scenario, words[0]);
    struct crdt_row_change change = {.operation = operation_named(scenario, words[2]),
                                     .key = cc_slice_text(cc_arena_text(&scenario->arena, words[3]))};
    const struct crdt_row *row = row_of(scenario, replica, change.key);
    bool there = crdt_row_is_visible(row);
    bool changes_nothing = !there && (change.operation == CRDT_UPDATE || change.operation == CRDT_DELETE);
    if (changes_nothing) {
        return;
    }
    if (there && change.operation == CRDT_INSERT) {
        broken(scenario, "the key is there already");
    }
    if (!there && change.operation == CRDT_UPSERT) {
        change.operation = CRDT_INSERT;
    }
    uint32_t number = (uint32_t)(replica - scenario->replicas) + 1;
    struct clock_stamp stamp = {.hlc = clock_hlc_of_ms(strtoull(words[1], NULL, 10)), .replica = number, .incarnation = 1};
    const char *under = given(words + 4, n_words - 4, cc_slice_text("under"));
    change.fields = cc_arena_array(&scenario->arena, scenario->n_columns, sizeof(*change.fields));
    for (uint32_t c = 0; c < scenario->n_columns && change.operation != CRDT_DELETE; c++) {
        const char *value = given(words + 4, n_words - 4, scenario->columns[c].name);
        struct cc_slice shown = there ? row->registers[c].value : scenario->columns[c].cleared, new_value = {0};
        bool any = operated(scenario, words + 4, n_words - 4, &scenario->columns[c], shown, &new_value);
        if (value == NULL && !any && change.operation != CRDT_INSERT) {
            continue;
        }
        new_value = any ? new_value : value == NULL ? scenario->columns[c].cleared : value_of(scenario, value);
        struct crdt_field field = {.column = scenario->columns[c].name, .value = new_value};
        if (make_part(scenario, row, c, &stamp, under, &field)) {
            change.fields[change.n_fields++] = field;
        }
    }
    scenario->changes[scenario->n_changes].change = change;
    scenario->changes[scenario->n_changes].stamp = stamp;
    deliver(scenario, replica, scenario->n_changes++);
}

// -- Meeting and showing -----------------------------------------------------------------------------------------------

// Of all writers, or of one.
static void tell(struct scenario *scenario, const struct replica *from, struct replica *to, const struct replica *writer)
{
    for (size_t i = 0; i < scenario->n_changes; i++) {
        bool told = writer == NULL || scenario->changes[i].stamp.replica == (uint32_t)(writer - scenario->replicas) + 1;
        if (told && from->holds[i] && !to->holds[i]) {
            deliver(scenario, to, i);
        }
    }
}

static int compare_keys(const void *a, const void *b)
{
    return cc_slice_compare(*(const struct cc_slice *)a, *(const struct cc_slice *)b);
}

static void put_rows(struct scenario *scenario, struct replica *replica, struct cc_buffer *out)
{
    struct cc_slice keys[ROWS_MAX];
    memcpy(keys, replica->keys, sizeof(keys));
    qsort(keys, replica->n_rows, sizeof(keys[0]), compare_keys);
    size_t n_shown = 0;
    for (size_t i = 0; i < replica->n_rows; i++) {
        const struct crdt_row *row = row_of(scenario, replica, keys[i]);
        if (!crdt_row_is_visible(row)) {
            continue;
        }
        n_shown++;
        cc_buffer_printf(out, "  %.*s", (int)keys[i].n, (const char *)keys[i].data);
        for (uint32_t c = 0; c < scenario->n_columns; c++) {
            struct cc_slice value = row->registers[c].value;
            cc_buffer_printf(out, " %.*s=%.*s", (int)scenario->columns[c].name.n,
                             (const char *)scenario->columns[c].name.data, value.data == NULL ? 1 : (int)value.n,
                             value.data == NULL ? "~" : (const char *)value.data);
        }
        cc_buffer_append_text(out, "\n");
    }
    if (n_shown == 0) {
        cc_buffer_append_text(out, "  (no rows)\n");
    }
}

static void show(struct scenario *scenario, char **words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) {
        cc_buffer_printf(&scenario->out, "> %s\n", words[i]);
        struct cc_buffer rows = {0};
        put_rows(scenario, replica_named(scenario, words[i]), &rows);
        for (const char *line = cc_buffer_text(&rows); *line != '\0';) {
            size_t n = strcspn(line, "\n") + 1;
            cc_buffer_printf(&scenario->out, "> %.*s", (int)n, line);
            line += n;
        }
        cc_buffer_finish(&rows);
    }
}

// -- The file ------------------------------------------------------------------------------------------------------------

// ":counter:bigint" behind a name. What is behind it.
static const char *set_kind(struct scenario *scenario, const char *text, struct crdt_column *column)
{
    enum crdt_merge merge = CRDT_LWW;
    size_t n = text[0] == ':' ? strcspn(text + 1, ":") : 0, n_type = n == 0 ? 0 : strcspn(text + n + 2, "!=");
    if (n == 0) {
        return text;
    }
    struct cc_slice type = cc_slice_text(cc_arena_text_n(&scenario->arena, text + n + 2, n_type));
    if (crdt_merge_of_text(cc_slice_of(text + 1, n), &merge) != CC_OK || crdt_kind_of(merge, type, &scenario->arena, &column->kind) != CC_OK) {
        broken(scenario, "no such merge type");
    }
    return text + n + 2 + n_type;
}

static void set_columns(struct scenario *scenario, char **words, size_t n_words)
{
    for (size_t i = 0; i < n_words && i < COLUMNS_MAX; i++) {
        struct crdt_column *column = &scenario->columns[scenario->n_columns++];
        size_t n = strcspn(words[i], "!=:");
        column->name = cc_slice_text(cc_arena_text_n(&scenario->arena, words[i], n));
        const char *rest = set_kind(scenario, words[i] + n, column);
        column->sticky = rest[0] == '!';
        column->cleared = rest[0] == '=' ? cc_slice_text(cc_arena_text(&scenario->arena, rest + 1)) : cc_slice_of(NULL, 0);
        column->kind.base = column->cleared;
    }
}

static void run_line(struct scenario *scenario, char *line)
{
    char *words[WORDS_MAX];
    size_t n = 0;
    for (char *word = strtok(line, " \t"); word != NULL && n < WORDS_MAX; word = strtok(NULL, " \t")) {
        words[n++] = word;
    }
    if (n == 0 || words[0][0] == '#') {
        return;
    }
    if (strcmp(words[0], "replicas") == 0) {
        for (size_t i = 1; i < n && i <= REPLICAS_MAX; i++) {
            scenario->replicas[scenario->n_replicas++].name = words[i][0];
        }
    } else if (strcmp(words[0], "columns") == 0) {
        set_columns(scenario, words + 1, n - 1);
    } else if (strcmp(words[0], "meet") == 0 && n == 3) {
        tell(scenario, replica_named(scenario, words[1]), replica_named(scenario, words[2]), NULL);
        tell(scenario, replica_named(scenario, words[2]), replica_named(scenario, words[1]), NULL);
    } else if (strcmp(words[0], "tell") == 0 && n == 4) {
        tell(scenario, replica_named(scenario, words[1]), replica_named(scenario, words[2]), replica_named(scenario, words[3]));
    } else if (strcmp(words[0], "show") == 0) {
        show(scenario, words + 1, n - 1);
    } else {
        write_row(scenario, words, n);
    }
}

// Whatever the order and however often changes arrive, the rows are the same.
static bool converges(struct scenario *scenario)
{
    struct replica *first = &scenario->replicas[0];
    for (size_t i = 0; i < scenario->n_changes; i++) {
        deliver(scenario, first, i);
    }
    struct cc_buffer expected = {0}, got = {0};
    put_rows(scenario, first, &expected);
    struct cc_prng prng;
    cc_prng_seed(&prng, 1);
    bool equal = true;
    for (size_t round = 0; round < RANDOM_ORDERS && equal; round++) {
        struct replica fresh = {.name = 'X'};
        size_t left = scenario->n_changes;
        while (left > 0) {
            size_t number = cc_prng_below(&prng, scenario->n_changes);
            left -= !fresh.holds[number];
            deliver(scenario, &fresh, number);
        }
        cc_buffer_clear(&got);
        put_rows(scenario, &fresh, &got);
        equal = cc_slice_equal(cc_buffer_slice(&expected), cc_buffer_slice(&got));
    }
    if (!equal) {
        fprintf(stderr, "%s: the order of arrival matters:\n%s--- or\n%s", scenario->file, cc_buffer_text(&expected),
                cc_buffer_text(&got));
    }
    cc_buffer_finish(&expected);
    cc_buffer_finish(&got);
    return equal;
}

static bool run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return false;
    }
    struct scenario scenario = {.file = path};
    cc_arena_init(&scenario.arena);
    struct cc_buffer before = {0};
    char line[1024];
    while (fgets(line, sizeof(line), file) != NULL) {
        scenario.line++;
        cc_buffer_append_text(&before, line);
        if (line[0] == '>') { // expected output: made anew
            continue;
        }
        cc_buffer_append_text(&scenario.out, line);
        line[strcspn(line, "\n")] = '\0';
        run_line(&scenario, line);
    }
    fclose(file);
    bool good = cc_slice_equal(cc_buffer_slice(&before), cc_buffer_slice(&scenario.out));
    if (!good && getenv("REWRITE") != NULL) {
        file = fopen(path, "w");
        good = file != NULL && fwrite(scenario.out.data, 1, scenario.out.n, file) == scenario.out.n;
        good = file != NULL && fclose(file) == 0 && good;
    } else if (!good) {
        fprintf(stderr, "%s: differs, got:\n%s", path, cc_buffer_text(&scenario.out));
    }
    good = converges(&scenario) && good;
    printf("%s %s\n", good ? "ok  " : "FAIL", path);
    cc_buffer_finish(&before);
    cc_buffer_finish(&scenario.out);
    cc_arena_finish(&scenario.arena);
    return good;
}

int main(int n_arguments, char **arguments)
{
    bool good = n_arguments > 1;
    for (int i = 1; i < n_arguments; i++) {
        good = run_file(arguments[i]) && good;
    }
    return good ? 0 : 1;
}
