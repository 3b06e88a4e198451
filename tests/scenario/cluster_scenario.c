// Runs scenario files (scenario_file.h) against a whole cluster: nodes of the program over simulated networks, disks, clocks and
// databases (harness/harness.h). Everything that happens by itself is deterministic; time passes only with tick, step and settle.
// usage: cluster_scenario FILE...    REWRITE=1 writes the output found into the files (then read the diff).
//
// What is said by itself: elections ("2 is leader, term 2"), and what became of requests ("put orders 1 at 2: done, entry 5"). The
// comment above each command below says what it does. Durations are like 300ms or 2s, a replica is its number, * is any.
#include "harness/harness.h"
#include "scenario/scenario_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICAS_MAX = 5, STATEMENT_WORD_BYTES = 24, RUN_IN_MS = 2000 };

struct death { // of a replica, at a stage that is still to come
    bool planned;
    enum sim_stage stage;
    enum sim_moment moment;
    enum harness_fate fate;
};

struct scenario {
    struct harness *harness;
    struct cc_buffer *out;
    enum raft_role roles[REPLICAS_MAX + 1];
    struct death deaths[REPLICAS_MAX + 1];
    bool watches_applied[REPLICAS_MAX + 1];
    unsigned watched_stages[REPLICAS_MAX + 1]; // bits: not said yet
    bool hushes_elections;
    struct harness_session session;
};

static const char *const stage_names[] = {
    [SIM_STAGE_LOG] = "log",   [SIM_STAGE_WRITE] = "write", [SIM_STAGE_SYNC] = "sync",     [SIM_STAGE_SEND] = "send",
    [SIM_STAGE_JOBS] = "jobs", [SIM_STAGE_APPLY] = "apply", [SIM_STAGE_ANSWER] = "answer",
};
enum { STAGES = SIM_STAGE_ANSWER + 1 };
static const char *const moment_names[] = {[SIM_BEFORE] = "before", [SIM_AFTER] = "after"};

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

// Lists (append) end with a blank.
static struct cc_slice trimmed(struct cc_slice value)
{
    bool blank = value.n > 0 && value.data[value.n - 1] == ' ';
    return cc_slice_of(value.data, blank ? value.n - 1 : value.n);
}

static const char *role_name(enum raft_role role)
{
    return role == RAFT_PRE_CANDIDATE ? "pre-candidate" : raft_role_name(role);
}

// -- Hooks ----------------------------------------------------------------------------------------------------------

// Who follows, or only asks whether it might stand for election, is not spoken of: that is a matter of microseconds.
static void on_role(void *context, struct harness *harness, uint32_t replica, enum raft_role role, uint64_t term,
                    uint32_t leader)
{
    (void)harness;
    (void)leader;
    struct scenario *scenario = context;
    bool led = scenario->roles[replica] == RAFT_LEADER;
    scenario->roles[replica] = role;
    if (scenario->hushes_elections) {
        return;
    }
    if (role == RAFT_CANDIDATE || role == RAFT_LEADER) {
        cc_buffer_printf(scenario->out, "%u is %s, term %" PRIu64 "\n", replica, role_name(role), term);
    } else if (led) {
        cc_buffer_printf(scenario->out, "%u leads no more\n", replica);
    }
}

static const char *const durability_names[] = {[OPERATION_LOCAL] = "local", [OPERATION_MAJORITY] = "majority", [OPERATION_ALL] = "all"};

