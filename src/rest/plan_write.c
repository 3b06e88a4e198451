// Writes: PATCH and DELETE as one statement whose rows are the effects (contract in statement.h).
#include "rest/plan_write_internal.h"

// ---- PATCH, DELETE

static bool check_filter(struct write *write, const char *statement)
{
    struct planner *planner = write->planner;
    bool limited = planner->plan->statement.rows_max != UINT64_MAX;
    if (planner->root->n_conditions > 0 || limited) {
        return true;
    }
    return plan_refuse(planner, REST_NO_WHERE, plan_text(planner, "%s requires a WHERE clause", statement), NULL,
                       "Add a filter, or Prefer: handling=strict, max-affected=<n>.");
}

static void put_old_join(struct write *write, const char *keyword)
{
    write_put_text(write, keyword);
    write_put_text(write, write->table->qualified);
    write_put_text(write, " AS o WHERE ");
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        write_put_text(write, i == 0 ? "" : " AND ");
        write_put_column_of(write, "o", write->table->key[i]);
        write_put_text(write, " = ");
        write_put_column_of(write, "t0", write->table->key[i]);
    }
}

static bool sets_key(const struct write *write)
{
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        if (write_contains(write->payload.n_columns, write->payload.columns, write->table->key[i])) {
            return true;
        }
    }
    return false;
}

static bool sets_unique(const struct write *write)
{
    for (uint32_t i = 0; i < write->table->n_uniques; i++) {
        const struct rest_unique *unique = &write->table->uniques[i];
        for (uint32_t k = 0; k < unique->n_columns; k++) {
            if (write_contains(write->payload.n_columns, write->payload.columns, unique->columns[k])) {
                return true;
            }
        }
    }
    return false;
}

static void put_set(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    write_put_text(write, " SET ");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_name(write, payload->columns[i]);
        write_put_text(write, " = ");
        write_put_value(write, i, "t0");
    }
    if (write_is_weak(write)) {
        write_put_text(write, ", ");
        write_put_update_stamps(write, false);
    }
}

static bool update_rows(struct write *write)
{
    struct planner *planner = write->planner;
    write->tag = "'U'";
    // A weak row under another key is another row: a deletion and an insert, for which all its columns must be known.
    write->captured = write->table->capture_update || (write->table->capture_key_update && sets_unique(write)) ||
                      (write_is_weak(write) && sets_key(write)) || write_is_blind(write);
    bool needs_old = !write->captured && (write_is_weak(write) || sets_key(write));
    write->old = needs_old ? OLD_FROM_JOIN : OLD_NONE;
    write->ordered = planner->root->n_orders > 0 && planner->plan->facts.wants_body;
    write_choose_shape(write, write_is_weak(write), true);
    write_begin(write);
    write_put_text(write, "UPDATE ");
    write_put_text(write, write->table->qualified);
    write_put_text(write, " AS t0");
    put_set(write);
    write->set_end = planner->sql.text.n;
    if (needs_old) {
        put_old_join(write, " FROM ");
    }
    bool has_where = needs_old || planner->root->n_conditions > 0;
    if (!plan_put_conditions(planner, planner->root, needs_old ? " AND " : " WHERE ") ||
        !write_put_precondition(write, has_where ? " AND " : " WHERE ")) {
        return false;
    }
    return write_finish(write, REST_UPDATE, true);
}

bool plan_update(struct planner *planner)
{
    struct write write;
    if (!write_start(planner, &write) || !plan_payload_read(planner, write.table, &write.payload)) {
        return false;
    }
    write.payload.bulk = false; // an array's first element
    if (write.payload.n_columns == 0) {
        return write_answer_nothing(planner);
    }
    if (write_needs_key(write.table)) {
        return write_refuse_no_key(planner, write.table, "update");
    }
    return check_filter(&write, "UPDATE") && update_rows(&write);
}

bool plan_delete(struct planner *planner)
{
    struct write write;
    if (!write_start(planner, &write)) {
        return false;
    }
    if (write_needs_key(write.table)) {
        return write_refuse_no_key(planner, write.table, "delete from");
    }
    if (!check_filter(&write, "DELETE")) {
        return false;
    }
    write.tag = "'D'";
    write.captured = write.table->capture_delete || write_is_blind(&write);
    write.old = write_is_weak(&write) && !write.captured ? OLD_FROM_ROW : OLD_NONE;
    write.new_is_key_only = true;
    write.ordered = planner->root->n_orders > 0 && planner->plan->facts.wants_body;
    write_choose_shape(&write, write_is_weak(&write), false);
    write_begin(&write);
    write_put_text(&write, "DELETE FROM ");
    write_put_text(&write, write.table->qualified);
    write_put_text(&write, " AS t0");
    if (write_is_weak(&write)) { // the executor binds the stamp to every weak write
        write_put_text(&write, " WHERE ");
        plan_put_stamp(planner);
        write_put_text(&write, " IS NOT NULL");
    }
    bool has_where = write_is_weak(&write) || planner->root->n_conditions > 0;
    if (!plan_put_conditions(planner, planner->root, write_is_weak(&write) ? " AND " : " WHERE ") ||
        !write_put_precondition(&write, has_where ? " AND " : " WHERE ")) {
        return false;
    }
    return write_finish(&write, REST_DELETE, false);
}
