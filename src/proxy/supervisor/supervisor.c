// Supervisor: makes and keeps alive the PostgreSQL server that a replica owns.
#include "proxy/supervisor/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "proxy/supervisor/supervisor_files.h"

enum {
    READY_POLL_MS = 20,
    BACK_OFF_MS = 100,
    BACK_OFF_MS_MAX = 5000,
    HEALTHY_MS = 10000,   // ran that long: the next back-off is the first again
    STOP_FAST_MS = 10000, // SIGINT -> SIGQUIT
    STOP_HARD_MS = 10000, // SIGQUIT -> SIGKILL
    DESTROY_MS = 7000,    // SIGQUIT -> SIGKILL when nothing else can wait (PostgreSQL itself gives its children 5 s)
};

enum child_kind { CHILD_NONE, CHILD_INITDB, CHILD_DATABASE, CHILD_SERVER, CHILD_LEFTOVER };

struct supervisor {
    struct event_base *base;
    char *database;
    uint32_t connections_max;
    size_t n_settings;
    struct supervisor_setting *settings;
    bool no_restart;
    void (*on_state)(void *context, enum supervisor_state state, const char *text);
    void *context;

    struct supervisor_user user;
    struct supervisor_place place;
    char *conninfo;

    enum supervisor_state state;
    struct event *timer;
    enum child_kind child;
    pid_t pid;
    int pidfd;
    struct event *exit_event;
    long log_from; // where the child's part of the log begins
    uint64_t started_ms;
    uint32_t back_off_ms;
    uint32_t n_restarts;
    unsigned n_signals; // sent to the child that is to stop
};

static const unsigned next_states[SUPERVISOR_STATES] = {
    /* row: now; bits: what may come next */
    [SUPERVISOR_IDLE] = 1u << SUPERVISOR_CLEARING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_CLEARING] = 1u << SUPERVISOR_INITIALISING | 1u << SUPERVISOR_STARTING | 1u << SUPERVISOR_WAITING |
                            1u << SUPERVISOR_STOPPING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_INITIALISING] =
        1u << SUPERVISOR_STARTING | 1u << SUPERVISOR_WAITING | 1u << SUPERVISOR_STOPPING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_STARTING] =
        1u << SUPERVISOR_RUNNING | 1u << SUPERVISOR_WAITING | 1u << SUPERVISOR_STOPPING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_RUNNING] = 1u << SUPERVISOR_WAITING | 1u << SUPERVISOR_STOPPING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_WAITING] = 1u << SUPERVISOR_CLEARING | 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_STOPPING] = 1u << SUPERVISOR_STOPPED,
    [SUPERVISOR_STOPPED] = 1u << SUPERVISOR_CLEARING,
};

