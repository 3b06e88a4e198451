// Connections between replicas: dialling, accepting, who is up.
#include "proxy/peer/io_peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/prng.h"
#include "proxy/faults/io_faults.h"
#include "proxy/config/io_keys.h"
#include "proxy/peer/io_link.h"

enum {
    CONNECT_MS = 2000,
    IDLE_MS = 10000,
    QUEUE_BYTES_MAX = 128 << 20,
    BACK_OFF_MS_MIN = 50,
    BACK_OFF_MS_MAX = 2000,
    STEADY_MS = 1000, // a connection that was up for so long is made anew at once
    REFUSAL_LOG_MS = 1000, // strangers are logged no more often
    ACCEPT_PAUSE_MS = 100, // when there are no descriptors left
    HALF_OPEN_MAX = 16,
    BACKLOG = 64,
    PLACES = 2 * CC_REPLICAS_MAX, // members and those that were
    FAREWELL_S = 60,
    ACCEPT_PER_TURN = 16,
};

// A name being resolved. It outlives a peer that is destroyed in the meantime.
struct resolution {
    struct peer *peer; // NULL: destroyed
    struct evdns_getaddrinfo_request *request;
};

struct peer {
    struct io_peer *peers;
    uint32_t id;
    char *host;
    uint32_t port;
    struct io_link *out; // we dialled, we send
    struct io_link *in;  // they dialled, we receive; authenticated
    struct event *redial;
    struct resolution *resolving;
    uint32_t back_off_ms;
    bool up;
    uint64_t up_since_ms;
    uint32_t incarnation;
    uint64_t n_ups, n_sent, n_received; // bytes of links that are gone
    char problem[160];
    bool problem_logged;
    struct event *farewell; // it is no member any more: forgotten when this fires
};

struct io_peer {
    struct io_peer_handler handler;
    char *cluster;
    struct keys_pair keys;
    struct io_faults *faults; // NULL but for testing hooks
    struct handshake_peer *known;
    struct handshake_site site;
    struct io_link_settings settings;
    uint32_t self;
    struct peer *members; // PLACES of them, id 0: free
    size_t n_members;
    struct cc_prng prng;
    struct evdns_base *dns; // made when a name must be resolved
    int listen_fd;
    uint32_t port;
    struct event *acceptable;
    struct event *accept_again;
    uint64_t quiet_until_ms;
    struct io_link *half_open; // accepted, not authenticated; newest first
    struct io_link *dead;      // to be destroyed when the loop is back
    struct event *reap;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct peer *find(const struct io_peer *peers, uint32_t id)
{
    for (size_t i = 0; i < peers->n_members && id != 0; i++) {
        if (peers->members[i].id == id) {
            return &peers->members[i];
        }
    }
    return NULL;
}

// -- Links that are gone --------------------------------------------------------------------------------------------

static void bury(struct io_peer *peers, struct io_link *link)
{
    io_link_set_next(link, peers->dead);
    peers->dead = link;
    event_active(peers->reap, EV_TIMEOUT, 0);
}

static void on_reap(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_peer *peers = context;
    while (peers->dead != NULL) {
        struct io_link *link = peers->dead;
        peers->dead = io_link_next(link);
        io_link_destroy(link);
    }
}

static void count_bytes(struct peer *peer, const struct io_link *link)
{
    peer->n_sent += io_link_sent_bytes(link);
    peer->n_received += io_link_received_bytes(link);
}

static void take_out_half_open(struct io_peer *peers, struct io_link *link)
{
    struct io_link *previous = NULL;
    for (struct io_link *at = peers->half_open; at != NULL; previous = at, at = io_link_next(at)) {
        if (at != link) {
            continue;
        }
        if (previous == NULL) {
            peers->half_open = io_link_next(at);
        } else {
            io_link_set_next(previous, io_link_next(at));
        }
        return;
    }
}

// -- Dialling -------------------------------------------------------------------------------------------------------

static void note_problem(struct peer *peer, const char *problem, bool refused)
{
    bool is_new = strcmp(peer->problem, problem) != 0;
    (void)snprintf(peer->problem, sizeof(peer->problem), "%s", problem);
    if (refused && (is_new || !peer->problem_logged)) {
        cc_log(CC_LOG_ERROR, "peer_link_refused", "peer=%u address=%s:%u why=%s", peer->id, peer->host, peer->port,
               cc_log_quote(problem));
        peer->problem_logged = true;
    } else if (is_new) {
        cc_log(CC_LOG_DEBUG, "peer_link_lost", "peer=%u why=%s", peer->id, cc_log_quote(problem));
    }
}

static void redial_in(struct peer *peer, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(peer->redial, &wait);
}

// Half of the back-off is chance, so that replicas that lost each other do not meet in step.
static void redial_later(struct peer *peer)
{
    uint32_t half = peer->back_off_ms / 2;
    redial_in(peer, half + (uint32_t)cc_prng_below(&peer->peers->prng, half + 1));
    peer->back_off_ms = peer->back_off_ms * 2 < BACK_OFF_MS_MAX ? peer->back_off_ms * 2 : BACK_OFF_MS_MAX;
}

static void on_resolved(int error, struct evutil_addrinfo *found, void *context)
{
    struct resolution *resolution = context;
    struct peer *peer = resolution->peer;
    free(resolution);
    if (peer == NULL) {
        return;
    }
    peer->resolving = NULL;
    if (error != 0 || found == NULL) {
        char problem[160];
        (void)snprintf(problem, sizeof(problem), "%.80s cannot be resolved: %s", peer->host,
                       evutil_gai_strerror(error));
        note_problem(peer, problem, false);
        redial_later(peer);
        return;
    }
    peer->out = io_link_dial(&peer->peers->settings, peer->id, found->ai_addr, (socklen_t)found->ai_addrlen);
    evutil_freeaddrinfo(found);
}

static bool parse_number(const char *host, uint32_t port, struct sockaddr_storage *address_out, socklen_t *n_out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(address_out, &v4, sizeof(v4));
        *n_out = sizeof(v4);
        return true;
    }
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(address_out, &v6, sizeof(v6));
        *n_out = sizeof(v6);
        return true;
    }
    return false;
}

