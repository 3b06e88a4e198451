// Private key files: what keygen wrote is read back, what others could read is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config/io_keys.h"
#include "proxy/scratch.h"

struct fixture {
    char directory[SCRATCH_BYTES];
    char path[96];
    struct io_keys_problem problem;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    scratch_make("keys", f->directory);
    (void)snprintf(f->path, sizeof(f->path), "%s/key", f->directory);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    scratch_remove(f->directory);
    free(f);
    return 0;
}

static void write_file(const struct fixture *f, const char *text, mode_t mode)
{
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void a_saved_pair_is_loaded_again(void **state)
{
    struct fixture *f = *state;
    struct keys_pair pair;
    struct keys_pair again;
    assert_int_equal(io_keys_generate(&pair), CC_OK);
    mode_t before = umask(0); // a careless one does no harm
    assert_int_equal(io_keys_save(f->path, &pair, &f->problem), CC_OK);
    (void)umask(before);
    struct stat facts;
    assert_int_equal(stat(f->path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(facts.st_size, 65);
    assert_int_equal(io_keys_load(f->path, &again, &f->problem), CC_OK);
    assert_memory_equal(&again, &pair, sizeof(pair));
}

static void two_pairs_differ(void **state)
{
    (void)state;
    struct keys_pair a;
    struct keys_pair b;
    assert_int_equal(io_keys_generate(&a), CC_OK);
    assert_int_equal(io_keys_generate(&b), CC_OK);
    assert_memory_not_equal(a.public_key, b.public_key, KEYS_PUBLIC_BYTES);
}

static void an_existing_file_is_never_overwritten(void **state)
{
    struct fixture *f = *state;
    struct keys_pair pair;
    assert_int_equal(io_keys_generate(&pair), CC_OK);
    write_file(f, "precious", 0600);
    assert_int_equal(io_keys_save(f->path, &pair, &f->problem), CC_EXISTS);
    assert_non_null(strstr(f->problem.text, f->path));
    assert_int_equal(io_keys_load(f->path, &pair, &f->problem), CC_MALFORMED);
}

static void a_key_that_others_may_use_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char text[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    static const mode_t wide[] = {0640, 0604, 0620, 0610, 0777, 0601};
    struct keys_pair pair;
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        write_file(f, text, wide[i]);
        assert_int_equal(io_keys_load(f->path, &pair, &f->problem), CC_REFUSED);
        assert_non_null(strstr(f->problem.text, "chmod 600"));
    }
    write_file(f, text, 0400);
    assert_int_equal(io_keys_load(f->path, &pair, &f->problem), CC_OK);
}

static void other_files_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "\n",
        "0011\n",
        "x0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\n",
        " 00112233445566778899aabbccddeeff0011223344556677889aabbccddeeff\n",
    };
    struct keys_pair pair;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file(f, texts[i], 0600);
        assert_int_equal(io_keys_load(f->path, &pair, &f->problem), CC_MALFORMED);
        assert_non_null(strstr(f->problem.text, "64 hex digits"));
    }
    (void)unlink(f->path);
    assert_int_equal(io_keys_load(f->path, &pair, &f->problem), CC_NOT_FOUND);
    assert_int_equal(io_keys_load(f->directory, &pair, &f->problem), CC_REFUSED);
    assert_int_equal(io_keys_save("/nowhere/at/all/key", &pair, &f->problem), CC_NOT_FOUND);
}

int main(void)
{
#define KEYS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        KEYS_TEST(a_saved_pair_is_loaded_again),
        KEYS_TEST(two_pairs_differ),
        KEYS_TEST(an_existing_file_is_never_overwritten),
        KEYS_TEST(a_key_that_others_may_use_is_refused),
        KEYS_TEST(other_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