static void move(struct supervisor *supervisor, enum supervisor_state state, const char *text)
{
    assert(next_states[supervisor->state] & 1u << state);
    supervisor->state = state;
    if (supervisor->on_state != NULL) {
        supervisor->on_state(supervisor->context, state, text);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_timer(struct supervisor *supervisor, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(supervisor->timer, &wait);
}

// -- Children ------------------------------------------------------------------------------------------------------------

// Only calls that are safe after fork in a process with threads.
static void run_child(const struct supervisor_user *user, pid_t parent, int input, int log, char *const argv[], char *stale)
{
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", locale[] = "LC_ALL=C", zone[] = "TZ=UTC";
    char *const environment[] = {path, locale, zone, stale, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    (void)setsid(); // Ctrl-C at the terminal is for the proxy, which stops the server in order
    (void)umask(077);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0 ||
        close_range(3, ~0u, 0) != 0) {
        _exit(126);
    }
    // After the change of user, which would clear it. A parent that died in between is not noticed otherwise.
    if (!supervisor_become(user) || chdir("/") != 0 || prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 || getppid() != parent) {
        _exit(126);
    }
    (void)execve(argv[0], argv, environment);
    _exit(127);
}

static void on_exit_readable(evutil_socket_t fd, short what, void *context);

static bool watch(struct supervisor *supervisor, enum child_kind kind, pid_t pid)
{
    supervisor->pidfd = pidfd_open(pid, 0);
    if (supervisor->pidfd < 0) {
        return false;
    }
    supervisor->child = kind;
    supervisor->pid = pid;
    supervisor->n_signals = 0;
    supervisor->exit_event = event_new(supervisor->base, supervisor->pidfd, EV_READ, on_exit_readable, supervisor);
    (void)event_add(supervisor->exit_event, NULL);
    return true;
}

static void unwatch(struct supervisor *supervisor)
{
    if (supervisor->exit_event != NULL) {
        event_free(supervisor->exit_event);
        (void)close(supervisor->pidfd);
    }
    supervisor->exit_event = NULL;
    supervisor->pidfd = -1;
    supervisor->child = CHILD_NONE;
    supervisor->pid = 0;
}

static bool spawn(struct supervisor *supervisor, enum child_kind kind, int input, char *const argv[])
{
    int log = supervisor_open_log(&supervisor->place);
    if (log < 0 || input < 0) {
        if (log >= 0) {
            (void)close(log);
        }
        return false;
    }
    supervisor->log_from = (long)lseek(log, 0, SEEK_END);
    supervisor->started_ms = now_ms();
    // A server refuses to start while the process lives whose number a dead one has left in its lock files, whatever that process is
    // now: after the death of the machine, or in a container, often another server. It takes a grandparent's number for a dead one's.
    char stale[40];
    (void)snprintf(stale, sizeof(stale), "PG_GRANDPARENT_PID=%d", (int)supervisor_stale_pid(&supervisor->place));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        run_child(&supervisor->user, parent, input, log, argv, stale);
    }
    (void)close(log);
    if (pid < 0) {
        return false;
    }
    if (!watch(supervisor, kind, pid)) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return false;
    }
    return true;
}

static void send_signal(struct supervisor *supervisor, int number)
{
    if (supervisor->pidfd >= 0) {
        (void)pidfd_send_signal(supervisor->pidfd, number, NULL, 0);
        supervisor->n_signals++;
    }
}

// -- Starting ------------------------------------------------------------------------------------------------------------

static void wait_and_retry(struct supervisor *supervisor, const char *text)
{
    if (supervisor->no_restart) {
        move(supervisor, SUPERVISOR_STOPPED, text);
        return;
    }
    if (supervisor->started_ms > 0 && now_ms() - supervisor->started_ms >= HEALTHY_MS) {
        supervisor->back_off_ms = BACK_OFF_MS;
    }
    set_timer(supervisor, supervisor->back_off_ms);
    supervisor->back_off_ms =
        supervisor->back_off_ms * 2 < BACK_OFF_MS_MAX ? supervisor->back_off_ms * 2 : BACK_OFF_MS_MAX;
    move(supervisor, SUPERVISOR_WAITING, text);
}

static bool spawn_program(struct supervisor *supervisor, enum child_kind kind, int input, const char *program,
                          const char *const arguments[])
{
    char *argv[16] = {0};
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", supervisor->place.bin_directory, program);
    argv[0] = path;
    for (size_t i = 0; arguments[i] != NULL; i++) {
        argv[i + 1] = (char *)(uintptr_t)arguments[i]; // execve takes them without const, and does not write
    }
    return spawn(supervisor, kind, input, argv);
}

static void start_initdb(struct supervisor *supervisor)
{
    const char *const arguments[] = {"-D",
                                     supervisor->place.fresh,
                                     "--username=postgres",
                                     "--encoding=UTF8",
                                     "--no-locale",
                                     "--data-checksums",
                                     "--auth-local=trust",
                                     "--auth-host=reject",
                                     "--no-instructions",
                                     NULL};
    move(supervisor, SUPERVISOR_INITIALISING, "makes a new database cluster");
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool started = supervisor_make_fresh(&supervisor->place, &supervisor->user) == CC_OK &&
                   spawn_program(supervisor, CHILD_INITDB, input, "initdb", arguments);
    (void)close(input);
    if (!started) {
        wait_and_retry(supervisor, "initdb could not be started");
    }
}

