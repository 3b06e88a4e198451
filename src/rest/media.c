// Media types: what the Accept header admits.
#include "rest/plan_internal.h"

#include <stdlib.h>
#include <string.h>

struct offer {
    struct cc_slice type; // without parameters
    bool stripped;        // ;nulls=stripped
    double quality;
    struct cc_slice of;   // ;for="..." of a plan: the media type that is explained
    struct cc_slice version; // ;version=3.1 of an OpenAPI document
    unsigned options;     // ;options=analyze|verbose
};

static const struct {
    const char *name, *sql;
    unsigned bit;
} explain_options[] = {
    {"analyze", ", ANALYZE", PLAN_EXPLAIN_ANALYZE},    {"verbose", ", VERBOSE", PLAN_EXPLAIN_VERBOSE},
    {"settings", ", SETTINGS", PLAN_EXPLAIN_SETTINGS}, {"buffers", ", BUFFERS", PLAN_EXPLAIN_BUFFERS},
    {"wal", ", WAL", PLAN_EXPLAIN_WAL},
};
enum { N_EXPLAIN_OPTIONS = sizeof(explain_options) / sizeof(explain_options[0]) };

static struct cc_slice next_part(struct cc_slice *text, uint8_t separator)
{
    size_t n = 0;
    while (n < text->n && text->data[n] != separator) {
        n++;
    }
    struct cc_slice part = rest_text_trim(cc_slice_of(text->data, n));
    size_t skip = n < text->n ? n + 1 : n;
    *text = cc_slice_of(text->data + skip, text->n - skip);
    return part;
}

static double read_quality(struct cc_slice text)
{
    char digits[8] = {0};
    memcpy(digits, text.data, text.n < sizeof(digits) ? text.n : sizeof(digits) - 1);
    char *end = NULL;
    double quality = strtod(digits, &end);
    return end == digits || quality < 0 || quality > 1 ? 0 : quality;
}

// "analyze|verbose"
static unsigned read_options(struct cc_slice text)
{
    unsigned options = 0;
    while (text.n > 0) {
        struct cc_slice name = next_part(&text, '|');
        for (size_t i = 0; i < N_EXPLAIN_OPTIONS; i++) {
            options |= cc_slice_equal_fold(name, explain_options[i].name) ? explain_options[i].bit : 0;
        }
    }
    return options;
}

static bool read_parameter(struct cc_slice parameter, const char *name, struct cc_slice *value)
{
    size_t n = strlen(name);
    if (parameter.n < n || !cc_slice_equal_fold(cc_slice_of(parameter.data, n), name)) {
        return false;
    }
    *value = cc_slice_of(parameter.data + n, parameter.n - n);
    bool quoted = value->n >= 2 && value->data[0] == '"' && value->data[value->n - 1] == '"';
    *value = quoted ? cc_slice_of(value->data + 1, value->n - 2) : *value;
    return true;
}

static void read_offer(struct cc_slice text, struct offer *offer)
{
    *offer = (struct offer){.quality = 1};
    offer->type = next_part(&text, ';');
    while (text.n > 0) {
        struct cc_slice parameter = next_part(&text, ';');
        struct cc_slice value;
        if (cc_slice_equal_fold(parameter, "nulls=stripped")) {
            offer->stripped = true;
        } else if (read_parameter(parameter, "q=", &value)) {
            offer->quality = read_quality(value);
        } else if (read_parameter(parameter, "for=", &value)) {
            offer->of = value;
        } else if (read_parameter(parameter, "version=", &value)) {
            offer->version = value;
        } else if (read_parameter(parameter, "options=", &value)) {
            offer->options = read_options(value);
        }
    }
}

// The name that tools use, and the registered one, which is of newer versions.
static const char openapi[] = "application/openapi+json", openapi_registered[] = "application/vnd.oai.openapi+json";

static bool wants_openapi_3(const struct offer *offer)
{
    bool named = offer->version.n > 0;
    return (named && offer->version.data[0] == '3') || (!named && cc_slice_equal_fold(offer->type, openapi_registered));
}

// What a request is for: the description at /, rows, or what a function returns.
struct subject {
    bool is_root;
    const struct rest_function *function; // of a call
    const char *geojson;                  // see rest_catalog
    const struct rest_catalog *catalog;
    const struct rest_table *table; // whose whole rows are read; else NULL
};

