// Relationships: which foreign key an embedding means.
#include "rest/plan_internal.h"

#include "rest/similar.h"
#include "rest/vector.h"

struct search {
    struct planner *planner;
    const struct rest_catalog *catalog;
    const struct rest_table *origin;
    const struct rest_select *item;
    uint32_t n_found;
    struct plan_relationship *found;
};

static const struct rest_table *from_of(const struct search *search, const struct rest_foreign_key *key)
{
    return &search->catalog->tables[key->from];
}

static const struct rest_table *to_of(const struct search *search, const struct rest_foreign_key *key)
{
    return &search->catalog->tables[key->to];
}

static bool contains_columns(uint32_t n, const uint32_t *columns, uint32_t n_part, const uint32_t *part)
{
    for (uint32_t i = 0; i < n_part; i++) {
        uint32_t j = 0;
        while (j < n && columns[j] != part[i]) {
            j++;
        }
        if (j == n) {
            return false;
        }
    }
    return true;
}

static bool references_once(const struct rest_table *table, const struct rest_foreign_key *key)
{
    if (key->once) {
        return true;
    }
    for (uint32_t i = 0; i < table->n_uniques; i++) {
        const struct rest_unique *unique = &table->uniques[i];
        if (contains_columns(key->n_columns, key->from_columns, unique->n_columns, unique->columns)) {
            return true;
        }
    }
    return false;
}

static bool is_only_column(const struct rest_table *table, uint32_t n, const uint32_t *columns, struct cc_slice name)
{
    return n == 1 && cc_slice_equal_text(name, table->columns[columns[0]].name);
}

static bool key_fits_hint(const struct search *search, const struct rest_foreign_key *key)
{
    struct cc_slice hint = search->item->hint;
    return hint.data == NULL || cc_slice_equal_text(hint, key->name) ||
           is_only_column(from_of(search, key), key->n_columns, key->from_columns, hint) ||
           is_only_column(to_of(search, key), key->n_columns, key->to_columns, hint);
}

static bool is_named(const struct search *search, const struct rest_table *table)
{
    return cc_slice_equal_text(search->item->target, table->name) && strcmp(table->schema, search->origin->schema) == 0;
}

// Names of keys and of their columns mean tables: views show the same keys.
static bool is_table(const struct rest_table *table)
{
    return table->kind == REST_TABLE || table->kind == REST_PARTITIONED || table->kind == REST_FOREIGN_TABLE;
}

static void add(struct search *search, const struct plan_relationship *relationship)
{
    search->found = rest_vector_room(search->planner->arena, search->found, search->n_found, sizeof(*relationship));
    search->found[search->n_found++] = *relationship;
}

// The origin holds the foreign key. A reference to its own table goes by its column's name, the table's name means the other side.
static void try_many_to_one(struct search *search, const struct rest_foreign_key *key)
{
    const struct rest_table *target = to_of(search, key);
    bool by_table = is_named(search, target) && target != search->origin;
    bool by_key = cc_slice_equal_text(search->item->target, key->name) ||
                  is_only_column(search->origin, key->n_columns, key->from_columns, search->item->target);
    if ((by_table || (by_key && is_table(target))) && key_fits_hint(search, key)) {
        enum plan_cardinality cardinality = references_once(search->origin, key) ? PLAN_ONE_TO_ONE : PLAN_MANY_TO_ONE;
        add(search,
            &(struct plan_relationship){
                .cardinality = cardinality, .target = target, .key = key, .forward = true, .by_table_name = by_table});
    }
}

static void try_one_to_many(struct search *search, const struct rest_foreign_key *key)
{
    const struct rest_table *target = from_of(search, key);
    bool by_table = is_named(search, target);
    bool by_key = cc_slice_equal_text(search->item->target, key->name) && target != search->origin;
    if ((by_table || (by_key && is_table(target))) && key_fits_hint(search, key)) {
        enum plan_cardinality cardinality = references_once(target, key) ? PLAN_ONE_TO_ONE : PLAN_ONE_TO_MANY;
        add(search, &(struct plan_relationship){
                        .cardinality = cardinality, .target = target, .key = key, .by_table_name = by_table});
    }
}

static bool junction_fits_hint(const struct search *search, const struct rest_table *junction,
                               const struct rest_foreign_key *first, const struct rest_foreign_key *second)
{
    struct cc_slice hint = search->item->hint;
    return hint.data == NULL || cc_slice_equal_text(hint, junction->name) || cc_slice_equal_text(hint, first->name) ||
           cc_slice_equal_text(hint, second->name);
}

