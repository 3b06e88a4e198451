// Calls: /rpc/function. A volatile function called by POST is a write; anything else reads.
#include "rest/body.h"
#include "rest/plan_internal.h"

#include "rest/similar.h"
#include "rest/utf8.h"
#include "rest/vector.h"

#include <stdlib.h>
#include <string.h>

struct call {
    struct planner *planner;
    const struct rest_function *function;
    bool by_query; // GET
    uint32_t n_pairs; // GET, and POST of a form: arguments come as text
    const struct rest_pair *pairs;
    bool by_text;
    uint32_t n_names;
    struct cc_slice *names; // given, each once
    uint32_t n_members;     // POST
    const struct rest_json_member *members;
    struct cc_slice body; // POST: as a parameter
    enum rest_body_type body_type;
    bool has_body;
    bool whole_body; // for the single unnamed parameter
};

static void put_text(struct call *call, const char *text)
{
    rest_sql_text(&call->planner->sql, text);
}

// ---- arguments

static void add_name(struct call *call, struct cc_slice name)
{
    for (uint32_t i = 0; i < call->n_names; i++) {
        if (cc_slice_equal(call->names[i], name)) {
            return;
        }
    }
    call->names = rest_vector_room(call->planner->arena, call->names, call->n_names, sizeof(name));
    call->names[call->n_names++] = name;
}

// Text, XML and bytes have no members: only a function with one unnamed parameter can take them.
static bool read_raw_body(struct call *call)
{
    struct planner *planner = call->planner;
    struct cc_slice body = planner->request->body;
    call->has_body = true;
    if (call->body_type == REST_BODY_BYTES) {
        call->body = rest_body_of_bytes(body, planner->arena);
        return true;
    }
    if (!rest_utf8_ok(body) || (body.n > 0 && memchr(body.data, 0, body.n) != NULL)) {
        return plan_refuse(planner, REST_BODY, "The body is not UTF-8 text", NULL, NULL);
    }
    call->body = body.n == 0 ? cc_slice_of("", 0) : cc_arena_slice(planner->arena, body);
    return true;
}

static bool is_raw(enum rest_body_type type)
{
    return type == REST_BODY_TEXT || type == REST_BODY_XML || type == REST_BODY_BYTES;
}

static bool read_form(struct call *call)
{
    struct rest_pair *pairs = NULL;
    const char *reason = NULL;
    if (rest_body_pairs(call->planner->request->body, call->planner->arena, &call->n_pairs, &pairs, &reason) != CC_OK) {
        return plan_refuse(call->planner, REST_BODY, "Invalid form", reason, NULL);
    }
    call->pairs = pairs;
    call->by_text = true;
    return true;
}

static bool read_body(struct call *call)
{
    struct planner *planner = call->planner;
    call->body_type = rest_body_type(rest_request_header(planner->request, "Content-Type"));
    if (is_raw(call->body_type)) {
        return read_raw_body(call);
    }
    if (planner->request->body.n == 0) {
        return true;
    }
    struct rest_json json;
    if (!plan_body_scan(planner, &json)) {
        return false;
    }
    call->has_body = true;
    call->body = json.value.raw;
    if (call->body_type == REST_BODY_FORM) {
        return read_form(call);
    }
    bool is_list = json.value.kind == REST_JSON_ARRAY && json.objects_only && (json.uniform || planner->query.has_columns);
    if (json.value.kind == REST_JSON_OBJECT || is_list) { // of a list the first one
        call->n_members = json.n_members;
        call->members = json.members;
    }
    return true;
}

static bool read_arguments(struct call *call)
{
    const struct rest_query *query = &call->planner->query;
    call->n_pairs = query->n_arguments;
    call->pairs = query->arguments;
    call->by_text = call->by_query;
    if (!call->by_query && !read_body(call)) {
        return false;
    }
    bool chosen = !call->by_query && query->has_columns;
    for (uint32_t i = 0; !chosen && i < call->n_pairs; i++) {
        add_name(call, call->pairs[i].key);
    }
    for (uint32_t i = 0; chosen && i < query->n_columns; i++) {
        add_name(call, query->columns[i]);
    }
    for (uint32_t i = 0; !chosen && i < call->n_members; i++) {
        add_name(call, call->members[i].key);
    }
    return true;
}

// ---- choice of the function