// The aggregate over the table's rows that makes this media type.
static const struct rest_handler *handler_of(const struct offer *offer, const struct subject *subject)
{
    const struct rest_catalog *catalog = subject->catalog;
    for (uint32_t i = 0; subject->table != NULL && i < catalog->n_handlers; i++) {
        const struct rest_handler *handler = &catalog->handlers[i];
        bool fits = strcmp(handler->media_type, "*/*") == 0 || cc_slice_equal_fold(offer->type, handler->media_type);
        if (fits && &catalog->tables[handler->table] == subject->table) {
            return handler;
        }
    }
    return NULL;
}

static bool is_value(const struct rest_function *function)
{
    return function != NULL && !function->returns_row && !function->returns_set && !function->returns_void;
}

// The value itself: of functions that return a domain called like a media type, and text, XML and bytes when asked for as such.
static const char *raw_type_of(const struct offer *offer, const struct rest_function *function)
{
    static const char *const types[][2] = {
        {"text", "text/plain"}, {"xml", "text/xml"}, {"bytea", "application/octet-stream"}};
    if (!is_value(function) || function->return_base == NULL) {
        return NULL;
    }
    if (function->media_type != NULL && strcmp(function->media_type, "*/*") == 0) {
        return "application/octet-stream"; // the function itself says more, by response.headers
    }
    if (function->media_type != NULL && cc_slice_equal_fold(offer->type, function->media_type)) {
        return function->media_type;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(function->return_base, types[i][0]) == 0 && cc_slice_equal_fold(offer->type, types[i][1])) {
            return types[i][1];
        }
    }
    return NULL;
}

static bool format_of(const struct offer *offer, const struct subject *subject, enum rest_format *out)
{
    static const struct {
        const char *type;
        enum rest_format plain, stripped;
    } formats[] = {
        {"application/json", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"*/*", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"application/*", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"application/vnd.pgrst.object+json", REST_FORMAT_OBJECT, REST_FORMAT_OBJECT_STRIPPED},
        {"application/vnd.pgrst.object", REST_FORMAT_OBJECT, REST_FORMAT_OBJECT_STRIPPED},
        {"application/vnd.pgrst.array+json", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY_STRIPPED},
        {"application/vnd.pgrst.array", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY_STRIPPED},
        {"text/csv", REST_FORMAT_CSV, REST_FORMAT_CSV},
    };
    if (handler_of(offer, subject) != NULL || raw_type_of(offer, subject->function) != NULL) {
        *out = REST_FORMAT_RAW;
        return true;
    }
    if (subject->is_root) {
        *out = REST_FORMAT_OPENAPI;
        return cc_slice_equal_fold(offer->type, openapi) || cc_slice_equal_fold(offer->type, openapi_registered) ||
               cc_slice_equal_fold(offer->type, "application/json") || cc_slice_equal_fold(offer->type, "*/*") ||
               cc_slice_equal_fold(offer->type, "application/*");
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (cc_slice_equal_fold(offer->type, formats[i].type)) {
            *out = offer->stripped ? formats[i].stripped : formats[i].plain;
            return true;
        }
    }
    *out = REST_FORMAT_GEOJSON;
    bool is_rows = subject->function == NULL || subject->function->returns_row;
    return is_rows && subject->geojson != NULL && cc_slice_equal_fold(offer->type, "application/geo+json");
}

// ---- plans

static bool is_plan(const struct offer *offer)
{
    return cc_slice_equal_fold(offer->type, "application/vnd.pgrst.plan") ||
           cc_slice_equal_fold(offer->type, "application/vnd.pgrst.plan+text") ||
           cc_slice_equal_fold(offer->type, "application/vnd.pgrst.plan+json");
}

static const char *options_text(struct planner *planner, unsigned options)
{
    const char *text = "";
    for (size_t i = 0; i < N_EXPLAIN_OPTIONS; i++) {
        if (options & explain_options[i].bit) {
            text = plan_text(planner, "%s%s%s", text, *text == '\0' ? "; options=" : "|", explain_options[i].name);
        }
    }
    return text;
}

static bool explained_format(struct planner *planner, const struct offer *offer, const struct subject *subject,
                             enum rest_format *out)
{
    struct offer of = {0};
    read_offer(offer->of.n > 0 ? offer->of : cc_slice_text("application/json"), &of);
    bool known = format_of(&of, subject, out) && *out != REST_FORMAT_RAW;
    if (!planner->request->options.plans_allowed || subject->is_root || !known) {
        return false;
    }
    planner->explain_json = cc_slice_equal_fold(offer->type, "application/vnd.pgrst.plan+json");
    planner->explain_options = offer->options;
    planner->plan->facts.plan_type =
        plan_text(planner, "application/vnd.pgrst.plan+%s; for=\"%.*s\"%s; charset=utf-8",
                  planner->explain_json ? "json" : "text", (int)of.type.n, (const char *)of.type.data,
                  options_text(planner, offer->options));
    return true;
}

