// Planted bugs: each is a mistake that somebody has made in a real system, and which the simulator must find (docs/TESTING.md).
// In the program cc_mutant() is constant false. A test build has one of them, either fixed by -DCAUCUS_MUTANT=n, or with
// -DCAUCUS_MUTANTS chosen when it starts.
#ifndef CC_MUTANT_H
#define CC_MUTANT_H

#include <stdbool.h>

// Number, name, class (A: consensus, B: the log on disk, C: PostgreSQL as the state, D: requests, F: weak tables), what is wrong.
#define CC_MUTANTS(X)                                                                                                  \
    X(1, COMMIT_OLD_TERM, "A1", "a leader commits entries of older terms by counting copies")                          \
    X(2, VOTE_NOT_DURABLE, "A2", "a vote leaves before it is on disk")                                                 \
    X(3, READ_WITHOUT_ROUND, "A7", "a read index is given without asking a majority")                                  \
    X(4, COMPARE_INDEX_ONLY, "A3", "a vote looks at the length of the log, not at its last term")                      \
    X(5, ACK_NOT_DURABLE, "B1", "entries are acknowledged before they are on disk")                                    \
    X(6, TRUNCATE_ALWAYS, "A14", "an append cuts the log also where nothing conflicts")                                \
    X(7, VOTE_TWICE, "A2", "a replica votes for everybody who asks in a term")                                         \
    X(8, VOTE_FORGOTTEN, "A2", "a restart forgets for whom the replica has voted")                                     \
    X(9, TERM_NOT_DURABLE, "A2", "a follower's new term is not written")                                               \
    X(10, SMALL_MAJORITY, "A2", "half of the votes elect")                                                             \
    X(11, COMMIT_BY_HALF, "A1", "half of the copies commit")                                                           \
    X(12, COMMIT_UNSYNCED, "B1", "a leader counts its own copy before it is on disk")                                  \
    X(13, COMMIT_UNCAPPED, "A14", "a follower commits what the leader has committed, whatever stands there in its own log") \
    X(14, HEARTBEAT_UNCAPPED, "A14", "a heartbeat tells a commit index beyond what the follower has, which takes it")  \
    X(15, PREVIOUS_UNCHECKED, "A14", "an append is taken without comparing the term of the entry before it")           \
    X(16, HINT_IS_MATCH, "A14", "where a follower refuses an append, the leader takes the hint for an agreement")      \
    X(17, READ_BEFORE_SETTLED, "A6", "a new leader answers reads before it has committed an entry of its term")        \
    X(18, READ_JOINS_ROUND, "A7", "a read joins a round of heartbeats that was sent before it came")                   \
    X(19, SNAPSHOT_NOT_DURABLE, "A12", "a snapshot is acknowledged before the new base of the log is on disk")         \
    X(20, CONFIG_UNSETTLED, "A9", "members are changed before an entry of the leader's term is committed")             \
    X(21, CONFIG_KEPT, "A10", "a membership stays in force when its entry is cut off")                                 \
    X(22, LEARNER_COUNTS, "A11", "learners count in majorities")                                                       \
    X(23, RECOVERING_VOTES, "B7", "a replica that has lost its log votes at once")                                     \
    X(24, RECOVERING_COUNTS, "B7", "a replica that has lost its log counts in majorities")                             \
    X(25, SYNC_SKIPPED, "B1", "the log is written and not synced")                                                     \
    X(26, RECORDS_UNCHECKED, "B3", "the checksums of records are not compared when the log is opened")                 \
    X(27, FIRST_RECORD_WINS, "B3", "of two records of one index the first counts, not the last")                       \
    X(28, CHANGES_CUT, "B8", "segments are removed although they hold weak changes that PostgreSQL may lose")          \
    X(29, CUT_UNFLUSHED, "B8", "the log is cut up to what PostgreSQL has applied, not what it has flushed")            \
    X(30, MARK_AHEAD, "A14", "the mark in the log calls entries committed that are not")                               \
    X(31, COMMIT_EARLY, "C1", "PostgreSQL commits a batch before a majority has its entry")                            \
    X(32, ANSWER_EARLY, "D1", "a write is answered before a majority has its entry")                                   \
    X(33, LEAD_UNAPPLIED, "D5", "a leader executes before it has applied the whole log")                               \
    X(34, ROLLBACK_MISSING, "D5", "a leader that loses its office keeps its open transaction")                         \
    X(35, APPLIED_FROM_MEMORY, "C2", "after a crash of PostgreSQL the node goes on where it was, not where the database is") \
    X(36, EXECUTED_FORGOTTEN, "D1", "a write that was executed before is executed again")                              \
    X(37, STALE_PLAN, "C15", "a write is executed although the schema that it was planned for has changed")            \
    X(38, LOGGED_REFUSED, "D8", "a write that is in the log is refused as not executed")                               \
    X(39, READ_UNAPPLIED, "C3", "a read does not wait until the database has what it must see")                        \
    X(40, SEQUENCE_REUSED, "F1", "after a restart weak changes are numbered from what PostgreSQL holds")               \
    X(41, PUSH_UNSYNCED, "F1", "weak changes go to peers before they are on disk")                                     \
    X(42, WEAK_COMMIT_UNSYNCED, "F11", "a weak write is committed and answered before it is on disk")                  \
    X(43, GAP_TAKEN, "F8", "a weak change is taken although the ones before it are missing")                           \
    X(44, REPLAY_MISSING, "C2", "own weak changes that PostgreSQL lost are not applied again")                         \
    X(45, CLOCK_FOLLOWS_WALL, "F3", "the clock goes back with the wall clock")                                         \
    X(46, CLOCK_OBSERVES_NOTHING, "F3", "stamps of others do not move the clock")                                      \
    X(47, CLOCK_RESTARTS, "F4", "a restart forgets the greatest stamp")                                                \
    X(48, SKEW_TAKEN, "F4", "stamps from the far future are taken over")                                               \
    X(49, TIES_KEEP_MINE, "F5", "of equal times the one that is already here wins")                                    \
    X(50, DELETE_KEEPS_FIELDS, "F7", "a delete does not clear the fields")                                             \
    X(51, DELETED_FIELDS_RETURN, "F6", "a field written before a delete counts when it comes after it")                \
    X(52, UPDATE_REVIVES, "F7", "an update brings a deleted row back")                                                 \
    X(53, LAST_COMES_WINS, "F7", "life and death of a row follow the order of arrival")                                \
    X(54, SESSION_IGNORED, "D7", "a session's read does not wait for the weak changes that it has seen")               \
    X(55, RECOVERY_AT_ONCE, "B7", "a replica that has lost its log takes part again before a majority has confirmed a leader") \
    X(56, SNAPSHOT_TOO_OLD, "A12", "a replica takes a snapshot that ends below the base of its log")                   \
    X(57, SPACE_IGNORED, "B6", "writes are taken although the disk is nearly full")                                    \
    X(58, SCHEMA_IGNORED, "C15", "weak changes are merged before the schema that they were made under is there")       \
    X(59, DURABILITY_COUNTED_WRONG, "F11", "one copy more than there is counts for Prefer: durability")                \
    X(60, FORGOTTEN_COUNTS, "B7", "a replica that has lost its log counts when a majority is asked for its weak changes") \
    X(61, NOTICE_FORGOTTEN, "A14", "where notices of commits may come late, the last one never comes")                 \
    X(62, NO_SPACE_IGNORED, "B6", "records for which the disk had no space are taken for written")                     \
    X(63, VERSION_IGNORED, "H7", "frames of another version are read as if they were of this one")                     \
    X(64, RELOAD_DONE_EARLY, "A9", "a reload says that it is done while members are still learning")                   \
    X(65, SLOW_DISK_STAYS, "H2", "a leader whose disk is slow keeps its office")                                       \
    X(66, FLOOR_FORGOTTEN, "F3", "the stamps that a database brings along do not move the clock")                      \
    X(71, GARBAGE_UNFLUSHED, "F6", "tombstones and histories go when members have them, though not on disk")           \
    X(72, GARBAGE_ONE_ROUND, "F6", "tombstones go when everybody holds the deletion, though older writes may be on their way") \
    X(73, GARBAGE_AWAY_IGNORED, "F6", "members that cannot be heard are not waited for when garbage is dropped")       \
    X(74, GARBAGE_SELF_ONLY, "F6", "histories go when this replica has them on disk")                                  \
    X(75, GARBAGE_CLAIM_AHEAD, "F6", "a replica claims that it writes nothing older than its wall clock")              \
    X(77, REPAIR_SKEW_TAKEN, "F4", "states of rows from the far future are joined")                                    \
    X(78, KEYS_COUNT_TWICE, "D6", "increments under one key count at each replica that took them")                     \
    X(79, REMOVALS_FORGOTTEN, "D6", "a removal is forgotten while somebody may still show what it removed")            \
    X(80, VERSION_REACHABLE, "H7", "who is understood by nobody, being of another version, is taken for reachable")    \
    X(81, ENDED_LIFE_RETURNS, "B7", "a copy of an earlier life of a replica is taken for the replica")                 \
    X(82, STUCK_FOR_LONG, "F8", "changes that were lost on their way are sent again much too late")                    \
    X(83, REPLACED_UNNOTICED, "B7", "of a log that comes back only the length is compared, not whether its entries were replaced since") \
    X(84, RANK_IGNORED, "A5", "a leader keeps its office although others come before it")                              \
    X(85, OFFICE_GOES_ROUND, "A5", "a leader gives its office to anybody who is fit, whoever comes first")             \
    X(86, READ_UNBOUND, "D7", "a read of weak tables is not told what its database must hold")                         \
    X(87, LOSS_AWAITED, "B7", "own weak changes that all disks have lost are waited for, and no weak writes taken meanwhile") \
    X(88, ORIGIN_UNASKED, "F2", "after a start weak changes are numbered on without asking the others whether there are later ones") \
    X(89, ASIDE_FORGOTTEN, "D6", "what was put aside is not looked for by the next life")                              \
    X(90, ADOPTED_MERGED, "F6", "changes that will be taken over with another replica's rows are merged meanwhile")   \
    X(92, SHORTENED_UNASKED, "D7", "a session with a shortened token does not ask what a majority holds")

enum cc_mutant_id {
#define CC_MUTANT_ID(number, name, class, text) CC_MUTANT_##name = number,
    CC_MUTANTS(CC_MUTANT_ID)
#undef CC_MUTANT_ID
};

#if defined(CAUCUS_MUTANTS)
extern int cc_mutant_chosen; // 0: none
static inline bool cc_mutant_choose(int number)
{
    cc_mutant_chosen = number;
    return true;
}
#else
#if defined(CAUCUS_MUTANT)
enum { cc_mutant_chosen = CAUCUS_MUTANT };
#else
enum { cc_mutant_chosen = 0 };
#endif
// False: this build does not have it.
static inline bool cc_mutant_choose(int number)
{
    return number == cc_mutant_chosen;
}
#endif

static inline bool cc_mutant(enum cc_mutant_id id)
{
    return (int)id == cc_mutant_chosen;
}

#endif
