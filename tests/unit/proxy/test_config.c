// The configuration file: defaults, refusals with file, line and key, and what is generated from the table.
#include "proxy/config/config.h"
#include "proxy/scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_1     "0101010101010101010101010101010101010101010101010101010101010101"
#define KEY_2     "0202020202020202020202020202020202020202020202020202020202020202"
#define REPLICA_1 "{\"id\":1,\"http\":\"127.0.0.1:7101\",\"peer\":\"127.0.0.1:7201\",\"public_key\":\"" KEY_1 "\"}"
#define REPLICA_2 "{\"id\":2,\"http\":\"127.0.0.1:7102\",\"peer\":\"[::1]:7202\",\"public_key\":\"" KEY_2 "\"}"
#define HEAD      "{\"cluster\":\"shop\",\n\"replicas\":[\n" REPLICA_1 ",\n" REPLICA_2 "\n]"

static void expect_error(const char *text, enum cc_status status, const char *message)
{
    struct config config = {.n_replicas = 99};
    struct config_error error = {0};
    enum cc_status got = config_load_text(cc_slice_text(text), "config.json", &config, &error);
    if (strncmp(error.text, message, strlen(message)) != 0) {
        print_error("expected: %s\n     got: %s\n", message, error.text);
    }
    assert_int_equal(strncmp(error.text, message, strlen(message)), 0);
    assert_int_equal(got, status);
    assert_int_equal(config.n_replicas, 99);
}

static void expect_refused(const char *text, const char *message)
{
    expect_error(text, CC_INVALID, message);
}

static struct config load(const char *text)
{
    struct config config;
    struct config_error error = {0};
    enum cc_status status = config_load_text(cc_slice_text(text), "config.json", &config, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, CC_OK);
    return config;
}

static void the_shortest_file_gets_all_defaults(void **state)
{
    (void)state;
    struct config config = load(HEAD "}");
    assert_string_equal(config.cluster, "shop");
    assert_int_equal(config.n_replicas, 2);
    assert_int_equal(config.replicas[0].id, 1);
    assert_string_equal(config.replicas[0].http.text, "127.0.0.1:7101");
    assert_string_equal(config.replicas[0].http.host, "127.0.0.1");
    assert_int_equal(config.replicas[0].http.port, 7101);
    assert_string_equal(config.replicas[1].peer.host, "::1");
    assert_int_equal(config.replicas[1].public_key[31], 2);
    assert_string_equal(config.replicas[0].data_directory, "./data");
    assert_string_equal(config.replicas[0].key_file, "./data/key");
    assert_string_equal(config.replicas[0].conninfo, "");
    assert_int_equal(config.timeouts.election_ms, 1000);
    assert_int_equal(config.timeouts.clock_skew_ms_max, 500);
    assert_int_equal(config.http.body_bytes, CC_BODY_BYTES_MAX);
    assert_string_equal(config.postgres.system_user, "postgres");
    assert_int_equal(config.postgres.n_schemas, 1);
    assert_string_equal(config.postgres.schemas[0], "public");
    assert_int_equal(config.postgres.settings.n, 0);
    assert_int_equal(config.log.level, CC_LOG_INFO);
    config_finish(&config);
}

static void what_the_file_says_is_taken_over(void **state)
{
    (void)state;
    struct config config = load(HEAD ",\"timeouts\":{\"election_ms\":300,\"heartbeat_ms\":60},"
                                     "\"postgres\":{\"conninfo\":\"dbname=app\",\"schemas\":[\"api\",\"public\"],"
                                     "\"settings\":{\"shared_buffers\":\"1GB\",\"pg_stat.x\":\"on\"}},"
                                     "\"http\":{\"threads\":4},\"log\":{\"level\":\"warn\"}}");
    assert_int_equal(config.timeouts.election_ms, 300);
    assert_int_equal(config.timeouts.heartbeat_ms, 60);
    assert_string_equal(config.replicas[1].conninfo, "dbname=app");
    assert_int_equal(config.postgres.n_schemas, 2);
    assert_string_equal(config.postgres.schemas[0], "api");
    assert_int_equal(config.postgres.settings.n, 2);
    assert_string_equal(config.postgres.settings.list[0].name, "shared_buffers");
    assert_string_equal(config.postgres.settings.list[0].value, "1GB");
    assert_int_equal(config.http.threads, 4);
    assert_int_equal(config.log.level, CC_LOG_WARN);
    config_finish(&config);
}

