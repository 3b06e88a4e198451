// What the supervisor needs of the machine: PostgreSQL's binaries, the user to run it as, directories, its settings file and what
// its postmaster.pid says.
#include "proxy/supervisor/supervisor_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

enum {
    VERSION_MIN = 15,
    SOCKET_PATH_MAX = 107, // sun_path
    LOG_BYTES_MAX = 64 << 20,
};

static const char relocated_root[] = "/var/lib/caucus";

// -- Small helpers -------------------------------------------------------------------------------------------------------

static enum cc_status refuse(enum cc_status status, char *error_out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum cc_status refuse(enum cc_status status, char *error_out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error_out, SUPERVISOR_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

static bool read_file(const char *path, char *text_out, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, text_out, n - 1);
    (void)close(fd);
    text_out[got > 0 ? got : 0] = '\0';
    return got >= 0;
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return done;
}

static bool make_directories(const char *path)
{
    char *copy = cc_strdup(path);
    bool done = true;
    for (char *at = copy + 1; done && (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        done = mkdir(copy, 0755) == 0 || errno == EEXIST || is_directory(copy);
        *at = '/';
    }
    done = done && (mkdir(copy, 0755) == 0 || is_directory(copy));
    free(copy);
    return done;
}

void supervisor_place_finish(struct supervisor_place *place)
{
    free(place->bin_directory);
    free(place->postgres);
    free(place->fresh);
    free(place->sockets);
    free(place->log);
    *place = (struct supervisor_place){0};
}

// -- The user ------------------------------------------------------------------------------------------------------------

enum cc_status supervisor_find_user(const char *wanted, struct supervisor_user *user_out,
                                    char error_out[static SUPERVISOR_ERROR_BYTES])
{
    if (geteuid() != 0) {
        *user_out = (struct supervisor_user){.uid = geteuid(), .gid = getegid()};
        return CC_OK;
    }
    const char *names[] = {wanted == NULL || *wanted == '\0' ? "postgres" : wanted, "postgres", "nobody"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct passwd *entry = getpwnam(names[i]);
        if (entry == NULL || entry->pw_uid == 0) {
            continue;
        }
        struct supervisor_user user = {
            .switches = true, .uid = entry->pw_uid, .gid = entry->pw_gid, .n_groups = SUPERVISOR_GROUPS_MAX};
        if (getgrouplist(names[i], entry->pw_gid, user.groups, &user.n_groups) < 0) {
            user.n_groups = SUPERVISOR_GROUPS_MAX; // more than fit: the first ones do
        }
        *user_out = user;
        return CC_OK;
    }
    return refuse(CC_NOT_FOUND, error_out,
                  "PostgreSQL does not run as root, and there is neither a user postgres nor nobody");
}

bool supervisor_become(const struct supervisor_user *user)
{
    if (!user->switches) {
        return true;
    }
    return setgroups((size_t)user->n_groups, user->groups) == 0 && setgid(user->gid) == 0 && setuid(user->uid) == 0;
}

// Asks the kernel, as that user, since paths, groups and access lists all have a say.
static bool can_reach(const struct supervisor_user *user, const char *directory)
{
    if (!user->switches) {
        return access(directory, X_OK) == 0;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(supervisor_become(user) && access(directory, X_OK) == 0 ? 0 : 1);
    }
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool give_to(const struct supervisor_user *user, const char *path)
{
    return !user->switches || lchown(path, user->uid, user->gid) == 0;
}

// -- Directories ---------------------------------------------------------------------------------------------------------

// A new directory elsewhere, and the link to it.
static char *relocate(const char *link, char *error_out)
{
    char home[] = "/var/lib/caucus/data-XXXXXX";
    if (!make_directories(relocated_root) || mkdtemp(home) == NULL || chmod(home, 0711) != 0) {
        (void)refuse(CC_IO, error_out, "cannot make a directory in %s: %s", relocated_root, strerror(errno));
        return NULL;
    }
    char *target = cc_path_join(home, "postgres");
    if (symlink(target, link) != 0) {
        (void)refuse(CC_IO, error_out, "%s: %s", link, strerror(errno));
        free(target);
        (void)rmdir(home);
        return NULL;
    }
    free(target);
    return cc_strdup(home);
}

// The directory that holds PostgreSQL's: the replica's own, or where the link leads.
static char *find_home(const char *data_directory, const struct supervisor_user *user, char *error_out)
{
    char target[PATH_MAX];
    char *link = cc_path_join(data_directory, "postgres");
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    char *home = NULL;
    if (n > 0) {
        target[n] = '\0';
        char *slash = strrchr(target, '/');
        if (slash == NULL || slash == target) {
            (void)refuse(CC_INVALID, error_out, "%s: not a link that Caucus made", link);
        } else {
            *slash = '\0';
            home = cc_strdup(target);
        }
    } else if (can_reach(user, data_directory)) {
        home = cc_strdup(data_directory);
    } else if (is_directory(link)) {
        (void)refuse(CC_INVALID, error_out, "%s: the user that runs PostgreSQL (uid %u) cannot reach it", link,
                     (unsigned)user->uid);
    } else {
        home = relocate(link, error_out);
    }
    free(link);
    return home;
}

static bool owned_privately(const char *path, const struct supervisor_user *user)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == user->uid &&
           (status.st_mode & 077) == 0;
}

static enum cc_status make_sockets(const char *home, const struct supervisor_user *user, struct supervisor_place *place,
                                   char *error_out)
{
    static const uint8_t key[16] = "caucus socketdir";
    place->sockets = cc_path_join(home, "socket");
    if (strlen(place->sockets) + strlen("/.s.PGSQL.5432.lock") > SOCKET_PATH_MAX) {
        struct cc_buffer path = {0};
        cc_buffer_printf(&path, "/tmp/caucus-%016llx", (unsigned long long)cc_siphash(key, home, strlen(home)));
        free(place->sockets);
        place->sockets = cc_strdup(cc_buffer_text(&path));
        cc_buffer_finish(&path);
    }
    bool made = mkdir(place->sockets, 0700) == 0;
    if (made && !give_to(user, place->sockets)) {
        return refuse(CC_IO, error_out, "%s: %s", place->sockets, strerror(errno));
    }
    if (!made && errno != EEXIST) {
        return refuse(CC_IO, error_out, "%s: %s", place->sockets, strerror(errno));
    }
    if (!owned_privately(place->sockets, user)) {
        return refuse(CC_INVALID, error_out,
                      "%s: must belong to the user that runs PostgreSQL (uid %u), with mode 0700", place->sockets,
                      (unsigned)user->uid);
    }
    return CC_OK;
}

enum cc_status supervisor_make_place(const char *data_directory, const struct supervisor_user *user,
                                     struct supervisor_place *place, char error_out[static SUPERVISOR_ERROR_BYTES])
{
    char real[PATH_MAX];
    if (!make_directories(data_directory) || realpath(data_directory, real) == NULL) {
        return refuse(CC_IO, error_out, "%s: %s", data_directory, strerror(errno));
    }
    char *home = find_home(real, user, error_out);
    if (home == NULL) {
        return CC_INVALID;
    }
    place->postgres = cc_path_join(home, "postgres");
    place->fresh = cc_path_join(home, "postgres.new");
    place->log = cc_path_join(real, "postgres.log");
    enum cc_status status = make_sockets(home, user, place, error_out);
    free(home);
    if (status != CC_OK) {
        return status;
    }
    struct stat data;
    if (stat(place->postgres, &data) == 0 && data.st_uid != user->uid) {
        return refuse(CC_INVALID, error_out, "%s: belongs to uid %u, but PostgreSQL would run as uid %u",
                      place->postgres, (unsigned)data.st_uid, (unsigned)user->uid);
    }
    return CC_OK;
}

bool supervisor_has_data(const struct supervisor_place *place)
{
    return is_directory(place->postgres);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

enum cc_status supervisor_make_fresh(const struct supervisor_place *place, const struct supervisor_user *user)
{
    if (is_directory(place->fresh) && nftw(place->fresh, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        return CC_IO;
    }
    return mkdir(place->fresh, 0700) == 0 && give_to(user, place->fresh) ? CC_OK : CC_IO;
}

enum cc_status supervisor_adopt_fresh(const struct supervisor_place *place)
{
    char *home = cc_strndup(place->fresh, (size_t)(strrchr(place->fresh, '/') - place->fresh));
    bool done = rename(place->fresh, place->postgres) == 0 && sync_directory(home);
    free(home);
    return done ? CC_OK : CC_IO;
}

// -- Binaries ------------------------------------------------------------------------------------------------------------

// Standard output of a short program, which has no standard error; false when it could not be run or failed.
static bool run_and_read(char *const argv[], char *text_out, size_t n)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    (void)close(ends[1]);
    size_t n_read = 0;
    ssize_t got = 0;
    while (child > 0 && n_read + 1 < n &&
           ((got = read(ends[0], text_out + n_read, n - 1 - n_read)) > 0 || (got < 0 && errno == EINTR))) {
        n_read += got > 0 ? (size_t)got : 0;
    }
    text_out[n_read] = '\0';
    (void)close(ends[0]);
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Major version of <directory>/postgres, 0 if there is none that can be run, with initdb beside it.
static unsigned binaries_version(const char *directory)
{
    char *postgres = cc_path_join(directory, "postgres");
    char *initdb = cc_path_join(directory, "initdb");
    char text[128] = "";
    unsigned version = 0;
    char option[] = "-V";
    char *argv[] = {postgres, option, NULL};
    if (access(postgres, X_OK) == 0 && access(initdb, X_OK) == 0 && run_and_read(argv, text, sizeof(text))) {
        const char *number = strstr(text, "PostgreSQL) ");
        version = number == NULL ? 0 : (unsigned)strtoul(number + strlen("PostgreSQL) "), NULL, 10);
    }
    free(postgres);
    free(initdb);
    return version;
}

// PostgreSQL can be built without, and does not start with a setting that it does not know.
static bool compresses_with_lz4(const struct supervisor_place *place)
{
    char *postgres = cc_path_join(place->bin_directory, "postgres");
    char text[16] = "";
    char *argv[] = {postgres, "-C", "default_toast_compression", "-c", "default_toast_compression=lz4", "-D", place->postgres, NULL};
    bool done = run_and_read(argv, text, sizeof(text)) && strcmp(text, "lz4\n") == 0;
    free(postgres);
    return done;
}

static unsigned data_version(const struct supervisor_place *place)
{
    char *path = cc_path_join(place->postgres, "PG_VERSION");
    char text[16] = "";
    unsigned version = read_file(path, text, sizeof(text)) ? (unsigned)strtoul(text, NULL, 10) : 0;
    free(path);
    return version;
}

static bool is_usable(const char *directory, unsigned wanted)
{
    unsigned version = binaries_version(directory);
    return version >= VERSION_MIN && (wanted == 0 || version == wanted);
}

static bool try_pg_config(unsigned wanted, char **directory_out)
{
    char text[PATH_MAX] = "";
    char program[] = "pg_config", option[] = "--bindir";
    char *argv[] = {program, option, NULL};
    if (!run_and_read(argv, text, sizeof(text))) {
        return false;
    }
    text[strcspn(text, "\n")] = '\0';
    if (!is_usable(text, wanted)) {
        return false;
    }
    *directory_out = cc_strdup(text);
    return true;
}

static bool try_debian(unsigned wanted, char **directory_out)
{
    DIR *root = opendir("/usr/lib/postgresql");
    unsigned best = 0;
    for (const struct dirent *entry = root == NULL ? NULL : readdir(root); entry != NULL; entry = readdir(root)) {
        char path[PATH_MAX];
        unsigned version = (unsigned)strtoul(entry->d_name, NULL, 10);
        (void)snprintf(path, sizeof(path), "/usr/lib/postgresql/%u/bin", version);
        if (version > best && is_usable(path, wanted)) {
            best = version;
            free(*directory_out);
            *directory_out = cc_strdup(path);
        }
    }
    if (root != NULL) {
        (void)closedir(root);
    }
    return best > 0;
}

static bool try_path(unsigned wanted, char **directory_out)
{
    const char *path = getenv("PATH");
    char *copy = cc_strdup(path == NULL ? "" : path);
    char *rest = copy;
    for (const char *directory = strsep(&rest, ":"); directory != NULL; directory = strsep(&rest, ":")) {
        if (*directory != '\0' && is_usable(directory, wanted)) {
            *directory_out = cc_strdup(directory);
            break;
        }
    }
    free(copy);
    return *directory_out != NULL;
}

enum cc_status supervisor_find_binaries(const char *wanted, struct supervisor_place *place,
                                        char error_out[static SUPERVISOR_ERROR_BYTES])
{
    unsigned version = data_version(place);
    if (wanted != NULL && *wanted != '\0') {
        if (!is_usable(wanted, version)) {
            return refuse(CC_NOT_FOUND, error_out, "%s: no PostgreSQL %u%s (postgres and initdb) there", wanted,
                          version > 0 ? version : VERSION_MIN, version > 0 ? ", which made the data," : " or later");
        }
        place->bin_directory = cc_strdup(wanted);
        return CC_OK;
    }
    if (try_pg_config(version, &place->bin_directory) || try_debian(version, &place->bin_directory) ||
        try_path(version, &place->bin_directory)) {
        return CC_OK;
    }
    return refuse(
        CC_NOT_FOUND, error_out,
        "no PostgreSQL %u%s found: install it (Debian: apt-get install postgresql), or set postgres.bin_directory",
        version > 0 ? version : VERSION_MIN, version > 0 ? ", which made the data," : " or later");
}

// -- Settings ------------------------------------------------------------------------------------------------------------

static void put_setting(struct cc_buffer *out, const char *name, const char *value)
{
    cc_buffer_printf(out, "%s = '", name);
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') {
            cc_buffer_append(out, at, 1);
        }
        cc_buffer_append(out, *at == '\n' ? " " : at, 1);
    }
    cc_buffer_append_text(out, "'\n");
}

void supervisor_put_settings(struct cc_buffer *out, const struct supervisor_place *place, uint32_t connections_max,
                             const struct supervisor_setting *settings, size_t n_settings)
{
    static const struct supervisor_setting own[] = {
        {"listen_addresses", ""}, // only the proxy talks to it
        {"unix_socket_permissions", "0700"},
        {"port", "5432"},
        {"wal_level", "replica"},
        {"max_wal_senders", "2"},
        {"shared_buffers", "128MB"},
        {"max_wal_size", "1GB"},
        {"timezone", "UTC"},
        {"log_timezone", "UTC"},
        {"datestyle", "ISO, MDY"},
        {"jit", "off"}, // statements are short
        {"logging_collector", "off"},
        {"log_line_prefix", "%m [%p] "},
        {"log_min_messages", "log"}, // without the errors of statements: they hold contents of rows
        {"log_min_error_statement", "panic"},
        {"log_checkpoints", "off"},
    };
    char number[16];
    cc_buffer_append_text(out,
                          "# Written by Caucus at every start. Change postgres.settings in config.json instead.\n");
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        put_setting(out, own[i].name, own[i].value);
    }
    (void)snprintf(number, sizeof(number), "%u", connections_max == 0 ? 100 : connections_max);
    put_setting(out, "max_connections", number);
    if (place->has_lz4) {
        put_setting(out, "default_toast_compression", "lz4"); // a third of the time of pglz, which is half of what large values cost
    }
    for (size_t i = 0; i < n_settings; i++) {
        put_setting(out, settings[i].name, settings[i].value);
    }
    put_setting(out, "unix_socket_directories", place->sockets); // the proxy relies on it: nothing overrides it
}

static bool write_all(int fd, struct cc_slice text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.data, text.n);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        text = cc_slice_of(text.data + n, text.n - (size_t)n);
    }
    return true;
}

