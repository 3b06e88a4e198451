// The supervisor with a real PostgreSQL: made, started, killed, left behind, stopped.
#include "proxy/supervisor/supervisor.h"
#include "proxy/scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/supervisor/supervisor_files.h"

struct fixture {
    char directory[SCRATCH_BYTES];
    struct event_base *base;
    struct supervisor *supervisor;
    enum supervisor_state awaited;
    bool reached;
    char text[300];
};

static void on_state(void *context, enum supervisor_state state, const char *text)
{
    struct fixture *fixture = context;
    (void)snprintf(fixture->text, sizeof(fixture->text), "%s", text);
    if (state == fixture->awaited) {
        fixture->reached = true;
        (void)event_base_loopbreak(fixture->base);
    }
}

static void give_up(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(context);
}

static void await_state(struct fixture *fixture, enum supervisor_state state)
{
    struct event *limit = evtimer_new(fixture->base, give_up, fixture->base);
    struct timeval wait = {.tv_sec = 60};
    fixture->awaited = state;
    fixture->reached = supervisor_state(fixture->supervisor) == state;
    (void)event_add(limit, &wait);
    if (!fixture->reached) {
        (void)event_base_dispatch(fixture->base);
    }
    event_free(limit);
    if (!fixture->reached) {
        print_error("wanted %s, is %s: %s\n", supervisor_state_name(state),
                    supervisor_state_name(supervisor_state(fixture->supervisor)), fixture->text);
    }
    assert_true(fixture->reached);
}

static struct supervisor_options options_of(struct fixture *fixture)
{
    static const struct supervisor_setting settings[] = {{"fsync", "off"}, {"shared_buffers", "16MB"}};
    return (struct supervisor_options){
        .base = fixture->base,
        .data_directory = fixture->directory,
        .database = "Some \"thing\"",
        .n_settings = 2,
        .settings = settings,
        .on_state = on_state,
        .context = fixture,
    };
}

static void create(struct fixture *fixture)
{
    struct supervisor_options options = options_of(fixture);
    char error[300] = "";
    enum cc_status status = supervisor_create(&options, &fixture->supervisor, error);
    assert_string_equal(error, "");
    assert_int_equal(status, CC_OK);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    scratch_make("sup", fixture->directory);
    fixture->base = event_base_new();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    supervisor_destroy(fixture->supervisor);
    event_base_free(fixture->base);
    scratch_remove(fixture->directory);
    free(fixture);
    return 0;
}

