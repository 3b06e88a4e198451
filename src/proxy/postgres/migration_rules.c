// What each kind of SQL statement means in a migration: one table, from which migration.c decides.
#include "proxy/postgres/migration_rules.h"

#include <string.h>

// -- Refusals ------------------------------------------------------------------------------------------------------------

#define REFUSAL(name, reason_text, hint_text) static const struct migration_refusal name = {reason_text, hint_text}

REFUSAL(no_transaction,
        "this statement cannot run in a transaction, and a migration is applied as a whole or not at all",
        "Leave it out of the migration.");
REFUSAL(concurrently, "CONCURRENTLY cannot run in a transaction, and a migration is applied as a whole or not at all",
        "Leave CONCURRENTLY out.");
REFUSAL(transaction_control,
        "a migration is one transaction already: BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not allowed in it",
        "Leave transaction control out, or split the migration into several.");
REFUSAL(vacuum, "VACUUM cannot run in a transaction", "PostgreSQL vacuums by itself; ANALYZE is allowed.");
REFUSAL(place, "tablespaces are places on one machine, replicas may not have them", "Leave the tablespace out.");
REFUSAL(copy, "COPY reads or writes what is not in the migration", "Use INSERT; pg_dump writes it with --inserts.");
REFUSAL(notification, "LISTEN and NOTIFY reach one connection of one replica only", "Leave it out.");
REFUSAL(session, "this statement concerns one connection only, and would not be the same on every replica",
        "Leave it out.");
REFUSAL(question, "the answer of this statement would be seen by nobody", "Leave it out.");
REFUSAL(alter_system, "ALTER SYSTEM changes one server only",
        "Put the setting under postgres.settings in config.json.");
REFUSAL(subscription, "a subscription would write past Caucus", "Leave it out.");
REFUSAL(import, "IMPORT FOREIGN SCHEMA depends on another server, replicas could end with different tables",
        "Create the foreign tables one by one.");
REFUSAL(table_as, "CREATE TABLE AS and SELECT INTO would compute the rows anew on every replica",
        "Create the table first, then fill it with INSERT ... SELECT.");
REFUSAL(temporary, "temporary tables, views and sequences exist in one connection of one replica only",
        "Use an ordinary one and drop it.");
REFUSAL(unlogged, "an unlogged table loses its rows when PostgreSQL crashes, and this replica would differ",
        "Leave UNLOGGED out.");
REFUSAL(own_schema, "schema caucus belongs to Caucus", "Choose another schema.");
REFUSAL(own_column, "column _caucus belongs to Caucus", "Choose another name.");
REFUSAL(own_trigger, "triggers named caucus_... belong to Caucus", "Choose another name.");
REFUSAL(disable_triggers, "Caucus's own triggers would be switched off too", "Name the trigger to be switched off.");
REFUSAL(own_setting, "this setting belongs to Caucus", "Leave it out.");
REFUSAL(setting_value, "replicas exchange rows as text, in one form: this setting cannot have another value",
        "Leave it out.");
REFUSAL(transaction_mode, "the mode of the transaction belongs to Caucus", "Leave it out.");
REFUSAL(reset_all, "RESET ALL would undo Caucus's own settings", "Reset the settings by name.");
REFUSAL(reindex_all, "REINDEX of a schema, database or system cannot run in a transaction", "Name the table or index.");
REFUSAL(cluster_all, "CLUSTER without a table cannot run in a transaction", "Name the table.");
REFUSAL(set_config_computed,
        "set_config must have constant arguments and stand alone, so that it is the same on every replica",
        "Use SET, or SELECT set_config('name', 'value', false).");

// -- Statements ----------------------------------------------------------------------------------------------------------

