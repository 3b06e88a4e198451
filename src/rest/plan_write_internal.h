// Inside of the planner of writes: one write, and what its files share. The forms of its statement stand in plan_write_rows.c.
#ifndef REST_PLAN_WRITE_INTERNAL_H
#define REST_PLAN_WRITE_INTERNAL_H

#include "rest/plan_internal.h"

enum old_source { OLD_NONE, OLD_FROM_JOIN, OLD_FROM_ROW, OLD_FROM_SNAPSHOT };

struct write {
    struct planner *planner;
    const struct rest_table *table;
    struct plan_payload payload;
    const char *tag;  // SQL
    uint32_t n_shape; // positions of the shape's columns
    uint32_t *shape;
    bool captured;
    bool ordered;
    enum old_source old;
    bool new_is_key_only; // 'D': other columns are NULL
    uint32_t n_target;    // conflict target
    const uint32_t *target;
    enum rest_resolution resolution;
    size_t row_at, row_end; // in the text: the one row of VALUES
    size_t set_end, returning_at, body_at; // in the text: what an update sets; what comes back; what each row gives to the answer's body
    uint32_t n_row_parameters;
    bool cast;                          // each parameter of the row, so that SELECT may stand in place of VALUES
    const struct rest_json_value *rows; // all rows, when their values are parameters: n_rows * n_columns; else NULL
};

// plan_write_rows.c: text, shape, and what comes back. False: refused.
void write_put_text(struct write *write, const char *text);
void write_put_name(struct write *write, uint32_t column);
void write_put_column_of(struct write *write, const char *alias, uint32_t column);
bool write_contains(uint32_t n, const uint32_t *columns, uint32_t column);
bool write_is_weak(const struct write *write);
bool write_is_blind(const struct write *write); // the role may not see what RETURNING gives
void write_choose_shape(struct write *write, bool all_columns, bool with_set);
void write_give_sequences(struct write *write);
void write_begin(struct write *write);
bool write_finish(struct write *write, enum rest_statement_kind kind, bool with_set);
bool write_answer_nothing(struct planner *planner);
bool write_start(struct planner *planner, struct write *write);
bool write_put_precondition(struct write *write, const char *before);

// plan_insert.c
void write_put_value(struct write *write, uint32_t position, const char *alias);
void write_put_update_stamps(struct write *write, bool revives);
bool write_refuse_no_key(struct planner *planner, const struct rest_table *table, const char *verb);
bool write_may_cast(const struct write *write); // whether the row's values may be elements of arrays that are cast
bool write_needs_key(const struct rest_table *table);

#endif