static char *query(const struct fixture *fixture, const char *sql)
{
    static char text[256];
    PGconn *connection = PQconnectdb(supervisor_conninfo(fixture->supervisor));
    PGresult *result = PQexec(connection, sql);
    (void)snprintf(text, sizeof(text), "%s",
                   PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return text;
}

static void a_server_is_made_started_killed_restarted_and_stopped(void **state)
{
    struct fixture *fixture = *state;
    create(fixture);
    assert_int_equal(supervisor_state(fixture->supervisor), SUPERVISOR_IDLE);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_string_equal(query(fixture, "SELECT current_database()"), "Some \"thing\"");
    assert_string_equal(query(fixture, "SHOW server_encoding"), "UTF8");
    assert_string_equal(query(fixture, "SHOW data_checksums"), "on");
    assert_string_equal(query(fixture, "SHOW listen_addresses"), "");
    assert_string_equal(query(fixture, "SHOW shared_buffers"), "16MB");
    const char *compressions = query(fixture, "SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'");
    const char *best = strstr(compressions, "lz4") != NULL ? "lz4" : "pglz";
    assert_string_equal(query(fixture, "SHOW default_toast_compression"), best);
    (void)query(fixture, "CREATE TABLE kept AS SELECT 7 AS n");

    pid_t first = supervisor_pid(fixture->supervisor);
    assert_true(first > 0);
    assert_int_equal(kill(first, SIGKILL), 0);
    await_state(fixture, SUPERVISOR_WAITING);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_int_equal(supervisor_restarts(fixture->supervisor), 1);
    assert_int_not_equal(supervisor_pid(fixture->supervisor), first);
    assert_string_equal(query(fixture, "SELECT n FROM kept"), "7");

    supervisor_stop(fixture->supervisor);
    await_state(fixture, SUPERVISOR_STOPPED);
    assert_int_equal(supervisor_pid(fixture->supervisor), 0);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_string_equal(query(fixture, "SELECT n FROM kept"), "7");
}

static void a_server_left_behind_is_stopped_and_started_anew(void **state)
{
    struct fixture *fixture = *state;
    create(fixture);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    struct supervisor *first = fixture->supervisor;
    pid_t pid = supervisor_pid(first);

    create(fixture); // a second proxy on the same directory, as if the first had gone without its server
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_int_not_equal(supervisor_pid(fixture->supervisor), pid);
    supervisor_stop(fixture->supervisor);
    await_state(fixture, SUPERVISOR_STOPPED);
    supervisor_destroy(first);
}

// A process of the user that runs PostgreSQL, which has nothing to do with it.
static pid_t start_bystander(void)
{
    struct supervisor_user user;
    char error[SUPERVISOR_ERROR_BYTES] = "";
    assert_int_equal(supervisor_find_user(NULL, &user, error), CC_OK);
    pid_t bystander = fork();
    if (bystander == 0) {
        if (supervisor_become(&user) && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) { // in this order: the change of user clears it
            (void)pause();
        }
        _exit(1);
    }
    assert_true(bystander > 0);
    return bystander;
}

// The first line of one of the server's lock files is its number.
static void renumber(const char *directory, const char *name, pid_t pid)
{
    char path[160], rest[1000];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_non_null(fgets(rest, sizeof(rest), file));
    size_t n = fread(rest, 1, sizeof(rest), file);
    assert_int_equal(fseek(file, 0, SEEK_SET), 0);
    (void)fprintf(file, "%d\n%.*s", (int)pid, (int)n, rest);
    assert_int_equal(fclose(file), 0);
}

static void a_dead_servers_number_that_belongs_to_another_process_now_is_not_in_the_way(void **state)
{
    struct fixture *fixture = *state;
    create(fixture);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    pid_t server = supervisor_pid(fixture->supervisor);
    pid_t bystander = start_bystander();
    // The server cannot look after its lock files any more.
    assert_int_equal(kill(server, SIGSTOP), 0);
    renumber(fixture->directory, "postgres/postmaster.pid", bystander);
    renumber(fixture->directory, "socket/.s.PGSQL.5432.lock", bystander);
    assert_int_equal(kill(server, SIGKILL), 0);
    await_state(fixture, SUPERVISOR_WAITING);
    await_state(fixture, SUPERVISOR_STARTING);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_int_equal(supervisor_restarts(fixture->supervisor), 1);
    assert_int_equal(kill(bystander, 0), 0); // it was left alone
    assert_int_equal(kill(bystander, SIGKILL), 0);
    assert_int_equal(waitpid(bystander, NULL, 0), bystander);
}

// A process of our own that has a server and is killed.
static void run_doomed(struct fixture *fixture, int ready)
{
    fixture->base = event_base_new();
    create(fixture);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    pid_t pid = supervisor_pid(fixture->supervisor);
    (void)!write(ready, &pid, sizeof(pid));
    (void)event_base_dispatch(fixture->base);
    _exit(1);
}

static void the_server_dies_with_its_proxy(void **state)
{
    struct fixture *fixture = *state;
    int ends[2];
    pid_t server = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        run_doomed(fixture, ends[1]);
    }
    assert_int_equal(read(ends[0], &server, sizeof(server)), sizeof(server));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ends[0]);
    (void)close(ends[1]);
    for (unsigned i = 0; i < 1000 && kill(server, 0) == 0; i++) {
        (void)usleep(10000); // until it is gone
    }
    assert_int_equal(kill(server, 0), -1);
    assert_int_equal(errno, ESRCH);

    create(fixture);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
}

static void an_interrupted_initdb_leaves_nothing_in_the_way(void **state)
{
    struct fixture *fixture = *state;
    create(fixture);
    supervisor_start(fixture->supervisor);
    assert_int_equal(supervisor_state(fixture->supervisor), SUPERVISOR_INITIALISING);
    supervisor_destroy(fixture->supervisor);
    fixture->supervisor = NULL;
    create(fixture);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
}

static void a_server_that_cannot_start_says_why(void **state)
{
    struct fixture *fixture = *state;
    struct supervisor_options options = options_of(fixture);
    static const struct supervisor_setting settings[] = {{"max_connections", "many"}};
    char error[300] = "";
    options.settings = settings;
    options.n_settings = 1;
    options.no_restart = true;
    assert_int_equal(supervisor_create(&options, &fixture->supervisor, error), CC_OK);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_STOPPED);
    assert_non_null(strstr(fixture->text, "exited with 1"));
    assert_non_null(strstr(fixture->text, "\"max_connections\""));
}