// `first` leads from a junction to the origin: look for the junction's other key.
static void try_many_to_many(struct search *search, const struct rest_foreign_key *first)
{
    const struct rest_table *junction = from_of(search, first);
    if (!contains_columns(junction->n_key, junction->key, first->n_columns, first->from_columns)) {
        return;
    }
    for (uint32_t i = 0; i < search->catalog->n_foreign_keys; i++) {
        const struct rest_foreign_key *second = &search->catalog->foreign_keys[i];
        bool same = strcmp(second->name, first->name) == 0; // of one table: the key itself, or as a view shows it
        bool fits = !same && second->from == first->from && is_named(search, to_of(search, second)) &&
                    contains_columns(junction->n_key, junction->key, second->n_columns, second->from_columns) &&
                    junction_fits_hint(search, junction, first, second);
        if (fits) {
            add(search, &(struct plan_relationship){.cardinality = PLAN_MANY_TO_MANY,
                                                    .target = to_of(search, second),
                                                    .key = first,
                                                    .second = second,
                                                    .junction = junction,
                                                    .by_table_name = true});
        }
    }
}

// A table's name counts before keys and columns of the same name.
static void prefer_table_names(struct search *search)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < search->n_found; i++) {
        if (search->found[i].by_table_name) {
            search->found[n++] = search->found[i];
        }
    }
    search->n_found = n == 0 ? search->n_found : n;
}

// A junction table counts before the views of it.
static void prefer_junction_tables(struct search *search)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < search->n_found; i++) {
        const struct plan_relationship *found = &search->found[i];
        if (found->junction == NULL || is_table(found->junction)) {
            search->found[n++] = *found;
        }
    }
    search->n_found = n == 0 ? search->n_found : n;
}

static const char *cardinality_text(enum plan_cardinality cardinality)
{
    switch (cardinality) {
    case PLAN_MANY_TO_ONE:
        return "many-to-one";
    case PLAN_ONE_TO_ONE:
        return "one-to-one";
    case PLAN_ONE_TO_MANY:
        return "one-to-many";
    case PLAN_MANY_TO_MANY:
        return "many-to-many";
    }
    return "";
}

static void put_columns(struct cc_buffer *out, const struct rest_table *table, uint32_t n, const uint32_t *columns)
{
    cc_buffer_printf(out, "%s(", table->name);
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_printf(out, "%s%s", i == 0 ? "" : ", ", table->columns[columns[i]].name);
    }
    cc_buffer_append_text(out, ")");
}

static void put_description(const struct search *search, const struct plan_relationship *found, struct cc_buffer *out)
{
    const struct rest_foreign_key *key = found->key;
    if (found->cardinality == PLAN_MANY_TO_MANY) {
        cc_buffer_printf(out, "%s using %s and %s", found->junction->name, found->key->name, found->second->name);
        return;
    }
    cc_buffer_printf(out, "%s using ", key->name);
    bool forward = found->forward;
    const struct rest_table *first = forward ? from_of(search, key) : to_of(search, key);
    const struct rest_table *second = forward ? to_of(search, key) : from_of(search, key);
    put_columns(out, first, key->n_columns, forward ? key->from_columns : key->to_columns);
    cc_buffer_append_text(out, " and ");
    put_columns(out, second, key->n_columns, forward ? key->to_columns : key->from_columns);
}

static void put_detail(const struct search *search, const struct plan_relationship *found, struct cc_buffer *out)
{
    struct cc_buffer text = {0};
    put_description(search, found, &text);
    struct cc_buffer embedding = {0};
    cc_buffer_printf(&embedding, "%s with %s", search->origin->name, found->target->name);
    cc_buffer_printf(out, "{\"cardinality\":\"%s\",\"embedding\":", cardinality_text(found->cardinality));
    rest_json_put_string(out, cc_buffer_slice(&embedding));
    cc_buffer_append_text(out, ",\"relationship\":");
    rest_json_put_string(out, cc_buffer_slice(&text));
    cc_buffer_append_text(out, "}");
    cc_buffer_finish(&embedding);
    cc_buffer_finish(&text);
}

static const char *hint_name(const struct plan_relationship *found)
{
    return found->cardinality == PLAN_MANY_TO_MANY ? found->junction->name : found->key->name;
}

static bool refuse_ambiguous(struct search *search)
{
    struct planner *planner = search->planner;
    struct cc_buffer details = {0};
    struct cc_buffer hint = {0};
    const char *target = search->found[0].target->name;
    for (uint32_t i = 0; i < search->n_found; i++) {
        cc_buffer_append_text(&details, i == 0 ? "[" : ",");
        put_detail(search, &search->found[i], &details);
        cc_buffer_printf(&hint, "%s'%s!%s'", i == 0 ? "" : ", ", target, hint_name(&search->found[i]));
    }
    cc_buffer_append_text(&details, "]");
    plan_refuse(
        planner, REST_MANY_RELATIONSHIPS,
        plan_text(planner, "Could not embed because more than one relationship was found for '%s' and '%s'",
                  search->origin->name, target),
        cc_arena_text_n(planner->arena, details.data, details.n),
        plan_text(planner,
                  "Try changing '%s' to one of the following: %s. Find the desired relationship in the 'details' key.",
                  target, cc_buffer_text(&hint)));
    cc_buffer_finish(&details);
    cc_buffer_finish(&hint);
    return false;
}