// A server in single-user mode reads the statement from its input: no connection is needed yet.
static void start_database(struct supervisor *supervisor)
{
    const char *const arguments[] = {"--single", "-D", supervisor->place.fresh, "postgres", NULL};
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "CREATE DATABASE \"");
    for (const char *at = supervisor->database; *at != '\0'; at++) {
        cc_buffer_append_text(&sql, *at == '"' ? "\"" : "");
        cc_buffer_append(&sql, at, 1);
    }
    cc_buffer_append_text(&sql, "\";\n");
    int input = memfd_create("caucus", MFD_CLOEXEC);
    bool started = input >= 0 && write(input, sql.data, sql.n) == (ssize_t)sql.n && lseek(input, 0, SEEK_SET) == 0 &&
                   spawn_program(supervisor, CHILD_DATABASE, input, "postgres", arguments);
    cc_buffer_finish(&sql);
    if (input >= 0) {
        (void)close(input);
    }
    if (!started) {
        wait_and_retry(supervisor, "the database could not be made");
    }
}

static void start_server(struct supervisor *supervisor)
{
    const char *const arguments[] = {"-D", supervisor->place.postgres, NULL};
    move(supervisor, SUPERVISOR_STARTING, "starts the server");
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool started =
        supervisor_write_settings(&supervisor->place, &supervisor->user, supervisor->connections_max, supervisor->settings,
                                  supervisor->n_settings) == CC_OK &&
        spawn_program(supervisor, CHILD_SERVER, input, "postgres", arguments);
    (void)close(input);
    if (!started) {
        wait_and_retry(supervisor, "the server could not be started");
        return;
    }
    set_timer(supervisor, READY_POLL_MS);
}

static void start_next(struct supervisor *supervisor)
{
    if (supervisor_has_data(&supervisor->place)) {
        start_server(supervisor);
    } else {
        start_initdb(supervisor);
    }
}

static void adopt_and_start(struct supervisor *supervisor)
{
    if (supervisor_adopt_fresh(&supervisor->place) != CC_OK) {
        wait_and_retry(supervisor, "the new database cluster could not be moved to its place");
        return;
    }
    start_server(supervisor);
}

static void clear_leftover(struct supervisor *supervisor)
{
    move(supervisor, SUPERVISOR_CLEARING, "looks for a server left behind");
    pid_t pid = supervisor_server_pid(&supervisor->place);
    // Looked at again once the descriptor is open: from then on the number means this process and no other.
    if (pid == 0 || !watch(supervisor, CHILD_LEFTOVER, pid)) {
        start_next(supervisor);
        return;
    }
    if (supervisor_server_pid(&supervisor->place) != pid) {
        unwatch(supervisor);
        start_next(supervisor);
        return;
    }
    send_signal(supervisor, SIGINT);
    set_timer(supervisor, STOP_FAST_MS);
}

// -- Events --------------------------------------------------------------------------------------------------------------

static void stopped(struct supervisor *supervisor, const char *text)
{
    (void)event_del(supervisor->timer);
    move(supervisor, SUPERVISOR_STOPPED, text);
}

static void describe_exit(const struct supervisor *supervisor, const siginfo_t *info, char *text_out, size_t n)
{
    char words[200] = "";
    supervisor_last_words(&supervisor->place, supervisor->log_from, words, sizeof(words));
    const char *how = info->si_code == CLD_EXITED ? "exited with" : "was ended by signal";
    (void)snprintf(text_out, n, "%s %d%s%s", how, info->si_status, *words == '\0' ? "" : ": ", words);
}

