// The replica processes of `caucus up`.
#include "cli/up_children.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/monotonic.h"

enum {
    BACK_OFF_MS = 200,
    BACK_OFF_MS_MAX = 5000,
    HEALTHY_MS = 10000,
    STOP_MS = 20000,
    TURN_MS = 100,
    LOG_BYTES_MAX = 64 << 20
};

static void our_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGHUP);
    (void)sigaddset(set, SIGCHLD);
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

void up_children_init(struct up_children *children, const struct up_directory *directory, bool no_restart)
{
    sigset_t set;
    our_signals(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN); // nobody reads what we print: the cluster goes on
    *children =
        (struct up_children){.directory = directory, .no_restart = no_restart, .had_terminal = has_terminal(), .n = directory->config.n_replicas};
    for (size_t i = 0; i < children->n; i++) {
        const struct config_replica *replica = &directory->config.replicas[i];
        struct cc_buffer log = {0};
        cc_buffer_printf(&log, "%s/caucus.log", replica->data_directory);
        children->children[i] = (struct up_child){
            .replica = replica->id, .log = cc_strdup(cc_buffer_text(&log)), .back_off_ms = BACK_OFF_MS};
        cc_buffer_finish(&log);
    }
}

// -- Starting ------------------------------------------------------------------------------------------------------------

static int open_log(const struct up_child *child)
{
    struct stat status;
    if (stat(child->log, &status) == 0 && status.st_size > LOG_BYTES_MAX) {
        struct cc_buffer old = {0};
        cc_buffer_printf(&old, "%s.old", child->log);
        (void)rename(child->log, cc_buffer_text(&old));
        cc_buffer_finish(&old);
    }
    return open(child->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void run_child(const struct up_children *children, const struct up_child *child, pid_t parent, int log)
{
    char id[16];
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    // A process group of its own: Ctrl-C is for us, and we stop the replicas in order. If we are killed, they are too, and
    // their PostgreSQL with them.
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(CLI_REFUSED);
    }
    int input = open("/dev/null", O_RDONLY);
    if (input < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0) {
        _exit(CLI_IO);
    }
    (void)snprintf(id, sizeof(id), "%u", child->replica);
    (void)execl("/proc/self/exe", "caucus", "serve", "--config", children->directory->config_path, "--replica", id,
                children->no_restart ? "--no-restart" : (char *)NULL, (char *)NULL);
    _exit(CLI_IO);
}

static bool start(struct up_children *children, struct up_child *child)
{
    int log = open_log(child);
    pid_t parent = getpid();
    pid_t pid = log < 0 ? -1 : fork();
    if (pid == 0) {
        run_child(children, child, parent, log);
    }
    if (log >= 0) {
        (void)close(log);
    }
    if (pid < 0) {
        return false;
    }
    child->pid = pid;
    child->started_ms = cli_now_ms();
    child->start_at_ms = 0;
    return true;
}

enum cli_exit up_children_start(struct up_children *children)
{
    for (size_t i = 0; i < children->n; i++) {
        if (!start(children, &children->children[i])) {
            return cli_fail(CLI_IO, "%s: %s", children->children[i].log, strerror(errno));
        }
    }
    return CLI_OK;
}

// -- Watching ------------------------------------------------------------------------------------------------------------

// Starting again would end the same way.
static bool is_final(int exit_code)
{
    return exit_code == CLI_USAGE || exit_code == CLI_CORRUPT || exit_code == CLI_CONFIG;
}

static void ended(struct up_children *children, struct up_child *child, int status)
{
    bool healthy = cli_now_ms() - child->started_ms >= HEALTHY_MS;
    child->pid = 0;
    child->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (children->stopping) {
        return;
    }
    bool again = !children->no_restart && !is_final(child->exit_code);
    char how[64];
    (void)snprintf(how, sizeof(how), WIFEXITED(status) ? "exited with %d" : "was ended by signal %d",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    (void)printf("replica %u %s%s; see %s\n", child->replica, how, again ? ", is started again" : "", child->log);
    (void)fflush(stdout);
    if (again) {
        child->back_off_ms = healthy ? BACK_OFF_MS : child->back_off_ms;
        child->start_at_ms = cli_now_ms() + child->back_off_ms;
        child->back_off_ms = child->back_off_ms * 2 < BACK_OFF_MS_MAX ? child->back_off_ms * 2 : BACK_OFF_MS_MAX;
    } else if (!children->all_ready) {
        children->fatal = child->exit_code > 0 ? (enum cli_exit)child->exit_code : CLI_REFUSED;
    }
}

static void reap(struct up_children *children)
{
    for (size_t i = 0; i < children->n; i++) {
        struct up_child *child = &children->children[i];
        int status = 0;
        if (child->pid > 0 && waitpid(child->pid, &status, WNOHANG) == child->pid) {
            ended(children, child, status);
        }
    }
}

static void restart_due(struct up_children *children)
{
    for (size_t i = 0; i < children->n; i++) {
        struct up_child *child = &children->children[i];
        if (child->pid == 0 && child->start_at_ms > 0 && cli_now_ms() >= child->start_at_ms && !start(children, child)) {
            child->start_at_ms = cli_now_ms() + BACK_OFF_MS_MAX;
        }
    }
}

static size_t send_all(const struct up_children *children, int number)
{
    size_t n = 0;
    for (size_t i = 0; i < children->n; i++) {
        if (children->children[i].pid > 0) {
            (void)kill(children->children[i].pid, number);
            n++;
        }
    }
    return n;
}

static void take_signals(struct up_children *children, uint32_t wait_ms)
{
    sigset_t set;
    our_signals(&set);
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = (long)(wait_ms % 1000) * 1000000L};
    for (int number = sigtimedwait(&set, NULL, &wait); number > 0; number = sigtimedwait(&set, NULL, &wait)) {
        wait = (struct timespec){0};
        if (number == SIGHUP && !(children->had_terminal && !has_terminal())) { // the terminal is still there: somebody means it
            (void)send_all(children, SIGHUP); // they read the members from config.json again
        } else if (number != SIGCHLD) {
            children->killing = children->stopping;
            children->stopping = true;
        }
    }
}

bool up_children_turn(struct up_children *children, uint32_t wait_ms)
{
    take_signals(children, wait_ms);
    reap(children);
    if (!children->stopping) {
        restart_due(children);
    }
    return !children->stopping && children->fatal == CLI_OK;
}

// -- Stopping ------------------------------------------------------------------------------------------------------------

void up_children_stop(struct up_children *children)
{
    uint64_t give_up_ms = cli_now_ms() + STOP_MS;
    children->stopping = true;
    children->killing = false;
    (void)send_all(children, SIGTERM);
    reap(children);
    while (send_all(children, 0) > 0) {
        if (children->killing || cli_now_ms() >= give_up_ms) {
            (void)send_all(children, SIGKILL);
        }
        take_signals(children, TURN_MS);
        reap(children);
    }
}

void up_children_finish(struct up_children *children)
{
    for (size_t i = 0; i < children->n; i++) {
        free(children->children[i].log);
    }
}
