// The bytes of Raft's messages, entries and memberships.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/limits.h"
#include "consensus/raft.h"

static void a_message_of_every_kind_survives_the_round_trip(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    for (int kind = RAFT_PRE_VOTE; kind <= RAFT_SNAPSHOT_REPLY; kind++) {
        struct raft_message message = {
            .kind = (enum raft_message_kind)kind,
            .from = 1,
            .to = UINT32_MAX,
            .term = UINT64_MAX,
            .log_index = 7,
            .log_term = 6,
            .commit = 5,
            .context = UINT64_MAX - 1,
            .reject = kind % 2 == 0,
            .transfer = kind % 3 == 0,
        };
        cc_buffer_clear(&bytes);
        raft_message_put(&bytes, &message);
        struct raft_message read;
        assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_OK);
        assert_int_equal(read.kind, message.kind);
        assert_true(read.from == message.from && read.to == message.to && read.term == message.term);
        assert_true(read.log_index == message.log_index && read.log_term == message.log_term);
        assert_true(read.commit == message.commit && read.context == message.context);
        assert_true(read.reject == message.reject && read.transfer == message.transfer);
        assert_int_equal(read.n_entries, 0);
        raft_message_finish(&read);
    }
    cc_buffer_finish(&bytes);
}

static struct cc_blob *text_blob(const char *text)
{
    return cc_blob_create(text, strlen(text));
}

static void put_append(struct cc_buffer *bytes)
{
    struct cc_blob *payload = text_blob("row");
    struct raft_entry entries[2] = {
        {.index = 8, .term = 3, .hlc = UINT64_C(1) << 60, .kind = RAFT_ENTRY_DATA, .payload = payload},
        {.index = 9, .term = 4, .hlc = 0, .kind = RAFT_ENTRY_NOOP},
    };
    struct raft_message message = {.kind = RAFT_APPEND,
                                   .from = 1,
                                   .to = 2,
                                   .term = 4,
                                   .log_index = 7,
                                   .log_term = 3,
                                   .entries = entries,
                                   .n_entries = 2};
    raft_message_put(bytes, &message);
    cc_blob_unref(payload);
}

static void entries_travel_with_their_payloads(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    put_append(&bytes);
    struct raft_message read;
    assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_OK);
    assert_int_equal(read.n_entries, 2);
    assert_int_equal(read.entries[0].index, 8);
    assert_true(read.entries[0].hlc == UINT64_C(1) << 60);
    assert_true(cc_slice_equal_text(cc_blob_slice(read.entries[0].payload), "row"));
    assert_int_equal(read.entries[1].kind, RAFT_ENTRY_NOOP);
    assert_null(read.entries[1].payload);
    raft_message_finish(&read);
    cc_buffer_finish(&bytes);
}

static void a_message_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    put_append(&bytes);
    struct raft_message read;
    for (size_t n = 0; n < bytes.n; n++) {
        assert_int_equal(raft_message_read(cc_slice_of(bytes.data, n), &read), CC_MALFORMED);
    }
    cc_put_u8(&bytes, 0); // and one byte too many
    assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_MALFORMED);
    cc_buffer_finish(&bytes);
}

static void unknown_versions_kinds_and_flags_are_refused(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    put_append(&bytes);
    struct raft_message read;
    static const uint8_t wrong[][2] = {{0, 0}, {0, 2}, {1, 0}, {1, 14}, {2, 4}, {3, 0}, {4, 0}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t right = bytes.data[wrong[i][0]];
        bytes.data[wrong[i][0]] = wrong[i][1];
        assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_MALFORMED);
        bytes.data[wrong[i][0]] = right;
    }
    cc_buffer_finish(&bytes);
}

static void more_entries_than_the_limit_are_refused_before_anything_is_allocated(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    struct raft_message message = {.kind = RAFT_APPEND, .from = 1, .to = 2};
    raft_message_put(&bytes, &message);
    bytes.n--; // the count
    cc_put_varint(&bytes, CC_APPEND_ENTRIES_MAX + 1);
    struct raft_message read;
    assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_TOO_LARGE);
    cc_buffer_finish(&bytes);
}