static void on_child_exit(struct supervisor *supervisor, enum child_kind child, bool succeeded, const char *text)
{
    if (supervisor->state == SUPERVISOR_STOPPING) {
        stopped(supervisor, "stopped");
        return;
    }
    (void)event_del(supervisor->timer);
    switch (child) {
    case CHILD_INITDB:
        if (!succeeded) {
            wait_and_retry(supervisor, text);
        } else if (strcmp(supervisor->database, "postgres") != 0) {
            start_database(supervisor);
        } else {
            adopt_and_start(supervisor);
        }
        return;
    case CHILD_DATABASE:
        if (succeeded) {
            adopt_and_start(supervisor);
        } else {
            wait_and_retry(supervisor, text);
        }
        return;
    case CHILD_SERVER:
        supervisor->n_restarts++;
        wait_and_retry(supervisor, text);
        return;
    case CHILD_LEFTOVER:
        start_next(supervisor);
        return;
    case CHILD_NONE:
        return;
    }
}

static void on_exit_readable(evutil_socket_t fd, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)fd;
    (void)what;
    enum child_kind child = supervisor->child;
    siginfo_t info = {0};
    char text[300] = "ended";
    bool succeeded = true;
    if (child != CHILD_LEFTOVER) { // that one is not ours to wait for
        if (waitid(P_PIDFD, (id_t)supervisor->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) {
            return;
        }
        succeeded = info.si_code == CLD_EXITED && info.si_status == 0;
        describe_exit(supervisor, &info, text, sizeof(text));
    }
    unwatch(supervisor);
    on_child_exit(supervisor, child, succeeded, text);
}

static void poll_ready(struct supervisor *supervisor)
{
    if (!supervisor_server_ready(&supervisor->place, supervisor->pid)) {
        set_timer(supervisor, READY_POLL_MS);
        return;
    }
    move(supervisor, SUPERVISOR_RUNNING, "accepts connections");
}

static void press_harder(struct supervisor *supervisor)
{
    send_signal(supervisor, supervisor->n_signals < 2 ? SIGQUIT : SIGKILL);
    set_timer(supervisor, STOP_HARD_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)fd;
    (void)what;
    switch (supervisor->state) {
    case SUPERVISOR_STARTING:
        poll_ready(supervisor);
        return;
    case SUPERVISOR_WAITING:
        clear_leftover(supervisor);
        return;
    case SUPERVISOR_CLEARING:
    case SUPERVISOR_STOPPING:
        press_harder(supervisor);
        return;
    case SUPERVISOR_IDLE:
    case SUPERVISOR_INITIALISING:
    case SUPERVISOR_RUNNING:
    case SUPERVISOR_STOPPED:
        return;
    }
}

// -- Public --------------------------------------------------------------------------------------------------------------

static char *make_conninfo(const char *sockets, const char *database)
{
    struct cc_buffer text = {0};
    const char *const values[] = {sockets, database};
    const char *const names[] = {"host", " dbname"};
    for (size_t i = 0; i < 2; i++) {
        cc_buffer_printf(&text, "%s='", names[i]);
        for (const char *at = values[i]; *at != '\0'; at++) {
            cc_buffer_append_text(&text, *at == '\'' || *at == '\\' ? "\\" : "");
            cc_buffer_append(&text, at, 1);
        }
        cc_buffer_append_text(&text, "'");
    }
    cc_buffer_append_text(&text, " user=postgres");
    char *conninfo = cc_strdup(cc_buffer_text(&text));
    cc_buffer_finish(&text);
    return conninfo;
}

static void free_supervisor(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->n_settings; i++) {
        free((void *)(uintptr_t)supervisor->settings[i].name);
        free((void *)(uintptr_t)supervisor->settings[i].value);
    }
    free(supervisor->settings);
    free(supervisor->database);
    free(supervisor->conninfo);
    if (supervisor->timer != NULL) {
        event_free(supervisor->timer);
    }
    supervisor_place_finish(&supervisor->place);
    free(supervisor);
}

