// Runs scenario files against a cluster of Raft cores and compares what happens, line by line, with what the file says.
// A file is a list of blocks: commands, a line "----", the expected output, an empty line. Lines with '#' before a block are text.
// usage: raft_scenario FILE...    REWRITE=1 writes the output found into the files (then read the diff).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/raft_cluster.h"

enum { ELECTION_US = 1000000, HEARTBEAT_US = 100000, WORDS_MAX = 8, LINE_BYTES_MAX = 512 };

struct scenario {
    struct cluster cluster;
    bool started;
    struct cc_buffer out;
};

struct words {
    char text[LINE_BYTES_MAX];
    const char *word[WORDS_MAX];
    unsigned n;
};

static void split(const char *line, struct words *words)
{
    memset(words, 0, sizeof(*words));
    (void)snprintf(words->text, sizeof(words->text), "%s", line);
    char *rest = NULL;
    char *word = strtok_r(words->text, " ", &rest);
    while (word != NULL && words->n < WORDS_MAX) {
        words->word[words->n++] = word;
        word = strtok_r(NULL, " ", &rest);
    }
}

static uint64_t number(const struct words *words, unsigned at)
{
    return at < words->n ? strtoull(words->word[at], NULL, 10) : 0;
}

static uint32_t server_id(const struct scenario *scenario, const struct words *words, unsigned at)
{
    uint64_t id = number(words, at);
    if (id < 1 || id > scenario->cluster.n_servers) {
        fprintf(stderr, "no such server in: %s\n", words->word[0]);
        exit(2);
    }
    return (uint32_t)id;
}

static uint32_t option(const struct words *words, const char *key)
{
    size_t n = strlen(key);
    for (unsigned i = 1; i < words->n; i++) {
        if (strncmp(words->word[i], key, n) == 0 && words->word[i][n] == '=') {
            return (uint32_t)strtoul(words->word[i] + n + 1, NULL, 10);
        }
    }
    return 0;
}

static void say_status(struct scenario *scenario, enum cc_status status)
{
    if (status != CC_OK) {
        cc_buffer_printf(&scenario->out, "%s\n", cc_status_name(status));
    }
}

// -- Commands -------------------------------------------------------------------------------------------------------

// cluster voters=N [learners=N] [outside=N]: a new cluster; server 1 is first in line. Election 1000 ms, heartbeat 100 ms.
static void do_cluster(struct scenario *scenario, const struct words *words)
{
    struct cluster_options options = {
        .n_voters = option(words, "voters"),
        .n_learners = option(words, "learners"),
        .n_outside = option(words, "outside"),
        .election_us = ELECTION_US,
        .heartbeat_us = HEARTBEAT_US,
        .seed = 1,
    };
    if (scenario->started) {
        cluster_finish(&scenario->cluster);
    }
    cluster_start(&scenario->cluster, &options);
    scenario->cluster.trace = &scenario->out;
    scenario->started = true;
}

// campaign N: time goes on to N's election timeout, only N notices.
static void do_campaign(struct scenario *scenario, const struct words *words)
{
    struct cluster *cluster = &scenario->cluster;
    uint32_t id = server_id(scenario, words, 1);
    raft_tick(cluster_raft(cluster, id), cluster->now_us); // starts the timer of a new server
    cluster_pump(cluster, id);
    uint64_t next_us = raft_next_tick_us(cluster_raft(cluster, id));
    cluster->now_us = next_us > cluster->now_us ? next_us : cluster->now_us;
    cluster_tick(cluster, id);
}

// settle: everything is synced and delivered, in order, until nothing is left.
static void do_settle(struct scenario *scenario, const struct words *words)
{
    (void)words;
    cluster_settle(&scenario->cluster);
}

static void remove_messages(struct cc_buffer *out, size_t from)
{
    struct cc_buffer kept = {0};
    char *line = (char *)out->data + from;
    char *end = (char *)out->data + out->n;
    while (line < end) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)(stop - line) + 1;
        bool message = memmem(line, n, "->", 2) != NULL;
        if (!message) {
            cc_buffer_append(&kept, line, n);
        }
        line += n;
    }
    out->n = from;
    cc_buffer_append(out, kept.data, kept.n);
    cc_buffer_finish(&kept);
}