static const struct migration_rule rules[] = {
    {"AlterCollationStmt", MIGRATION_DDL, NULL},
    {"AlterDatabaseRefreshCollStmt", MIGRATION_DDL, NULL},
    {"AlterDatabaseSetStmt", MIGRATION_DDL, NULL},
    {"AlterDatabaseStmt", MIGRATION_DDL, NULL},
    {"AlterDefaultPrivilegesStmt", MIGRATION_DDL, NULL},
    {"AlterDomainStmt", MIGRATION_DDL, NULL},
    {"AlterEnumStmt", MIGRATION_DDL, NULL},
    {"AlterEventTrigStmt", MIGRATION_DDL, NULL},
    {"AlterExtensionContentsStmt", MIGRATION_DDL, NULL},
    {"AlterExtensionStmt", MIGRATION_DDL, NULL},
    {"AlterFdwStmt", MIGRATION_DDL, NULL},
    {"AlterForeignServerStmt", MIGRATION_DDL, NULL},
    {"AlterFunctionStmt", MIGRATION_DDL, NULL},
    {"AlterObjectDependsStmt", MIGRATION_DDL, NULL},
    {"AlterObjectSchemaStmt", MIGRATION_DDL, NULL},
    {"AlterOpFamilyStmt", MIGRATION_DDL, NULL},
    {"AlterOperatorStmt", MIGRATION_DDL, NULL},
    {"AlterOwnerStmt", MIGRATION_DDL, NULL},
    {"AlterPolicyStmt", MIGRATION_DDL, NULL},
    {"AlterPublicationStmt", MIGRATION_DDL, NULL},
    {"AlterRoleSetStmt", MIGRATION_DDL, NULL},
    {"AlterRoleStmt", MIGRATION_DDL, NULL},
    {"AlterSeqStmt", MIGRATION_DDL, NULL},
    {"AlterStatsStmt", MIGRATION_DDL, NULL},
    {"AlterSubscriptionStmt", MIGRATION_DDL, &subscription},
    {"AlterSystemStmt", MIGRATION_DDL, &alter_system},
    {"AlterTSConfigurationStmt", MIGRATION_DDL, NULL},
    {"AlterTSDictionaryStmt", MIGRATION_DDL, NULL},
    {"AlterTableMoveAllStmt", MIGRATION_DDL, &place},
    {"AlterTableSpaceOptionsStmt", MIGRATION_DDL, &place},
    {"AlterTableStmt", MIGRATION_DDL, NULL},
    {"AlterTypeStmt", MIGRATION_DDL, NULL},
    {"AlterUserMappingStmt", MIGRATION_DDL, NULL},
    {"CallStmt", MIGRATION_DO, NULL},
    {"CheckPointStmt", MIGRATION_DDL, &session},
    {"ClosePortalStmt", MIGRATION_DDL, &session},
    {"ClusterStmt", MIGRATION_DDL, NULL},
    {"CommentStmt", MIGRATION_DDL, NULL},
    {"CompositeTypeStmt", MIGRATION_DDL, NULL},
    {"ConstraintsSetStmt", MIGRATION_SET, NULL},
    {"CopyStmt", MIGRATION_DDL, &copy},
    {"CreateAmStmt", MIGRATION_DDL, NULL},
    {"CreateCastStmt", MIGRATION_DDL, NULL},
    {"CreateConversionStmt", MIGRATION_DDL, NULL},
    {"CreateDomainStmt", MIGRATION_DDL, NULL},
    {"CreateEnumStmt", MIGRATION_DDL, NULL},
    {"CreateEventTrigStmt", MIGRATION_DDL, NULL},
    {"CreateExtensionStmt", MIGRATION_DDL, NULL},
    {"CreateFdwStmt", MIGRATION_DDL, NULL},
    {"CreateForeignServerStmt", MIGRATION_DDL, NULL},
    {"CreateForeignTableStmt", MIGRATION_DDL, NULL},
    {"CreateFunctionStmt", MIGRATION_DDL, NULL},
    {"CreateOpClassStmt", MIGRATION_DDL, NULL},
    {"CreateOpFamilyStmt", MIGRATION_DDL, NULL},
    {"CreatePLangStmt", MIGRATION_DDL, NULL},
    {"CreatePolicyStmt", MIGRATION_DDL, NULL},
    {"CreatePublicationStmt", MIGRATION_DDL, NULL},
    {"CreateRangeStmt", MIGRATION_DDL, NULL},
    {"CreateRoleStmt", MIGRATION_DDL, NULL},
    {"CreateSchemaStmt", MIGRATION_DDL, NULL},
    {"CreateSeqStmt", MIGRATION_DDL, NULL},
    {"CreateStatsStmt", MIGRATION_DDL, NULL},
    {"CreateStmt", MIGRATION_DDL, NULL},
    {"CreateSubscriptionStmt", MIGRATION_DDL, &subscription},
    {"CreateTableAsStmt", MIGRATION_DDL, NULL},
    {"CreateTableSpaceStmt", MIGRATION_DDL, &place},
    {"CreateTransformStmt", MIGRATION_DDL, NULL},
    {"CreateTrigStmt", MIGRATION_DDL, NULL},
    {"CreateUserMappingStmt", MIGRATION_DDL, NULL},
    {"CreatedbStmt", MIGRATION_DDL, &no_transaction},
    {"DeallocateStmt", MIGRATION_DDL, &session},
    {"DeclareCursorStmt", MIGRATION_DDL, &session},
    {"DefineStmt", MIGRATION_DDL, NULL},
    {"DeleteStmt", MIGRATION_DATA, NULL},
    {"DiscardStmt", MIGRATION_DDL, &session},
    {"DoStmt", MIGRATION_DO, NULL},
    {"DropOwnedStmt", MIGRATION_DDL, NULL},
    {"DropRoleStmt", MIGRATION_DDL, NULL},
    {"DropStmt", MIGRATION_DDL, NULL},
    {"DropSubscriptionStmt", MIGRATION_DDL, &subscription},
    {"DropTableSpaceStmt", MIGRATION_DDL, &place},
    {"DropUserMappingStmt", MIGRATION_DDL, NULL},
    {"DropdbStmt", MIGRATION_DDL, &no_transaction},
    {"ExecuteStmt", MIGRATION_DDL, &session},
    {"ExplainStmt", MIGRATION_DDL, &question},
    {"FetchStmt", MIGRATION_DDL, &session},
    {"GrantRoleStmt", MIGRATION_DDL, NULL},
    {"GrantStmt", MIGRATION_DDL, NULL},
    {"ImportForeignSchemaStmt", MIGRATION_DDL, &import},
    {"IndexStmt", MIGRATION_DDL, NULL},
    {"InsertStmt", MIGRATION_DATA, NULL},
    {"ListenStmt", MIGRATION_DDL, &notification},
    {"LoadStmt", MIGRATION_DDL, &session},
    {"LockStmt", MIGRATION_DDL, NULL},
    {"MergeStmt", MIGRATION_DATA, NULL},
    {"NotifyStmt", MIGRATION_DDL, &notification},
    {"PrepareStmt", MIGRATION_DDL, &session},
    {"ReassignOwnedStmt", MIGRATION_DDL, NULL},
    {"RefreshMatViewStmt", MIGRATION_DDL, NULL},
    {"ReindexStmt", MIGRATION_DDL, NULL},
    {"RenameStmt", MIGRATION_DDL, NULL},
    {"RuleStmt", MIGRATION_DDL, NULL},
    {"SecLabelStmt", MIGRATION_DDL, NULL},
    {"SelectStmt", MIGRATION_DATA, NULL},
    {"TransactionStmt", MIGRATION_DDL, &transaction_control},
    {"TruncateStmt", MIGRATION_DDL, NULL},
    {"UnlistenStmt", MIGRATION_DDL, &notification},
    {"UpdateStmt", MIGRATION_DATA, NULL},
    {"VacuumStmt", MIGRATION_DDL, NULL},
    {"VariableSetStmt", MIGRATION_SET, NULL},
    {"VariableShowStmt", MIGRATION_DDL, &question},
    {"ViewStmt", MIGRATION_DDL, NULL},
};