enum cc_status supervisor_create(const struct supervisor_options *options, struct supervisor **supervisor_out,
                                 char error_out[static 300])
{
    struct supervisor *supervisor = cc_alloc(sizeof(*supervisor));
    bool default_database = options->database == NULL || *options->database == '\0';
    supervisor->base = options->base;
    supervisor->database = cc_strdup(default_database ? "postgres" : options->database);
    supervisor->connections_max = options->connections_max;
    supervisor->no_restart = options->no_restart;
    supervisor->on_state = options->on_state;
    supervisor->context = options->context;
    supervisor->pidfd = -1;
    supervisor->back_off_ms = BACK_OFF_MS;
    supervisor->n_settings = options->n_settings;
    supervisor->settings = cc_alloc_array(options->n_settings, sizeof(*supervisor->settings));
    for (size_t i = 0; i < options->n_settings; i++) {
        supervisor->settings[i].name = cc_strdup(options->settings[i].name);
        supervisor->settings[i].value = cc_strdup(options->settings[i].value);
    }
    enum cc_status status = supervisor_find_user(options->system_user, &supervisor->user, error_out);
    if (status == CC_OK) {
        status = supervisor_make_place(options->data_directory, &supervisor->user, &supervisor->place, error_out);
    }
    if (status == CC_OK) {
        status = supervisor_find_binaries(options->bin_directory, &supervisor->place, error_out);
    }
    if (status != CC_OK) {
        free_supervisor(supervisor);
        return status;
    }
    supervisor->conninfo = make_conninfo(supervisor->place.sockets, supervisor->database);
    supervisor->timer = evtimer_new(supervisor->base, on_timer, supervisor);
    *supervisor_out = supervisor;
    return CC_OK;
}

void supervisor_start(struct supervisor *supervisor)
{
    if (supervisor->state == SUPERVISOR_IDLE || supervisor->state == SUPERVISOR_STOPPED) {
        clear_leftover(supervisor);
    }
}

void supervisor_stop(struct supervisor *supervisor)
{
    if (supervisor->state == SUPERVISOR_STOPPING || supervisor->state == SUPERVISOR_STOPPED) {
        return;
    }
    if (supervisor->child == CHILD_NONE) {
        stopped(supervisor, "stopped");
        return;
    }
    send_signal(supervisor, SIGINT);
    set_timer(supervisor, STOP_FAST_MS);
    move(supervisor, SUPERVISOR_STOPPING, "stops the server");
}

void supervisor_destroy(struct supervisor *supervisor)
{
    if (supervisor == NULL) {
        return;
    }
    if (supervisor->child != CHILD_NONE && supervisor->child != CHILD_LEFTOVER) {
        struct pollfd exited = {.fd = supervisor->pidfd, .events = POLLIN};
        send_signal(supervisor, supervisor->child == CHILD_SERVER ? SIGQUIT : SIGKILL);
        if (poll(&exited, 1, DESTROY_MS) == 0) {
            send_signal(supervisor, SIGKILL);
        }
        (void)waitpid(supervisor->pid, NULL, 0);
    }
    unwatch(supervisor);
    free_supervisor(supervisor);
}

enum supervisor_state supervisor_state(const struct supervisor *supervisor)
{
    return supervisor->state;
}

const char *supervisor_state_name(enum supervisor_state state)
{
    static const char *const names[SUPERVISOR_STATES] = {"idle",    "clearing", "initialising", "starting",
                                                         "running", "waiting",  "stopping",     "stopped"};
    return (unsigned)state < SUPERVISOR_STATES ? names[state] : "unknown";
}

pid_t supervisor_pid(const struct supervisor *supervisor)
{
    return supervisor->child == CHILD_SERVER ? supervisor->pid : 0;
}

const char *supervisor_conninfo(const struct supervisor *supervisor)
{
    return supervisor->conninfo;
}

const char *supervisor_socket_directory(const struct supervisor *supervisor)
{
    return supervisor->place.sockets;
}

uint32_t supervisor_restarts(const struct supervisor *supervisor)
{
    return supervisor->n_restarts;
}
