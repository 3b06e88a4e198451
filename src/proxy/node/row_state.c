// States of weak rows as bytes.
#include "proxy/node/row_state.h"

#include "crdt/row.h"

enum { STATE_BYTES_MIN = 3, FIELD_BYTES_MIN = 2, VERSION = 1, KIND_VISIBLE = 0, KIND_HIDDEN = 1, KIND_SETTLED = 2, KIND_CHECKED = 3 };

void row_states_begin(struct cc_buffer *out, struct cc_slice table, uint32_t n)
{
    cc_put_u8(out, VERSION);
    cc_put_string(out, table);
    cc_put_varint(out, n);
}

static uint8_t kind_of(const struct row_state *state)
{
    if (state->hidden) {
        return state->settled ? KIND_SETTLED : KIND_HIDDEN;
    }
    return state->told != NULL ? KIND_CHECKED : KIND_VISIBLE;
}

void row_state_put(struct cc_buffer *out, const struct row_state *state)
{
    cc_put_string(out, state->key);
    cc_put_u8(out, kind_of(state));
    if (state->hidden) {
        cc_put_string(out, state->death);
        cc_put_string(out, state->remains);
        return;
    }
    cc_put_nullable(out, state->stamps);
    cc_put_varint(out, state->n_fields);
    for (uint32_t i = 0; i < state->n_fields; i++) {
        cc_put_string(out, state->names[i]);
        cc_put_nullable(out, state->values[i]);
        if (state->told != NULL) {
            cc_put_u8(out, state->told[i]);
        }
    }
}

static void read_state(struct cc_reader *reader, struct cc_arena *arena, struct row_state *state)
{
    state->key = cc_read_string(reader);
    uint8_t kind = cc_read_u8(reader);
    if (kind > KIND_CHECKED) {
        cc_reader_fail(reader);
    }
    state->hidden = kind == KIND_HIDDEN || kind == KIND_SETTLED;
    state->settled = kind == KIND_SETTLED;
    if (state->hidden) {
        state->death = cc_read_string(reader);
        state->remains = cc_read_string(reader);
        return;
    }
    state->stamps = cc_read_nullable(reader);
    size_t n_max = cc_reader_left(reader) / FIELD_BYTES_MIN;
    state->n_fields = (uint32_t)cc_read_count(reader, n_max < ROW_STATE_FIELDS_MAX ? n_max : ROW_STATE_FIELDS_MAX);
    state->names = cc_arena_array(arena, state->n_fields, sizeof(*state->names));
    state->values = cc_arena_array(arena, state->n_fields, sizeof(*state->values));
    state->told = kind == KIND_CHECKED ? cc_arena_array(arena, state->n_fields, sizeof(*state->told)) : NULL;
    for (uint32_t i = 0; i < state->n_fields && cc_reader_ok(reader); i++) {
        state->names[i] = cc_read_string(reader);
        state->values[i] = cc_read_nullable(reader);
        if (state->told != NULL) {
            state->told[i] = cc_read_u8(reader) != 0;
        }
    }
}

enum cc_status row_states_read(struct cc_slice bytes, struct cc_arena *arena, struct cc_slice *table_out, struct row_state **states_out,
                               uint32_t *n_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    if (cc_read_u8(&reader) != VERSION) {
        cc_reader_fail(&reader);
    }
    struct cc_slice table = cc_read_string(&reader);
    size_t n_max = cc_reader_left(&reader) / STATE_BYTES_MIN;
    uint32_t n = (uint32_t)cc_read_count(&reader, n_max < ROW_STATES_MAX ? n_max : ROW_STATES_MAX);
    struct row_state *states = cc_arena_array(arena, n, sizeof(*states));
    for (uint32_t i = 0; i < n && cc_reader_ok(&reader); i++) {
        read_state(&reader, arena, &states[i]);
    }
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *table_out = table;
        *states_out = states;
        *n_out = n;
    }
    return status;
}

bool row_state_is_forgotten(const struct row_state *state, uint64_t dropped, struct cc_arena *arena)
{
    struct clock_stamp death;
    bool may_go = false;
    return state->hidden && !state->settled && clock_stamp_parse(state->death, &death) == CC_OK &&
           crdt_remains_may_go(state->remains, &death, dropped, arena, &may_go) == CC_OK && may_go;
}
