// Migrations: SQL text into statements, each with how it is replicated, or a refusal with line and reason.
#include "proxy/postgres/migration.h"

#include <pg_query.h>
#include <stdio.h>
#include <string.h>

#include "proxy/postgres/migration_rules.h"
#include "proxy/postgres/parse_tree.h"

enum {
    MIGRATION_BYTES_MAX = 4 << 20, // what a leader parses between two heartbeats
    STATEMENT_BYTES_MAX = 1 << 20, // its tree takes about 150 times as much memory
};

// -- Text ----------------------------------------------------------------------------------------------------------------

static uint32_t line_of(struct cc_slice sql, size_t offset)
{
    uint32_t line = 1;
    for (size_t i = 0; i < offset && i < sql.n; i++) {
        line += sql.data[i] == '\n';
    }
    return line;
}

// The parser counts characters, from 1; we count bytes, from 0.
static size_t offset_of_character(struct cc_slice sql, int position)
{
    size_t offset = 0;
    for (int n = 1; n < position && offset < sql.n; n++) {
        offset++;
        while (offset < sql.n && (sql.data[offset] & 0xc0) == 0x80) {
            offset++;
        }
    }
    return offset;
}

static size_t skip_block_comment(struct cc_slice sql, size_t at)
{
    unsigned depth = 0;
    while (at + 1 < sql.n) {
        if (sql.data[at] == '/' && sql.data[at + 1] == '*') {
            depth++;
            at += 2;
        } else if (sql.data[at] == '*' && sql.data[at + 1] == '/') {
            at += 2;
            if (--depth == 0) {
                return at;
            }
        } else {
            at++;
        }
    }
    return sql.n;
}

static size_t skip_blank(struct cc_slice sql, size_t at)
{
    while (at < sql.n) {
        if (memchr(" \t\r\n\f\v", sql.data[at], 6) != NULL) {
            at++;
        } else if (at + 1 < sql.n && sql.data[at] == '-' && sql.data[at + 1] == '-') {
            const uint8_t *end = memchr(sql.data + at, '\n', sql.n - at);
            at = end == NULL ? sql.n : (size_t)(end - sql.data);
        } else if (at + 1 < sql.n && sql.data[at] == '/' && sql.data[at + 1] == '*') {
            at = skip_block_comment(sql, at);
        } else {
            return at;
        }
    }
    return at;
}

// UTF-8 without NUL, or the offset where it ends in *offset_out.
static bool is_text(struct cc_slice sql, size_t *offset_out)
{
    size_t at = 0;
    while (at < sql.n) {
        uint8_t first = sql.data[at];
        size_t n = first < 0x80                    ? 1
                   : first >= 0xc2 && first < 0xe0 ? 2
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xf0 && first < 0xf5 ? 4
                                                   : 0;
        *offset_out = at;
        if (first == 0 || n == 0 || at + n > sql.n) {
            return false;
        }
        for (size_t i = 1; i < n; i++) {
            if ((sql.data[at + i] & 0xc0) != 0x80) {
                return false;
            }
        }
        bool overlong = (first == 0xe0 && sql.data[at + 1] < 0xa0) || (first == 0xf0 && sql.data[at + 1] < 0x90);
        bool outside = (first == 0xed && sql.data[at + 1] >= 0xa0) || (first == 0xf4 && sql.data[at + 1] >= 0x90);
        if (overlong || outside) {
            return false;
        }
        at += n;
    }
    return true;
}

// -- Errors --------------------------------------------------------------------------------------------------------------

static enum cc_status refuse(enum cc_status status, const char *code, uint32_t statement, uint32_t line,
                             const char *reason, const char *hint, struct migration_error *error_out)
{
    *error_out = (struct migration_error){.code = code, .statement = statement, .line = line};
    (void)snprintf(error_out->message, sizeof(error_out->message), "line %u: %s", line, reason);
    (void)snprintf(error_out->hint, sizeof(error_out->hint), "%s", hint);
    return status;
}

static enum cc_status refuse_syntax(struct cc_slice sql, size_t base, const PgQueryError *error,
                                    struct migration_error *error_out)
{
    struct cc_slice rest = cc_slice_of(sql.data + base, sql.n - base);
    size_t offset = base + offset_of_character(rest, error->cursorpos);
    bool psql = offset < sql.n && sql.data[offset] == '\\';
    return refuse(CC_MALFORMED, "42601", 0, line_of(sql, offset), error->message,
                  psql ? "Commands of psql are not SQL: leave them out." : "", error_out);
}

