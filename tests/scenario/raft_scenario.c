// Runs scenario files (scenario_file.h) against a cluster of Raft cores and compares what happens, line by line, with what the file says.
// usage: raft_scenario FILE...    REWRITE=1 writes the output found into the files (then read the diff).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/raft_cluster.h"
#include "scenario/scenario_file.h"

enum { ELECTION_US = 1000000, HEARTBEAT_US = 100000 };

struct scenario {
    struct cluster cluster;
    bool started;
    struct cc_buffer *out;
};

static uint32_t server_id(const struct scenario *scenario, const struct scenario_words *words, unsigned at)
{
    uint64_t id = scenario_number(words, at);
    if (id < 1 || id > scenario->cluster.n_servers) {
        fprintf(stderr, "no such server in: %s\n", words->word[0]);
        exit(2);
    }
    return (uint32_t)id;
}

static void say_status(struct scenario *scenario, enum cc_status status)
{
    if (status != CC_OK) {
        cc_buffer_printf(scenario->out, "%s\n", cc_status_name(status));
    }
}

// -- Commands -------------------------------------------------------------------------------------------------------

// cluster voters=N [learners=N] [outside=N]: a new cluster; server 1 is first in line. Election 1000 ms, heartbeat 100 ms.
static void do_cluster(struct scenario *scenario, const struct scenario_words *words)
{
    struct cluster_options options = {
        .n_voters = (uint32_t)scenario_option(words, "voters"),
        .n_learners = (uint32_t)scenario_option(words, "learners"),
        .n_outside = (uint32_t)scenario_option(words, "outside"),
        .election_us = ELECTION_US,
        .heartbeat_us = HEARTBEAT_US,
        .seed = 1,
    };
    if (scenario->started) {
        cluster_finish(&scenario->cluster);
    }
    cluster_start(&scenario->cluster, &options);
    scenario->cluster.trace = scenario->out;
    scenario->started = true;
}

// campaign N: time goes on to N's election timeout, only N notices.
static void do_campaign(struct scenario *scenario, const struct scenario_words *words)
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
static void do_settle(struct scenario *scenario, const struct scenario_words *words)
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
static void do_run(struct scenario *scenario, const struct scenario_words *words)
{
    size_t from = scenario->out->n;
    cluster_run(&scenario->cluster, scenario_number(words, 1) * 1000);
    remove_messages(scenario->out, from);
}

// wait MS: time passes, but nobody notices yet.
static void do_wait(struct scenario *scenario, const struct scenario_words *words)
{
    scenario->cluster.now_us += scenario_number(words, 1) * 1000;
}

// tick N: its timers notice the time.
static void do_tick(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_tick(&scenario->cluster, server_id(scenario, words, 1));
}

// propose N TEXT...: each text is an entry; they are proposed before any output is taken.
static void do_propose(struct scenario *scenario, const struct scenario_words *words)
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
static void do_read(struct scenario *scenario, const struct scenario_words *words)
{
    unsigned n = words->n > 2 ? (unsigned)scenario_number(words, 2) : 1;
    cluster_read(&scenario->cluster, server_id(scenario, words, 1), n);
}

// sync N: its oldest write reaches the disk.
static void do_sync(struct scenario *scenario, const struct scenario_words *words)
{
    if (!cluster_sync(&scenario->cluster, server_id(scenario, words, 1))) {
        cc_buffer_append_text(scenario->out, "nothing to sync\n");
    }
}

static bool find_packet(struct scenario *scenario, const struct scenario_words *words, size_t *packet_out)
{
    const struct cluster *cluster = &scenario->cluster;
    for (size_t i = 0; i < cluster->n_packets; i++) {
        const struct raft_message *message = &cluster->packets[i].message;
        if (message->from == scenario_number(words, 1) && message->to == scenario_number(words, 2)) {
            *packet_out = i;
            return true;
        }
    }
    cc_buffer_append_text(scenario->out, "no such message\n");
    return false;
}

// deliver FROM TO, drop FROM TO, duplicate FROM TO: the oldest message on that path.
static void do_deliver(struct scenario *scenario, const struct scenario_words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_deliver(&scenario->cluster, packet);
    }
}

static void do_drop(struct scenario *scenario, const struct scenario_words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_drop(&scenario->cluster, packet);
    }
}

static void do_duplicate(struct scenario *scenario, const struct scenario_words *words)
{
    size_t packet = 0;
    if (find_packet(scenario, words, &packet)) {
        cluster_duplicate(&scenario->cluster, packet);
    }
}

// network: what is on its way.
static void do_network(struct scenario *scenario, const struct scenario_words *words)
{
    (void)words;
    const struct cluster *cluster = &scenario->cluster;
    for (size_t i = 0; i < cluster->n_packets; i++) {
        cluster_describe(&cluster->packets[i].message, scenario->out);
        cc_buffer_append_text(scenario->out, "\n");
    }
}

