// Scenario files: splitting, running, comparing, rewriting.
#include "scenario/scenario_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// -- Words ----------------------------------------------------------------------------------------------------------

static void split(const char *line, struct scenario_words *words)
{
    memset(words, 0, sizeof(*words));
    (void)snprintf(words->text, sizeof(words->text), "%s", line);
    char *rest = NULL;
    char *word = strtok_r(words->text, " ", &rest);
    while (word != NULL && words->n < SCENARIO_WORDS_MAX) {
        words->word[words->n++] = word;
        word = strtok_r(NULL, " ", &rest);
    }
}

uint64_t scenario_number(const struct scenario_words *words, unsigned at)
{
    return at < words->n ? strtoull(words->word[at], NULL, 10) : 0;
}

uint64_t scenario_option(const struct scenario_words *words, const char *key)
{
    size_t n = strlen(key);
    for (unsigned i = 1; i < words->n; i++) {
        if (strncmp(words->word[i], key, n) == 0 && words->word[i][n] == '=') {
            return strtoull(words->word[i] + n + 1, NULL, 10);
        }
    }
    return 0;
}

// -- Files ----------------------------------------------------------------------------------------------------------

static char *next_line(char **rest)
{
    char *line = *rest;
    if (*line == '\0') {
        return NULL;
    }
    char *end = strchr(line, '\n');
    if (end == NULL) {
        *rest = line + strlen(line);
        return line;
    }
    *end = '\0';
    *rest = end + 1;
    return line;
}

static bool run_command(const struct scenario_language *language, void *scenario, const char *line)
{
    struct scenario_words words;
    split(line, &words);
    if (words.n == 0 || language->run(scenario, &words)) {
        return true;
    }
    fprintf(stderr, "not understood: %s\n", line);
    return false;
}

// Runs all blocks; writes the file as it should be. False: a command is not understood.
static bool run_text(const struct scenario_language *language, void *scenario, struct cc_buffer *out, char *text,
                     struct cc_buffer *result)
{
    char *rest = text;
    char *line = NULL;
    bool in_output = false;
    while ((line = next_line(&rest)) != NULL) {
        if (in_output && line[0] != '\0') {
            continue; // replaced by what was found
        }
        in_output = false;
        cc_buffer_printf(result, "%s\n", line);
        if (strcmp(line, "----") == 0) {
            const char *violation = language->violation(scenario);
            if (violation[0] != '\0') {
                cc_buffer_printf(out, "violation: %s\n", violation);
            }
            cc_buffer_append_slice(result, cc_buffer_slice(out));
            cc_buffer_clear(out);
            in_output = true;
            continue;
        }
        if (line[0] != '#' && !run_command(language, scenario, line)) {
            return false;
        }
    }
    return true;
}

static bool read_file(const char *path, struct cc_buffer *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    char bytes[4096];
    size_t n = 0;
    while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0) {
        cc_buffer_append(out, bytes, n);
    }
    (void)fclose(file);
    return true;
}

static void show_first_difference(const char *path, struct cc_buffer *expected, struct cc_buffer *found)
{
    char *expected_rest = (char *)(uintptr_t)cc_buffer_text(expected);
    char *found_rest = (char *)(uintptr_t)cc_buffer_text(found);
    for (unsigned at = 1;; at++) {
        const char *a = next_line(&expected_rest);
        const char *b = next_line(&found_rest);
        if (a == NULL || b == NULL || strcmp(a, b) != 0) {
            printf("%s:%u: expected: %s\n%s:%u: found:    %s\n", path, at, a != NULL ? a : "(end)", path, at,
                   b != NULL ? b : "(end)");
            return;
        }
    }
}

static bool write_file(const char *path, const struct cc_buffer *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    bool written = fwrite(text->data, 1, text->n, file) == text->n;
    return fclose(file) == 0 && written;
}

static bool run_file(const struct scenario_language *language, const char *path, bool rewrite)
{
    struct cc_buffer out = {0}, text = {0}, expected = {0}, found = {0};
    void *scenario = language->begin(&out);
    bool good = read_file(path, &text);
    cc_buffer_append(&expected, text.data, text.n);
    (void)cc_buffer_text(&text);
    good = good && text.n > 0 && run_text(language, scenario, &out, (char *)text.data, &found);
    bool sound = language->violation(scenario)[0] == '\0';
    bool equal = good && cc_slice_equal(cc_buffer_slice(&expected), cc_buffer_slice(&found));
    if (good && !equal && rewrite) {
        good = write_file(path, &found);
    } else if (good && !equal) {
        show_first_difference(path, &expected, &found);
        good = false;
    }
    if (!sound) {
        printf("%s: %s\n", path, language->violation(scenario));
    }
    language->end(scenario);
    cc_buffer_finish(&out);
    cc_buffer_finish(&text);
    cc_buffer_finish(&expected);
    cc_buffer_finish(&found);
    return good && sound;
}

int scenario_main(int argc, char **argv, const struct scenario_language *language)
{
    bool rewrite = getenv("REWRITE") != NULL;
    unsigned n_bad = 0;
    for (int i = 1; i < argc; i++) {
        if (!run_file(language, argv[i], rewrite)) {
            printf("%s: failed\n", argv[i]);
            n_bad++;
        }
    }
    printf("%d scenarios, %u failed\n", argc - 1, n_bad);
    return n_bad == 0 && argc > 1 ? 0 : 1;
}
