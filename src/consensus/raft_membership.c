// Members, peers and quorums. The newest membership in the log is in force, committed or not (thesis 4.1).
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "consensus/raft_internal.h"

enum { MEMBERSHIP_PLAIN = 1, MEMBERSHIP_DETAILED = 2 };

static int compare_members(const void *a, const void *b)
{
    const struct raft_member *left = a;
    const struct raft_member *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

void raft_membership_put(struct cc_buffer *out, const struct raft_membership *membership)
{
    struct raft_membership sorted = *membership;
    qsort(sorted.members, sorted.n_members, sizeof(sorted.members[0]), compare_members);
    bool detailed = false;
    for (uint32_t i = 0; i < sorted.n_members; i++) {
        detailed = detailed || sorted.members[i].n_details > 0;
    }
    cc_put_u8(out, detailed ? MEMBERSHIP_DETAILED : MEMBERSHIP_PLAIN);
    cc_put_varint(out, sorted.n_members);
    for (uint32_t i = 0; i < sorted.n_members; i++) {
        cc_put_varint(out, sorted.members[i].id);
        cc_put_u8(out, sorted.members[i].voter ? 1 : 0);
        if (detailed) {
            cc_put_string(out, cc_slice_of(sorted.members[i].details, sorted.members[i].n_details));
        }
    }
}

enum cc_status raft_membership_read(struct cc_slice bytes, struct raft_membership *membership_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct raft_membership membership = {0};
    uint8_t version = cc_read_u8(&reader);
    membership.n_members = (uint32_t)cc_read_count(&reader, CC_REPLICAS_MAX);
    uint32_t n_voters = 0;
    uint64_t last_id = 0;
    size_t n_details = 0;
    for (uint32_t i = 0; i < membership.n_members; i++) {
        uint64_t id = cc_read_count(&reader, UINT32_MAX);
        uint8_t voter = cc_read_u8(&reader);
        struct cc_slice details = {0};
        if (version == MEMBERSHIP_DETAILED) {
            details = cc_read_string(&reader);
        }
        if (id <= last_id || voter > 1 || details.n > RAFT_DETAILS_BYTES_MAX) {
            return CC_MALFORMED;
        }
        struct raft_member *member = &membership.members[i];
        *member = (struct raft_member){.id = (uint32_t)id, .voter = voter == 1, .n_details = (uint8_t)details.n};
        if (details.n > 0) {
            memcpy(member->details, details.data, details.n);
        }
        n_voters += voter;
        n_details += details.n;
        last_id = id;
    }
    bool known = version == (n_details > 0 ? MEMBERSHIP_DETAILED : MEMBERSHIP_PLAIN); // one way only to write each
    if (cc_reader_end(&reader) != CC_OK || !known || n_voters == 0) {
        return CC_MALFORMED;
    }
    *membership_out = membership;
    return CC_OK;
}

const struct raft_member *raft_member_find(const struct raft_membership *membership, uint32_t id)
{
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (membership->members[i].id == id) {
            return &membership->members[i];
        }
    }
    return NULL;
}

static bool is_same(const struct raft_member *a, const struct raft_member *b)
{
    return a->voter == b->voter && a->n_details == b->n_details && memcmp(a->details, b->details, a->n_details) == 0;
}

// Members of `a` that `b` lacks or, when asked, has in the other role or with other details.
static uint32_t count_differences(const struct raft_membership *a, const struct raft_membership *b, bool also_changed)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_members; i++) {
        const struct raft_member *other = raft_member_find(b, a->members[i].id);
        if (other == NULL || (also_changed && !is_same(other, &a->members[i]))) {
            n++;
        }
    }
    return n;
}

static bool is_single_change(const struct raft_membership *a, const struct raft_membership *b)
{
    return count_differences(a, b, true) + count_differences(b, a, false) == 1;
}

// "a new server joins the cluster as a non-voting member" first (thesis 4.2.1). It must know of that before its vote may be needed:
// else a cluster whose leader crashes at the wrong moment would wait for the vote of one that does not give it.
enum cc_status raft_membership_check(struct raft *raft, const struct raft_membership *next)
{
    const struct raft_membership *now = raft_membership(raft);
    if (!is_single_change(now, next)) {
        return CC_INVALID;
    }
    for (uint32_t i = 0; i < next->n_members; i++) {
        const struct raft_member *member = &next->members[i];
        const struct raft_member *before = raft_member_find(now, member->id);
        if (!member->voter || (before != NULL && before->voter)) {
            continue;
        }
        const struct raft_peer *peer = raft_peer_find(raft, member->id);
        if (before == NULL || peer == NULL) {
            return CC_INVALID;
        }
        if (peer->match < raft_config_index(raft)) {
            return CC_UNAVAILABLE;
        }
    }
    return CC_OK;
}

bool raft_is_known_member(const struct raft *raft)
{
    for (size_t i = 0; i < raft->n_configs; i++) {
        if (raft_member_find(&raft->configs[i].membership, raft->options.id) != NULL) {
            return true;
        }
    }
    return false;
}

bool raft_is_leaving(const struct raft *raft)
{
    if (raft->n_configs < 2 || raft_config_index(raft) <= raft->commit) {
        return false;
    }
    const struct raft_member *before = raft_member_find(&raft->configs[raft->n_configs - 2].membership, raft->options.id);
    return !raft->self_voter && before != NULL && before->voter;
}