// -- Checks that need the database ---------------------------------------------------------------------------------------

struct check_list {
    struct cc_arena *arena;
    struct migration_check checks[64]; // more are refused
    uint32_t n;
    bool full;
};

static void check_add(struct check_list *list, enum migration_check_kind kind, const struct parse_node *relation,
                      struct cc_slice function, const char *reason)
{
    if (list->n == sizeof(list->checks) / sizeof(list->checks[0])) {
        list->full = true;
        return;
    }
    list->checks[list->n++] = (struct migration_check){
        .kind = kind,
        .schema = parse_node_text(relation, "schemaname"),
        .table = parse_node_text(relation, "relname"),
        .function = function,
        .reason = reason,
    };
}

static const char differs[] =
    "the table has rows, and this statement computes values that would differ between replicas: add the "
    "column without it, fill it with UPDATE, then set the default";

static bool is_clock_function(struct cc_slice name)
{
    static const char *const names[] = {"now",
                                        "clock_timestamp",
                                        "statement_timestamp",
                                        "transaction_timestamp",
                                        "timeofday",
                                        "age",
                                        "txid_current",
                                        "pg_current_xact_id",
                                        "pg_backend_pid",
                                        "inet_server_addr",
                                        "current_setting",
                                        "pg_postmaster_start_time",
                                        "pg_conf_load_time",
                                        NULL};
    for (const char *const *at = names; *at != NULL; at++) {
        if (cc_slice_equal_text(name, *at)) {
            return true;
        }
    }
    return false;
}

// 'now'::timestamptz is a constant whose value is the time at which it is read.
static bool is_clock_word(struct cc_slice text)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday", NULL};
    while (text.n > 0 && text.data[0] == ' ') {
        text = cc_slice_of(text.data + 1, text.n - 1);
    }
    for (const char *const *at = words; *at != NULL; at++) {
        if (cc_slice_starts_with_fold(text, *at)) {
            return true;
        }
    }
    return false;
}

// An expression that ALTER TABLE evaluates for existing rows.
static void check_expression(struct check_list *list, const struct parse_node *relation, const struct parse_node *node)
{
    if (node == NULL) {
        return;
    }
    struct cc_slice none = {0};
    if (cc_slice_equal_text(node->key, "SQLValueFunction")) {
        check_add(list, MIGRATION_CHECK_EMPTY, relation, none, differs);
        return;
    }
    if (cc_slice_equal_text(node->key, "sval") && node->kind == PARSE_TEXT && is_clock_word(node->text)) {
        check_add(list, MIGRATION_CHECK_EMPTY, relation, none, differs);
    }
    if (cc_slice_equal_text(node->key, "FuncCall")) {
        struct cc_slice name = parse_node_last_string(parse_node_get(node, "funcname"));
        bool clock = is_clock_function(name);
        check_add(list, clock ? MIGRATION_CHECK_EMPTY : MIGRATION_CHECK_EMPTY_IF_VOLATILE, relation,
                  clock ? none : name, differs);
    }
    for (const struct parse_node *member = node->first; member != NULL; member = member->next) {
        check_expression(list, relation, member);
    }
}

static bool is_serial(const struct parse_node *definition)
{
    struct cc_slice type = parse_node_last_string(parse_node_get(parse_node_get(definition, "typeName"), "names"));
    static const char *const names[] = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8", NULL};
    for (const char *const *at = names; *at != NULL; at++) {
        if (cc_slice_equal_text(type, *at)) {
            return true;
        }
    }
    return false;
}

static void check_added_column(struct check_list *list, const struct parse_node *relation,
                               const struct parse_node *definition)
{
    static const char numbered[] =
        "the table has rows, and replicas would number them in different orders: add the column without a "
        "sequence, fill it with UPDATE, then set the default";
    struct cc_slice none = {0};
    if (is_serial(definition)) {
        check_add(list, MIGRATION_CHECK_EMPTY, relation, none, numbered);
    }
    const struct parse_node *constraints = parse_node_get(definition, "constraints");
    for (const struct parse_node *item = constraints == NULL ? NULL : constraints->first; item != NULL;
         item = item->next) {
        const struct parse_node *constraint = parse_node_get(item, "Constraint");
        if (parse_node_is(constraint, "contype", "CONSTR_IDENTITY")) {
            check_add(list, MIGRATION_CHECK_EMPTY, relation, none, numbered);
        }
        if (parse_node_is(constraint, "contype", "CONSTR_DEFAULT")) {
            check_expression(list, relation, parse_node_get(constraint, "raw_expr"));
        }
    }
}