const struct migration_rule *migration_rule_find(struct cc_slice tag)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (cc_slice_equal_text(tag, rules[i].tag)) {
            return &rules[i];
        }
    }
    return NULL;
}

// -- What refuses a statement for something anywhere in it ---------------------------------------------------------------

static bool slice_is_one_of(struct cc_slice text, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (cc_slice_equal_text(text, *names)) {
            return true;
        }
    }
    return false;
}

// Lists of strings that are not qualified names.
static const char *const plain_lists[] = {"fields",  "keys",     "fk_attrs",      "pk_attrs", "including",
                                          "columns", "colnames", "aliascolnames", NULL};

// A qualified name such as caucus.applied, in an array that names one thing.
static bool names_own_schema(const struct parse_node *array)
{
    return array->first != NULL && array->first->next != NULL && !slice_is_one_of(array->key, plain_lists) &&
           cc_slice_equal_text(parse_node_string(array->first), "caucus");
}

static const struct migration_refusal *refuse_text(const struct parse_node *node)
{
    static const char *const schema_keys[] = {"schemaname", "newschema", "schema", NULL};
    static const char *const column_keys[] = {"colname", "name", "subname", "newname", NULL};
    static const char *const place_keys[] = {"tablespacename", "tableSpace", "tableSpaceName", NULL};
    if (slice_is_one_of(node->key, schema_keys) && cc_slice_equal_text(node->text, "caucus")) {
        return &own_schema;
    }
    if (slice_is_one_of(node->key, column_keys) && cc_slice_equal_text(node->text, "_caucus")) {
        return &own_column;
    }
    if (slice_is_one_of(node->key, place_keys) && node->text.n > 0) {
        return &place;
    }
    if (cc_slice_equal_text(node->key, "relpersistence")) {
        return cc_slice_equal_text(node->text, "t")   ? &temporary
               : cc_slice_equal_text(node->text, "u") ? &unlogged
                                                      : NULL;
    }
    return NULL;
}

