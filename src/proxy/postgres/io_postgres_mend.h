// Rows of weak tables set right by statements of ours within the transaction of the write that changed them: UPDATEs by key, in
// whichever session has the turn.
#ifndef PROXY_IO_POSTGRES_MEND_H
#define PROXY_IO_POSTGRES_MEND_H

#include "proxy/postgres/io_postgres_internal.h"

struct pg_mend {
    struct pg_lane *lane;
    bool as_replica;
    struct cc_buffer sql; // "UPDATE t SET ...": the caller's, up to the WHERE
    struct pg_array values;
};

void pg_mend_init(struct pg_mend *mend, struct pg_lane *lane);
void pg_mend_as_replica(struct pg_mend *mend);                        // without triggers of users, from now on
void pg_mend_put_value(struct pg_mend *mend, struct cc_slice value); // writes an expression of type text
// Sends it for the row of that key, and begins anew.
void pg_mend_send(struct pg_mend *mend, const struct pg_table *table, const struct cc_slice *key);
void pg_mend_finish(struct pg_mend *mend);

#endif
