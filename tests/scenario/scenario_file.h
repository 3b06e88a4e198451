// Scenario files: text in, text out. A file is a list of blocks: commands, a line "----", the expected output, an empty line. Lines
// with '#' before a block are text. With REWRITE=1 in the environment the output found is written into the files (then read the diff).
#ifndef SCENARIO_FILE_H
#define SCENARIO_FILE_H

#include "base/slice.h"

enum { SCENARIO_WORDS_MAX = 12, SCENARIO_LINE_BYTES_MAX = 512 };

struct scenario_words { // of a command
    char text[SCENARIO_LINE_BYTES_MAX];
    const char *word[SCENARIO_WORDS_MAX];
    unsigned n;
};

struct scenario_language {
    void *(*begin)(struct cc_buffer *out); // a file; what happens is appended to out, line by line
    // False: there is no such command, or not with these words.
    bool (*run)(void *scenario, const struct scenario_words *words);
    const char *(*violation)(const void *scenario); // "": nothing that must hold is violated
    void (*end)(void *scenario);
};

// The word as a number; 0 when it is missing or none.
uint64_t scenario_number(const struct scenario_words *words, unsigned at);
// Of the words key=number, the number; 0: there is none.
uint64_t scenario_option(const struct scenario_words *words, const char *key);
// Runs the files of the command line. The exit status.
int scenario_main(int argc, char **argv, const struct scenario_language *language);

#endif
