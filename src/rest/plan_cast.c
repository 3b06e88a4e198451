// Types that a client may cast to: nothing of a request is written into SQL.
#include "rest/plan_internal.h"

#include <string.h>

static const char *const built_in[] = {
    "text", "varchar", "character varying", "char", "bpchar", "name", "int", "integer", "int2", "int4", "int8",
    "smallint", "bigint", "numeric", "decimal", "real", "float4", "float8", "double precision", "money", "bool",
    "boolean", "date", "time", "timetz", "timestamp", "timestamptz", "time with time zone", "time without time zone",
    "timestamp with time zone", "timestamp without time zone", "interval", "uuid", "json", "jsonb", "xml", "bytea",
    "inet", "cidr", "macaddr", "tsvector", "tsquery", "int4range", "int8range", "numrange", "tsrange", "tstzrange",
    "daterange", "point", "oid", "regclass",
};

static const char *built_in_type(struct planner *planner, struct cc_slice name)
{
    bool may_be_array = name.n > 1 && name.data[0] == '_';
    struct cc_slice element = may_be_array ? cc_slice_of(name.data + 1, name.n - 1) : (struct cc_slice){0};
    for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++) {
        if (cc_slice_equal_text(name, built_in[i])) {
            return built_in[i];
        }
        if (cc_slice_equal_text(element, built_in[i])) {
            return plan_text(planner, "%s[]", built_in[i]);
        }
    }
    return NULL;
}

// By its whole name, or without its schema.
static bool is_type_name(struct cc_slice name, const char *type)
{
    const char *dot = strrchr(type, '.');
    return cc_slice_equal_text(name, type) || (dot != NULL && cc_slice_equal_text(name, dot + 1));
}

static const char *type_of_column(const struct planner *planner, struct cc_slice name)
{
    for (uint32_t i = 0; i < planner->catalog->n_tables; i++) {
        const struct rest_table *table = &planner->catalog->tables[i];
        for (uint32_t k = 0; k < table->n_columns; k++) {
            const struct rest_column *column = &table->columns[k];
            if (is_type_name(name, column->type)) {
                return column->type;
            }
            if (is_type_name(name, column->base_type)) {
                return column->base_type;
            }
        }
    }
    return NULL;
}

const char *plan_cast_type(struct planner *planner, struct cc_slice name)
{
    const char *type = built_in_type(planner, name);
    return type != NULL ? type : type_of_column(planner, name);
}