static void a_directory_without_binaries_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct supervisor_options options = options_of(fixture);
    char error[300] = "";
    options.bin_directory = "/nonexistent";
    assert_int_equal(supervisor_create(&options, &fixture->supervisor, error), CC_NOT_FOUND);
    assert_non_null(strstr(error, "/nonexistent: no PostgreSQL 15 or later"));
    fixture->supervisor = NULL;
}

static void sockets_of_a_long_path_are_in_a_short_one(void **state)
{
    struct fixture *fixture = *state;
    struct supervisor_options options = options_of(fixture);
    char error[300] = "", path[256];
    (void)snprintf(path, sizeof(path), "%s/%0120d", fixture->directory, 0);
    options.data_directory = path;
    assert_int_equal(supervisor_create(&options, &fixture->supervisor, error), CC_OK);
    const char *sockets = supervisor_socket_directory(fixture->supervisor);
    assert_int_equal(strncmp(sockets, "/tmp/caucus-", 12), 0);
    struct stat status;
    assert_int_equal(stat(sockets, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(rmdir(sockets), 0);
}

static void data_below_a_closed_directory_is_kept_elsewhere_when_root(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0) {
        skip();
    }
    char closed[128], link[192], target[256] = "";
    struct supervisor_options options = options_of(fixture);
    char error[300] = "";
    (void)snprintf(closed, sizeof(closed), "%s/closed/1", fixture->directory);
    *strrchr(closed, '/') = '\0';
    assert_int_equal(mkdir(closed, 0700), 0);
    (void)snprintf(closed, sizeof(closed), "%s/closed/1", fixture->directory);
    options.data_directory = closed;
    assert_int_equal(supervisor_create(&options, &fixture->supervisor, error), CC_OK);
    (void)snprintf(link, sizeof(link), "%s/postgres", closed);
    assert_true(readlink(link, target, sizeof(target) - 1) > 0);
    assert_int_equal(strncmp(target, "/var/lib/caucus/data-", 21), 0);
    supervisor_start(fixture->supervisor);
    await_state(fixture, SUPERVISOR_RUNNING);
    assert_string_equal(query(fixture, "SELECT 1"), "1");
    supervisor_destroy(fixture->supervisor);
    fixture->supervisor = NULL;
    *strrchr(target, '/') = '\0';
    scratch_remove(target);
    assert_int_equal(access(target, F_OK), -1);
}

static void settings_are_quoted_and_the_operators_win(void **state)
{
    (void)state;
    struct cc_buffer text = {0};
    const struct supervisor_setting settings[] = {{"shared_buffers", "1GB"}, {"cluster_name", "it's \\ here"}};
    char sockets[] = "/tmp/x";
    struct supervisor_place place = {.sockets = sockets, .has_lz4 = true};
    supervisor_put_settings(&text, &place, 50, settings, 2);
    const char *all = cc_buffer_text(&text);
    assert_non_null(strstr(all, "max_connections = '50'\n"));
    assert_non_null(strstr(all, "cluster_name = 'it''s \\\\ here'\n"));
    assert_true(strstr(all, "shared_buffers = '1GB'") > strstr(all, "shared_buffers = '128MB'"));
    assert_non_null(strstr(all, "unix_socket_directories = '/tmp/x'\n"));
    assert_non_null(strstr(all, "default_toast_compression = 'lz4'\n"));
    cc_buffer_finish(&text);

    place.has_lz4 = false;
    supervisor_put_settings(&text, &place, 50, settings, 2);
    assert_null(strstr(cc_buffer_text(&text), "default_toast_compression"));
    cc_buffer_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_server_is_made_started_killed_restarted_and_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_left_behind_is_stopped_and_started_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_servers_number_that_belongs_to_another_process_now_is_not_in_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_server_dies_with_its_proxy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_interrupted_initdb_leaves_nothing_in_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_cannot_start_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_directory_without_binaries_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sockets_of_a_long_path_are_in_a_short_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(data_below_a_closed_directory_is_kept_elsewhere_when_root, set_up, tear_down),
        cmocka_unit_test(settings_are_quoted_and_the_operators_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