static void a_replicas_own_settings_win_over_the_common_ones(void **state)
{
    (void)state;
    struct config config = load("{\"cluster\":\"c\",\"postgres\":{\"conninfo\":\"dbname=all\"},\"replicas\":["
                                "{\"id\":7,\"http\":\"a:1\",\"peer\":\"a:2\",\"public_key\":\"" KEY_1 "\","
                                "\"data_directory\":\"/srv/d\",\"postgres\":{\"conninfo\":\"\"}},"
                                "{\"id\":8,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":\"" KEY_2 "\","
                                "\"key_file\":\"k\"}]}");
    assert_string_equal(config.replicas[0].conninfo, "");
    assert_string_equal(config.replicas[0].key_file, "/srv/d/key");
    assert_string_equal(config.replicas[1].conninfo, "dbname=all");
    assert_string_equal(config.replicas[1].key_file, "k");
    assert_ptr_equal(config_find_replica(&config, 8), &config.replicas[1]);
    assert_null(config_find_replica(&config, 1));
    config_finish(&config);
}

static void a_value_out_of_range_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_refused(HEAD ",\n\"timeouts\": {\n  \"election_ms\": 5\n}}",
                   "config.json:7: timeouts.election_ms: must be between 100 and 60000, is 5");
    expect_refused(HEAD ",\"timeouts\":{\"election_ms\":60001}}",
                   "config.json:5: timeouts.election_ms: must be between");
    expect_refused(HEAD ",\"timeouts\":{\"election_ms\":-1}}", "config.json:5: timeouts.election_ms: must be between");
    expect_refused(HEAD ",\"http\":{\"threads\":9223372036854775807}}", "config.json:5: http.threads: must be between");
}

static void an_unknown_key_is_refused_with_the_nearest(void **state)
{
    (void)state;
    expect_refused(HEAD ",\n\"timeouts\":{\"elektion_ms\":500}}",
                   "config.json:6: timeouts.elektion_ms: no such key, did you mean timeouts.election_ms?");
    expect_refused(HEAD ",\"election_ms\":500}",
                   "config.json:5: election_ms: no such key, did you mean timeouts.election_ms?");
    expect_refused(HEAD ",\"zzzzzzzzzzzz\":1}", "config.json:5: zzzzzzzzzzzz: no such key");
    expect_refused(HEAD ",\"timeouts.election_ms\":500}", "config.json:5: timeouts.election_ms: no such key");
    expect_refused(HEAD ",\"replicas[]\":500}", "config.json:5: replicas[]: no such key, did you mean replicas?");
    expect_refused(HEAD ",\"\":500}", "config.json:1: no such key");
}

static void a_wrong_type_is_refused(void **state)
{
    (void)state;
    expect_refused(HEAD ",\"timeouts\":{\"election_ms\":\"500\"}}",
                   "config.json:5: timeouts.election_ms: must be a whole number");
    expect_refused(HEAD ",\"timeouts\":{\"election_ms\":500.0}}",
                   "config.json:5: timeouts.election_ms: must be a whole number");
    expect_refused(HEAD ",\"timeouts\":7}", "config.json:5: timeouts: must be an object");
    expect_refused(HEAD ",\"postgres\":{\"conninfo\":null}}", "config.json:5: postgres.conninfo: must be a text");
    expect_refused(HEAD ",\"postgres\":{\"schemas\":\"public\"}}", "config.json:5: postgres.schemas: must be a list");
    expect_refused(HEAD ",\"postgres\":{\"schemas\":[]}}", "config.json:5: postgres.schemas: must be a list");
    expect_refused(HEAD ",\"postgres\":{\"schemas\":[\"a\",\"a\"]}}",
                   "config.json:5: postgres.schemas[1]: \"a\" is there twice");
    expect_refused(HEAD ",\"log\":{\"level\":\"loud\"}}", "config.json:5: log.level: must be \"debug\"");
    expect_refused("[]", "config.json:1: must be an object");
    expect_refused("{\"cluster\":\"c\",\"replicas\":[7]}", "config.json:1: replicas[0]: must be an object");
    expect_refused("{\"cluster\":\"c\",\"replicas\":{}}", "config.json:1: replicas: must be a list of 1 to 15");
    expect_refused("{\"cluster\":\"c\",\"replicas\":[]}", "config.json:1: replicas: must be a list of 1 to 15");
}

static void a_missing_key_is_named(void **state)
{
    (void)state;
    expect_refused("{}", "config.json:1: the key \"cluster\" is missing");
    expect_refused("{\"cluster\":\"c\"}", "config.json:1: the key \"replicas\" is missing");
    expect_refused("{\"cluster\":\"c\",\n\"replicas\":[\n" REPLICA_1 ",\n{\"id\":2}]}",
                   "config.json:4: replicas[1]: the key \"http\" is missing");
}

