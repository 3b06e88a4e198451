// Fuzz target: the planner over a small catalog. Lines of the input: method and target, headers, an empty line, then the body.
// Whatever is planned must number its parameters without a gap, and the values of a client must not get into the SQL text.
#include "unit/rest/catalog_fixture.h"

#include "rest/plan.h"
#include "rest/transaction.h"

enum { HEADERS_MAX = 16 };

static const char secret[] = "zqjxk"; // what a client writes as a value, and no catalog has

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct cc_slice take(struct cc_slice *text, uint8_t end)
{
    const uint8_t *at = text->n == 0 ? NULL : memchr(text->data, end, text->n);
    struct cc_slice part = at == NULL ? *text : cc_slice_of(text->data, (size_t)(at - text->data));
    size_t skip = at == NULL ? text->n : part.n + 1;
    *text = cc_slice_of(text->data + skip, text->n - skip);
    return part;
}

static void read_request(struct cc_slice text, struct rest_header *headers, struct rest_request *request)
{
    struct cc_slice line = take(&text, '\n');
    request->method = take(&line, ' ');
    request->path = take(&line, '?');
    request->query = line;
    request->headers = headers;
    while (text.n > 0 && request->n_headers < HEADERS_MAX) {
        line = take(&text, '\n');
        if (line.n == 0) {
            break;
        }
        headers[request->n_headers].name = take(&line, ':');
        headers[request->n_headers++].value = line;
    }
    request->body = text;
}

// Where the quoted text that begins at `at` ends; doubled quotes belong to it.
static size_t end_of_quoted(struct cc_slice sql, size_t at)
{
    uint8_t quote = sql.data[at];
    for (at++; at < sql.n; at++) {
        if (sql.data[at] == quote && (at + 1 == sql.n || sql.data[at + 1] != quote)) {
            return at;
        }
        at += sql.data[at] == quote;
    }
    abort(); // it does not end
}

static uint32_t number_at(struct cc_slice sql, size_t at)
{
    uint32_t number = 0;
    while (at < sql.n && sql.data[at] >= '0' && sql.data[at] <= '9' && number < 1000000) {
        number = number * 10 + (uint32_t)(sql.data[at++] - '0');
    }
    return number;
}

static void check(const struct rest_statement *statement)
{
    struct cc_slice sql = statement->sql;
    uint32_t n_parameters = rest_statement_rows(statement) > 1 ? statement->row_parameters : statement->n_parameters;
    if (statement->row_parameters > 0 && statement->n_parameters % statement->row_parameters != 0) {
        abort();
    }
    uint32_t n = n_parameters + (statement->weak && statement->kind != REST_READ ? 1 : 0);
    bool *used = calloc(n + 1, sizeof(*used));
    for (size_t at = 0; at < sql.n; at++) {
        if (sql.data[at] == '"' || sql.data[at] == '\'') {
            size_t end = end_of_quoted(sql, at);
            if (sql.data[at] == '\'' && memmem(sql.data + at, end - at, secret, strlen(secret)) != NULL) {
                abort();
            }
            at = end;
        } else if (sql.data[at] == '$') {
            uint32_t number = number_at(sql, at + 1);
            if (number == 0 || number > n) {
                abort();
            }
            used[number] = true;
        }
    }
    for (uint32_t i = 1; i <= n; i++) {
        if (!used[i]) {
            abort();
        }
    }
    free(used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct rest_catalog *catalog;
    if (catalog == NULL) {
        catalog = fixture_catalog_create();
    }
    struct cc_arena arena;
    struct rest_header headers[HEADERS_MAX] = {0};
    struct rest_request request = {.options = {.aggregates = n % 2 == 0, .roll_back_allowed = true, .plans_allowed = true}};
    request.options.rows_max = n % 3 == 0 ? 10 : 0;
    request.options.pre_request = n % 5 == 0 ? "public.door" : NULL;
    read_request(cc_slice_of(data, n), headers, &request);
    cc_arena_init(&arena);
    struct rest_plan plan;
    rest_plan_create(catalog, &request, &arena, &plan);
    if (plan.kind == REST_PLAN_READ || plan.kind == REST_PLAN_WRITE) {
        check(&plan.statement);
        check(&plan.estimate);
    } else if (plan.answer.status < 200 || plan.answer.status > 599) {
        abort();
    }
    cc_arena_finish(&arena);
    return 0;
}
