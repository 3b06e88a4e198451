// The node's facts as lines of the log: level, event and fields. Pure: io_replica.c prints them.
#ifndef PROXY_FACT_LINE_H
#define PROXY_FACT_LINE_H

#include "base/log.h"
#include "proxy/node/node.h"

struct fact_line {
    enum cc_log_level level;
    const char *event;       // its name in docs/OPERATING.md
    struct cc_buffer fields; // key=value pairs
};

// The line is the caller's: fact_line_finish.
void fact_line_make(const struct node_fact *fact, struct fact_line *line_out);
void fact_line_finish(struct fact_line *line);

#endif
