// A private PostgreSQL for tests.
#include "conformance/private_postgres.h"

#include <libpq-fe.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct private_postgres *running;

static void stop_at_exit(void)
{
    if (running != NULL) {
        private_postgres_stop(running);
    }
}

static bool find_binaries(char *out, size_t n)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0) {
        return false;
    }
    snprintf(out, n, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return true;
}

static const struct passwd *unprivileged(void)
{
    const struct passwd *user = getpwnam("postgres");
    return user != NULL ? user : getpwnam("nobody");
}

static void run_child(const char *directory, const char *const *arguments)
{
    if (geteuid() == 0) {
        const struct passwd *user = unprivileged();
        if (user == NULL || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
            _exit(126);
        }
    }
    char log[96];
    snprintf(log, sizeof(log), "%s/log", directory);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || chdir(directory) != 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) {
        _exit(126);
    }
    execv(arguments[0], (char *const *)arguments);
    _exit(127);
}

static int spawn(const char *directory, const char *const *arguments)
{
    pid_t pid = fork();
    if (pid == 0) {
        run_child(directory, arguments);
    }
    return pid;
}

static bool run(const char *directory, const char *const *arguments)
{
    int status = 0;
    pid_t pid = spawn(directory, arguments);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool wait_until_ready(const struct private_postgres *postgres)
{
    for (int i = 0; i < 600; i++) {
        PGconn *connection = PQconnectdb(postgres->conninfo);
        bool ok = PQstatus(connection) == CONNECTION_OK;
        PQfinish(connection);
        if (ok) {
            return true;
        }
        if (waitpid(postgres->pid, NULL, WNOHANG) == postgres->pid) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return false;
}

static bool make_directory(struct private_postgres *postgres)
{
    snprintf(postgres->directory, sizeof(postgres->directory), "/tmp/crpgXXXXXX");
    if (mkdtemp(postgres->directory) == NULL) {
        return false;
    }
    const struct passwd *user = unprivileged();
    return geteuid() != 0 || (user != NULL && chown(postgres->directory, user->pw_uid, user->pw_gid) == 0);
}

bool private_postgres_start(struct private_postgres *postgres)
{
    char binaries[128];
    char initdb[192];
    char server[192];
    char data[96];
    *postgres = (struct private_postgres){0};
    if (!find_binaries(binaries, sizeof(binaries)) || !make_directory(postgres)) {
        fprintf(stderr, "no PostgreSQL found\n");
        return false;
    }
    running = postgres;
    atexit(stop_at_exit);
    snprintf(initdb, sizeof(initdb), "%s/initdb", binaries);
    snprintf(server, sizeof(server), "%s/postgres", binaries);
    snprintf(data, sizeof(data), "%s/data", postgres->directory);
    snprintf(postgres->conninfo, sizeof(postgres->conninfo), "host=%s user=postgres dbname=postgres",
             postgres->directory);
    const char *const make[] = {initdb,  "-D", data,   "-U",         "postgres",  "-A",
                                "trust", "-E", "UTF8", "--locale=C", "--no-sync", NULL};
    const char *const serve[] = {
        server, "-D", data, "-k", postgres->directory, "-c", "listen_addresses=", "-c", "fsync=off", NULL};
    if (!run(postgres->directory, make)) {
        fprintf(stderr, "initdb failed, see %s/log\n", postgres->directory);
        return false;
    }
    postgres->pid = spawn(postgres->directory, serve);
    if (postgres->pid <= 0 || !wait_until_ready(postgres)) {
        fprintf(stderr, "PostgreSQL does not start, see %s/log\n", postgres->directory);
        return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void private_postgres_stop(struct private_postgres *postgres)
{
    if (postgres->pid > 0) {
        kill(postgres->pid, SIGQUIT); // immediate shutdown
        waitpid(postgres->pid, NULL, 0);
        postgres->pid = 0;
    }
    if (postgres->directory[0] != '\0') {
        nftw(postgres->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        postgres->directory[0] = '\0';
    }
    running = NULL;
}