// A resolver without any name server still knows /etc/hosts.
static struct evdns_base *make_resolver(struct event_base *base)
{
    struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (dns == NULL) {
        dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        if (dns != NULL) {
            (void)evdns_base_load_hosts(dns, "/etc/hosts");
        }
    }
    return dns;
}

static void resolve(struct peer *peer)
{
    struct io_peer *peers = peer->peers;
    if (peers->dns == NULL) {
        peers->dns = make_resolver(peers->settings.base);
    }
    if (peers->dns == NULL) {
        note_problem(peer, "names cannot be resolved here", false);
        redial_later(peer);
        return;
    }
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", peer->port & 0xffffu);
    struct resolution *resolution = cc_alloc(sizeof(*resolution));
    resolution->peer = peer;
    peer->resolving = resolution;
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(peers->dns, peer->host, port, &hints, on_resolved, resolution);
    if (request != NULL) { // else on_resolved has been called
        resolution->request = request;
    }
}

static void on_redial(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct peer *peer = context;
    if (peer->out != NULL || peer->resolving != NULL) {
        return;
    }
    struct sockaddr_storage address;
    socklen_t n_address;
    if (parse_number(peer->host, peer->port, &address, &n_address)) {
        peer->out =
            io_link_dial(&peer->peers->settings, peer->id, (const struct sockaddr *)(const void *)&address, n_address);
    } else {
        resolve(peer);
    }
}

// -- Up and down ----------------------------------------------------------------------------------------------------

static bool is_open(const struct io_link *link)
{
    return link != NULL && io_link_state(link) == IO_LINK_OPEN;
}

static void drop(struct peer *peer, struct io_link **link)
{
    if (*link == NULL) {
        return;
    }
    count_bytes(peer, *link);
    io_link_close(*link, false);
    bury(peer->peers, *link);
    *link = NULL;
}

static void rise_if_both_open(struct peer *peer)
{
    if (peer->up || !is_open(peer->in) || !is_open(peer->out)) {
        return;
    }
    peer->up = true;
    peer->up_since_ms = now_ms();
    peer->incarnation = io_link_incarnation(peer->in);
    peer->n_ups++;
    peer->back_off_ms = BACK_OFF_MS_MIN;
    peer->problem[0] = '\0';
    peer->problem_logged = false;
    io_link_pause(peer->in, false);
    peer->peers->handler.on_up(peer->peers->handler.context, peer->id, peer->incarnation);
}