// run MS: time passes, everything settles at once; messages are not shown.
static void do_run(struct scenario *scenario, const struct words *words)
{
    size_t from = scenario->out.n;
    cluster_run(&scenario->cluster, number(words, 1) * 1000);
    remove_messages(&scenario->out, from);
}

// wait MS: time passes, but nobody notices yet.
static void do_wait(struct scenario *scenario, const struct words *words)
{
    scenario->cluster.now_us += number(words, 1) * 1000;
}

// tick N: its timers notice the time.
static void do_tick(struct scenario *scenario, const struct words *words)
{
    cluster_tick(&scenario->cluster, server_id(scenario, words, 1));
}

// propose N TEXT...: each text is an entry; they are proposed before any output is taken.
static void do_propose(struct scenario *scenario, const struct words *words)
{
    struct cluster *cluster = &scenario->cluster;
    uint32_t id = server_id(scenario, words, 1);
    for (unsigned i = 2; i < words->n; i++) {
        struct cc_blob *payload = cc_blob_create(words->word[i], strlen(words->word[i]));
        uint64_t index = 0;
        say_status(scenario,
                   raft_propose(cluster_raft(cluster, id), RAFT_ENTRY_DATA, cluster->now_us, payload, &index));
        cc_blob_unref(payload);
    }
    cluster_pump(cluster, id);
}

// read N [COUNT]: so many reads together.
static void do_read(struct scenario *scenario, const struct words *words)
{
    unsigned n = words->n > 2 ? (unsigned)number(words, 2) : 1;
    cluster_read(&scenario->cluster, server_id(scenario, words, 1), n);
}

// sync N: its oldest write reaches the disk.
static void do_sync(struct scenario *scenario, const struct words *words)
{
    if (!cluster_sync(&scenario->cluster, server_id(scenario, words, 1))) {
        cc_buffer_append_text(&scenario->out, "nothing to sync\n");
    }
}

static bool find_packet(struct scenario *scenario, const struct words *words, size_t *packet_out)
{
    const struct cluster *cluster = &scenario->cluster;
    for (size_t i = 0; i < cluster->n_packets; i++) {
        const struct raft_message *message = &cluster->packets[i].message;
        if (message->from == number(words, 1) && message->to == number(words, 2)) {
            *packet_out = i;
            return true;
        }
    }
    cc_buffer_append_text(&scenario->out, "no such message\n");
    return false;
}

// deliver FROM TO, drop FROM TO, duplicate FROM TO: the oldest message on that path.
static void do_deliver(struct scenario *scenario, const struct words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_deliver(&scenario->cluster, packet);
    }
}

static void do_drop(struct scenario *scenario, const struct words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_drop(&scenario->cluster, packet);
    }
}

static void do_duplicate(struct scenario *scenario, const struct words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_duplicate(&scenario->cluster, packet);
    }
}

// network: what is on its way.
static void do_network(struct scenario *scenario, const struct words *words)
{
    (void)words;
    const struct cluster *cluster = &scenario->cluster;
    for (size_t i = 0; i < cluster->n_packets; i++) {
        cluster_describe(&cluster->packets[i].message, &scenario->out);
        cc_buffer_append_text(&scenario->out, "\n");
    }
}

static void do_cut(struct scenario *scenario, const struct words *words)
{
    cluster_cut(&scenario->cluster, server_id(scenario, words, 1), server_id(scenario, words, 2));
}

// cut-one-way FROM TO
static void do_cut_one_way(struct scenario *scenario, const struct words *words)
{
    scenario->cluster.cut[server_id(scenario, words, 1) - 1][server_id(scenario, words, 2) - 1] = true;
}

static void do_isolate(struct scenario *scenario, const struct words *words)
{
    cluster_isolate(&scenario->cluster, server_id(scenario, words, 1));
}

static void do_heal(struct scenario *scenario, const struct words *words)
{
    (void)words;
    cluster_heal(&scenario->cluster);
}

static void do_crash(struct scenario *scenario, const struct words *words)
{
    cluster_crash(&scenario->cluster, server_id(scenario, words, 1));
}

static void do_restart(struct scenario *scenario, const struct words *words)
{
    cluster_restart(&scenario->cluster, server_id(scenario, words, 1), 1000);
}

// reset A B: A notices that its connection to B was lost and made again.
static void do_reset(struct scenario *scenario, const struct words *words)
{
    cluster_reset_path(&scenario->cluster, server_id(scenario, words, 1), server_id(scenario, words, 2));
}