static void on_answered(void *context, struct harness *harness, uint64_t request)
{
    const struct scenario *scenario = context;
    const struct harness_answer *answer = harness_answer(harness, request);
    cc_buffer_printf(scenario->out, answer->is_read ? "read %s at %u: " : "%s at %u: ", answer->text, answer->replica);
    if (answer->kind == HARNESS_DONE && answer->is_read) {
        cc_buffer_append_slice(scenario->out,
                               answer->value.data == NULL ? cc_slice_text("no row") : trimmed(answer->value));
    } else {
        cc_buffer_append_text(scenario->out, harness_outcome_name(answer->kind));
    }
    if (answer->kind == HARNESS_DONE && answer->index > 0 && !answer->is_read) {
        cc_buffer_printf(scenario->out, ", entry %" PRIu64, answer->index);
    }
    if (answer->kind == HARNESS_DONE && answer->asked != OPERATION_LOCAL) {
        cc_buffer_printf(scenario->out, ", durability=%s", durability_names[answer->reached]);
    }
    cc_buffer_append_text(scenario->out, "\n");
}

static void on_applied(void *context, struct harness *harness, uint32_t replica, uint64_t index)
{
    (void)harness;
    const struct scenario *scenario = context;
    if (scenario->watches_applied[replica]) {
        cc_buffer_printf(scenario->out, "%u applied %" PRIu64 "\n", replica, index);
    }
}

static enum harness_fate on_stage(void *context, struct harness *harness, uint32_t replica, enum sim_stage stage,
                                  enum sim_moment moment, const struct node_effects *effects)
{
    (void)harness;
    (void)effects;
    struct scenario *scenario = context;
    struct death *death = &scenario->deaths[replica];
    unsigned bit = 1u << (2 * (unsigned)stage + (unsigned)moment);
    if ((scenario->watched_stages[replica] & bit) != 0) {
        scenario->watched_stages[replica] &= ~bit;
        cc_buffer_printf(scenario->out, "%u %s %s\n", replica, moment_names[moment], stage_names[stage]);
    }
    if (!death->planned || death->stage != stage || death->moment != moment) {
        return HARNESS_GO_ON;
    }
    death->planned = false;
    scenario->roles[replica] = RAFT_FOLLOWER;
    cc_buffer_printf(scenario->out, "%u dies %s %s\n", replica, moment_names[moment], stage_names[stage]);
    return death->fate;
}

// -- Words ----------------------------------------------------------------------------------------------------------

// 0: not a replica's number.
static uint32_t replica_in(const struct scenario *scenario, const struct scenario_words *words, unsigned at)
{
    uint64_t id = scenario_number(words, at);
    return id >= 1 && id <= harness_size(scenario->harness) ? (uint32_t)id : 0;
}

// A replica's number, or * (0). False: neither.
static bool any_in(const struct scenario *scenario, const struct scenario_words *words, unsigned at, uint32_t *id_out)
{
    if (at >= words->n) {
        return false;
    }
    *id_out = replica_in(scenario, words, at);
    return *id_out != 0 || is(words->word[at], "*");
}

// Milliseconds; 0: no duration.
static uint64_t duration_in(const struct scenario_words *words, unsigned at)
{
    if (at >= words->n) {
        return 0;
    }
    char *unit = NULL;
    uint64_t value = strtoull(words->word[at], &unit, 10);
    return is(unit, "ms") ? value : is(unit, "s") ? value * 1000 : 0;
}

// Where the words "at N" stand; words->n: nowhere.
static unsigned find_at(const struct scenario_words *words)
{
    unsigned at = 1;
    while (at < words->n && !is(words->word[at], "at")) {
        at++;
    }
    return at;
}

// The replica after "at", else the first one that runs.
static uint32_t asked_in(const struct scenario *scenario, const struct scenario_words *words, unsigned at)
{
    if (at < words->n) {
        return at + 2 == words->n ? replica_in(scenario, words, at + 1) : 0;
    }
    for (uint32_t id = 1; id <= harness_size(scenario->harness); id++) {
        if (harness_node(scenario->harness, id) != NULL) {
            return id;
        }
    }
    return 1;
}

// -- The cluster and time -------------------------------------------------------------------------------------------

// Until 1 leads, all are equal and nothing is left to do; nothing is said.
static void run_in(struct scenario *scenario)
{
    size_t n = scenario->out->n;
    (void)harness_wait_for_leader(scenario->harness);
    (void)harness_settle(scenario->harness, NULL);
    harness_run_ms(scenario->harness, RUN_IN_MS);
    scenario->out->n = n;
}