static void entries_in_another_kind_of_message_are_refused(void **state)
{
    (void)state;
    struct cc_buffer bytes = {0};
    put_append(&bytes);
    bytes.data[1] = RAFT_HEARTBEAT;
    struct raft_message read;
    assert_int_equal(raft_message_read(cc_buffer_slice(&bytes), &read), CC_MALFORMED);
    cc_buffer_finish(&bytes);
}

static void an_entry_without_index_term_or_kind_is_refused(void **state)
{
    (void)state;
    struct raft_entry wrong[] = {
        {.index = 0, .term = 1, .kind = RAFT_ENTRY_DATA},
        {.index = 1, .term = 0, .kind = RAFT_ENTRY_DATA},
        {.index = 1, .term = 1, .kind = (enum raft_entry_kind)0},
        {.index = 1, .term = 1, .kind = (enum raft_entry_kind)4},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct cc_buffer bytes = {0};
        raft_entry_put(&bytes, &wrong[i]);
        struct cc_reader reader = cc_reader_of(cc_buffer_slice(&bytes));
        struct raft_entry read;
        assert_int_equal(raft_entry_read(&reader, &read), CC_MALFORMED);
        cc_buffer_finish(&bytes);
    }
}

static enum cc_status read_membership(const struct raft_membership *membership, struct raft_membership *read)
{
    struct cc_buffer bytes = {0};
    raft_membership_put(&bytes, membership);
    enum cc_status status = raft_membership_read(cc_buffer_slice(&bytes), read);
    cc_buffer_finish(&bytes);
    return status;
}

static void a_membership_is_written_in_the_order_of_its_ids(void **state)
{
    (void)state;
    struct raft_membership membership = {.n_members = 3, .members = {{.id = 9}, {.id = 2, .voter = true}, {.id = 5, .voter = true}}};
    struct raft_membership read;
    assert_int_equal(read_membership(&membership, &read), CC_OK);
    assert_int_equal(read.n_members, 3);
    assert_int_equal(read.members[0].id, 2);
    assert_int_equal(read.members[2].id, 9);
    assert_false(read.members[2].voter);
}

static void details_of_members_travel_with_them(void **state)
{
    (void)state;
    struct raft_membership membership = {.n_members = 2, .members = {{.id = 2, .voter = true, .n_details = 2, .details = "xy"}, {.id = 1}}};
    struct raft_membership read;
    assert_int_equal(read_membership(&membership, &read), CC_OK);
    assert_int_equal(read.members[0].n_details, 0);
    assert_int_equal(read.members[1].n_details, 2);
    assert_memory_equal(read.members[1].details, "xy", 2);
}

static void a_membership_with_doubles_or_without_voters_is_refused(void **state)
{
    (void)state;
    struct raft_membership read;
    struct raft_membership doubled = {.n_members = 2, .members = {{.id = 3, .voter = true}, {.id = 3, .voter = true}}};
    assert_int_equal(read_membership(&doubled, &read), CC_MALFORMED);
    struct raft_membership learners = {.n_members = 2, .members = {{.id = 3}, {.id = 4}}};
    assert_int_equal(read_membership(&learners, &read), CC_MALFORMED);
    struct raft_membership zero = {.n_members = 1, .members = {{.id = 0, .voter = true}}};
    assert_int_equal(read_membership(&zero, &read), CC_MALFORMED);
    struct raft_membership empty = {0};
    assert_int_equal(read_membership(&empty, &read), CC_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_of_every_kind_survives_the_round_trip),
        cmocka_unit_test(entries_travel_with_their_payloads),
        cmocka_unit_test(a_message_cut_anywhere_is_refused),
        cmocka_unit_test(unknown_versions_kinds_and_flags_are_refused),
        cmocka_unit_test(more_entries_than_the_limit_are_refused_before_anything_is_allocated),
        cmocka_unit_test(entries_in_another_kind_of_message_are_refused),
        cmocka_unit_test(an_entry_without_index_term_or_kind_is_refused),
        cmocka_unit_test(a_membership_is_written_in_the_order_of_its_ids),
        cmocka_unit_test(details_of_members_travel_with_them),
        cmocka_unit_test(a_membership_with_doubles_or_without_voters_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