// Both directions go together, so that what a peer hears while it is up has no holes. If its process lives, they should be back before
// anybody thinks that it has died, and asks for an election.
static void fall(struct peer *peer)
{
    if (!peer->up) {
        return;
    }
    peer->up = false;
    io_faults_forget(peer->peers->faults, peer->id);
    drop(peer, &peer->in);
    drop(peer, &peer->out);
    if (now_ms() - peer->up_since_ms >= STEADY_MS) {
        redial_in(peer, 0);
    } else {
        redial_later(peer);
    }
    peer->peers->handler.on_down(peer->peers->handler.context, peer->id);
}

// -- Links' news ----------------------------------------------------------------------------------------------------

// The other direction belongs to an earlier life of the peer: it is as good as gone.
static void drop_if_other_life(struct peer *peer, struct io_link **other, uint32_t incarnation)
{
    if (!is_open(*other) || io_link_incarnation(*other) == incarnation) {
        return;
    }
    bool dialled = io_link_is_dialled(*other);
    drop(peer, other);
    if (dialled) {
        redial_in(peer, 0);
    }
}

// An authenticated peer has dialled us. Its newest connection is the one that lives. Nothing is read from it before frames
// can be answered: the peer may be up on its side already, and what it says first must not be lost.
static void welcome(struct peer *peer, struct io_link *link)
{
    take_out_half_open(peer->peers, link);
    io_link_pause(link, true);
    fall(peer);
    drop(peer, &peer->in);
    peer->in = link;
    drop_if_other_life(peer, &peer->out, io_link_incarnation(link));
    if (peer->out == NULL && peer->resolving == NULL) {
        redial_in(peer, 0); // it is there: no reason to wait
    }
}

static void on_link_open(void *context, struct io_link *link)
{
    struct io_peer *peers = context;
    struct peer *peer = find(peers, io_link_peer(link));
    if (peer == NULL) { // forgotten while it shook hands
        if (!io_link_is_dialled(link)) {
            take_out_half_open(peers, link);
        }
        io_link_close(link, false);
        bury(peers, link);
        return;
    }
    if (io_link_is_dialled(link)) {
        drop_if_other_life(peer, &peer->in, io_link_incarnation(link));
    } else {
        welcome(peer, link);
    }
    rise_if_both_open(peer);
}

static void on_link_frame(void *context, struct io_link *link, struct cc_slice frame)
{
    struct io_peer *peers = context;
    const struct peer *peer = find(peers, io_link_peer(link));
    if (peer == NULL || link != peer->in || !peer->up) {
        return; // nobody speaks on what we dialled
    }
    if (io_faults_passes(peers->faults, peer->id, peers->self, frame)) {
        peers->handler.on_frame(peers->handler.context, peer->id, peer->incarnation, frame);
    }
}

static void lost_half_open(struct io_peer *peers, struct io_link *link)
{
    take_out_half_open(peers, link);
    if (io_link_was_refused(link) && now_ms() >= peers->quiet_until_ms) {
        cc_log(CC_LOG_WARN, "peer_link_refused", "peer=0 why=%s", cc_log_quote(io_link_problem(link)));
        peers->quiet_until_ms = now_ms() + REFUSAL_LOG_MS;
    }
    bury(peers, link);
}

static void on_link_closed(void *context, struct io_link *link)
{
    struct io_peer *peers = context;
    struct peer *peer = find(peers, io_link_peer(link));
    if (peer == NULL || (link != peer->out && link != peer->in)) {
        lost_half_open(peers, link);
        return;
    }
    note_problem(peer, io_link_problem(link), io_link_was_refused(link));
    if (io_link_removed_at(link) > 0) {
        peers->handler.on_removed(peers->handler.context, peer->id, io_link_removed_at(link));
    }
    if (peer->up) {
        fall(peer);
        return;
    }
    if (link == peer->out) {
        drop(peer, &peer->out);
        redial_later(peer);
    } else {
        drop(peer, &peer->in);
    }
}

// -- Accepting ------------------------------------------------------------------------------------------------------

