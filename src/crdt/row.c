// A weak row: merge, and the forms in which its stamps are stored.
#include "crdt/row.h"

#include "base/base64.h"
#include "base/mutant.h"

#include <assert.h>
#include <string.h>

enum { REMAINS_VERSION = 1, REMAINS_WITH_PARTS = 2, REGISTER_BYTES_MIN = 1 + 1 + 16, COLUMN_NONE = UINT32_MAX };

static const struct clock_stamp stamp_zero = {0};
// Life of a row that was there before its table became weak.
static const struct clock_stamp stamp_of_old = {.hlc = 1};

static bool is_typed(const struct crdt_row *row, uint32_t column)
{
    return row->columns[column].kind.merge != CRDT_LWW;
}

static void show_parts(struct crdt_row *row, uint32_t column)
{
    struct crdt_register *held = &row->registers[column];
    held->value = crdt_parts_value(&row->columns[column].kind, &held->parts, row->arena);
}

void crdt_row_init(struct crdt_row *row, const struct crdt_column *columns, uint32_t n_columns, struct crdt_register *registers,
                   struct cc_arena *arena)
{
    *row = (struct crdt_row){.n_columns = n_columns, .columns = columns, .registers = registers, .arena = arena};
    for (uint32_t i = 0; i < n_columns; i++) {
        bool empty = columns[i].sticky || columns[i].key;
        registers[i] = (struct crdt_register){.value = empty ? (struct cc_slice){0} : columns[i].cleared};
        if (is_typed(row, i)) {
            show_parts(row, i);
        }
    }
}

bool crdt_row_is_visible(const struct crdt_row *row)
{
    if (clock_stamp_compare(&row->life, &row->death) <= 0) {
        return false;
    }
    for (uint32_t i = 0; i < row->n_columns; i++) {
        bool sticky = row->columns[i].sticky && !row->columns[i].key && !is_typed(row, i);
        if (sticky && row->registers[i].value.data == NULL) {
            return false;
        }
    }
    return true;
}

// -- Merge ----------------------------------------------------------------------------------------------------------

static bool raise_stamp(struct clock_stamp *stamp, const struct clock_stamp *to)
{
    if (clock_stamp_compare(stamp, to) >= 0 && !cc_mutant(CC_MUTANT_LAST_COMES_WINS)) {
        return false;
    }
    *stamp = *to;
    return true;
}

// Fields mostly come in the order of the columns: look first where the last one was found.
static uint32_t find_column(const struct crdt_row *row, struct cc_slice name, uint32_t from)
{
    for (uint32_t i = 0; i < row->n_columns; i++) {
        uint32_t at = from + i < row->n_columns ? from + i : from + i - row->n_columns;
        if (cc_slice_equal(row->columns[at].name, name)) {
            return at;
        }
    }
    return COLUMN_NONE;
}

static int compare_nullable(struct cc_slice a, struct cc_slice b)
{
    if (a.data == NULL || b.data == NULL) {
        return (a.data != NULL) - (b.data != NULL);
    }
    return cc_slice_compare(a, b);
}

static bool is_cleared(const struct crdt_row *row, uint32_t column, const struct clock_stamp *stamp)
{
    return !row->columns[column].sticky && clock_stamp_compare(stamp, &row->death) <= 0;
}

// Order of writes to one register: stamp, then value. > 0: (value, stamp) is the greater one.
static int compare_write(const struct crdt_register *held, struct cc_slice value, const struct clock_stamp *stamp)
{
    int order = clock_stamp_compare(stamp, &held->stamp);
    return order != 0 ? order : compare_nullable(value, held->value);
}

// The part of a write that names a value only: an old program's, or one made before the column got its type.
static struct cc_slice part_of_value(const struct crdt_row *row, uint32_t column, struct cc_slice value, const struct clock_stamp *stamp)
{
    static const struct crdt_parts none = {0};
    struct crdt_part_write write = {.stamp = *stamp, .value = value};
    struct cc_slice bytes = {0};
    if (crdt_part_make(&row->columns[column].kind, &none, &write, row->arena, &bytes) != CC_OK) {
        return (struct cc_slice){0};
    }
    return bytes;
}

