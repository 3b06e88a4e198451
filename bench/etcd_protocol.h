// The load generator's workload spoken to etcd: over its gRPC interface and over its HTTP gateway.
#ifndef BENCH_ETCD_PROTOCOL_H
#define BENCH_ETCD_PROTOCOL_H

#include "cli/bench_workload.h"

// Values up to this size: more would need the flow control of HTTP/2 for what we send.
enum { ETCD_GRPC_VALUE_BYTES_MAX = 16 << 10 };

// Context: struct bench_workload with insert, update and read (read@local: serializable) only.
// A client is a connection with one call under way, as in the other protocols.
extern const struct bench_protocol etcd_grpc_protocol;
extern const struct bench_protocol etcd_http_protocol;

// A transaction for the HTTP gateway that puts the rows from .. to - 1, at most 128 (etcd's limit); a whole request.
void etcd_http_put_rows(struct cc_buffer *out, const struct bench_workload *workload, const char *host, uint64_t from,
                        uint64_t to);

#endif