static void a_cluster_name_is_plain(void **state)
{
    (void)state;
    expect_refused("{\"cluster\":\"\",\"replicas\":[" REPLICA_1 "]}", "config.json:1: cluster: must not be empty");
    expect_refused("{\"cluster\":\"a b\",\"replicas\":[" REPLICA_1 "]}", "config.json:1: cluster: may hold letters");
}

#define TWO(other) "{\"cluster\":\"c\",\"replicas\":[\n" REPLICA_1 ",\n" other "]}"

static void what_must_differ_between_replicas_is_compared(void **state)
{
    (void)state;
    expect_refused(TWO("{\"id\":1,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":\"" KEY_2 "\"}"),
                   "config.json:3: replicas[1].id: is the same as that of replicas[0]");
    expect_refused(TWO("{\"id\":2,\"http\":\"127.0.0.1:7101\",\"peer\":\"b:2\",\"public_key\":\"" KEY_2 "\"}"),
                   "config.json:3: replicas[1].http: is the same as that of replicas[0]");
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"127.0.0.1:7101\",\"public_key\":\"" KEY_2 "\"}"),
                   "config.json:3: replicas[1].peer: is the same as that of replicas[0]");
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":\"" KEY_1 "\"}"),
                   "config.json:3: replicas[1].public_key: is the same as that of replicas[0]");
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"b:1\",\"public_key\":\"" KEY_2 "\"}"),
                   "config.json:3: replicas[1].peer: must differ from http");
}

static void expect_bad_address(const char *address)
{
    struct cc_buffer text = {0};
    cc_buffer_printf(
        &text, "{\"cluster\":\"c\",\"replicas\":[{\"id\":1,\"http\":\"%s\",\"peer\":\"b:2\",\"public_key\":\"%s\"}]}",
        address, KEY_1);
    expect_refused(cc_buffer_text(&text), "config.json:1: replicas[0].http: must be host:port");
    cc_buffer_finish(&text);
}

static void a_bad_address_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",          "host",       ":7101",   "host:",    "host:0", "host:65536", "host:99999999999",
        "::1:7101",  "[::1]",      "[]:1",    "[1]:7101", "a b:1",  "host:+80",   "host:80 ",
        "host:0x50", "http://h:1", "[::1:80", "::1]:80",  "h/:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_bad_address(bad[i]);
    }
}

static void a_bad_public_key_is_refused(void **state)
{
    (void)state;
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":\"02\"}"),
                   "config.json:3: replicas[1].public_key: must be 64 hex digits");
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":\"g2"
                       "0202020202020202020202020202020202020202020202020202020202020202\"}"),
                   "config.json:3: replicas[1].public_key: must be 64 hex digits");
    expect_refused(TWO("{\"id\":2,\"http\":\"b:1\",\"peer\":\"b:2\",\"public_key\":2}"),
                   "config.json:3: replicas[1].public_key: must be 64 hex digits");
}

static void settings_on_which_durability_rests_cannot_be_changed(void **state)
{
    (void)state;
    expect_refused(HEAD ",\n\"postgres\":{\"settings\":{\n\"work_mem\":\"1MB\",\n\"fsync\":\"off\"}}}",
                   "config.json:8: postgres.settings.fsync: is set by Caucus itself");
    expect_refused(HEAD ",\"postgres\":{\"settings\":{\"work mem\":\"1MB\"}}}",
                   "config.json:5: postgres.settings.work mem: is not the name");
    expect_refused(HEAD ",\"postgres\":{\"settings\":{\"work_mem\":64}}}",
                   "config.json:5: postgres.settings.work_mem: must be a text");
}

static void timeouts_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    expect_refused(HEAD ",\"timeouts\":{\"election_ms\":150}}",
                   "config.json:5: timeouts.heartbeat_ms: must be at most half of timeouts.election_ms, is 100 of 150");
}

static void text_that_is_not_json_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_error("{\n\"cluster\" \"c\"}", CC_MALFORMED, "config.json:2: ");
    expect_error("", CC_MALFORMED, "config.json:1: ");
    expect_error("{\"cluster\":\"c\",\n\"cluster\":\"d\"}", CC_MALFORMED, "config.json:2: duplicate object key");
    expect_error("{\"cluster\":\"a\\u0000b\"}", CC_MALFORMED, "config.json:1: ");
    expect_error("{} x", CC_MALFORMED, "config.json:1: ");
}