static const struct migration_refusal *refuse_anywhere(const struct parse_node *node)
{
    const struct migration_refusal *refusal = NULL;
    switch (node->kind) {
    case PARSE_TEXT:
        return refuse_text(node);
    case PARSE_TRUE:
        return cc_slice_equal_text(node->key, "concurrent") ? &concurrently : NULL;
    case PARSE_ARRAY:
        if (names_own_schema(node)) {
            return &own_schema;
        }
        break;
    case PARSE_OBJECT:
        break;
    case PARSE_NUMBER:
    case PARSE_FALSE:
    case PARSE_NULL:
        return NULL;
    }
    for (const struct parse_node *member = node->first; member != NULL && refusal == NULL; member = member->next) {
        refusal = refuse_anywhere(member);
    }
    return refusal;
}

// -- What refuses one kind of statement ----------------------------------------------------------------------------------

static bool is_about_schemas(const struct parse_node *statement)
{
    return parse_node_is(statement, "removeType", "OBJECT_SCHEMA") ||
           parse_node_is(statement, "objtype", "OBJECT_SCHEMA") ||
           parse_node_is(statement, "objectType", "OBJECT_SCHEMA") ||
           parse_node_is(statement, "renameType", "OBJECT_SCHEMA") ||
           parse_node_is(statement, "targtype", "ACL_TARGET_ALL_IN_SCHEMA");
}