// cluster N [led] [seed=S] [election=MS] [timeout=MS] [log=BYTES] [garbage=MS]: a new one, with "led" one that has a leader and is at rest.
// Election 1000 ms, requests 5000 ms.
static bool do_cluster(struct scenario *scenario, const struct scenario_words *words)
{
    uint64_t n = scenario_number(words, 1);
    if (n < 1 || n > REPLICAS_MAX) {
        return false;
    }
    harness_destroy(scenario->harness);
    struct harness_options options = {
        .n_replicas = (uint32_t)n,
        .seed = scenario_option(words, "seed"),
        .election_ms = (uint32_t)scenario_option(words, "election"),
        .timeout_ms = (uint32_t)scenario_option(words, "timeout"),
        .log_bytes = scenario_option(words, "log"),
        .garbage_ms = (uint32_t)scenario_option(words, "garbage"),
        .hooks =
            {.context = scenario, .stage = on_stage, .applied = on_applied, .role = on_role, .answered = on_answered},
    };
    *scenario = (struct scenario){.out = scenario->out};
    scenario->harness = harness_create(&options);
    if (words->n > 2 && is(words->word[2], "led")) {
        run_in(scenario);
    }
    return true;
}

// tick DURATION: time passes.
static bool do_tick(struct scenario *scenario, const struct scenario_words *words)
{
    uint64_t ms = duration_in(words, 1);
    if (ms > 0) {
        harness_run_ms(scenario->harness, ms);
    }
    return ms > 0;
}

// step [N]: the next event of the cluster; or of one replica, while the others stand still.
static bool do_step(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t id = replica_in(scenario, words, 1);
    bool stepped =
        words->n == 1 ? harness_step(scenario->harness) : id != 0 && harness_step_replica(scenario->harness, id);
    if (!stepped) {
        cc_buffer_append_text(scenario->out, "no event\n");
    }
    return words->n == 1 || id != 0;
}

// settle: until every replica is up and equal and no request waits.
static bool do_settle(struct scenario *scenario, const struct scenario_words *words)
{
    struct cc_buffer why_not = {0};
    bool settled = harness_settle(scenario->harness, &why_not);
    cc_buffer_printf(scenario->out, settled ? "all are equal\n" : "not settled: %s\n", cc_buffer_text(&why_not));
    cc_buffer_finish(&why_not);
    return words->n == 1;
}

// -- Requests -------------------------------------------------------------------------------------------------------

static const struct statement {
    const char *verb;
    bool weak;
    unsigned n_words;
} statements[] = {
    {"put", false, 3},   {"append", false, 3}, {"delete", false, 2}, {"move", false, 3},  {"fail", false, 1},
    {"insert", true, 3}, {"update", true, 4},  {"upsert", true, 4},  {"delete", true, 2},
};

static bool is_statement(const struct scenario_words *words, unsigned from, unsigned to, bool weak)
{
    bool good = false;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && from < to; i++) {
        good = good || (is(statements[i].verb, words->word[from]) && statements[i].weak == weak &&
                        statements[i].n_words == to - from);
    }
    for (unsigned i = from; i < to; i++) {
        good = good && strlen(words->word[i]) < STATEMENT_WORD_BYTES;
    }
    return good;
}

// put KEY VALUE [at N], append KEY VALUE, delete KEY, move KEY KEY2, fail: strong writes, which N forwards to the leader.
// The words "until majority" or "until all" at the end of a weak write, which they are taken off. False: neither.
static bool take_durability(struct scenario_words *words, enum operation_durability *durability_out)
{
    *durability_out = OPERATION_LOCAL;
    if (words->n < 3 || !is(words->word[words->n - 2], "until")) {
        return true;
    }
    for (size_t i = OPERATION_MAJORITY; i <= OPERATION_ALL; i++) {
        if (is(words->word[words->n - 1], durability_names[i])) {
            *durability_out = (enum operation_durability)i;
        }
    }
    words->n -= 2;
    return *durability_out != OPERATION_LOCAL;
}