// Too many that do not speak: the one that has had the most time goes. A real peer is through in two round trips.
static void limit_half_open(struct io_peer *peers)
{
    size_t n = 0;
    struct io_link *oldest = NULL;
    for (struct io_link *link = peers->half_open; link != NULL; link = io_link_next(link)) {
        oldest = link;
        n++;
    }
    if (n > HALF_OPEN_MAX) {
        take_out_half_open(peers, oldest);
        io_link_close(oldest, false);
        bury(peers, oldest);
    }
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *context)
{
    (void)what;
    struct io_peer *peers = context;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            struct timeval wait = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
            (void)event_del(peers->acceptable);
            (void)event_add(peers->accept_again, &wait);
            return;
        }
        if (fd < 0) {
            return; // nobody more, or gone already
        }
        struct io_link *link = io_link_accept(&peers->settings, fd);
        io_link_set_next(link, peers->half_open);
        peers->half_open = link;
        limit_half_open(peers);
    }
}

static void on_accept_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    const struct io_peer *peers = context;
    (void)event_add(peers->acceptable, NULL);
}

static enum cc_status bind_and_listen(struct io_peer *peers, const struct addrinfo *address)
{
    peers->listen_fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peers->listen_fd < 0) {
        return CC_IO;
    }
    int one = 1;
    (void)setsockopt(peers->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(peers->listen_fd, address->ai_addr, address->ai_addrlen) != 0 || listen(peers->listen_fd, BACKLOG) != 0) {
        return errno == EADDRINUSE ? CC_EXISTS : errno == EADDRNOTAVAIL ? CC_INVALID : CC_IO;
    }
    struct sockaddr_storage bound;
    socklen_t n = sizeof(bound);
    if (getsockname(peers->listen_fd, (struct sockaddr *)(void *)&bound, &n) != 0) {
        return CC_IO;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&bound;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&bound;
    peers->port = ntohs(bound.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
    return CC_OK;
}

static enum cc_status start_listening(struct io_peer *peers, const char *host, uint32_t port,
                                      struct io_peer_problem *problem_out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char port_text[8];
    (void)snprintf(port_text, sizeof(port_text), "%u", port & 0xffffu);
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, port_text, &hints, &found); // once, at start: it may block
    if (error != 0) {
        (void)snprintf(problem_out->text, sizeof(problem_out->text), "%s: %s", host, gai_strerror(error));
        return CC_INVALID;
    }
    enum cc_status status = bind_and_listen(peers, found);
    if (status != CC_OK) {
        (void)snprintf(problem_out->text, sizeof(problem_out->text), "%s:%u: %s", host, port, strerror(errno));
    }
    freeaddrinfo(found);
    return status;
}

// -- Testing hooks --------------------------------------------------------------------------------------------------

static void on_released(void *context, uint32_t from, uint32_t to, struct cc_slice frame)
{
    struct io_peer *peers = context;
    const struct peer *peer = find(peers, from == peers->self ? to : from);
    if (peer == NULL || !peer->up) {
        return;
    }
    if (from == peers->self) {
        io_link_send(peer->out, frame);
        io_link_flush(peer->out);
    } else {
        peers->handler.on_frame(peers->handler.context, from, peer->incarnation, frame);
    }
}

static void on_reset(void *context, uint32_t id)
{
    struct peer *peer = find(context, id);
    if (peer != NULL) {
        note_problem(peer, "made anew after a fault of messages", false);
        fall(peer);
    }
}

// -- Making and ending ----------------------------------------------------------------------------------------------

static void end_resolution(struct peer *peer)
{
    if (peer->resolving != NULL) {
        peer->resolving->peer = NULL;
        evdns_getaddrinfo_cancel(peer->resolving->request);
        peer->resolving = NULL;
    }
}

static void forget(struct peer *peer)
{
    struct io_peer *peers = peer->peers;
    end_resolution(peer);
    if (peer->up) {
        peer->up = false;
        peers->handler.on_down(peers->handler.context, peer->id);
    }
    drop(peer, &peer->in);
    drop(peer, &peer->out);
    event_free(peer->redial);
    event_free(peer->farewell);
    free(peer->host);
    peers->known[peer - peers->members] = (struct handshake_peer){0};
    *peer = (struct peer){0};
}

static void on_farewell(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    forget(context);
}