static const struct migration_refusal *refuse_schemas(const struct parse_node *statement)
{
    if (!is_about_schemas(statement)) {
        return NULL;
    }
    const struct parse_node *objects = parse_node_get(statement, "objects");
    for (const struct parse_node *item = objects == NULL ? NULL : objects->first; item != NULL; item = item->next) {
        if (cc_slice_equal_text(parse_node_string(item), "caucus")) {
            return &own_schema;
        }
    }
    bool named = cc_slice_equal_text(parse_node_string(parse_node_get(statement, "object")), "caucus") ||
                 parse_node_is(statement, "subname", "caucus") || parse_node_is(statement, "newname", "caucus");
    return named ? &own_schema : NULL;
}

static const struct migration_refusal *refuse_drop(const struct parse_node *statement)
{
    if (!parse_node_is(statement, "removeType", "OBJECT_TRIGGER")) {
        return NULL;
    }
    const struct parse_node *objects = parse_node_get(statement, "objects");
    for (const struct parse_node *item = objects == NULL ? NULL : objects->first; item != NULL; item = item->next) {
        struct cc_slice name = parse_node_last_string(parse_node_get(parse_node_get(item, "List"), "items"));
        if (cc_slice_starts_with(name, "caucus_")) {
            return &own_trigger;
        }
    }
    return NULL;
}

static const struct migration_refusal *refuse_rename(const struct parse_node *statement)
{
    bool trigger = parse_node_is(statement, "renameType", "OBJECT_TRIGGER");
    bool own = cc_slice_starts_with(parse_node_text(statement, "subname"), "caucus_") ||
               cc_slice_starts_with(parse_node_text(statement, "newname"), "caucus_");
    return trigger && own ? &own_trigger : NULL;
}

static const struct migration_refusal *refuse_alter_table(const struct parse_node *statement)
{
    static const char *const trigger_kinds[] = {"AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig",
                                                "AT_DisableTrig", NULL};
    static const char *const all_kinds[] = {"AT_DisableTrigAll", "AT_DisableTrigUser", "AT_EnableTrigAll",
                                            "AT_EnableTrigUser", NULL};
    const struct parse_node *commands = parse_node_get(statement, "cmds");
    for (const struct parse_node *item = commands == NULL ? NULL : commands->first; item != NULL; item = item->next) {
        const struct parse_node *command = parse_node_get(item, "AlterTableCmd");
        struct cc_slice kind = parse_node_text(command, "subtype");
        if (slice_is_one_of(kind, trigger_kinds) && cc_slice_starts_with(parse_node_text(command, "name"), "caucus_")) {
            return &own_trigger;
        }
        if (slice_is_one_of(kind, all_kinds)) {
            return &disable_triggers;
        }
        if (cc_slice_equal_text(kind, "AT_SetUnLogged")) {
            return &unlogged;
        }
        if (cc_slice_equal_text(kind, "AT_SetTableSpace")) {
            return &place;
        }
    }
    return NULL;
}

static bool has_option(const struct parse_node *list, const char *name)
{
    for (const struct parse_node *item = list == NULL ? NULL : list->first; item != NULL; item = item->next) {
        if (parse_node_is(parse_node_get(item, "DefElem"), "defname", name)) {
            return true;
        }
    }
    return false;
}

static const struct migration_refusal *refuse_reindex(const struct parse_node *statement)
{
    if (has_option(parse_node_get(statement, "params"), "concurrently")) {
        return &concurrently;
    }
    if (has_option(parse_node_get(statement, "params"), "tablespace")) {
        return &place;
    }
    bool one = parse_node_is(statement, "kind", "REINDEX_OBJECT_TABLE") ||
               parse_node_is(statement, "kind", "REINDEX_OBJECT_INDEX");
    return one ? NULL : &reindex_all;
}

// -- Settings ------------------------------------------------------------------------------------------------------------