static void do_transfer(struct scenario *scenario, const struct words *words)
{
    uint32_t target = (uint32_t)number(words, 2);
    say_status(scenario, cluster_transfer(&scenario->cluster, server_id(scenario, words, 1), target));
}

// eligible N on|off
static void do_eligible(struct scenario *scenario, const struct words *words)
{
    struct cluster *cluster = &scenario->cluster;
    uint32_t id = server_id(scenario, words, 1);
    bool on = words->n > 2 && strcmp(words->word[2], "on") == 0;
    raft_set_eligible(cluster_raft(cluster, id), cluster->now_us, on);
    cluster_pump(cluster, id);
}

// member N learner|voter|remove ID: proposed at N.
static void do_member(struct scenario *scenario, const struct words *words)
{
    struct cluster *cluster = &scenario->cluster;
    uint32_t id = server_id(scenario, words, 1);
    uint32_t member = server_id(scenario, words, 3);
    struct raft_membership next = *raft_membership(cluster_raft(cluster, id));
    uint32_t at = 0;
    while (at < next.n_members && next.members[at].id != member) {
        at++;
    }
    if (strcmp(words->word[2], "remove") == 0) {
        next.members[at] = next.members[--next.n_members];
    } else {
        next.members[at] = (struct raft_member){.id = member, .voter = strcmp(words->word[2], "voter") == 0};
        next.n_members = at == next.n_members ? at + 1 : next.n_members;
    }
    say_status(scenario, cluster_propose_membership(cluster, id, &next));
}

static void do_compact(struct scenario *scenario, const struct words *words)
{
    cluster_compact(&scenario->cluster, server_id(scenario, words, 1), number(words, 2));
}

static void do_install(struct scenario *scenario, const struct words *words)
{
    cluster_install(&scenario->cluster, server_id(scenario, words, 1), number(words, 2));
}

// status: one line per server.
static void do_status(struct scenario *scenario, const struct words *words)
{
    (void)words;
    struct cluster *cluster = &scenario->cluster;
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        const struct raft *raft = cluster_raft(cluster, id);
        if (raft == NULL) {
            cc_buffer_printf(&scenario->out, "%u down\n", id);
            continue;
        }
        cc_buffer_printf(&scenario->out,
                         "%u %s term=%" PRIu64 " leader=%u last=%" PRIu64 " disk=%" PRIu64 " commit=%" PRIu64, id,
                         raft_role_name(raft_role(raft)), raft_term(raft), raft_leader(raft), raft_last_index(raft),
                         raft_persisted_index(raft), raft_commit(raft));
        uint64_t wanted = raft_snapshot_wanted(raft);
        if (wanted > 0) {
            cc_buffer_printf(&scenario->out, " wants a snapshot at %" PRIu64, wanted);
        }
        cc_buffer_append_text(&scenario->out, "\n");
    }
}

// log N: its entries as index/term:text.
static void do_log(struct scenario *scenario, const struct words *words)
{
    const struct raft *raft = cluster_raft(&scenario->cluster, server_id(scenario, words, 1));
    for (uint64_t index = raft_first_index(raft); index <= raft_last_index(raft); index++) {
        const struct raft_entry *entry = raft_entry_at(raft, index);
        cc_buffer_append_text(&scenario->out, index == raft_first_index(raft) ? "" : " ");
        cluster_describe_entry(entry, &scenario->out);
    }
    cc_buffer_append_text(&scenario->out, "\n");
}

static const struct command {
    const char *name;
    void (*run)(struct scenario *scenario, const struct words *words);
} commands[] = {
    {"cluster", do_cluster},   {"campaign", do_campaign}, {"settle", do_settle},
    {"run", do_run},           {"wait", do_wait},         {"tick", do_tick},
    {"propose", do_propose},   {"read", do_read},         {"sync", do_sync},
    {"deliver", do_deliver},   {"drop", do_drop},         {"duplicate", do_duplicate},
    {"network", do_network},   {"cut", do_cut},           {"cut-one-way", do_cut_one_way},
    {"isolate", do_isolate},   {"heal", do_heal},         {"crash", do_crash},
    {"restart", do_restart},   {"reset", do_reset},       {"transfer", do_transfer},
    {"eligible", do_eligible}, {"member", do_member},     {"compact", do_compact},
    {"install", do_install},   {"status", do_status},     {"log", do_log},
};

