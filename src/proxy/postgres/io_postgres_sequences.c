// Sequences that a chunk may have drawn from: where they are goes with its effects.
#include "proxy/postgres/io_postgres_execute.h"

#include "base/memory.h"

#include <string.h>

static void put_literal(struct cc_buffer *sql, struct cc_slice text) // without the quotes around it
{
    for (size_t i = 0; i < text.n; i++) {
        cc_buffer_append(sql, &text.data[i], 1);
        if (text.data[i] == '\'') {
            cc_buffer_append_text(sql, "'");
        }
    }
}

// A captured write may draw from any sequence; the others name theirs.
const char *pg_sequences_sql(struct execute *execute)
{
    struct cc_arena *arena = &execute->job->arena;
    size_t n_max = 0;
    for (uint32_t i = execute->first; i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s < item->operation.n_statements; s++) {
            if (item->operation.statements[s].captured) {
                return "SELECT name, last_value, true FROM caucus.sequences()";
            }
            n_max += item->operation.statements[s].n_sequences;
        }
    }
    struct cc_slice *names = cc_arena_array(arena, n_max, sizeof(*names));
    size_t n = 0;
    struct cc_buffer sql = {0};
    for (uint32_t i = execute->first; n_max > 0 && i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s < item->operation.n_statements; s++) {
            const struct rest_statement *statement = &item->operation.statements[s];
            for (uint32_t q = 0; q < statement->n_sequences; q++) {
                struct cc_slice name = statement->sequences[q];
                if (pg_slice_listed(names, n, name)) {
                    continue;
                }
                names[n++] = name;
                cc_buffer_append_text(&sql, n > 1 ? " UNION ALL SELECT '" : "SELECT '");
                put_literal(&sql, name);
                cc_buffer_append_text(&sql, "', s, s IS NOT NULL FROM caucus.sequence_at('");
                put_literal(&sql, name);
                cc_buffer_append_text(&sql, "') AS s");
            }
        }
    }
    const char *text = n == 0 ? NULL : cc_arena_text_n(arena, sql.data, sql.n);
    cc_buffer_finish(&sql);
    return text;
}

void pg_sequences_put(struct execute *execute)
{
    PGresult *result = execute->sequences;
    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        const char *name = PQgetvalue(result, row, 0);
        const char *value = PQgetvalue(result, row, 1);
        bool is_called = PQgetvalue(result, row, 2)[0] == 't';
        struct pg_sequence_memo *memo = execute->lane->sequences;
        while (memo != NULL && strcmp(memo->name, name) != 0) {
            memo = memo->next;
        }
        if (!is_called || (memo != NULL && strcmp(memo->value, value) == 0)) {
            continue;
        }
        if (memo == NULL) {
            memo = cc_alloc(sizeof(*memo));
            memo->name = cc_strdup(name);
            memo->next = execute->lane->sequences;
            execute->lane->sequences = memo;
        }
        free(memo->value);
        memo->value = cc_strdup(value);
        int64_t position = 0;
        if (pg_int8_read(cc_slice_text(value), &position) == CC_OK) {
            effect_put_sequence(&execute->effects, cc_slice_text(name), position, true);
        }
    }
}