static void check_alter_command(struct check_list *list, const struct parse_node *relation,
                                const struct parse_node *command)
{
    static const char retype[] =
        "the type of a weak table's column cannot be changed: changes made before may still be on their way";
    static const char restrict_rows[] =
        "constraints cannot be added to a weak table: changes made before may still be on their way, and break them";
    struct cc_slice none = {0};
    const struct parse_node *definition = parse_node_get(parse_node_get(command, "def"), "ColumnDef");
    if (parse_node_is(command, "subtype", "AT_AddColumn")) {
        check_added_column(list, relation, definition);
    } else if (parse_node_is(command, "subtype", "AT_AlterColumnType")) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, relation, none, retype);
        check_expression(list, relation, parse_node_get(definition, "raw_default"));
    } else if (parse_node_is(command, "subtype", "AT_SetNotNull") ||
               parse_node_is(command, "subtype", "AT_AddConstraint")) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, relation, none, restrict_rows);
    }
}

static void check_alter_table(struct check_list *list, const struct parse_node *statement)
{
    const struct parse_node *relation = parse_node_get(statement, "relation");
    const struct parse_node *commands = parse_node_get(statement, "cmds");
    if (!parse_node_is(statement, "objtype", "OBJECT_TABLE")) {
        return;
    }
    for (const struct parse_node *item = commands == NULL ? NULL : commands->first; item != NULL; item = item->next) {
        check_alter_command(list, relation, parse_node_get(item, "AlterTableCmd"));
    }
}

static void check_rename(struct check_list *list, const struct parse_node *statement)
{
    static const char rename[] =
        "a weak table and its columns cannot be renamed: changes made under the old name may still be on their way";
    struct cc_slice none = {0};
    const struct parse_node *relation = parse_node_get(statement, "relation");
    bool table = parse_node_is(statement, "renameType", "OBJECT_TABLE") ||
                 parse_node_is(statement, "objectType", "OBJECT_TABLE");
    bool column = parse_node_is(statement, "renameType", "OBJECT_COLUMN") &&
                  parse_node_is(statement, "relationType", "OBJECT_TABLE");
    if (table || column) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, relation, none, rename);
    }
    if (parse_node_is(statement, "renameType", "OBJECT_SCHEMA")) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, NULL, none, rename);
        list->checks[list->n - 1].schema = parse_node_text(statement, "subname");
    }
}

static void check_truncate(struct check_list *list, const struct parse_node *statement)
{
    static const char reason[] = "a weak table cannot be truncated: delete its rows over REST";
    struct cc_slice none = {0};
    const struct parse_node *relations = parse_node_get(statement, "relations");
    for (const struct parse_node *item = relations == NULL ? NULL : relations->first; item != NULL; item = item->next) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, parse_node_get(item, "RangeVar"), none, reason);
    }
}

static void check_statement(struct check_list *list, struct cc_slice tag, const struct parse_node *statement)
{
    static const char data[] =
        "rows of a weak table are changed over REST, in a migration only if it was created in the same one";
    struct cc_slice none = {0};
    if (cc_slice_equal_text(tag, "AlterTableStmt")) {
        check_alter_table(list, statement);
    } else if (cc_slice_equal_text(tag, "RenameStmt") || cc_slice_equal_text(tag, "AlterObjectSchemaStmt")) {
        check_rename(list, statement);
    } else if (cc_slice_equal_text(tag, "TruncateStmt")) {
        check_truncate(list, statement);
    } else if (cc_slice_equal_text(tag, "InsertStmt") || cc_slice_equal_text(tag, "UpdateStmt") ||
               cc_slice_equal_text(tag, "DeleteStmt") || cc_slice_equal_text(tag, "MergeStmt")) {
        check_add(list, MIGRATION_CHECK_NOT_WEAK, parse_node_get(statement, "relation"), none, data);
    }
}