static const struct migration_refusal *refuse_setting_value(struct cc_slice name, struct cc_slice value)
{
    if (cc_slice_equal_fold(name, "client_encoding")) {
        return cc_slice_equal_fold(value, "utf8") || cc_slice_equal_fold(value, "utf-8") || cc_slice_equal_fold(value, "unicode")
                   ? NULL
                   : &setting_value;
    }
    if (cc_slice_equal_fold(name, "standard_conforming_strings")) {
        return cc_slice_equal_fold(value, "on") || cc_slice_equal_fold(value, "true") || cc_slice_equal_fold(value, "1")
                   ? NULL
                   : &setting_value;
    }
    if (cc_slice_equal_fold(name, "datestyle")) {
        return cc_slice_starts_with_fold(value, "iso") ? NULL : &setting_value;
    }
    if (cc_slice_equal_fold(name, "intervalstyle")) {
        return cc_slice_equal_fold(value, "postgres") ? NULL : &setting_value;
    }
    if (cc_slice_equal_fold(name, "extra_float_digits")) {
        return value.n == 1 && value.data[0] >= '1' && value.data[0] <= '3' ? NULL : &setting_value;
    }
    if (cc_slice_equal_fold(name, "default_tablespace") || cc_slice_equal_fold(name, "temp_tablespaces")) {
        return value.n == 0 ? NULL : &place;
    }
    if (cc_slice_equal_fold(name, "search_path")) {
        return cc_slice_equal_fold(value, "caucus") ? &own_schema : NULL;
    }
    return NULL;
}

static const struct migration_refusal *refuse_setting_name(struct cc_slice name)
{
    static const char *const own[] = {
        "role",        "session_authorization",   "session_replication_role", "synchronous_commit", "backslash_quote",
        "lc_messages", "allow_system_table_mods", "ignore_checksum_failure",  "zero_damaged_pages", "seed",
        NULL};
    static const char *const modes[] = {"transaction", "default_transaction", NULL};
    for (const char *const *at = own; *at != NULL; at++) {
        if (cc_slice_equal_fold(name, *at)) {
            return &own_setting;
        }
    }
    for (const char *const *at = modes; *at != NULL; at++) {
        if (cc_slice_starts_with_fold(name, *at)) {
            return &transaction_mode;
        }
    }
    return cc_slice_starts_with_fold(name, "caucus.") ? &own_setting : NULL;
}

static struct cc_slice constant_text(const struct parse_node *node)
{
    const struct parse_node *constant = parse_node_get(node, "A_Const");
    struct cc_slice text = parse_node_text(parse_node_get(constant, "sval"), "sval");
    if (parse_node_get(constant, "sval") != NULL && text.data == NULL) {
        return cc_slice_text("");
    }
    return text.data != NULL ? text : parse_node_text(parse_node_get(constant, "ival"), "ival");
}

static const struct migration_refusal *refuse_set(const struct parse_node *statement)
{
    if (parse_node_is(statement, "kind", "VAR_SET_MULTI")) {
        return &transaction_mode;
    }
    if (parse_node_is(statement, "kind", "VAR_RESET_ALL")) {
        return &reset_all;
    }
    struct cc_slice name = parse_node_text(statement, "name");
    const struct migration_refusal *refusal = refuse_setting_name(name);
    const struct parse_node *arguments = parse_node_get(statement, "args");
    for (const struct parse_node *item = arguments == NULL ? NULL : arguments->first; item != NULL && refusal == NULL;
         item = item->next) {
        refusal = refuse_setting_value(name, constant_text(item));
    }
    return refusal;
}

static const struct parse_node *called_function(const struct parse_node *select)
{
    const struct parse_node *targets = parse_node_get(select, "targetList");
    if (targets == NULL || targets->first == NULL || targets->first->next != NULL) {
        return NULL;
    }
    return parse_node_get(parse_node_get(parse_node_get(targets->first, "ResTarget"), "val"), "FuncCall");
}

static bool is_set_config(const struct parse_node *call)
{
    return cc_slice_equal_text(parse_node_last_string(parse_node_get(call, "funcname")), "set_config");
}