static bool run_command(struct scenario *scenario, const char *line)
{
    struct words words;
    split(line, &words);
    if (words.n == 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words.word[0]) == 0 && (scenario->started || i == 0)) {
            commands[i].run(scenario, &words);
            return true;
        }
    }
    fprintf(stderr, "unknown command: %s\n", line);
    return false;
}

// -- Files ----------------------------------------------------------------------------------------------------------

static char *next_line(char **rest)
{
    char *line = *rest;
    if (*line == '\0') {
        return NULL;
    }
    char *end = strchr(line, '\n');
    if (end == NULL) {
        *rest = line + strlen(line);
        return line;
    }
    *end = '\0';
    *rest = end + 1;
    return line;
}

// Runs all blocks; writes the file as it should be. False: a command is not known.
static bool run_text(struct scenario *scenario, char *text, struct cc_buffer *result)
{
    char *rest = text;
    char *line = NULL;
    bool in_output = false;
    while ((line = next_line(&rest)) != NULL) {
        if (in_output && line[0] != '\0') {
            continue; // replaced by what was found
        }
        in_output = false;
        cc_buffer_printf(result, "%s\n", line);
        if (strcmp(line, "----") == 0) {
            if (scenario->cluster.violation[0] != '\0') {
                cc_buffer_printf(&scenario->out, "violation: %s\n", scenario->cluster.violation);
            }
            cc_buffer_append_slice(result, cc_buffer_slice(&scenario->out));
            cc_buffer_clear(&scenario->out);
            in_output = true;
            continue;
        }
        if (line[0] != '#' && !run_command(scenario, line)) {
            return false;
        }
    }
    return true;
}

static bool read_file(const char *path, struct cc_buffer *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    char bytes[4096];
    size_t n = 0;
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0) {
        cc_buffer_append(out, bytes, n);
    }
    (void)fclose(file);
    return true;
}

static void show_first_difference(const char *path, struct cc_buffer *expected, struct cc_buffer *found)
{
    char *expected_rest = (char *)(uintptr_t)cc_buffer_text(expected);
    char *found_rest = (char *)(uintptr_t)cc_buffer_text(found);
    for (unsigned at = 1;; at++) {
        const char *a = next_line(&expected_rest);
        const char *b = next_line(&found_rest);
        if (a == NULL || b == NULL || strcmp(a, b) != 0) {
            printf("%s:%u: expected: %s\n%s:%u: found:    %s\n", path, at, a != NULL ? a : "(end)", path, at,
                   b != NULL ? b : "(end)");
            return;
        }
    }
}

static bool write_file(const char *path, const struct cc_buffer *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    bool written = fwrite(text->data, 1, text->n, file) == text->n;
    return fclose(file) == 0 && written;
}

static bool run_file(const char *path, bool rewrite)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    struct cc_buffer text = {0};
    struct cc_buffer expected = {0};
    struct cc_buffer found = {0};
    bool good = read_file(path, &text);
    cc_buffer_append(&expected, text.data, text.n);
    (void)cc_buffer_text(&text);
    good = good && text.n > 0 && run_text(scenario, (char *)text.data, &found);
    bool sound = scenario->cluster.violation[0] == '\0';
    bool equal = good && cc_slice_equal(cc_buffer_slice(&expected), cc_buffer_slice(&found));
    if (good && !equal && rewrite) {
        good = write_file(path, &found);
    } else if (good && !equal) {
        show_first_difference(path, &expected, &found);
        good = false;
    }
    if (!sound) {
        printf("%s: %s\n", path, scenario->cluster.violation);
    }
    if (scenario->started) {
        cluster_finish(&scenario->cluster);
    }
    cc_buffer_finish(&scenario->out);
    cc_buffer_finish(&text);
    cc_buffer_finish(&expected);
    cc_buffer_finish(&found);
    free(scenario);
    return good && sound;
}

int main(int argc, char **argv)
{
    bool rewrite = getenv("REWRITE") != NULL;
    unsigned n_bad = 0;
    for (int i = 1; i < argc; i++) {
        if (!run_file(argv[i], rewrite)) {
            printf("%s: failed\n", argv[i]);
            n_bad++;
        }
    }
    printf("%d scenarios, %u failed\n", argc - 1, n_bad);
    return n_bad == 0 && argc > 1 ? 0 : 1;
}
