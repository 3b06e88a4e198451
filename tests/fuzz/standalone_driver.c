// Runs a fuzz target without libFuzzer: on every file of a corpus directory, as it is and mutated a fixed number of times
// from a fixed seed, so that the normal test run is quick and repeatable.
// usage: fuzz_<name> [-m MUTATIONS] [-s SEED] CORPUS_DIRECTORY|FILE...
#include "base/prng.h"
#include "base/slice.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned n_mutations = 200;
static uint64_t seed = 1;
static unsigned long n_files;

// An exact-size copy, so that AddressSanitizer sees a read past the end.
static void run_input(struct cc_slice input)
{
    uint8_t *copy = malloc(input.n == 0 ? 1 : input.n);
    if (copy == NULL) {
        abort();
    }
    if (input.n > 0) {
        memcpy(copy, input.data, input.n);
    }
    LLVMFuzzerTestOneInput(copy, input.n);
    free(copy);
}

static void mutate_once(struct cc_prng *prng, struct cc_buffer *bytes)
{
    size_t at = (size_t)cc_prng_below(prng, bytes->n);
    size_t n_after = bytes->n - at;
    switch (cc_prng_below(prng, 6)) {
    case 0:
        bytes->data[at] ^= (uint8_t)(1u << cc_prng_below(prng, 8));
        break;
    case 1:
        bytes->data[at] = (uint8_t)cc_prng_next(prng);
        break;
    case 2: // cut the end
        bytes->n = at;
        break;
    case 3: // remove a piece
        n_after = (size_t)cc_prng_between(prng, 1, n_after);
        memmove(bytes->data + at, bytes->data + at + n_after, bytes->n - at - n_after);
        bytes->n -= n_after;
        break;
    case 4: { // repeat a piece at the end
        struct cc_buffer piece = {0};
        cc_buffer_append(&piece, bytes->data + at, (size_t)cc_prng_between(prng, 1, n_after));
        cc_buffer_append_slice(bytes, cc_buffer_slice(&piece));
        cc_buffer_finish(&piece);
        break;
    }
    case 5: // an extreme value
        memset(bytes->data + at, cc_prng_chance(prng, 500000) ? 0xff : 0, n_after < 8 ? n_after : 8);
        break;
    }
}

static void run_mutations(struct cc_slice input)
{
    struct cc_prng prng;
    cc_prng_seed(&prng, seed);
    struct cc_buffer bytes = {0};
    for (unsigned i = 0; i < n_mutations; i++) {
        cc_buffer_clear(&bytes);
        cc_buffer_append_slice(&bytes, input);
        uint64_t n_steps = cc_prng_between(&prng, 1, 4);
        while (n_steps-- > 0 && bytes.n > 0) {
            mutate_once(&prng, &bytes);
        }
        run_input(cc_buffer_slice(&bytes));
    }
    cc_buffer_finish(&bytes);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    struct cc_buffer bytes = {0};
    uint8_t part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), file)) > 0) {
        cc_buffer_append(&bytes, part, n);
    }
    fclose(file);
    run_input(cc_buffer_slice(&bytes));
    run_mutations(cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    n_files++;
    return 0;
}

static int run_directory(const char *path)
{
    struct dirent **names;
    int n_names = scandir(path, &names, NULL, alphasort);
    if (n_names < 0) {
        perror(path);
        return 1;
    }
    int result = 0;
    for (int i = 0; i < n_names; i++) {
        if (names[i]->d_name[0] != '.') {
            struct cc_buffer file = {0};
            cc_buffer_printf(&file, "%s/%s", path, names[i]->d_name);
            result |= run_file(cc_buffer_text(&file));
            cc_buffer_finish(&file);
        }
        free(names[i]);
    }
    free(names);
    return result;
}

static int run_path(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        perror(path);
        return 1;
    }
    return S_ISDIR(about.st_mode) ? run_directory(path) : run_file(path);
}

int main(int argc, char **argv)
{
    int result = 0;
    run_input((struct cc_slice){0});
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
            n_mutations = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            result |= run_path(argv[i]);
        }
    }
    printf("%lu files, %u mutations of each\n", n_files, n_mutations);
    if (n_files == 0) {
        fprintf(stderr, "no corpus file was found\n");
        return 1;
    }
    return result;
}