static void an_error_is_one_printable_line_that_fits(void **state)
{
    (void)state;
    struct cc_buffer text = {0};
    cc_buffer_append_text(&text, "{\"\\u001b[31m\\n");
    for (unsigned i = 0; i < 5000; i++) {
        cc_buffer_append_text(&text, "k");
    }
    cc_buffer_append_text(&text, "\":1}");
    struct config config;
    struct config_error error;
    assert_int_equal(config_load_text(cc_buffer_slice(&text), "config.json", &config, &error), CC_INVALID);
    for (const char *c = error.text; *c != '\0'; c++) {
        assert_true(*c >= ' ');
    }
    cc_buffer_finish(&text);
}

static void the_line_of_a_key_is_found(void **state)
{
    (void)state;
    struct cc_slice text = cc_slice_text("\n{ \"a\" : {\n \"x\\\"}\" : \"{[,\",\n \"b\": [1,\n {\"c\":\n [[2],3]},\n"
                                         "{\"c\"\n: 4, \"d.e\"\n:5} ]\n}\n}");
    assert_int_equal(config_line_of(text, ""), 2);
    assert_int_equal(config_line_of(text, "a"), 2);
    assert_int_equal(config_line_of(text, "a.b"), 4);
    assert_int_equal(config_line_of(text, "a.b[0]"), 4);
    assert_int_equal(config_line_of(text, "a.b[1]"), 5);
    assert_int_equal(config_line_of(text, "a.b[1].c[0][0]"), 6);
    assert_int_equal(config_line_of(text, "a.b[2]"), 7);
    assert_int_equal(config_line_of(text, "a.b[2].c"), 7);
    assert_int_equal(config_line_of(text, "a.b[2].d.e"), 8);
    assert_int_equal(config_line_of(text, "a.b[2].missing.deeper"), 7);
    assert_int_equal(config_line_of(text, "a.b[9]"), 4);
    assert_int_equal(config_line_of(cc_slice_text(NULL), "a"), 1);
    assert_int_equal(config_line_of(cc_slice_text("{\"a"), "a"), 1);
}

static void help_and_table_name_every_key(void **state)
{
    (void)state;
    struct cc_buffer help = {0};
    struct cc_buffer table = {0};
    config_put_help(&help);
    config_put_table(&table);
    assert_non_null(strstr(cc_buffer_text(&help), "  timeouts.election_ms  (100 to 60000 ms; default 1000)\n"));
    assert_non_null(strstr(cc_buffer_text(&table), "| `timeouts.election_ms` | 100 to 60000 ms | `1000` | "));
    cc_buffer_finish(&help);
    cc_buffer_finish(&table);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void relative_paths_start_at_the_directory_of_the_file(void **state)
{
    (void)state;
    char directory[SCRATCH_BYTES], path[96], expected[96];
    scratch_make("config", directory);
    snprintf(path, sizeof(path), "%s/config.json", directory);
    snprintf(expected, sizeof(expected), "%s/data/key", directory);
    write_file(path, HEAD "}");
    struct config config;
    struct config_error error = {0};
    enum cc_status status = config_load_file(path, &config, &error);
    scratch_remove(directory);
    assert_string_equal(error.text, "");
    assert_int_equal(status, CC_OK);
    assert_string_equal(config.replicas[0].key_file, expected);
    config_finish(&config);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct config config;
    struct config_error error;
    assert_int_equal(config_load_file("/nonexistent/config.json", &config, &error), CC_NOT_FOUND);
    assert_string_equal(error.text, "/nonexistent/config.json: No such file or directory");
    assert_int_equal(config_load_file("/", &config, &error), CC_IO);
    assert_int_equal(config_load_file("/dev/zero", &config, &error), CC_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_file_gets_all_defaults),
        cmocka_unit_test(what_the_file_says_is_taken_over),
        cmocka_unit_test(a_replicas_own_settings_win_over_the_common_ones),
        cmocka_unit_test(a_value_out_of_range_is_refused_with_its_line),
        cmocka_unit_test(an_unknown_key_is_refused_with_the_nearest),
        cmocka_unit_test(a_wrong_type_is_refused),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(a_cluster_name_is_plain),
        cmocka_unit_test(what_must_differ_between_replicas_is_compared),
        cmocka_unit_test(a_bad_address_is_refused),
        cmocka_unit_test(a_bad_public_key_is_refused),
        cmocka_unit_test(settings_on_which_durability_rests_cannot_be_changed),
        cmocka_unit_test(timeouts_that_contradict_each_other_are_refused),
        cmocka_unit_test(text_that_is_not_json_is_refused_with_its_line),
        cmocka_unit_test(an_error_is_one_printable_line_that_fits),
        cmocka_unit_test(the_line_of_a_key_is_found),
        cmocka_unit_test(help_and_table_name_every_key),
        cmocka_unit_test(relative_paths_start_at_the_directory_of_the_file),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