// weak insert KEY VALUE [at N] [until majority|all], weak update KEY COLUMN VALUE, weak upsert KEY COLUMN VALUE, weak delete KEY; columns are a, b, n, c.
static bool do_write(struct scenario *scenario, const struct scenario_words *given)
{
    struct scenario_words shorter = *given, *words = &shorter;
    bool weak = is(words->word[0], "weak");
    enum operation_durability durability;
    if (!take_durability(words, &durability) || (!weak && durability != OPERATION_LOCAL)) {
        return false;
    }
    unsigned from = weak ? 1 : 0, to = find_at(words);
    uint32_t replica = asked_in(scenario, words, to);
    if (!is_statement(words, from, to, weak) || replica == 0) {
        return false;
    }
    struct cc_buffer text = {0};
    for (unsigned i = from; i < to; i++) {
        cc_buffer_printf(&text, i == from ? "%s" : " %s", words->word[i]);
    }
    if (weak) {
        harness_write_weak_to(scenario->harness, replica, cc_buffer_text(&text), durability);
    } else {
        harness_write(scenario->harness, replica, cc_buffer_text(&text));
    }
    cc_buffer_finish(&text);
    return true;
}

// read [weak] KEY [at N] [session]: a linearizable read of a strong or weak row, or one that sees what the session has seen.
static bool do_read(struct scenario *scenario, const struct scenario_words *given)
{
    struct scenario_words shorter = *given, *words = &shorter;
    bool in_session = words->n > 2 && is(words->word[words->n - 1], "session");
    words->n -= in_session ? 1 : 0;
    unsigned to = find_at(words), from = words->n > 1 && is(words->word[1], "weak") ? 2 : 1;
    uint32_t replica = asked_in(scenario, words, to);
    if (to != from + 1 || replica == 0) {
        return false;
    }
    if (in_session) {
        harness_read_session(scenario->harness, replica, words->word[from], from == 2, &scenario->session);
    } else if (from == 2) {
        harness_read_weak(scenario->harness, replica, words->word[from]);
    } else {
        harness_read(scenario->harness, replica, words->word[from]);
    }
    return true;
}

// see at N: the session has seen what that replica shows now.
static bool do_see(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t replica = asked_in(scenario, words, find_at(words));
    if (find_at(words) != 1 || replica == 0) {
        return false;
    }
    harness_see(scenario->harness, replica, &scenario->session);
    return true;
}

// garbage: how many tombstones and change sets of weak tables each database still has.
static bool do_garbage(struct scenario *scenario, const struct scenario_words *words)
{
    for (uint32_t id = 1; id <= harness_size(scenario->harness); id++) {
        uint64_t n_tombstones, n_sets;
        harness_count_garbage(scenario->harness, id, &n_tombstones, &n_sets);
        cc_buffer_printf(scenario->out, "%u: %" PRIu64 " tombstones, %" PRIu64 " change sets\n", id, n_tombstones, n_sets);
    }
    return words->n == 1;
}

// remove N, add N: of the members; the leader is asked.
static bool do_member(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t replica = replica_in(scenario, words, 1);
    enum node_member_action action = is(words->word[0], "remove") ? NODE_MEMBER_REMOVE : NODE_MEMBER_ADD;
    if (words->n != 2 || replica == 0) {
        return false;
    }
    enum cc_status status = harness_change_members(scenario->harness, action, replica);
    cc_buffer_printf(scenario->out, "%s %u: %s\n", words->word[0], replica, status == CC_OK ? "begun" : cc_status_text(status));
    return true;
}