// Among what the origin is related to, by keys, junctions and functions.
static const char *similar_target(struct search *search)
{
    struct rest_similar similar;
    rest_similar_init(&similar, search->item->target);
    for (uint32_t i = 0; i < search->catalog->n_foreign_keys; i++) {
        const struct rest_foreign_key *key = &search->catalog->foreign_keys[i];
        const struct rest_table *from = from_of(search, key);
        if (from == search->origin) {
            rest_similar_try(&similar, to_of(search, key)->name);
        }
        if (to_of(search, key) != search->origin) {
            continue;
        }
        rest_similar_try(&similar, from->name);
        for (uint32_t k = 0; k < search->catalog->n_foreign_keys; k++) {
            if (search->catalog->foreign_keys[k].from == key->from) {
                rest_similar_try(&similar, to_of(search, &search->catalog->foreign_keys[k])->name);
            }
        }
    }
    for (uint32_t i = 0; i < search->catalog->n_functions; i++) {
        const struct rest_function *function = &search->catalog->functions[i];
        if (function->return_table >= 0 && plan_takes_row(function, search->origin)) {
            rest_similar_try(&similar, function->name);
        }
    }
    // The name itself is no help: what is wrong is the hint then.
    return similar.least == 0 ? NULL : similar.best;
}

static const char *similar_hint(struct search *search)
{
    const char *best = similar_target(search);
    struct cc_slice target = search->item->target;
    return best == NULL ? NULL
                        : plan_text(search->planner, "Perhaps you meant '%s' instead of '%.*s'.", best, (int)target.n,
                                    (const char *)target.data);
}

static bool refuse_unknown(struct search *search)
{
    struct planner *planner = search->planner;
    const char *origin = search->origin->name;
    int n = (int)search->item->target.n;
    const char *target = (const char *)search->item->target.data;
    struct cc_slice hint = search->item->hint;
    const char *with_hint =
        hint.data == NULL ? "" : plan_text(planner, " using the hint '%.*s'", (int)hint.n, (const char *)hint.data);
    return plan_missing(planner, REST_NO_RELATIONSHIP,
                        plan_text(planner, "Could not find a relationship between '%s' and '%.*s' in the schema cache",
                                  origin, n, target),
                        plan_text(planner,
                                  "Searched for a foreign key relationship between '%s' and '%.*s'%s in the schema "
                                  "'%s', but no matches were found.",
                                  origin, n, target, with_hint, search->origin->schema),
                        similar_hint(search));
}

// Functions over the origin's row type that return rows of a table. They go before what foreign keys say.
static bool find_computed(struct search *search, struct plan_relationship *out)
{
    for (uint32_t i = 0; i < search->catalog->n_functions; i++) {
        const struct rest_function *function = &search->catalog->functions[i];
        bool fits = function->returns_set && function->return_table >= 0 &&
                    cc_slice_equal_text(search->item->target, function->name) && plan_takes_row(function, search->origin);
        if (fits) {
            *out = (struct plan_relationship){
                .cardinality = function->one_row ? PLAN_MANY_TO_ONE : PLAN_ONE_TO_MANY,
                .target = &search->catalog->tables[function->return_table],
                .function = function,
            };
            return true;
        }
    }
    return false;
}

bool plan_relationship_find(struct planner *planner, const struct rest_table *origin, const struct rest_select *item,
                            struct plan_relationship *out)
{
    struct search search = {.planner = planner, .catalog = planner->catalog, .origin = origin, .item = item};
    if (find_computed(&search, out)) {
        return true;
    }
    for (uint32_t i = 0; i < search.catalog->n_foreign_keys; i++) {
        const struct rest_foreign_key *key = &search.catalog->foreign_keys[i];
        if (from_of(&search, key) == origin) {
            try_many_to_one(&search, key);
        }
        if (to_of(&search, key) == origin) {
            try_one_to_many(&search, key);
            try_many_to_many(&search, key);
        }
    }
    prefer_table_names(&search);
    prefer_junction_tables(&search);
    if (search.n_found == 0) {
        return refuse_unknown(&search);
    }
    if (search.n_found > 1) {
        return refuse_ambiguous(&search);
    }
    *out = search.found[0];
    return true;
}