static void add_member(struct io_peer *peers, const struct io_peer_member *member)
{
    size_t at = 0;
    while (at < PLACES && peers->members[at].id != 0) {
        at++;
    }
    if (at == PLACES) {
        return; // CC_REPLICAS_MAX members and as many that left within a minute
    }
    peers->n_members = at + 1 > peers->n_members ? at + 1 : peers->n_members;
    peers->site.n_peers = peers->n_members;
    peers->known[at].id = member->id;
    memcpy(peers->known[at].public_key, member->public_key, sizeof(peers->known[at].public_key));
    struct peer *peer = &peers->members[at];
    *peer = (struct peer){.peers = peers, .id = member->id, .host = cc_strdup(member->host), .port = member->port, .back_off_ms = BACK_OFF_MS_MIN};
    peer->redial = event_new(peers->settings.base, -1, 0, on_redial, peer);
    peer->farewell = event_new(peers->settings.base, -1, 0, on_farewell, peer);
    assert(peer->redial != NULL && peer->farewell != NULL);
    redial_in(peer, 0);
}

// Handshakes under way may have been checked against what changes now.
static void drop_half_open(struct io_peer *peers)
{
    while (peers->half_open != NULL) {
        struct io_link *link = peers->half_open;
        peers->half_open = io_link_next(link);
        io_link_close(link, false);
        bury(peers, link);
    }
}

static void update_member(struct io_peer *peers, struct peer *peer, const struct io_peer_member *member)
{
    const struct handshake_peer *known = &peers->known[peer - peers->members];
    bool same_key = memcmp(known->public_key, member->public_key, sizeof(known->public_key)) == 0;
    if (!same_key) {
        forget(peer);
        drop_half_open(peers);
        add_member(peers, member);
        return;
    }
    (void)event_del(peer->farewell);
    if (strcmp(peer->host, member->host) == 0 && peer->port == member->port) {
        return;
    }
    free(peer->host);
    peer->host = cc_strdup(member->host);
    peer->port = member->port;
    end_resolution(peer);
    if (!peer->up) { // else its connection lives; where it is dialled next time has changed
        drop(peer, &peer->out);
        redial_in(peer, 0);
    }
}

void io_peer_set_members(struct io_peer *peers, const struct io_peer_member *members, size_t n_members, uint64_t membership_index)
{
    peers->site.membership_index = membership_index;
    for (size_t i = 0; i < peers->n_members; i++) {
        struct peer *peer = &peers->members[i];
        bool stays = peer->id == 0;
        for (size_t m = 0; m < n_members; m++) {
            stays = stays || members[m].id == peer->id;
        }
        struct timeval wait = {.tv_sec = FAREWELL_S};
        if (!stays && !event_pending(peer->farewell, EV_TIMEOUT, NULL)) {
            (void)event_add(peer->farewell, &wait);
        }
    }
    for (size_t m = 0; m < n_members; m++) {
        struct peer *peer = find(peers, members[m].id);
        if (members[m].id == peers->self) {
            continue;
        }
        if (peer == NULL) {
            add_member(peers, &members[m]);
        } else {
            update_member(peers, peer, &members[m]);
        }
    }
}

static struct io_peer *make(const struct io_peer_options *options)
{
    struct io_peer *peers = cc_alloc(sizeof(*peers));
    peers->handler = options->handler;
    peers->cluster = cc_strdup(options->cluster);
    peers->keys = *options->keys;
    peers->listen_fd = -1;
    uint64_t seed;
    io_keys_random(&seed, sizeof(seed));
    cc_prng_seed(&peers->prng, seed);
    peers->self = options->id;
    peers->faults = io_faults_create(options->base, options->id,
                                     &(struct io_faults_handler){.context = peers, .release = on_released, .reset = on_reset});
    peers->members = cc_alloc_array(PLACES, sizeof(*peers->members));
    peers->known = cc_alloc_array(PLACES, sizeof(*peers->known));
    peers->site = (struct handshake_site){
        .cluster = peers->cluster,
        .id = options->id,
        .incarnation = options->incarnation,
        .keys = &peers->keys,
        .peers = peers->known,
    };
    peers->settings = (struct io_link_settings){
        .base = options->base,
        .site = &peers->site,
        .connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_MS,
        .idle_ms = options->idle_ms > 0 ? options->idle_ms : IDLE_MS,
        .queue_bytes_max = options->queue_bytes_max > 0 ? options->queue_bytes_max : QUEUE_BYTES_MAX,
        .handler = {.context = peers, .on_open = on_link_open, .on_frame = on_link_frame, .on_closed = on_link_closed},
    };
    peers->reap = event_new(options->base, -1, 0, on_reap, peers);
    peers->accept_again = event_new(options->base, -1, 0, on_accept_again, peers);
    assert(peers->reap != NULL && peers->accept_again != NULL);
    return peers;
}

