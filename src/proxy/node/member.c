// Members of the cluster: what the log's configuration says of each.
#include "proxy/node/member.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { DETAILS_VERSION = 1 };

static_assert(1 + 2 * (2 + MEMBER_ADDRESS_BYTES) + KEYS_PUBLIC_BYTES <= RAFT_DETAILS_BYTES_MAX, "the longest addresses fit");

void member_put(const struct member *member, struct raft_member *out)
{
    struct cc_buffer bytes = {0};
    cc_put_u8(&bytes, DETAILS_VERSION);
    cc_put_string(&bytes, cc_slice_text(member->http));
    cc_put_string(&bytes, cc_slice_text(member->peer));
    cc_put_bytes(&bytes, cc_slice_of(member->public_key, sizeof(member->public_key)));
    assert(bytes.n <= RAFT_DETAILS_BYTES_MAX);
    *out = (struct raft_member){.id = member->id, .voter = member->voter, .n_details = (uint8_t)bytes.n};
    memcpy(out->details, bytes.data, bytes.n);
    cc_buffer_finish(&bytes);
}

static bool copy_address(struct cc_slice address, char out[static MEMBER_ADDRESS_BYTES])
{
    if (address.n == 0 || address.n >= MEMBER_ADDRESS_BYTES || memchr(address.data, 0, address.n) != NULL) {
        return false;
    }
    memcpy(out, address.data, address.n);
    out[address.n] = '\0';
    return true;
}

enum cc_status member_read(const struct raft_member *raft_member, struct member *member_out)
{
    *member_out = (struct member){.id = raft_member->id, .voter = raft_member->voter};
    if (raft_member->n_details == 0) {
        return CC_NOT_FOUND;
    }
    struct cc_reader reader = cc_reader_of(cc_slice_of(raft_member->details, raft_member->n_details));
    if (cc_read_u8(&reader) != DETAILS_VERSION) {
        return CC_UNSUPPORTED;
    }
    struct cc_slice http = cc_read_string(&reader);
    struct cc_slice peer = cc_read_string(&reader);
    struct cc_slice key = cc_read_bytes(&reader, KEYS_PUBLIC_BYTES);
    struct member member = *member_out;
    if (cc_reader_end(&reader) != CC_OK || !copy_address(http, member.http) || !copy_address(peer, member.peer)) {
        return CC_MALFORMED;
    }
    memcpy(member.public_key, key.data, KEYS_PUBLIC_BYTES);
    *member_out = member;
    return CC_OK;
}

enum cc_status member_address_split(const char *address, char host_out[static MEMBER_ADDRESS_BYTES], uint32_t *port_out)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || strlen(address) >= MEMBER_ADDRESS_BYTES) {
        return CC_INVALID;
    }
    size_t n_digits = strspn(colon + 1, "0123456789");
    if (n_digits == 0 || n_digits > 5 || colon[1 + n_digits] != '\0') {
        return CC_INVALID;
    }
    unsigned long port = strtoul(colon + 1, NULL, 10);
    const char *host = address;
    size_t n = (size_t)(colon - address);
    bool bracketed = host[0] == '[';
    if (bracketed) {
        host++;
        n -= 2;
    }
    bool whole = !bracketed || (n > 0 && host[n] == ']');
    if (port == 0 || port > 65535 || !whole || (!bracketed && memchr(host, ':', n) != NULL)) {
        return CC_INVALID;
    }
    memcpy(host_out, host, n);
    host_out[n] = '\0';
    *port_out = (uint32_t)port;
    return CC_OK;
}
