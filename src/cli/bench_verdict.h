// What a reader of answers finds at the beginning of its input.
#ifndef CLI_BENCH_VERDICT_H
#define CLI_BENCH_VERDICT_H

enum bench_verdict {
    BENCH_ANSWER_MORE,      // not complete yet
    BENCH_ANSWER_COMPLETE,  // the outputs are set
    BENCH_ANSWER_MALFORMED, // not an answer we understand: drop the connection
};

#endif
