// Rows of weak tables set right: see the header.
#include "proxy/postgres/io_postgres_mend.h"

#include "proxy/postgres/apply_sql.h"

void pg_mend_init(struct pg_mend *mend, struct pg_lane *lane)
{
    *mend = (struct pg_mend){.lane = lane};
    pg_array_init(&mend->values, PG_TEXT);
}

void pg_mend_as_replica(struct pg_mend *mend)
{
    if (!mend->as_replica && !pg_executor_has_turn(mend->lane)) { // there caucus.mend does it
        pg_lane_must_text(mend->lane, "SET LOCAL session_replication_role = replica");
        mend->as_replica = true;
    }
}

void pg_mend_put_value(struct pg_mend *mend, struct cc_slice value)
{
    pg_array_put(&mend->values, value);
    cc_buffer_printf(&mend->sql, "($1::text[])[%u]", (unsigned)mend->values.n);
}

void pg_mend_send(struct pg_mend *mend, const struct pg_table *table, const struct cc_slice *key)
{
    for (uint32_t i = 0; i < table->n_key; i++) {
        const struct pg_column *column = &table->columns[table->key[i]];
        cc_buffer_append_text(&mend->sql, i == 0 ? " WHERE " : " AND ");
        apply_sql_identifier(&mend->sql, column->name);
        cc_buffer_append_text(&mend->sql, " = ");
        pg_mend_put_value(mend, key[i]);
        cc_buffer_printf(&mend->sql, "::%.*s", (int)column->type.n, (const char *)column->type.data);
    }
    struct cc_slice values = pg_array_slice(&mend->values);
    if (pg_executor_has_turn(mend->lane)) { // which has no rights on tables of users
        struct cc_slice parameters[2] = {cc_buffer_slice(&mend->sql), values};
        pg_lane_must(mend->lane, "SELECT caucus.mend($1, $2)", 2, parameters, (const uint8_t[]){0, 1});
    } else {
        pg_lane_must(mend->lane, cc_buffer_text(&mend->sql), 1, &values, (const uint8_t[]){1});
    }
    cc_buffer_clear(&mend->sql);
    pg_array_finish(&mend->values);
    pg_array_init(&mend->values, PG_TEXT);
}

void pg_mend_finish(struct pg_mend *mend)
{
    if (mend->as_replica) {
        pg_lane_must_text(mend->lane, "SET LOCAL session_replication_role = origin");
    }
    cc_buffer_finish(&mend->sql);
    pg_array_finish(&mend->values);
}
