// Planted bugs: constant false unless a test variant is compiled with -DCAUCUS_MUTANT=n. The randomised test must catch each.
#ifndef RAFT_MUTANT_H
#define RAFT_MUTANT_H

#include <stdbool.h>

#ifndef CAUCUS_MUTANT
#define CAUCUS_MUTANT 0
#endif

enum raft_mutant_id {
    RAFT_MUTANT_COMMIT_OLD_TERM = 1, // the commit rule counts entries of older terms
    RAFT_MUTANT_VOTE_NOT_DURABLE,    // a vote leaves before it is on disk
    RAFT_MUTANT_READ_WITHOUT_ROUND,  // a read index without asking a majority
    RAFT_MUTANT_COMPARE_INDEX_ONLY,  // the election restriction ignores the last term
    RAFT_MUTANT_ACK_NOT_DURABLE,     // entries are acknowledged before they are on disk
    RAFT_MUTANT_TRUNCATE_ALWAYS,     // an append cuts the log also where nothing conflicts
};

static inline bool raft_mutant(enum raft_mutant_id id)
{
    return (int)id == CAUCUS_MUTANT;
}

#endif