const struct raft_membership *raft_membership(const struct raft *raft)
{
    return &raft->configs[raft->n_configs - 1].membership;
}

const struct raft_membership *raft_membership_committed(const struct raft *raft, uint64_t *index_out)
{
    *index_out = raft->configs[0].index;
    return &raft->configs[0].membership;
}

uint64_t raft_membership_index(const struct raft *raft)
{
    return raft_config_index(raft);
}

uint64_t raft_config_index(const struct raft *raft)
{
    return raft->configs[raft->n_configs - 1].index;
}

struct raft_peer *raft_peer_find(struct raft *raft, uint32_t id)
{
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        if (raft->peers[i].id == id) {
            return &raft->peers[i];
        }
    }
    return NULL;
}

void raft_peer_forget_loaded(struct raft_peer *peer)
{
    for (size_t i = 0; i < peer->n_loaded; i++) {
        cc_blob_unref(peer->loaded[i].payload);
    }
    free(peer->loaded);
    peer->loaded = NULL;
    peer->n_loaded = 0;
    peer->loaded_sent = false;
}

// Brings the peers in line with the membership in force; those that stay keep what is known about them.
static void refresh_peers(struct raft *raft)
{
    const struct raft_membership *membership = raft_membership(raft);
    struct raft_peer peers[CC_REPLICAS_MAX];
    uint32_t n_peers = 0;
    raft->self_voter = false;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        const struct raft_member *member = &membership->members[i];
        if (member->id == raft->options.id) {
            raft->self_voter = member->voter;
            continue;
        }
        struct raft_peer *place = &peers[n_peers++];
        struct raft_peer *known = raft_peer_find(raft, member->id);
        if (known != NULL) {
            *place = *known;
            known->loaded = NULL; // moved
            known->n_loaded = 0;
            place->voter = member->voter;
            continue;
        }
        *place = (struct raft_peer){.id = member->id, .voter = member->voter};
        if (raft->role == RAFT_LEADER) {
            raft_peer_start(raft, place);
        }
    }
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        raft_peer_forget_loaded(&raft->peers[i]);
    }
    memcpy(raft->peers, peers, n_peers * sizeof(peers[0]));
    raft->n_peers = n_peers;
    raft_role_refresh(raft);
}

static void push_config(struct raft *raft, uint64_t index, const struct raft_membership *membership)
{
    raft->configs = cc_grow(raft->configs, &raft->configs_capacity, raft->n_configs + 1, sizeof(*raft->configs));
    raft->configs[raft->n_configs++] = (struct raft_config){.index = index, .membership = *membership};
}

void raft_config_add(struct raft *raft, uint64_t index, const struct raft_membership *membership)
{
    push_config(raft, index, membership);
    refresh_peers(raft);
}

void raft_config_truncate(struct raft *raft, uint64_t last)
{
    if (cc_mutant(CC_MUTANT_CONFIG_KEPT)) {
        return;
    }
    size_t n_before = raft->n_configs;
    while (raft->n_configs > 1 && raft_config_index(raft) > last) {
        raft->n_configs--;
    }
    assert(raft_config_index(raft) <= last);
    if (raft->n_configs != n_before) {
        refresh_peers(raft);
    }
}

void raft_config_committed(struct raft *raft)
{
    size_t n_old = 0;
    while (n_old + 1 < raft->n_configs && raft->configs[n_old + 1].index <= raft->commit) {
        n_old++;
    }
    raft->n_configs -= n_old;
    memmove(raft->configs, raft->configs + n_old, raft->n_configs * sizeof(*raft->configs));
}

void raft_config_reset(struct raft *raft, uint64_t index, const struct raft_membership *membership)
{
    size_t n_old = 0; // those that the snapshot covers
    while (n_old < raft->n_configs && raft->configs[n_old].index <= index) {
        n_old++;
    }
    size_t n_newer = raft->n_configs - n_old;
    raft->configs = cc_grow(raft->configs, &raft->configs_capacity, n_newer + 1, sizeof(*raft->configs));
    memmove(raft->configs + 1, raft->configs + n_old, n_newer * sizeof(*raft->configs));
    raft->configs[0] = (struct raft_config){.index = index, .membership = *membership};
    raft->n_configs = n_newer + 1;
    refresh_peers(raft);
}

uint32_t raft_n_voters(const struct raft *raft)
{
    uint32_t n = raft->self_voter ? 1 : 0;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        n += raft->peers[i].voter ? 1 : 0;
    }
    return n;
}

uint64_t raft_quorum_value(const struct raft *raft, uint64_t self, const uint64_t *values)
{
    uint64_t sorted[CC_REPLICAS_MAX]; // descending
    uint32_t n = 0;
    for (uint32_t i = 0; i <= raft->n_peers; i++) {
        bool is_self = i == raft->n_peers;
        bool voter = is_self ? raft->self_voter : raft->peers[i].voter;
        if (!voter && !cc_mutant(CC_MUTANT_LEARNER_COUNTS)) {
            continue;
        }
        uint64_t value = is_self ? self : raft_peer_is_out(&raft->peers[i]) ? 0 : values[i];
        uint32_t at = n++;
        while (at > 0 && sorted[at - 1] < value) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = value;
    }
    if (cc_mutant(CC_MUTANT_COMMIT_BY_HALF) && n > 1) {
        return sorted[n / 2 - 1];
    }
    return n > 0 ? sorted[n / 2] : 0; // reached by n / 2 + 1 of them
}