static bool is_given(const struct call *call, const char *name)
{
    for (uint32_t i = 0; i < call->n_names; i++) {
        if (cc_slice_equal_text(call->names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool takes(const struct rest_function *function, struct cc_slice name)
{
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        if (name.n > 0 && cc_slice_equal_text(name, function->arguments[i].name)) {
            return true;
        }
    }
    return false;
}

static bool fits(const struct call *call, const struct rest_function *function)
{
    for (uint32_t i = 0; i < call->n_names; i++) {
        if (!takes(function, call->names[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        if (!function->arguments[i].has_default && !is_given(call, function->arguments[i].name)) {
            return false;
        }
    }
    return true;
}

// How well the single unnamed parameter takes such a body; 0: not at all.
static unsigned takes_whole_body(const struct call *call, const struct rest_function *function)
{
    static const struct {
        const char *type;
        enum rest_body_type body;
        unsigned rank;
    } types[] = {
        {"json", REST_BODY_JSON, 3}, {"jsonb", REST_BODY_JSON, 2}, {"text", REST_BODY_JSON, 1},
        {"text", REST_BODY_TEXT, 1}, {"xml", REST_BODY_XML, 1},    {"bytea", REST_BODY_BYTES, 1},
    };
    if (function->n_arguments != 1 || function->arguments[0].name[0] != '\0') {
        return 0;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (types[i].body == call->body_type && strcmp(function->arguments[0].type, types[i].type) == 0) {
            return types[i].rank;
        }
    }
    return 0;
}

static bool is_named(const struct call *call, const struct rest_function *function)
{
    return strcmp(function->schema, call->planner->schema) == 0 &&
           cc_slice_equal_text(call->planner->relation, function->name);
}

static int compare_names(const void *a, const void *b)
{
    return cc_slice_compare(*(const struct cc_slice *)a, *(const struct cc_slice *)b);
}

// What takes a whole body of that type, when no arguments fit.
static const char *unnamed_type(const struct call *call)
{
    if (call->by_query) {
        return NULL;
    }
    switch (call->body_type) {
    case REST_BODY_JSON:
        return "json/jsonb";
    case REST_BODY_TEXT:
        return "text";
    case REST_BODY_XML:
        return "xml";
    case REST_BODY_BYTES:
        return "bytea";
    case REST_BODY_CSV:
    case REST_BODY_FORM:
    case REST_BODY_OTHER:
        break;
    }
    return NULL;
}

static const char *argument_list(struct planner *planner, const struct rest_function *function)
{
    const char *list = "";
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        list = plan_text(planner, "%s%s%s", list, i == 0 ? "" : ", ", function->arguments[i].name);
    }
    return list;
}

// A function of nearly that name, or the overload of that name with nearly those parameters.
static const char *similar_function(struct call *call, const char *given)
{
    struct planner *planner = call->planner;
    struct rest_similar names;
    struct rest_similar lists;
    bool has_overload = false;
    rest_similar_init(&names, planner->relation);
    rest_similar_init(&lists, cc_slice_text(given));
    lists.least = lists.least * 2; // the function's name is right: less will do
    for (uint32_t i = 0; i < planner->catalog->n_functions; i++) {
        const struct rest_function *function = &planner->catalog->functions[i];
        if (is_named(call, function)) {
            has_overload = true;
            rest_similar_try(&lists, argument_list(planner, function));
        } else if (strcmp(function->schema, planner->schema) == 0) {
            rest_similar_try(&names, function->name);
        }
    }
    static const char hint[] = "Perhaps you meant to call the function";
    if (has_overload && lists.best != NULL) {
        return plan_text(planner, "%s %s.%.*s(%s)", hint, planner->schema, (int)planner->relation.n,
                         (const char *)planner->relation.data, lists.best);
    }
    return has_overload || names.best == NULL ? NULL : plan_text(planner, "%s %s.%s", hint, planner->schema, names.best);
}

static const char *name_list(struct call *call)
{
    const char *list = "";
    qsort(call->names, call->n_names, call->n_names == 0 ? 1 : sizeof(*call->names), compare_names);
    for (uint32_t i = 0; i < call->n_names; i++) {
        list = plan_text(call->planner, "%s%s%.*s", list, i == 0 ? "" : ", ", (int)call->names[i].n, (const char *)call->names[i].data);
    }
    return list;
}

static bool refuse_unknown(struct call *call)
{
    struct planner *planner = call->planner;
    int n = (int)planner->relation.n;
    const char *name = (const char *)planner->relation.data;
    const char *list = call->n_names == 0 ? "" : name_list(call);
    const char *unnamed = unnamed_type(call);
    bool only_whole = !call->by_query && is_raw(call->body_type);
    const char *given = only_whole ? "" : call->n_names == 0 ? " without parameters" : plan_text(planner, "(%s)", list);
    const char *searched = only_whole ? "" : call->n_names == 0 ? given : plan_text(planner, " with parameter%s %s", call->n_names > 1 ? "s" : "", list);
    const char *whole = unnamed == NULL ? "" : plan_text(planner, "%s with a single unnamed %s parameter", only_whole ? "" : " or", unnamed);
    return plan_missing(planner, REST_NO_FUNCTION,
                        plan_text(planner, "Could not find the function %s.%.*s%s in the schema cache", planner->schema, n, name, given),
                        plan_text(planner, "Searched for the function %s.%.*s%s%s, but no matches were found in the schema cache.",
                                  planner->schema, n, name, searched, whole),
                        only_whole ? NULL : similar_function(call, list));
}

static bool refuse_ambiguous(struct call *call, bool (*matches)(const struct call *, const struct rest_function *))
{
    struct planner *planner = call->planner;
    const char *list = "";
    for (uint32_t i = 0; i < planner->catalog->n_functions; i++) {
        const struct rest_function *function = &planner->catalog->functions[i];
        if (!is_named(call, function) || !matches(call, function)) {
            continue;
        }
        list = plan_text(planner, "%s%s%s.%s(", list, *list == '\0' ? "" : ", ", function->schema, function->name);
        for (uint32_t k = 0; k < function->n_arguments; k++) {
            const struct rest_argument *argument = &function->arguments[k];
            list = plan_text(planner, "%s%s%s => %s", list, k == 0 ? "" : ", ", argument->name, argument->type);
        }
        list = plan_text(planner, "%s)", list);
    }
    return plan_refuse(
        planner, REST_MANY_FUNCTIONS,
        plan_text(planner, "Could not choose the best candidate function between: %s", list), NULL,
        "Try renaming the parameters or the function itself in the database so function overloading can be resolved");
}

// Without arguments nothing tells overloads apart: GET is possible when it is for any of them.
static bool answer_options(struct planner *planner)
{
    struct call call = {.planner = planner};
    bool found = false;
    bool only_volatile = true;
    for (uint32_t i = 0; i < planner->catalog->n_functions; i++) {
        const struct rest_function *function = &planner->catalog->functions[i];
        if (is_named(&call, function)) {
            found = true;
            only_volatile = only_volatile && function->volatility == REST_VOLATILE;
        }
    }
    if (!found) {
        return refuse_unknown(&call);
    }
    return plan_answer_options(planner, only_volatile ? "OPTIONS,POST" : "OPTIONS,GET,HEAD,POST");
}

static bool choose_function(struct call *call)
{
    const struct rest_catalog *catalog = call->planner->catalog;
    const struct rest_function *whole = NULL;
    unsigned best = 0;
    uint32_t n_fitting = 0;
    for (uint32_t i = 0; i < catalog->n_functions; i++) {
        const struct rest_function *function = &catalog->functions[i];
        if (!is_named(call, function)) {
            continue;
        }
        if (!is_raw(call->body_type) && fits(call, function)) {
            call->function = function;
            n_fitting++;
        }
        unsigned rank = takes_whole_body(call, function);
        if (rank > best) {
            best = rank;
            whole = function;
        }
    }
    if (n_fitting > 1) {
        return refuse_ambiguous(call, fits);
    }
    if (n_fitting == 0 && whole != NULL && call->has_body) {
        call->function = whole;
        call->whole_body = true;
        return true;
    }
    return n_fitting == 1 || refuse_unknown(call);
}

// ---- SQL of the call

// A repeated query key for a VARIADIC parameter: an array literal of all its values.
static struct cc_slice variadic_literal(struct call *call, const char *name)
{
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{");
    for (uint32_t i = 0; i < call->n_pairs; i++) {
        if (!cc_slice_equal_text(call->pairs[i].key, name)) {
            continue;
        }
        cc_buffer_append_text(&out, out.n == 1 ? "\"" : ",\"");
        for (size_t k = 0; k < call->pairs[i].value.n; k++) {
            uint8_t c = call->pairs[i].value.data[k];
            cc_buffer_append(&out, "\\", c == '"' || c == '\\' ? 1 : 0);
            cc_buffer_append(&out, &c, 1);
        }
        cc_buffer_append_text(&out, "\"");
    }
    cc_buffer_append_text(&out, "}");
    struct cc_slice literal = cc_slice_of(cc_arena_text_n(call->planner->arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return literal;
}

static struct cc_slice last_value(const struct call *call, const char *name)
{
    for (uint32_t i = call->n_pairs; i > 0; i--) {
        if (cc_slice_equal_text(call->pairs[i - 1].key, name)) {
            return call->pairs[i - 1].value;
        }
    }
    return (struct cc_slice){0};
}

static void put_argument_value(struct call *call, const struct rest_argument *argument)
{
    struct planner *planner = call->planner;
    if (call->by_text) {
        rest_sql_parameter(&planner->sql, argument->variadic ? variadic_literal(call, argument->name)
                                                             : last_value(call, argument->name));
        return;
    }
    const struct rest_json_member *member = rest_json_find(call->n_members, call->members, argument->name);
    if (member == NULL) { // named by columns= but not in the body
        put_text(call, "NULL");
        return;
    }
    plan_put_value(planner, argument->type, argument->type, &member->value);
}

static void put_arguments(struct call *call)
{
    bool first = true;
    for (uint32_t i = 0; i < call->function->n_arguments; i++) {
        const struct rest_argument *argument = &call->function->arguments[i];
        if (!is_given(call, argument->name)) {
            continue;
        }
        put_text(call, first ? "" : ", ");
        put_text(call, argument->variadic ? "VARIADIC " : "");
        rest_sql_name(&call->planner->sql, argument->name);
        put_text(call, " => ");
        put_argument_value(call, argument);
        put_text(call, "::");
        put_text(call, argument->type);
        first = false;
    }
}

static void put_call(struct call *call)
{
    put_text(call, call->function->qualified);
    put_text(call, "(");
    if (call->whole_body) {
        rest_sql_parameter(&call->planner->sql, call->body);
        put_text(call, "::");
        put_text(call, call->function->arguments[0].type);
    } else {
        put_arguments(call);
    }
    put_text(call, ")");
}

// ---- the statement around it

// The columns of a result that is no table's row.
static const struct rest_table *result_table(struct call *call)
{
    const struct rest_function *function = call->function;
    if (function->return_table >= 0) {
        return &call->planner->catalog->tables[function->return_table];
    }
    struct rest_table *table = cc_arena_alloc(call->planner->arena, sizeof(*table));
    struct rest_column *columns = cc_arena_array(call->planner->arena, function->n_outs, sizeof(*columns));
    for (uint32_t i = 0; i < function->n_outs; i++) {
        columns[i] = (struct rest_column){
            .name = function->outs[i].name, .type = function->outs[i].type, .base_type = function->outs[i].type};
    }
    *table = (struct rest_table){
        .schema = function->schema,
        .name = function->name,
        .qualified = function->qualified,
        .kind = REST_VIEW,
        .reads_weak = function->consistency == REST_WEAK,
        .n_columns = function->n_outs,
        .columns = columns,
    };
    return table;
}

static bool is_write(const struct call *call)
{
    return !call->by_query && call->function->volatility == REST_VOLATILE;
}

static bool is_weak_write(const struct call *call)
{
    return is_write(call) && call->function->consistency == REST_WEAK;
}

static bool put_total(struct call *call)
{
    struct planner *planner = call->planner;
    bool page_is_all = planner->root == NULL || (!planner->root->has_limit && planner->root->offset == 0);
    if (planner->preferences.count == REST_COUNT_NONE) {
        put_text(call, "NULL::bigint");
        return true;
    }
    if (page_is_all) {
        put_text(call, "count(*)");
        return true;
    }
    return plan_put_count(planner, planner->root);
}

static void put_body(struct call *call)
{
    const struct rest_function *function = call->function;
    if (call->planner->plan->facts.head || function->returns_void) {
        put_text(call, "NULL::text");
    } else if (call->planner->plan->facts.format == REST_FORMAT_RAW) {
        put_text(call, call->planner->plan->facts.raw_is_bytes ? "string_agg(encode(r.value, 'hex'), '')" : "string_agg(r.value::text, '')");
    } else if (!function->returns_row) {
        put_text(call, function->returns_set ? "coalesce(json_agg(r.value), '[]')::text"
                                             : "coalesce(json_agg(r.value)->0, 'null')::text");
    } else if (!function->returns_set && call->planner->plan->facts.format == REST_FORMAT_ARRAY) {
        put_text(call, "(json_agg(r.*)->0)::text");
    } else {
        plan_put_aggregate(call->planner);
    }
}

static bool put_rows(struct call *call, struct cc_slice source)
{
    struct planner *planner = call->planner;
    put_text(call, " FROM (");
    if (call->function->returns_row) {
        if (!plan_put_select(planner, planner->root)) {
            return false;
        }
    } else {
        put_text(call, call->function->returns_record ? "SELECT " : "SELECT t0.value FROM ");
        rest_sql_slice(&planner->sql, source);
        put_text(call, call->function->returns_record ? " AS value" : " AS t0(value)");
    }
    put_text(call, ") r");
    if (is_weak_write(call)) { // the executor binds the stamp to every weak write
        put_text(call, " WHERE ");
        plan_put_stamp(planner);
        put_text(call, " IS NOT NULL");
    }
    return true;
}

// One row: the tag, and the parts of a read's row joined by line ends, the body last (reply.c takes them apart).
static bool put_write(struct call *call)
{
    put_text(call, "SELECT 'C', concat(count(*), E'\\n', ");
    if (!put_total(call)) {
        return false;
    }
    put_text(call, ", E'\\n', " PLAN_RESPONSE_SETTING("response.status") ", E'\\n', replace(" PLAN_RESPONSE_SETTING(
                       "response.headers") ", E'\\n', ' '), E'\\n', ");
    put_body(call);
    put_text(call, ", " PLAN_FORGET_RESPONSE ")");
    return true;
}

static bool put_read(struct call *call)
{
    plan_put_position(call->planner, true); // it may read any table
    put_text(call, ", ");
    put_body(call);
    put_text(call, ", count(*), ");
    if (!put_total(call)) {
        return false;
    }
    put_text(call, ", " PLAN_RESPONSE_SETTING("response.headers") ", " PLAN_RESPONSE_SETTING("response.status"));
    return true;
}

static bool put_statement(struct call *call, struct cc_slice source)
{
    return (is_write(call) ? put_write(call) : put_read(call)) && put_rows(call, source);
}

// The call's own text, with the parameters numbered from 1.
static struct cc_slice take_call(struct call *call)
{
    put_call(call);
    struct cc_buffer *text = &call->planner->sql.text;
    struct cc_slice source = cc_slice_of(cc_arena_text_n(call->planner->arena, text->data, text->n), text->n);
    cc_buffer_clear(text);
    return source;
}

static bool build(struct call *call)
{
    struct planner *planner = call->planner;
    struct rest_plan *plan = planner->plan;
    struct cc_slice source = take_call(call);
    bool weak = call->function->consistency == REST_WEAK;
    plan->touches_strong = plan->touches_strong || !weak;
    plan->touches_weak = plan->touches_weak || weak;
    if (call->function->returns_row) {
        planner->source = source;
        if (!plan_tree_create(planner, result_table(call)) || !plan_read_range(planner, planner->root)) {
            return false;
        }
        if (plan->facts.format == REST_FORMAT_CSV) {
            plan->facts.csv_header = plan_csv_header(planner, planner->root);
        }
    }
    return put_statement(call, source);
}

static void give_facts(struct call *call)
{
    struct rest_plan *plan = call->planner->plan;
    const struct rest_function *function = call->function;
    plan->facts.is_scalar = !function->returns_row;
    plan->facts.returns_void = function->returns_void;
    plan->facts.returns_set = function->returns_set;
    plan->facts.wants_body = !plan->facts.head && !function->returns_void;
    plan->kind = is_write(call) ? REST_PLAN_WRITE : REST_PLAN_READ;
    plan->statement.kind = is_write(call) ? REST_CALL : REST_READ;
    plan->statement.captured = is_write(call);
    plan->statement.runs_code = true;
    plan->statement.weak = is_weak_write(call);
    plan->facts.applied.durability = is_write(call) ? plan->facts.applied.durability : REST_DURABILITY_NONE;
    plan->statement.single = is_write(call) && plan_is_singular(call->planner) && function->returns_set;
}

bool plan_call(struct planner *planner)
{
    struct cc_slice method = planner->request->method;
    bool by_query = cc_slice_equal_text(method, "GET") || cc_slice_equal_text(method, "HEAD");
    if (cc_slice_equal_text(method, "OPTIONS")) {
        return answer_options(planner);
    }
    if (!by_query && !cc_slice_equal_text(method, "POST")) {
        return plan_refuse(
            planner, REST_VERB_OF_FUNCTION,
            plan_text(planner, "Cannot use the %.*s method on RPC", (int)method.n, (const char *)method.data), NULL,
            NULL);
    }
    struct call call = {.planner = planner, .by_query = by_query};
    if (!read_arguments(&call) || !choose_function(&call) || !plan_negotiate(planner, call.function)) {
        return false;
    }
    if (planner->plan->facts.applied.has_max_affected && !call.function->returns_set) {
        return plan_refuse(
            planner, REST_MAX_AFFECTED_CALL,
            "Function must return SETOF or TABLE when max-affected preference is used with handling=strict", NULL,
            NULL);
    }
    give_facts(&call);
    plan_add_function_settings(planner, call.function);
    planner->reads_request = true;
    planner->runs_code = true;
    if (!build(&call)) {
        return false;
    }
    plan_take_sql(planner);
    return true;
}