void plan_explain(struct planner *planner)
{
    struct rest_plan *plan = planner->plan;
    struct rest_statement *statement = &plan->statement;
    const char *sql = plan_text(planner, "EXPLAIN (FORMAT %s", planner->explain_json ? "JSON" : "TEXT");
    for (size_t i = 0; i < N_EXPLAIN_OPTIONS; i++) {
        if (planner->explain_options & explain_options[i].bit) {
            sql = plan_text(planner, "%s%s", sql, explain_options[i].sql);
        }
    }
    sql = plan_text(planner, "%s) %.*s", sql, (int)statement->sql.n, (const char *)statement->sql.data);
    struct rest_statement question = {
        .kind = REST_READ,
        .before = statement->before,
        .sql = cc_slice_text(sql),
        .n_parameters = statement->n_parameters + (statement->weak ? 1 : 0),
        .n_settings = statement->n_settings,
        .settings = statement->settings,
    };
    question.parameters = cc_arena_array(planner->arena, question.n_parameters, sizeof(*question.parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        question.parameters[i] = statement->parameters[i];
    }
    if (statement->weak) { // any stamp will do
        question.parameters[statement->n_parameters] = cc_slice_text("");
    }
    *statement = question;
    plan->estimate = (struct rest_statement){0};
    plan->kind = REST_PLAN_READ;
    plan->facts.is_explained = true;
}

static void take_offer(struct planner *planner, const struct offer *offer, const struct subject *subject, enum rest_format format)
{
    struct rest_reply_facts *facts = &planner->plan->facts;
    planner->openapi_3 = subject->is_root && wants_openapi_3(offer);
    facts->format = format;
    facts->plan_type = is_plan(offer) ? facts->plan_type : NULL;
    planner->handler = format == REST_FORMAT_RAW ? handler_of(offer, subject) : NULL;
    if (format == REST_FORMAT_RAW) {
        bool any = planner->handler != NULL && strcmp(planner->handler->media_type, "*/*") == 0;
        const char *type = any                        ? "application/octet-stream"
                           : planner->handler != NULL ? planner->handler->media_type
                                                      : raw_type_of(offer, subject->function);
        facts->raw_is_bytes = strcmp(planner->handler != NULL ? planner->handler->base_type : subject->function->return_base, "bytea") == 0;
        facts->raw_type = strncmp(type, "text/", 5) == 0 ? plan_text(planner, "%s; charset=utf-8", type) : type;
    }
}

// Handlers take whole rows, as they are stored; those of weak tables have a column that nobody sees.
static const struct rest_table *whole_rows_of(const struct planner *planner)
{
    const struct rest_query *query = &planner->query;
    bool whole = query->n_items == 0 || (query->n_items == 1 && query->items[0].kind == REST_SELECT_ALL);
    if (!whole || planner->relation.data == NULL || planner->plan->facts.action != REST_ACTION_READ) {
        return NULL;
    }
    const struct rest_table *table = rest_catalog_table(planner->catalog, planner->schema, planner->relation);
    return table != NULL && table->consistency == REST_STRONG ? table : NULL;
}

bool plan_negotiate(struct planner *planner, const struct rest_function *function)
{
    struct cc_slice accept = rest_request_header(planner->request, "Accept");
    struct subject subject = {
        .is_root = planner->relation.data == NULL,
        .function = function,
        .geojson = planner->catalog->geojson,
        .catalog = planner->catalog,
        .table = function == NULL ? whole_rows_of(planner) : NULL,
    };
    struct cc_slice rest = accept.n == 0 ? cc_slice_text("*/*") : accept;
    double best = 0;
    while (rest.n > 0) {
        struct offer offer;
        enum rest_format format = REST_FORMAT_ARRAY;
        read_offer(next_part(&rest, ','), &offer);
        bool fits = offer.quality > best && (is_plan(&offer) ? explained_format(planner, &offer, &subject, &format)
                                                             : format_of(&offer, &subject, &format));
        if (fits) {
            best = offer.quality;
            take_offer(planner, &offer, &subject, format);
        }
    }
    if (best > 0) {
        return true;
    }
    return plan_missing( // a migration may just have brought a function that makes it
        planner, REST_MEDIA_TYPE,
        plan_text(planner, "None of these media types are available: %.*s", (int)accept.n, (const char *)accept.data),
        NULL, NULL);
}