// -- Settings ------------------------------------------------------------------------------------------------------------

static struct cc_slice slice_from(struct cc_slice text, size_t offset)
{
    return cc_slice_of(text.data + offset, text.n - offset);
}

static size_t skip_word(struct cc_slice text, size_t at, const char *word)
{
    size_t n = strlen(word);
    bool same = text.n - at > n && cc_slice_starts_with_fold(slice_from(text, at), word) &&
                memchr(" \t\r\n\f\v/-", text.data[at + n], 8) != NULL;
    return same ? skip_blank(text, at + n) : at;
}

static void append_quoted(struct cc_buffer *out, struct cc_slice text)
{
    cc_buffer_append_text(out, "'");
    for (size_t i = 0; i < text.n; i++) {
        cc_buffer_append(out, text.data + i, 1);
        if (text.data[i] == '\'') {
            cc_buffer_append(out, text.data + i, 1);
        }
    }
    cc_buffer_append_text(out, "'");
}

// Settings end with the transaction, so nothing of a migration stays in the connection.
static struct cc_slice make_local(struct cc_slice tag, const struct parse_node *statement, struct cc_slice sql,
                                  struct cc_arena *arena)
{
    struct cc_buffer text = {0};
    struct cc_slice name, value;
    if (cc_slice_equal_text(tag, "SelectStmt") && migration_is_set_config(statement, &name, &value)) {
        cc_buffer_append_text(&text, "SELECT pg_catalog.set_config(");
        append_quoted(&text, name);
        cc_buffer_append_text(&text, ", ");
        append_quoted(&text, value);
        cc_buffer_append_text(&text, ", true)");
    } else if (parse_node_is(statement, "kind", "VAR_RESET")) {
        cc_buffer_append_text(&text, "SET LOCAL ");
        cc_buffer_append_slice(&text, slice_from(sql, skip_word(sql, 0, "reset")));
        cc_buffer_append_text(&text, " TO DEFAULT");
    } else if (cc_slice_equal_text(tag, "VariableSetStmt")) {
        size_t at = skip_word(sql, 0, "set");
        at = skip_word(sql, at, "session");
        at = skip_word(sql, at, "local");
        cc_buffer_append_text(&text, "SET LOCAL ");
        cc_buffer_append_slice(&text, slice_from(sql, at));
    } else {
        return sql;
    }
    struct cc_slice local = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    return local;
}

// -- Statements ----------------------------------------------------------------------------------------------------------

struct parsing {
    struct cc_slice sql;
    struct cc_arena *arena;
    struct migration_error *error_out;
    uint32_t number; // of the statement
};

static enum cc_status classify(struct parsing *parsing, struct cc_slice tag, const struct parse_node *body,
                               struct migration_statement *statement)
{
    const struct migration_rule *rule = migration_rule_find(tag);
    if (rule == NULL) {
        char reason[128];
        (void)snprintf(reason, sizeof(reason), "this kind of statement (%.*s) is not known to Caucus",
                       (int)(tag.n < 64 ? tag.n : 64), (const char *)tag.data);
        return refuse(CC_UNSUPPORTED, "0A000", parsing->number, statement->line, reason, "", parsing->error_out);
    }
    const struct migration_refusal *refusal = rule->refusal != NULL ? rule->refusal : migration_refusal_find(tag, body);
    if (refusal != NULL) {
        return refuse(CC_UNSUPPORTED, "0A000", parsing->number, statement->line, refusal->reason, refusal->hint,
                      parsing->error_out);
    }
    struct cc_slice name, value;
    bool set_config = rule->kind == MIGRATION_DATA && migration_is_set_config(body, &name, &value);
    statement->kind = set_config ? MIGRATION_SET : rule->kind;
    if (statement->kind == MIGRATION_SET) {
        statement->sql = make_local(tag, body, statement->sql, parsing->arena);
    }
    struct check_list list = {.arena = parsing->arena};
    check_statement(&list, tag, body);
    if (list.full) {
        return refuse(CC_TOO_LARGE, "54000", parsing->number, statement->line, "the statement does too much at once",
                      "Split it into several statements.", parsing->error_out);
    }
    statement->n_checks = list.n;
    statement->checks = cc_arena_array(parsing->arena, list.n, sizeof(struct migration_check));
    for (uint32_t i = 0; i < list.n; i++) {
        statement->checks[i] = list.checks[i];
        statement->checks[i].schema = cc_arena_slice(parsing->arena, list.checks[i].schema);
        statement->checks[i].table = cc_arena_slice(parsing->arena, list.checks[i].table);
        statement->checks[i].function = cc_arena_slice(parsing->arena, list.checks[i].function);
    }
    return CC_OK;
}