// show KEY, show weak KEY: what each database holds.
static bool do_show(struct scenario *scenario, const struct scenario_words *words)
{
    bool weak = words->n == 3 && is(words->word[1], "weak");
    if (!weak && words->n != 2) {
        return false;
    }
    for (uint32_t id = 1; id <= harness_size(scenario->harness); id++) {
        struct cc_buffer row = {0};
        bool found = weak ? harness_look_weak(scenario->harness, id, words->word[2], &row)
                          : harness_look(scenario->harness, id, words->word[1], &row);
        cc_buffer_printf(scenario->out, "%u: ", id);
        cc_buffer_append_slice(scenario->out, found ? trimmed(cc_buffer_slice(&row)) : cc_slice_text("no row"));
        cc_buffer_append_text(scenario->out, "\n");
        cc_buffer_finish(&row);
    }
    return true;
}

// status: one line for each replica.
static bool do_status(struct scenario *scenario, const struct scenario_words *words)
{
    for (uint32_t id = 1; id <= harness_size(scenario->harness); id++) {
        const struct node *node = harness_node(scenario->harness, id);
        if (node == NULL) {
            cc_buffer_printf(scenario->out, "%u down\n", id);
            continue;
        }
        const struct raft *raft = node_raft(node);
        struct node_status status;
        node_describe(node, harness_now_us(scenario->harness), &status);
        cc_buffer_printf(scenario->out,
                         "%u %s term=%" PRIu64 " leader=%u last=%" PRIu64 " disk=%" PRIu64 " commit=%" PRIu64
                         " applied=%" PRIu64 "%s\n",
                         id, role_name(raft_role(raft)), raft_term(raft), raft_leader(raft), raft_last_index(raft),
                         harness_disk(scenario->harness, id)->last_index, raft_commit(raft), status.applied,
                         harness_is_paused(scenario->harness, id) ? " paused" : "");
    }
    return words->n == 1;
}

// -- Replicas -------------------------------------------------------------------------------------------------------

static bool plan_death(struct scenario *scenario, uint32_t id, const struct scenario_words *words,
                       enum harness_fate fate)
{
    struct death *death = &scenario->deaths[id];
    for (unsigned stage = 0; stage < STAGES; stage++) {
        for (unsigned moment = SIM_BEFORE; moment <= SIM_AFTER; moment++) {
            if (is(words->word[2], moment_names[moment]) && is(words->word[3], stage_names[stage])) {
                *death = (struct death){true, (enum sim_stage)stage, (enum sim_moment)moment, fate};
            }
        }
    }
    return death->planned;
}

// kill N, power-off N: now, or with "before STAGE" or "after STAGE" when it next comes there: log, write, sync, send, jobs, apply, answer.
static bool do_stop(struct scenario *scenario, const struct scenario_words *words)
{
    enum harness_fate fate = is(words->word[0], "kill") ? HARNESS_KILL : HARNESS_CUT_POWER;
    uint32_t id = replica_in(scenario, words, 1);
    if (id == 0 || (words->n != 2 && words->n != 4)) {
        return false;
    }
    if (words->n == 4) {
        return plan_death(scenario, id, words, fate);
    }
    scenario->roles[id] = RAFT_FOLLOWER;
    harness_stop(scenario->harness, id, fate);
    return true;
}

// start N, pause N, resume N, crash-database N
static bool do_life(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t id = replica_in(scenario, words, 1);
    if (id == 0) {
        return false;
    }
    if (is(words->word[0], "start")) {
        harness_start(scenario->harness, id);
    } else if (is(words->word[0], "crash-database")) {
        harness_crash_database(scenario->harness, id);
    } else if (is(words->word[0], "pause")) {
        harness_pause(scenario->harness, id);
    } else {
        harness_resume(scenario->harness, id);
    }
    return true;
}

// timeout N: its election timeout is over, for it alone.
static bool do_timeout(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t id = replica_in(scenario, words, 1);
    if (id != 0 && !harness_time_out(scenario->harness, id)) {
        cc_buffer_append_text(scenario->out, "it has none\n");
    }
    return id != 0;
}