enum cc_status io_peer_create(const struct io_peer_options *options, struct io_peer **peers_out,
                              struct io_peer_problem *problem_out)
{
    struct io_peer *peers = make(options);
    enum cc_status status = start_listening(peers, options->listen_host, options->listen_port, problem_out);
    if (status != CC_OK) {
        io_peer_destroy(peers);
        return status;
    }
    peers->acceptable = event_new(options->base, peers->listen_fd, EV_READ | EV_PERSIST, on_acceptable, peers);
    assert(peers->acceptable != NULL);
    (void)event_add(peers->acceptable, NULL);
    io_peer_set_members(peers, options->members, options->n_members, 0);
    *peers_out = peers;
    return CC_OK;
}

static void end_peer(struct peer *peer)
{
    if (peer->resolving != NULL) {
        peer->resolving->peer = NULL;
        evdns_getaddrinfo_cancel(peer->resolving->request);
    }
    if (peer->out != NULL) {
        io_link_close(peer->out, true);
        io_link_destroy(peer->out);
    }
    if (peer->in != NULL) {
        io_link_close(peer->in, true);
        io_link_destroy(peer->in);
    }
    event_free(peer->redial);
    event_free(peer->farewell);
    free(peer->host);
}

void io_peer_destroy(struct io_peer *peers)
{
    if (peers == NULL) {
        return;
    }
    if (peers->acceptable != NULL) {
        event_free(peers->acceptable);
    }
    if (peers->listen_fd >= 0) {
        (void)close(peers->listen_fd);
    }
    while (peers->half_open != NULL) {
        struct io_link *link = peers->half_open;
        peers->half_open = io_link_next(link);
        io_link_destroy(link);
    }
    bool resolving = false;
    for (size_t i = 0; i < peers->n_members; i++) {
        if (peers->members[i].id == 0) {
            continue;
        }
        resolving = resolving || peers->members[i].resolving != NULL;
        end_peer(&peers->members[i]);
    }
    if (peers->dns != NULL && !resolving) { // a request under way needs it until the loop has run
        evdns_base_free(peers->dns, 0);
    }
    on_reap(-1, 0, peers);
    io_faults_destroy(peers->faults);
    event_free(peers->reap);
    event_free(peers->accept_again);
    free(peers->members);
    free(peers->known);
    free(peers->cluster);
    keys_forget(&peers->keys);
    free(peers);
}

uint32_t io_peer_port(const struct io_peer *peers)
{
    return peers->port;
}

// -- Sending --------------------------------------------------------------------------------------------------------

bool io_peer_send(struct io_peer *peers, uint32_t id, struct cc_slice frame)
{
    const struct peer *peer = find(peers, id);
    if (peer == NULL || !peer->up) {
        return false;
    }
    if (io_faults_passes(peers->faults, peers->self, id, frame)) {
        io_link_send(peer->out, frame);
    }
    return true;
}

struct io_faults *io_peer_faults(struct io_peer *peers)
{
    return peers->faults;
}

void io_peer_flush(struct io_peer *peers)
{
    for (size_t i = 0; i < peers->n_members; i++) {
        if (peers->members[i].up) {
            io_link_flush(peers->members[i].out);
        }
    }
}

enum cc_status io_peer_describe(const struct io_peer *peers, uint32_t id, struct io_peer_stats *stats_out)
{
    const struct peer *peer = find(peers, id);
    if (peer == NULL) {
        return CC_NOT_FOUND;
    }
    struct io_peer_stats stats = {
        .up = peer->up,
        .incarnation = peer->incarnation,
        .n_sent_bytes = peer->n_sent,
        .n_received_bytes = peer->n_received,
        .n_ups = peer->n_ups,
    };
    const struct io_link *links[] = {peer->in, peer->out};
    for (size_t i = 0; i < 2; i++) {
        if (links[i] != NULL) {
            stats.n_sent_bytes += io_link_sent_bytes(links[i]);
            stats.n_received_bytes += io_link_received_bytes(links[i]);
            stats.n_queued_bytes += io_link_queued_bytes(links[i]);
        }
    }
    (void)snprintf(stats.problem, sizeof(stats.problem), "%s", peer->problem);
    *stats_out = stats;
    return CC_OK;
}