static enum cc_status classify_tree(struct parsing *parsing, const char *json, struct migration_statement *statement)
{
    struct cc_arena nodes;
    cc_arena_init(&nodes);
    const struct parse_node *root = NULL;
    enum cc_status status = parse_tree_read(cc_slice_text(json), &nodes, &root);
    if (status != CC_OK) {
        cc_arena_finish(&nodes);
        return refuse(CC_TOO_LARGE, "54001", parsing->number, statement->line, "the statement is nested too deeply", "",
                      parsing->error_out);
    }
    const struct parse_node *list = parse_node_get(root, "stmts");
    const struct parse_node *wrapped = list == NULL ? NULL : parse_node_get(list->first, "stmt");
    const struct parse_node *body = wrapped == NULL ? NULL : wrapped->first;
    status = body == NULL ? refuse(CC_MALFORMED, "42601", parsing->number, statement->line, "the statement is empty",
                                   "", parsing->error_out)
                          : classify(parsing, body->key, body, statement);
    cc_arena_finish(&nodes);
    return status;
}

static enum cc_status parse_statement(struct parsing *parsing, size_t offset, size_t n,
                                      struct migration_statement *statement)
{
    size_t start = skip_blank(parsing->sql, offset);
    size_t end = offset + n;
    statement->sql = cc_slice_of(parsing->sql.data + start, end > start ? end - start : 0);
    statement->line = line_of(parsing->sql, start);
    if (statement->sql.n > STATEMENT_BYTES_MAX) {
        return refuse(CC_TOO_LARGE, "54000", parsing->number, statement->line,
                      "a single statement may have at most 1 MB", "Split it into several statements.",
                      parsing->error_out);
    }
    char *text = cc_arena_text_n(parsing->arena, statement->sql.data, statement->sql.n);
    PgQueryParseResult result = pg_query_parse(text);
    enum cc_status status = result.error != NULL ? refuse_syntax(parsing->sql, start, result.error, parsing->error_out)
                                                 : classify_tree(parsing, result.parse_tree, statement);
    pg_query_free_parse_result(result);
    return status;
}

static enum cc_status parse_all(struct parsing *parsing, const PgQuerySplitResult *split,
                                struct migration *migration_out)
{
    size_t n = (size_t)split->n_stmts;
    struct migration_statement *statements = cc_arena_array(parsing->arena, n, sizeof(*statements));
    for (size_t i = 0; i < n; i++) {
        size_t offset = (size_t)split->stmts[i]->stmt_location;
        size_t length = split->stmts[i]->stmt_len > 0 ? (size_t)split->stmts[i]->stmt_len : parsing->sql.n - offset;
        parsing->number = (uint32_t)i + 1;
        enum cc_status status = parse_statement(parsing, offset, length, &statements[i]);
        if (status != CC_OK) {
            return status;
        }
    }
    *migration_out = (struct migration){.n_statements = (uint32_t)n, .statements = statements};
    return CC_OK;
}

enum cc_status migration_parse(struct cc_slice sql, struct cc_arena *arena, struct migration *migration_out,
                               struct migration_error *error_out)
{
    size_t bad = 0;
    if (sql.n > MIGRATION_BYTES_MAX) {
        return refuse(CC_TOO_LARGE, "54000", 0, 1, "a migration may have at most 4 MB", "Split it into several.",
                      error_out);
    }
    if (!is_text(sql, &bad)) {
        return refuse(CC_MALFORMED, "22021", 0, line_of(sql, bad), "the text is not UTF-8", "", error_out);
    }
    char *text = cc_arena_text_n(arena, sql.data, sql.n);
    PgQuerySplitResult split = pg_query_split_with_parser(text);
    struct parsing parsing = {.sql = sql, .arena = arena, .error_out = error_out};
    enum cc_status status = split.error != NULL ? refuse_syntax(sql, 0, split.error, error_out)
                                                : parse_all(&parsing, &split, migration_out);
    pg_query_free_split_result(split);
    return status;
}
