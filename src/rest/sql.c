// SQL writer.
#include "rest/sql.h"

#include "rest/vector.h"

void rest_sql_init(struct rest_sql *sql, struct cc_arena *arena)
{
    *sql = (struct rest_sql){.arena = arena};
    cc_buffer_reserve(&sql->text, 1024);
}

void rest_sql_finish(struct rest_sql *sql)
{
    cc_buffer_finish(&sql->text);
}

void rest_sql_text(struct rest_sql *sql, const char *text)
{
    cc_buffer_append_text(&sql->text, text);
}

void rest_sql_slice(struct rest_sql *sql, struct cc_slice text)
{
    cc_buffer_append_slice(&sql->text, text);
}

void rest_sql_number(struct rest_sql *sql, uint32_t number)
{
    char digits[10];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    cc_buffer_append(&sql->text, digits + at, sizeof(digits) - at);
}

// Quotes, and doubles the quotes inside.
static void put_quoted(struct rest_sql *sql, struct cc_slice text, char quote)
{
    size_t from = 0;
    cc_buffer_append(&sql->text, &quote, 1);
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == (uint8_t)quote) {
            cc_buffer_append(&sql->text, text.data + from, i - from + 1);
            from = i;
        }
    }
    if (text.n > from) {
        cc_buffer_append(&sql->text, text.data + from, text.n - from);
    }
    cc_buffer_append(&sql->text, &quote, 1);
}

void rest_sql_identifier(struct rest_sql *sql, struct cc_slice name)
{
    put_quoted(sql, name, '"');
}

void rest_sql_name(struct rest_sql *sql, const char *name)
{
    rest_sql_identifier(sql, cc_slice_text(name));
}

void rest_sql_literal(struct rest_sql *sql, const char *text)
{
    put_quoted(sql, cc_slice_text(text), '\'');
}

uint32_t rest_sql_parameter(struct rest_sql *sql, struct cc_slice value)
{
    sql->parameters = rest_vector_room(sql->arena, sql->parameters, sql->n_parameters, sizeof(*sql->parameters));
    sql->parameter_at = rest_vector_room(sql->arena, sql->parameter_at, sql->n_parameters, sizeof(*sql->parameter_at));
    sql->parameter_at[sql->n_parameters] = (uint32_t)sql->text.n;
    sql->parameters[sql->n_parameters++] = value;
    rest_sql_text(sql, "$");
    rest_sql_number(sql, sql->n_parameters);
    return sql->n_parameters;
}
