// Fuzz target: whole requests through the planner (lines: method, path, query, Prefer, Accept, then the body), and the
// statement that comes out through its codec; the raw bytes through the decoder as well.
#include "unit/rest/catalog_fixture.h"

#include "rest/plan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct cc_slice take_line(struct cc_slice *text)
{
    size_t n = 0;
    while (n < text->n && text->data[n] != '\n') {
        n++;
    }
    struct cc_slice line = cc_slice_of(text->data, n);
    size_t skip = n < text->n ? n + 1 : n;
    *text = cc_slice_of(text->data + skip, text->n - skip);
    return line;
}

// Every $n outside quotes must have its parameter (a weak write one more: its stamp).
static void check_parameters(const struct rest_statement *statement)
{
    uint32_t n = statement->n_parameters + (statement->weak ? 1 : 0);
    char quote = '\0';
    for (size_t i = 0; i < statement->sql.n; i++) {
        char c = (char)statement->sql.data[i];
        if (quote != '\0') {
            quote = c == quote ? '\0' : quote;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '$' && (uint32_t)strtoul((const char *)statement->sql.data + i + 1, NULL, 10) - 1 >= n) {
            abort();
        }
    }
    if (quote != '\0') { // a quote that does not end
        abort();
    }
}

static void check_codec(const struct rest_statement *statement, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    struct cc_buffer again = {0};
    struct rest_statement copy;
    rest_statement_put(&bytes, statement);
    struct cc_reader reader = cc_reader_of(cc_buffer_slice(&bytes));
    if (rest_statement_read(&reader, arena, &copy) != CC_OK || cc_reader_end(&reader) != CC_OK) {
        abort();
    }
    rest_statement_put(&again, &copy);
    if (!cc_slice_equal(cc_buffer_slice(&bytes), cc_buffer_slice(&again))) {
        abort();
    }
    cc_buffer_finish(&bytes);
    cc_buffer_finish(&again);
}

static void plan_request(const struct rest_catalog *catalog, struct cc_slice text, struct cc_arena *arena)
{
    struct rest_plan plan;
    struct rest_header headers[2] = {{.name = cc_slice_text("Prefer")}, {.name = cc_slice_text("Accept")}};
    struct rest_request request = {
        .n_headers = 2, .headers = headers, .options = {.aggregates = true, .roll_back_allowed = true}};
    request.method = take_line(&text);
    request.path = take_line(&text);
    request.query = take_line(&text);
    headers[0].value = take_line(&text);
    headers[1].value = take_line(&text);
    request.body = text;
    rest_plan_create(catalog, &request, arena, &plan);
    if (plan.kind == REST_PLAN_READ || plan.kind == REST_PLAN_WRITE) {
        check_parameters(&plan.statement);
        check_codec(&plan.statement, arena);
    } else if (plan.answer.status < 200) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct rest_catalog *catalog;
    if (catalog == NULL) {
        catalog = fixture_catalog_create();
    }
    struct cc_arena arena;
    struct rest_statement statement;
    cc_arena_init(&arena);
    plan_request(catalog, cc_slice_of(data, n), &arena);
    struct cc_reader reader = cc_reader_of(cc_slice_of(data, n));
    if (rest_statement_read(&reader, &arena, &statement) == CC_OK) {
        check_codec(&statement, &arena);
    }
    cc_arena_finish(&arena);
    return 0;
}