// clock N fast|slow TIME, clock N right: its wall clock.
static bool do_clock(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t id = replica_in(scenario, words, 1);
    bool right = words->n == 3 && is(words->word[2], "right");
    uint64_t ms = words->n == 4 ? duration_in(words, 3) : 0;
    if (id == 0 || (!right && ms == 0)) {
        return false;
    }
    harness_set_clock(scenario->harness, id, is(words->word[2], "slow") ? -(int64_t)ms : (int64_t)ms);
    return true;
}

// watch applied N: every entry that it applies. watch stages N: when it next comes to each.
static bool do_watch(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t id = replica_in(scenario, words, 2);
    bool applied = words->n == 3 && is(words->word[1], "applied");
    bool stages = words->n == 3 && is(words->word[1], "stages");
    if (applied) {
        scenario->watches_applied[id] = true;
    } else if (stages) {
        scenario->watched_stages[id] = UINT32_MAX;
    }
    return id != 0 && (applied || stages);
}

// hush: elections are not spoken of, where chance decides who asks first.
static bool do_hush(struct scenario *scenario, const struct scenario_words *words)
{
    scenario->hushes_elections = true;
    return words->n == 1;
}

// -- Messages -------------------------------------------------------------------------------------------------------

static bool add_rule(struct scenario *scenario, const struct faults_rule *rule)
{
    return harness_add_fault(scenario->harness, rule) != 0;
}

// isolate N
static bool do_isolate(struct scenario *scenario, const struct scenario_words *words)
{
    return add_rule(scenario, &(struct faults_rule){.kind = FAULTS_ISOLATE, .replica = replica_in(scenario, words, 1)});
}

// cut A B: both directions. cut-one-way FROM TO
static bool do_cut(struct scenario *scenario, const struct scenario_words *words)
{
    uint32_t from = 0, to = 0;
    bool good = any_in(scenario, words, 1, &from) && any_in(scenario, words, 2, &to);
    bool both = is(words->word[0], "cut");
    good = good && add_rule(scenario, &(struct faults_rule){.kind = FAULTS_DROP, .from = from, .to = to});
    return good && (!both || add_rule(scenario, &(struct faults_rule){.kind = FAULTS_DROP, .from = to, .to = from}));
}

// split 1,2 3: nothing passes between segments; who is not named makes one more.
static bool do_split(struct scenario *scenario, const struct scenario_words *words)
{
    struct faults_rule rule = {.kind = FAULTS_SPLIT};
    for (unsigned i = 1; i < words->n; i++) {
        const char *text = words->word[i];
        for (char *end = NULL; *text != '\0' && rule.n_listed < FAULTS_LISTED_MAX; text = *end == ',' ? end + 1 : end) {
            uint32_t id = (uint32_t)strtoul(text, &end, 10);
            if (end == text || (*end != ',' && *end != '\0')) {
                return false;
            }
            rule.listed[rule.n_listed++] = (struct faults_listed){id, i};
        }
    }
    return add_rule(scenario, &rule);
}

// Of "nth K", "every K", "percent P", "jitter DURATION".
static bool read_option(const struct scenario_words *words, unsigned at, struct faults_rule *rule)
{
    if (at + 1 >= words->n) {
        return false;
    }
    rule->n = is(words->word[at], "jitter") ? rule->n : (uint32_t)scenario_number(words, at + 1);
    if (is(words->word[at], "nth")) {
        rule->pick = FAULTS_NTH;
    } else if (is(words->word[at], "every")) {
        rule->pick = FAULTS_EVERY;
    } else if (is(words->word[at], "percent")) {
        rule->pick = FAULTS_CHANCE;
        rule->n *= FAULTS_PPM / 100;
    } else if (is(words->word[at], "jitter")) {
        rule->jitter_ms = (uint32_t)duration_in(words, at + 1);
    } else {
        return false;
    }
    return true;
}