static void merge_part(struct crdt_row *row, uint32_t column, const struct crdt_part *part, struct crdt_outcome *outcome)
{
    struct crdt_register *held = &row->registers[column];
    bool cleared = clock_stamp_compare(&part->stamp, &row->death) <= 0;
    if (cleared || !crdt_parts_take(&row->columns[column].kind, &held->parts, part, row->arena)) {
        outcome->n_lost++;
        return;
    }
    outcome->n_won++;
    outcome->changed = true;
    show_parts(row, column);
}

static void merge_field(struct crdt_row *row, uint32_t column, const struct crdt_field *field, const struct clock_stamp *stamp,
                        struct crdt_outcome *outcome)
{
    struct cc_slice value = field->value;
    if (column != COLUMN_NONE && !row->columns[column].key && is_typed(row, column)) {
        struct cc_slice bytes = field->part.data != NULL ? field->part : part_of_value(row, column, value, stamp);
        merge_part(row, column, &(struct crdt_part){*stamp, bytes}, outcome);
        return;
    }
    if (column == COLUMN_NONE || row->columns[column].key ||
        (is_cleared(row, column, stamp) && !cc_mutant(CC_MUTANT_DELETED_FIELDS_RETURN))) {
        outcome->n_lost++;
        return;
    }
    struct crdt_register *held = &row->registers[column];
    int order = compare_write(held, value, stamp);
    if (order < 0) {
        outcome->n_lost++;
        return;
    }
    outcome->n_won++;
    if (order > 0) {
        *held = (struct crdt_register){.value = value, .stamp = *stamp};
        outcome->changed = true;
    }
}

static void clear_registers(struct crdt_row *row)
{
    for (uint32_t i = 0; i < row->n_columns; i++) {
        struct crdt_register *held = &row->registers[i];
        if (is_typed(row, i)) {
            if (crdt_parts_clear(&held->parts, &row->death)) {
                show_parts(row, i);
            }
        } else if (!row->columns[i].key && is_cleared(row, i, &held->stamp)) {
            *held = (struct crdt_register){.value = row->columns[i].cleared};
        }
    }
}

struct crdt_outcome crdt_row_merge(struct crdt_row *row, const struct crdt_row_change *change, const struct clock_stamp *stamp)
{
    assert(!clock_stamp_is_zero(stamp));
    struct crdt_outcome outcome = {0};
    switch (change->operation) {
    case CRDT_INSERT:
    case CRDT_UPSERT:
        outcome.changed = raise_stamp(&row->life, stamp);
        break;
    case CRDT_UPDATE:
        outcome.changed = cc_mutant(CC_MUTANT_UPDATE_REVIVES) && raise_stamp(&row->life, stamp);
        break;
    case CRDT_DELETE:
        outcome.changed = raise_stamp(&row->death, stamp);
        if (outcome.changed && !cc_mutant(CC_MUTANT_DELETE_KEEPS_FIELDS)) {
            clear_registers(row);
        }
        break;
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < change->n_fields; i++) {
        uint32_t column = find_column(row, change->fields[i].column, next);
        next = column == COLUMN_NONE ? next : column + 1;
        merge_field(row, column, &change->fields[i], stamp, &outcome);
    }
    return outcome;
}

// Neither register has a stamp, and it is not sticky. Different values: somebody wrote past us, or one side does not know the row as it was
// before its table became weak. Any value wins over the one of a cleared register, which it is for certain once the row was deleted.
static bool join_unstamped(struct crdt_row *row, uint32_t column, struct cc_slice value)
{
    struct cc_slice cleared = row->columns[column].cleared, *held = &row->registers[column].value;
    bool is_known = !clock_stamp_is_zero(&row->death), held_is_cleared = compare_nullable(*held, cleared) == 0;
    bool wins = compare_nullable(value, cleared) != 0 && (held_is_cleared || compare_nullable(value, *held) > 0);
    if (compare_nullable(value, *held) == 0 || (is_known ? held_is_cleared : !wins)) {
        return false;
    }
    *held = is_known ? cleared : value;
    return true;
}

