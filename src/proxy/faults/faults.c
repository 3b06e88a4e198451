// Faults of messages: matching, picking, deciding.
#include "proxy/faults/faults.h"

void faults_init(struct faults *faults, uint64_t seed)
{
    *faults = (struct faults){.next_id = 1};
    faults_seed(faults, seed);
}

void faults_seed(struct faults *faults, uint64_t seed)
{
    cc_prng_seed(&faults->prng, seed);
}

// -- Rules ----------------------------------------------------------------------------------------------------------

static bool picks_well(const struct faults_rule *rule)
{
    switch (rule->pick) {
    case FAULTS_ALL:
        return rule->n == 0;
    case FAULTS_NTH:
    case FAULTS_EVERY:
        return rule->n >= 1;
    case FAULTS_CHANCE:
        return rule->n >= 1 && rule->n <= FAULTS_PPM;
    }
    return false;
}

static bool is_valid(const struct faults_rule *rule)
{
    bool waits = rule->delay_ms > 0 || rule->jitter_ms > 0;
    bool in_range = rule->delay_ms <= FAULTS_DELAY_MS_MAX && rule->jitter_ms <= FAULTS_DELAY_MS_MAX;
    switch (rule->kind) {
    case FAULTS_DROP:
        return picks_well(rule) && !waits;
    case FAULTS_DELAY:
    case FAULTS_REORDER:
        return picks_well(rule) && waits && in_range;
    case FAULTS_ISOLATE:
        return rule->replica != 0 && rule->pick == FAULTS_ALL && !waits;
    case FAULTS_SPLIT:
        return rule->n_listed > 0 && rule->n_listed <= FAULTS_LISTED_MAX && rule->pick == FAULTS_ALL && !waits;
    }
    return false;
}

enum cc_status faults_add(struct faults *faults, const struct faults_rule *rule, uint32_t *id_out)
{
    if (!is_valid(rule)) {
        return CC_INVALID;
    }
    if (faults->n_rules == FAULTS_RULES_MAX) {
        return CC_TOO_LARGE;
    }
    struct faults_rule *added = &faults->rules[faults->n_rules++];
    *added = *rule;
    added->id = faults->next_id++;
    added->n_seen = added->n_hit = 0;
    *id_out = added->id;
    return CC_OK;
}

enum cc_status faults_remove(struct faults *faults, uint32_t id)
{
    size_t at = 0;
    while (at < faults->n_rules && faults->rules[at].id != id) {
        at++;
    }
    if (at == faults->n_rules) {
        return CC_NOT_FOUND;
    }
    faults->n_rules--;
    for (; at < faults->n_rules; at++) {
        faults->rules[at] = faults->rules[at + 1];
    }
    return CC_OK;
}

void faults_clear(struct faults *faults)
{
    faults->n_rules = 0;
}

// -- Deciding -------------------------------------------------------------------------------------------------------

static uint32_t segment_of(const struct faults_rule *rule, uint32_t replica)
{
    for (uint32_t i = 0; i < rule->n_listed; i++) {
        if (rule->listed[i].replica == replica) {
            return rule->listed[i].segment;
        }
    }
    return UINT32_MAX;
}

static bool matches(const struct faults_rule *rule, uint32_t from, uint32_t to)
{
    switch (rule->kind) {
    case FAULTS_DROP:
    case FAULTS_DELAY:
    case FAULTS_REORDER:
        return (rule->from == 0 || rule->from == from) && (rule->to == 0 || rule->to == to);
    case FAULTS_ISOLATE:
        return rule->replica == from || rule->replica == to;
    case FAULTS_SPLIT:
        return segment_of(rule, from) != segment_of(rule, to);
    }
    return false;
}

// Counts the message as seen.
static bool picks(struct faults *faults, struct faults_rule *rule)
{
    rule->n_seen++;
    switch (rule->pick) {
    case FAULTS_ALL:
        return true;
    case FAULTS_NTH:
        return rule->n_seen == rule->n;
    case FAULTS_EVERY:
        return rule->n_seen % rule->n == 0;
    case FAULTS_CHANCE:
        return cc_prng_chance(&faults->prng, rule->n);
    }
    return false;
}

static uint64_t delay_of(struct faults *faults, const struct faults_rule *rule)
{
    return rule->delay_ms * UINT64_C(1000) + cc_prng_below(&faults->prng, rule->jitter_ms * UINT64_C(1000) + 1);
}

// NULL: no rule has touched it; `make` is ignored when there is no more room, which more replicas than CC_REPLICAS_MAX would need.
static struct faults_path *path_of(struct faults *faults, uint32_t from, uint32_t to, bool make)
{
    for (size_t i = 0; i < faults->n_paths; i++) {
        if (faults->paths[i].from == from && faults->paths[i].to == to) {
            return &faults->paths[i];
        }
    }
    if (!make || faults->n_paths == FAULTS_PATHS_MAX) {
        return NULL;
    }
    struct faults_path *path = &faults->paths[faults->n_paths++];
    *path = (struct faults_path){.from = from, .to = to};
    return path;
}

// What all rules together say, before the order of the path is looked at.
static struct faults_decision ask_rules(struct faults *faults, uint32_t from, uint32_t to)
{
    struct faults_decision decision = {FAULTS_DELIVER, 0, false};
    for (size_t i = 0; i < faults->n_rules; i++) {
        struct faults_rule *rule = &faults->rules[i];
        if (!matches(rule, from, to) || !picks(faults, rule)) {
            continue;
        }
        rule->n_hit++;
        bool waits = rule->kind == FAULTS_DELAY || rule->kind == FAULTS_REORDER;
        if (!waits) {
            decision.verdict = FAULTS_LOSE; // the others still count it
            continue;
        }
        decision.delay_us += delay_of(faults, rule);
        decision.overtaken = decision.overtaken || rule->kind == FAULTS_REORDER;
    }
    return decision;
}

struct faults_decision faults_decide(struct faults *faults, uint32_t from, uint32_t to, uint64_t now_us)
{
    struct faults_decision decision = ask_rules(faults, from, to);
    struct faults_path *path = path_of(faults, from, to, decision.verdict == FAULTS_LOSE || decision.delay_us > 0);
    if (decision.verdict == FAULTS_LOSE) {
        faults->n_dropped++;
        if (path != NULL) {
            path->lost = true;
        }
        return (struct faults_decision){FAULTS_LOSE, 0, false};
    }
    uint64_t leaves_us = now_us + decision.delay_us;
    if (path != NULL && !decision.overtaken) {
        leaves_us = leaves_us < path->last_us ? path->last_us : leaves_us;
        path->last_us = leaves_us;
    }
    if (leaves_us == now_us) {
        return (struct faults_decision){FAULTS_DELIVER, 0, false};
    }
    faults->n_delayed++;
    return (struct faults_decision){FAULTS_HOLD, leaves_us - now_us, decision.overtaken};
}

bool faults_take_lost(struct faults *faults, uint32_t *from_out, uint32_t *to_out)
{
    for (size_t i = 0; i < faults->n_paths; i++) {
        struct faults_path *path = &faults->paths[i];
        if (path->lost) {
            path->lost = false;
            *from_out = path->from;
            *to_out = path->to;
            return true;
        }
    }
    return false;
}