// drop FROM TO [nth K | every K | percent P]; delay FROM TO DURATION [jitter DURATION] [...]; reorder FROM TO DURATION [...]
static bool do_fault(struct scenario *scenario, const struct scenario_words *words)
{
    struct faults_rule rule = {.kind = is(words->word[0], "drop")    ? FAULTS_DROP
                                       : is(words->word[0], "delay") ? FAULTS_DELAY
                                                                     : FAULTS_REORDER};
    if (!any_in(scenario, words, 1, &rule.from) || !any_in(scenario, words, 2, &rule.to)) {
        return false;
    }
    unsigned at = 3;
    if (rule.kind != FAULTS_DROP) {
        rule.delay_ms = (uint32_t)duration_in(words, at++);
    }
    for (; at < words->n; at += 2) {
        if (!read_option(words, at, &rule)) {
            return false;
        }
    }
    return add_rule(scenario, &rule);
}

// faults: how many messages each rule has seen, and dropped or delayed.
static bool do_faults(struct scenario *scenario, const struct scenario_words *words)
{
    static const char *const names[] = {"drop", "delay", "reorder", "isolate", "split"};
    const struct faults *faults = harness_faults(scenario->harness);
    for (size_t i = 0; i < faults->n_rules; i++) {
        const struct faults_rule *rule = &faults->rules[i];
        cc_buffer_printf(scenario->out, "%u %s: %" PRIu64 " of %" PRIu64 "\n", rule->id, names[rule->kind], rule->n_hit,
                         rule->n_seen);
    }
    return words->n == 1;
}

// mend ID: one rule ends. heal: all do, and connections that lost messages are made anew.
static bool do_mend(struct scenario *scenario, const struct scenario_words *words)
{
    return harness_remove_fault(scenario->harness, (uint32_t)scenario_number(words, 1));
}

static bool do_heal(struct scenario *scenario, const struct scenario_words *words)
{
    harness_heal(scenario->harness);
    return words->n == 1;
}

// -- All ------------------------------------------------------------------------------------------------------------

static const struct command {
    const char *name;
    bool (*run)(struct scenario *scenario, const struct scenario_words *words);
} commands[] = {
    {"cluster", do_cluster},     {"tick", do_tick},       {"step", do_step},      {"settle", do_settle},
    {"put", do_write},           {"append", do_write},    {"delete", do_write},   {"move", do_write},
    {"fail", do_write},          {"weak", do_write},      {"read", do_read},      {"show", do_show},
    {"status", do_status},       {"kill", do_stop},       {"power-off", do_stop}, {"start", do_life},
    {"crash-database", do_life}, {"pause", do_life},      {"resume", do_life},    {"timeout", do_timeout},
    {"clock", do_clock},         {"see", do_see},         {"garbage", do_garbage}, {"remove", do_member},
    {"add", do_member},
    {"watch", do_watch},         {"isolate", do_isolate}, {"cut", do_cut},        {"cut-one-way", do_cut},
    {"split", do_split},         {"drop", do_fault},      {"delay", do_fault},    {"reorder", do_fault},
    {"faults", do_faults},       {"mend", do_mend},       {"hush", do_hush},      {"heal", do_heal},
};

static bool run_command(void *context, const struct scenario_words *words)
{
    struct scenario *scenario = context;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (is(commands[i].name, words->word[0]) && (scenario->harness != NULL || i == 0)) {
            return commands[i].run(scenario, words);
        }
    }
    return false;
}

static void *begin(struct cc_buffer *out)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    scenario->out = out;
    return scenario;
}

static const char *violation(const void *scenario)
{
    (void)scenario;
    return ""; // the simulator ends the process
}

static void end(void *context)
{
    struct scenario *scenario = context;
    harness_destroy(scenario->harness);
    free(scenario);
}

int main(int argc, char **argv)
{
    static const struct scenario_language language = {begin, run_command, violation, end};
    return scenario_main(argc, argv, &language);
}