static bool join_register(struct crdt_row *row, uint32_t column, const struct crdt_register *other)
{
    struct crdt_outcome outcome = {0};
    struct crdt_register *held = &row->registers[column];
    bool plain = !is_typed(row, column) && !row->columns[column].sticky;
    if (plain && clock_stamp_is_zero(&held->stamp) && clock_stamp_is_zero(&other->stamp)) {
        return join_unstamped(row, column, other->value);
    }
    for (uint32_t i = 0; is_typed(row, column) && i < other->parts.n; i++) {
        merge_part(row, column, &other->parts.at[i], &outcome);
    }
    // A sticky register without a stamp may hold a value, too: from before the table became weak.
    bool written = !clock_stamp_is_zero(&other->stamp) || row->columns[column].sticky;
    if (!is_typed(row, column) && written && !is_cleared(row, column, &other->stamp) &&
        compare_write(held, other->value, &other->stamp) > 0) {
        *held = (struct crdt_register){.value = other->value, .stamp = other->stamp};
        return true;
    }
    return outcome.changed;
}

bool crdt_row_join(struct crdt_row *row, const struct crdt_row *other)
{
    assert(row->columns == other->columns && row->n_columns == other->n_columns);
    bool changed = raise_stamp(&row->life, &other->life);
    if (raise_stamp(&row->death, &other->death)) {
        clear_registers(row);
        changed = true;
    }
    for (uint32_t i = 0; i < row->n_columns; i++) {
        changed = (!row->columns[i].key && join_register(row, i, &other->registers[i])) || changed;
    }
    return changed;
}

bool crdt_row_forget(struct crdt_row *row, const struct crdt_row *other, uint64_t bound)
{
    assert(row->columns == other->columns && row->n_columns == other->n_columns);
    bool changed = row->life.hlc <= bound && clock_stamp_compare(&row->life, &other->life) > 0;
    if (changed) {
        row->life = other->life;
    }
    for (uint32_t i = 0; i < row->n_columns; i++) {
        struct crdt_register *held = &row->registers[i];
        const struct crdt_register *told = &other->registers[i];
        if (is_typed(row, i)) {
            if (crdt_parts_forget(&held->parts, &told->parts, bound)) {
                show_parts(row, i);
                changed = true;
            }
        } else if (!row->columns[i].key && held->stamp.hlc <= bound && clock_stamp_compare(&held->stamp, &told->stamp) > 0) {
            *held = (struct crdt_register){.value = row->columns[i].sticky ? (struct cc_slice){0} : row->columns[i].cleared};
            changed = true;
        }
    }
    return changed;
}

bool crdt_row_may_have_died(const struct crdt_row *row)
{
    return clock_stamp_compare(&row->life, &stamp_of_old) > 0 && clock_stamp_is_zero(&row->death);
}

// -- Stamps of a visible row: jsonb text ----------------------------------------------------------------------------

static void put_json_text(struct cc_buffer *out, struct cc_slice text)
{
    cc_put_u8(out, '"');
    size_t n_put = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        cc_buffer_append(out, text.data + n_put, i - n_put);
        n_put = i + 1;
        if (c < 0x20) {
            cc_buffer_printf(out, "\\u%04x", (unsigned)c);
        } else {
            cc_put_u8(out, '\\');
            cc_put_u8(out, c);
        }
    }
    cc_buffer_append(out, text.n == 0 ? NULL : text.data + n_put, text.n - n_put);
    cc_put_u8(out, '"');
}

static void put_member(struct cc_buffer *out, struct cc_slice name, struct cc_slice text)
{
    cc_buffer_append_text(out, out->n > 0 && out->data[out->n - 1] == '{' ? "" : ", ");
    put_json_text(out, name);
    cc_buffer_append_text(out, ": \"");
    cc_buffer_append_slice(out, text);
    cc_buffer_append_text(out, "\"");
}