static void do_cut(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_cut(&scenario->cluster, server_id(scenario, words, 1), server_id(scenario, words, 2));
}

// cut-one-way FROM TO
static void do_cut_one_way(struct scenario *scenario, const struct scenario_words *words)
{
    scenario->cluster.cut[server_id(scenario, words, 1) - 1][server_id(scenario, words, 2) - 1] = true;
}

static void do_isolate(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_isolate(&scenario->cluster, server_id(scenario, words, 1));
}

static void do_heal(struct scenario *scenario, const struct scenario_words *words)
{
    (void)words;
    cluster_heal(&scenario->cluster);
}

static void do_crash(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_crash(&scenario->cluster, server_id(scenario, words, 1));
}

static void do_restart(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_restart(&scenario->cluster, server_id(scenario, words, 1), 1000);
}

// reset A B: A notices that its connection to B was lost and made again.
static void do_reset(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_reset_path(&scenario->cluster, server_id(scenario, words, 1), server_id(scenario, words, 2));
}

static void do_transfer(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t target = (uint32_t)scenario_number(words, 2);
    say_status(scenario, cluster_transfer(&scenario->cluster, server_id(scenario, words, 1), target));
}

// eligible N on|off
static void do_eligible(struct scenario *scenario, const struct scenario_words *words)
{
    struct cluster *cluster = &scenario->cluster;
    uint32_t id = server_id(scenario, words, 1);
    bool on = words->n > 2 && strcmp(words->word[2], "on") == 0;
    raft_set_eligible(cluster_raft(cluster, id), cluster->now_us, on);
    cluster_pump(cluster, id);
}

// member N learner|voter|remove ID: proposed at N.
static void do_member(struct scenario *scenario, const struct scenario_words *words)
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

static void do_compact(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_compact(&scenario->cluster, server_id(scenario, words, 1), scenario_number(words, 2));
}

static void do_install(struct scenario *scenario, const struct scenario_words *words)
{
    cluster_install(&scenario->cluster, server_id(scenario, words, 1), scenario_number(words, 2));
}

// status: one line per server.
static void do_status(struct scenario *scenario, const struct scenario_words *words)
{
    (void)words;
    struct cluster *cluster = &scenario->cluster;
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        const struct raft *raft = cluster_raft(cluster, id);
        if (raft == NULL) {
            cc_buffer_printf(scenario->out, "%u down\n", id);
            continue;
        }
        cc_buffer_printf(scenario->out,
                         "%u %s term=%" PRIu64 " leader=%u last=%" PRIu64 " disk=%" PRIu64 " commit=%" PRIu64, id,
                         raft_role_name(raft_role(raft)), raft_term(raft), raft_leader(raft), raft_last_index(raft),
                         raft_persisted_index(raft), raft_commit(raft));
        uint64_t wanted = raft_snapshot_wanted(raft);
        if (wanted > 0) {
            cc_buffer_printf(scenario->out, " wants a snapshot at %" PRIu64, wanted);
        }
        cc_buffer_append_text(scenario->out, "\n");
    }
}

// log N: its entries as index/term:text.
static void do_log(struct scenario *scenario, const struct scenario_words *words)
{
    const struct raft *raft = cluster_raft(&scenario->cluster, server_id(scenario, words, 1));
    for (uint64_t index = raft_first_index(raft); index <= raft_last_index(raft); index++) {
        const struct raft_entry *entry = raft_entry_at(raft, index);
        cc_buffer_append_text(scenario->out, index == raft_first_index(raft) ? "" : " ");
        cluster_describe_entry(entry, scenario->out);
    }
    cc_buffer_append_text(scenario->out, "\n");
}

static const struct command {
    const char *name;
    void (*run)(struct scenario *scenario, const struct scenario_words *words);
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

static bool run_command(void *context, const struct scenario_words *words)
{
    struct scenario *scenario = context;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, words->word[0]) == 0 && (scenario->started || i == 0)) {
            commands[i].run(scenario, words);
            return true;
        }
    }
    return false;
}

// -- Files ----------------------------------------------------------------------------------------------------------

static void *begin(struct cc_buffer *out)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    scenario->out = out;
    return scenario;
}

static const char *violation(const void *scenario)
{
    return ((const struct scenario *)scenario)->cluster.violation;
}

static void end(void *context)
{
    struct scenario *scenario = context;
    if (scenario->started) {
        cluster_finish(&scenario->cluster);
    }
    free(scenario);
}

int main(int argc, char **argv)
{
    static const struct scenario_language language = {begin, run_command, violation, end};
    return scenario_main(argc, argv, &language);
}