static bool write_file(const char *path, const struct supervisor_user *user, int flags, struct cc_slice text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    bool done = fd >= 0 && write_all(fd, text) && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return done && give_to(user, path);
}

static bool includes_ours(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = strncmp(line, "include = 'caucus.conf'", strlen("include = 'caucus.conf'")) == 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

enum cc_status supervisor_write_settings(struct supervisor_place *place, const struct supervisor_user *user, uint32_t connections_max,
                                         const struct supervisor_setting *settings, size_t n_settings)
{
    static const char include[] = "\ninclude = 'caucus.conf'\n";
    struct cc_buffer text = {0};
    if (!place->tried_lz4) {
        place->tried_lz4 = true;
        place->has_lz4 = compresses_with_lz4(place);
    }
    supervisor_put_settings(&text, place, connections_max, settings, n_settings);
    char *ours = cc_path_join(place->postgres, "caucus.conf");
    char *fresh = cc_path_join(place->postgres, "caucus.conf.new");
    char *theirs = cc_path_join(place->postgres, "postgresql.conf");
    bool done = write_file(fresh, user, O_TRUNC, cc_buffer_slice(&text)) && rename(fresh, ours) == 0;
    done = done && (includes_ours(theirs) || write_file(theirs, user, O_APPEND, cc_slice_text(include)));
    cc_buffer_finish(&text);
    free(ours);
    free(fresh);
    free(theirs);
    return done ? CC_OK : CC_IO;
}

// -- The server that runs ------------------------------------------------------------------------------------------------

// Lines of postmaster.pid: pid, data directory, start time, port, socket directory, address, shared memory, status.
static pid_t read_postmaster_pid(const struct supervisor_place *place, char *status_out, size_t n)
{
    char text[2 * PATH_MAX] = "";
    char *path = cc_path_join(place->postgres, "postmaster.pid");
    bool there = read_file(path, text, sizeof(text));
    free(path);
    if (!there) {
        return 0;
    }
    const char *line = text;
    for (unsigned i = 0; i < 7 && line != NULL; i++) {
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    (void)snprintf(status_out, n, "%.*s", line == NULL ? 0 : (int)strcspn(line, " \n"), line == NULL ? "" : line);
    long pid = strtol(text, NULL, 10);
    return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

// The number may belong to another process by now: a server's current directory is its data directory.
static bool runs_on(const struct supervisor_place *place, pid_t pid)
{
    char link[64], directory[PATH_MAX], real[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(link, directory, sizeof(directory) - 1);
    if (n <= 0 || realpath(place->postgres, real) == NULL) {
        return false;
    }
    directory[n] = '\0';
    return strcmp(directory, real) == 0;
}

pid_t supervisor_server_pid(const struct supervisor_place *place)
{
    char status[16];
    pid_t pid = read_postmaster_pid(place, status, sizeof(status));
    return pid != 0 && runs_on(place, pid) ? pid : 0;
}

pid_t supervisor_stale_pid(const struct supervisor_place *place)
{
    char status[16];
    pid_t pid = read_postmaster_pid(place, status, sizeof(status));
    return pid != 0 && !runs_on(place, pid) ? pid : 0;
}

bool supervisor_server_ready(const struct supervisor_place *place, pid_t pid)
{
    char status[16] = "";
    return read_postmaster_pid(place, status, sizeof(status)) == pid && strcmp(status, "ready") == 0;
}

int supervisor_open_log(const struct supervisor_place *place)
{
    struct stat status;
    if (stat(place->log, &status) == 0 && status.st_size > LOG_BYTES_MAX) {
        struct cc_buffer old = {0};
        cc_buffer_printf(&old, "%s.old", place->log);
        (void)rename(place->log, cc_buffer_text(&old));
        cc_buffer_finish(&old);
    }
    return open(place->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

// Without the time and process number in front.
static const char *message_of(const char *line)
{
    const char *end = strstr(line, "] ");
    return end == NULL ? line : end + 2;
}

void supervisor_last_words(const struct supervisor_place *place, long from, char *text_out, size_t n)
{
    FILE *file = fopen(place->log, "re");
    char line[512], last[512] = "", before[512] = "";
    bool fatal = false;
    if (file != NULL && fseek(file, from, SEEK_SET) != 0) {
        rewind(file);
    }
    while (file != NULL && !fatal && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0') {
            memcpy(before, last, sizeof(before));
            memcpy(last, line, sizeof(last));
        }
        fatal = strstr(line, "FATAL:") != NULL || strstr(line, "PANIC:") != NULL || strstr(line, "error:") != NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    // What led to a FATAL often stands in the line before.
    bool both = fatal && before[0] != '\0';
    (void)snprintf(text_out, n, "%s%s%s", both ? message_of(before) : "", both ? "; " : "", message_of(last));
}