static void put_stamp_member(struct cc_buffer *out, struct cc_slice name, const struct clock_stamp *stamp)
{
    char text[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(stamp, text);
    put_member(out, name, cc_slice_text(text));
}

void crdt_parts_name_put(struct cc_buffer *out, struct cc_slice column)
{
    cc_put_u8(out, '*');
    cc_buffer_append_slice(out, column);
}

void crdt_parts_text_put(struct cc_buffer *out, const struct crdt_parts *parts)
{
    struct cc_buffer bytes = {0};
    crdt_parts_put(&bytes, parts);
    cc_base64url_put(out, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

static void put_parts_member(struct cc_buffer *out, const struct crdt_row *row, uint32_t column)
{
    struct cc_buffer name = {0}, text = {0};
    crdt_parts_name_put(&name, row->columns[column].name);
    crdt_parts_text_put(&text, &row->registers[column].parts);
    put_member(out, cc_buffer_slice(&name), cc_buffer_slice(&text));
    cc_buffer_finish(&name);
    cc_buffer_finish(&text);
}

static const struct clock_stamp *smallest_stamp(const struct crdt_row *row)
{
    const struct clock_stamp *smallest = NULL;
    for (uint32_t i = 0; i < row->n_columns; i++) {
        const struct clock_stamp *stamp = &row->registers[i].stamp;
        if (!row->columns[i].key && !is_typed(row, i) && (smallest == NULL || clock_stamp_compare(stamp, smallest) < 0)) {
            smallest = stamp;
        }
    }
    return smallest == NULL ? &row->life : smallest;
}

void crdt_stamps_put(struct cc_buffer *out, const struct crdt_row *row)
{
    const struct clock_stamp *common = smallest_stamp(row);
    const struct clock_stamp *life_if_absent = clock_stamp_is_zero(common) ? &stamp_of_old : common;
    cc_put_u8(out, '{');
    if (!clock_stamp_is_zero(common)) {
        put_stamp_member(out, cc_slice_text(""), common);
    }
    if (clock_stamp_compare(&row->life, life_if_absent) != 0) {
        put_stamp_member(out, cc_slice_text("+"), &row->life);
    }
    for (uint32_t i = 0; i < row->n_columns; i++) {
        if (is_typed(row, i)) {
            put_parts_member(out, row, i);
        } else if (!row->columns[i].key && clock_stamp_compare(&row->registers[i].stamp, common) != 0) {
            put_stamp_member(out, row->columns[i].name, &row->registers[i].stamp);
        }
    }
    cc_put_u8(out, '}');
}

static void skip_spaces(struct cc_reader *reader)
{
    while (cc_reader_left(reader) > 0 &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r')) {
        reader->at++;
    }
}

static bool next_is(const struct cc_reader *reader, uint8_t c)
{
    return cc_reader_left(reader) > 0 && *reader->at == c;
}

static void expect(struct cc_reader *reader, uint8_t c)
{
    skip_spaces(reader);
    if (cc_read_u8(reader) != c) {
        cc_reader_fail(reader);
    }
}

static uint32_t read_hex4(struct cc_reader *reader)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = cc_read_u8(reader);
        uint8_t lower = c | 0x20;
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint32_t)(c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            cc_reader_fail(reader);
        }
    }
    return value;
}

