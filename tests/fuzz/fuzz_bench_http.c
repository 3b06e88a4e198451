// Answers that the load generator reads: whatever the bytes, no answer is taken before it is whole, and it lies within them.
#include "cli/bench_http.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_buffer scratch = {0};
    struct bench_http_answer answer;
    size_t n_taken = 0;
    if (bench_http_answer_parse(cc_slice_of(data, n), &scratch, &answer, &n_taken) == BENCH_ANSWER_COMPLETE) {
        assert(n_taken > 0 && n_taken <= n);
        assert(answer.status >= 200 && answer.status < 600);
        assert(answer.body.n <= n_taken);
        struct bench_http_answer again;
        size_t n_again = 0;
        assert(bench_http_answer_parse(cc_slice_of(data, n_taken), &scratch, &again, &n_again) == BENCH_ANSWER_COMPLETE);
        assert(n_again == n_taken && again.status == answer.status);
        assert(bench_http_answer_parse(cc_slice_of(data, n_taken - 1), &scratch, &again, &n_again) == BENCH_ANSWER_MORE);
    }
    cc_buffer_finish(&scratch);
    return 0;
}