bool migration_is_set_config(const struct parse_node *select, struct cc_slice *name_out, struct cc_slice *value_out)
{
    static const char *const more[] = {"fromClause",  "whereClause", "withClause", "groupClause",
                                       "valuesLists", "larg",        "limitCount", NULL};
    const struct parse_node *call = called_function(select);
    if (call == NULL || !is_set_config(call)) {
        return false;
    }
    for (const char *const *at = more; *at != NULL; at++) {
        if (parse_node_get(select, *at) != NULL) {
            return false;
        }
    }
    const struct parse_node *arguments = parse_node_get(call, "args");
    const struct parse_node *first = arguments == NULL ? NULL : arguments->first;
    const struct parse_node *second = first == NULL ? NULL : first->next;
    struct cc_slice name = constant_text(first), value = constant_text(second);
    if (name.data == NULL || value.data == NULL) {
        return false;
    }
    *name_out = name;
    *value_out = value;
    return true;
}

static bool calls_set_config(const struct parse_node *node)
{
    if (cc_slice_equal_text(node->key, "FuncCall") && is_set_config(node)) {
        return true;
    }
    for (const struct parse_node *member = node->first; member != NULL; member = member->next) {
        if (calls_set_config(member)) {
            return true;
        }
    }
    return false;
}

static const struct migration_refusal *refuse_select(const struct parse_node *statement)
{
    if (parse_node_get(statement, "intoClause") != NULL) {
        return &table_as;
    }
    struct cc_slice name, value;
    if (!migration_is_set_config(statement, &name, &value)) {
        return calls_set_config(statement) ? &set_config_computed : NULL;
    }
    const struct migration_refusal *refusal = refuse_setting_name(name);
    return refusal != NULL ? refusal : refuse_setting_value(name, value);
}

static const struct migration_refusal *refuse_one_kind(struct cc_slice tag, const struct parse_node *statement)
{
    if (cc_slice_equal_text(tag, "DropStmt")) {
        return refuse_drop(statement);
    }
    if (cc_slice_equal_text(tag, "RenameStmt")) {
        return refuse_rename(statement);
    }
    if (cc_slice_equal_text(tag, "AlterTableStmt")) {
        return refuse_alter_table(statement);
    }
    if (cc_slice_equal_text(tag, "CreateTrigStmt")) {
        return cc_slice_starts_with(parse_node_text(statement, "trigname"), "caucus_") ? &own_trigger : NULL;
    }
    if (cc_slice_equal_text(tag, "CreateTableAsStmt")) {
        return parse_node_is(statement, "objtype", "OBJECT_MATVIEW") ? NULL : &table_as;
    }
    if (cc_slice_equal_text(tag, "AlterDatabaseStmt")) {
        return has_option(parse_node_get(statement, "options"), "tablespace") ? &place : NULL;
    }
    if (cc_slice_equal_text(tag, "VacuumStmt")) {
        return parse_node_true(statement, "is_vacuumcmd") ? &vacuum : NULL;
    }
    if (cc_slice_equal_text(tag, "ReindexStmt")) {
        return refuse_reindex(statement);
    }
    if (cc_slice_equal_text(tag, "ClusterStmt")) {
        return parse_node_get(statement, "relation") == NULL ? &cluster_all : NULL;
    }
    if (cc_slice_equal_text(tag, "VariableSetStmt")) {
        return refuse_set(statement);
    }
    if (cc_slice_equal_text(tag, "SelectStmt")) {
        return refuse_select(statement);
    }
    return NULL;
}

const struct migration_refusal *migration_refusal_find(struct cc_slice tag, const struct parse_node *statement)
{
    const struct migration_refusal *refusal = refuse_one_kind(tag, statement);
    if (refusal == NULL) {
        refusal = refuse_schemas(statement);
    }
    // Only REFRESH ... CONCURRENTLY may run in a transaction.
    if (refusal == NULL && !cc_slice_equal_text(tag, "RefreshMatViewStmt")) {
        refusal = refuse_anywhere(statement);
    }
    return refusal;
}