static void put_utf8(struct cc_buffer *out, uint32_t point)
{
    if (point < 0x80) {
        cc_put_u8(out, (uint8_t)point);
        return;
    }
    if (point < 0x800) {
        cc_put_u8(out, (uint8_t)(0xc0 | point >> 6));
        cc_put_u8(out, (uint8_t)(0x80 | (point & 0x3f)));
        return;
    }
    if (point < 0x10000) {
        cc_put_u8(out, (uint8_t)(0xe0 | point >> 12));
    } else {
        cc_put_u8(out, (uint8_t)(0xf0 | point >> 18));
        cc_put_u8(out, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
    }
    cc_put_u8(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
    cc_put_u8(out, (uint8_t)(0x80 | (point & 0x3f)));
}

static void read_unicode_escape(struct cc_reader *reader, struct cc_buffer *out)
{
    uint32_t point = read_hex4(reader);
    if (point >= 0xd800 && point < 0xdc00) {
        bool escaped = cc_read_u8(reader) == '\\' && cc_read_u8(reader) == 'u';
        uint32_t low = read_hex4(reader);
        if (!escaped || low < 0xdc00 || low > 0xdfff) {
            cc_reader_fail(reader);
            return;
        }
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point == 0 || (point >= 0xdc00 && point < 0xe000)) {
        cc_reader_fail(reader);
        return;
    }
    put_utf8(out, point);
}

static void read_escape(struct cc_reader *reader, struct cc_buffer *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t c = cc_read_u8(reader);
    if (c == 'u') {
        read_unicode_escape(reader, out);
        return;
    }
    for (size_t i = 0; i < sizeof(names) - 1; i++) {
        if (c == (uint8_t)names[i]) {
            cc_put_u8(out, (uint8_t)meanings[i]);
            return;
        }
    }
    cc_reader_fail(reader);
}

// The characters up to the next that means something.
static void read_plain(struct cc_reader *reader, struct cc_buffer *out)
{
    const uint8_t *first = reader->at;
    while (reader->at < reader->end && *reader->at >= 0x20 && *reader->at != '"' && *reader->at != '\\') {
        reader->at++;
    }
    cc_buffer_append(out, first, (size_t)(reader->at - first));
}

static void read_json_text(struct cc_reader *reader, struct cc_buffer *out)
{
    cc_buffer_clear(out);
    expect(reader, '"');
    while (cc_reader_ok(reader)) {
        read_plain(reader, out);
        uint8_t c = cc_read_u8(reader);
        if (c == '"') {
            return;
        }
        if (c == '\\') {
            read_escape(reader, out);
        } else {
            cc_reader_fail(reader);
        }
    }
}

struct stamps_read {
    struct crdt_row *row;
    struct clock_stamp common, life;
};

// Of a column that has not been named: it has the common stamp, which may come last.
static const struct clock_stamp stamp_unnamed = {UINT64_MAX, UINT32_MAX, UINT32_MAX};

static void mark_explicit(struct crdt_register *held)
{
    held->stamp = stamp_zero; // what follows from a stamp and a value is not wanted any more
}

// "*views". Members of an object are sorted by length, then bytes, so a stamp of the column has been seen before its parts.
static bool take_parts(struct stamps_read *pass, struct cc_slice name, struct cc_slice text)
{
    uint32_t column = find_column(pass->row, cc_slice_of(name.data + 1, name.n - 1), 0);
    if (column == COLUMN_NONE || !is_typed(pass->row, column)) {
        return true;
    }
    struct crdt_register *held = &pass->row->registers[column];
    struct cc_buffer bytes = {0};
    bool ok = cc_base64url_read(text, &bytes) == CC_OK &&
              crdt_parts_read(cc_arena_slice(pass->row->arena, cc_buffer_slice(&bytes)), pass->row->arena, &held->parts) == CC_OK;
    cc_buffer_finish(&bytes);
    mark_explicit(held);
    return ok;
}

static void take_member(struct stamps_read *pass, struct cc_slice name, const struct clock_stamp *stamp)
{
    if (name.n == 0) {
        pass->common = *stamp;
        return;
    }
    if (cc_slice_equal_text(name, "+")) {
        pass->life = *stamp;
        return;
    }
    uint32_t column = find_column(pass->row, name, 0);
    if (column != COLUMN_NONE && !pass->row->columns[column].key) {
        pass->row->registers[column].stamp = *stamp;
    }
}

static void read_member(struct cc_reader *reader, struct cc_buffer *name, struct cc_buffer *text, struct stamps_read *pass)
{
    struct clock_stamp stamp;
    read_json_text(reader, name);
    expect(reader, ':');
    read_json_text(reader, text);
    if (!cc_reader_ok(reader)) {
        return;
    }
    bool is_stamp = text->n == 0 || memchr(text->data, '.', text->n) != NULL; // base64url has no points
    if (!is_stamp && name->n > 1 && name->data[0] == '*' && pass->row->arena != NULL) {
        if (!take_parts(pass, cc_buffer_slice(name), cc_buffer_slice(text))) {
            cc_reader_fail(reader);
        }
        return;
    }
    if (clock_stamp_parse(cc_buffer_slice(text), &stamp) != CC_OK || clock_stamp_is_zero(&stamp)) {
        cc_reader_fail(reader);
        return;
    }
    take_member(pass, cc_buffer_slice(name), &stamp);
}

static enum cc_status read_object(struct cc_slice json, struct stamps_read *pass)
{
    struct cc_reader reader = cc_reader_of(json);
    struct cc_buffer name = {0};
    struct cc_buffer text = {0};
    expect(&reader, '{');
    skip_spaces(&reader);
    bool more = cc_reader_ok(&reader) && !next_is(&reader, '}');
    while (more) {
        read_member(&reader, &name, &text, pass);
        skip_spaces(&reader);
        more = next_is(&reader, ',');
        if (more) {
            cc_read_u8(&reader);
        }
    }
    expect(&reader, '}');
    skip_spaces(&reader);
    cc_buffer_finish(&name);
    cc_buffer_finish(&text);
    return cc_reader_end(&reader);
}

// A row as an insert left it: its value is what the stamp's origin wrote.
static void take_implied_part(struct crdt_row *row, uint32_t column)
{
    struct crdt_register *held = &row->registers[column];
    struct crdt_outcome outcome = {0};
    if (!clock_stamp_is_zero(&held->stamp)) {
        struct cc_slice bytes = part_of_value(row, column, held->value, &held->stamp);
        merge_part(row, column, &(struct crdt_part){held->stamp, bytes}, &outcome);
        held->stamp = stamp_zero;
    }
}

enum cc_status crdt_stamps_read(struct cc_slice text, struct crdt_row *row)
{
    struct stamps_read pass = {.row = row};
    for (uint32_t i = 0; i < row->n_columns; i++) {
        row->registers[i].stamp = row->columns[i].key ? stamp_zero : stamp_unnamed;
    }
    enum cc_status status = text.data == NULL ? CC_OK : read_object(text, &pass);
    for (uint32_t i = 0; i < row->n_columns; i++) {
        bool unnamed = clock_stamp_compare(&row->registers[i].stamp, &stamp_unnamed) == 0;
        row->registers[i].stamp = unnamed ? pass.common : row->registers[i].stamp;
    }
    if (status != CC_OK) {
        return status;
    }
    row->life = !clock_stamp_is_zero(&pass.life)     ? pass.life
                : !clock_stamp_is_zero(&pass.common) ? pass.common
                                                     : stamp_of_old;
    for (uint32_t i = 0; text.data != NULL && i < row->n_columns; i++) {
        if (is_typed(row, i)) {
            take_implied_part(row, i);
            show_parts(row, i);
        }
    }
    return status;
}

// -- Remains of a row that is not visible ---------------------------------------------------------------------------

// Registers of stamp zero are what crdt_row_init makes, except a sticky one from before the table became weak.
static bool must_remain(const struct crdt_row *row, uint32_t column)
{
    const struct crdt_register *held = &row->registers[column];
    if (row->columns[column].key || is_typed(row, column)) {
        return held->parts.n > 0;
    }
    return !clock_stamp_is_zero(&held->stamp) || (row->columns[column].sticky && held->value.data != NULL);
}

static void put_remaining_parts(struct cc_buffer *out, const struct crdt_parts *parts)
{
    struct cc_buffer bytes = {0};
    crdt_parts_put(&bytes, parts);
    cc_put_string(out, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

void crdt_remains_put(struct cc_buffer *out, const struct crdt_row *row)
{
    uint32_t n = 0;
    bool parts = false;
    for (uint32_t i = 0; i < row->n_columns; i++) {
        n += must_remain(row, i) ? 1 : 0;
        parts = parts || row->registers[i].parts.n > 0;
    }
    cc_put_u8(out, parts ? REMAINS_WITH_PARTS : REMAINS_VERSION);
    clock_stamp_put(out, &row->life);
    cc_put_varint(out, n);
    for (uint32_t i = 0; i < row->n_columns; i++) {
        if (must_remain(row, i)) {
            cc_put_string(out, row->columns[i].name);
            cc_put_nullable(out, row->registers[i].value);
            clock_stamp_put(out, &row->registers[i].stamp);
            if (parts) {
                put_remaining_parts(out, &row->registers[i].parts);
            }
        }
    }
}

// One pass checks, the next one sets: nothing is set from bytes that turn out to be malformed.
static enum cc_status read_remains(struct cc_slice bytes, struct crdt_row *row, bool set)
{
    struct cc_reader reader = cc_reader_of(bytes);
    uint8_t version = cc_read_u8(&reader);
    if (version != REMAINS_VERSION && version != REMAINS_WITH_PARTS) {
        cc_reader_fail(&reader);
    }
    struct clock_stamp life = clock_stamp_read(&reader);
    uint64_t n = cc_read_count(&reader, cc_reader_left(&reader) / REGISTER_BYTES_MIN);
    for (uint64_t i = 0; i < n && cc_reader_ok(&reader); i++) {
        struct cc_slice name = cc_read_string(&reader);
        struct crdt_register held = {.value = cc_read_nullable(&reader)};
        held.stamp = clock_stamp_read(&reader);
        struct cc_slice parts = version == REMAINS_WITH_PARTS ? cc_read_string(&reader) : (struct cc_slice){0};
        uint32_t column = cc_reader_ok(&reader) ? find_column(row, name, 0) : COLUMN_NONE;
        if (column == COLUMN_NONE || row->columns[column].key) {
            continue;
        }
        if (is_typed(row, column) && parts.n > 0 && crdt_parts_read(parts, row->arena, &held.parts) != CC_OK) {
            cc_reader_fail(&reader);
        }
        if (set) {
            row->registers[column] = held;
        }
        if (set && is_typed(row, column)) {
            show_parts(row, column);
        }
    }
    if (set) {
        row->life = life;
    }
    return cc_reader_end(&reader);
}

enum cc_status crdt_remains_read(struct cc_slice bytes, struct crdt_row *row)
{
    enum cc_status status = read_remains(bytes, row, false);
    return status == CC_OK ? read_remains(bytes, row, true) : status;
}

enum cc_status crdt_remains_may_go(struct cc_slice bytes, const struct clock_stamp *death, uint64_t bound, struct cc_arena *arena,
                                   bool *may_go_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    uint8_t version = cc_read_u8(&reader);
    if (version != REMAINS_VERSION && version != REMAINS_WITH_PARTS) {
        cc_reader_fail(&reader);
    }
    bool may_go = death->hlc <= bound;
    struct clock_stamp life = clock_stamp_read(&reader);
    may_go = may_go && life.hlc <= bound;
    uint64_t n = cc_read_count(&reader, cc_reader_left(&reader) / REGISTER_BYTES_MIN);
    for (uint64_t i = 0; i < n && cc_reader_ok(&reader); i++) {
        (void)cc_read_string(&reader);
        (void)cc_read_nullable(&reader);
        struct clock_stamp stamp = clock_stamp_read(&reader);
        struct cc_slice bytes_of_parts = version == REMAINS_WITH_PARTS ? cc_read_string(&reader) : (struct cc_slice){0};
        struct crdt_parts parts = {0};
        enum cc_status status = bytes_of_parts.n > 0 ? crdt_parts_read(bytes_of_parts, arena, &parts) : CC_OK;
        if (status != CC_OK) {
            return status;
        }
        may_go = may_go && stamp.hlc <= bound;
        for (uint32_t p = 0; p < parts.n; p++) {
            bool counts = clock_stamp_compare(&parts.at[p].stamp, death) > 0;
            may_go = may_go && parts.at[p].stamp.hlc <= bound && !counts;
        }
    }
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *may_go_out = may_go;
    }
    return status;
}
