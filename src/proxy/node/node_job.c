// Database jobs under way: made by the node, handed out as effects, freed when their answer has come.
#include "proxy/node/node_internal.h"

#include <assert.h>

struct job *node_job_create(struct node *node, enum db_job_kind kind, uint32_t n_items_max)
{
    struct job *job = cc_alloc(sizeof(*job));
    cc_arena_init(&job->arena);
    job->job.kind = kind;
    job->job.number = ++node->next_job;
    job->job.schema_version = node->strong.schema_version;
    job->n_items_max = n_items_max;
    if (n_items_max > 0) {
        job->job.items = cc_arena_array(&job->arena, n_items_max, sizeof(*job->job.items));
    }
    return job;
}

void node_job_item(struct job *job, struct cc_blob *blob)
{
    assert(job->job.n_items < job->n_items_max);
    NODE_PUSH(job->blobs, cc_blob_ref(blob));
    job->job.items[job->job.n_items++] = cc_blob_slice(blob);
}

void node_job_submit(struct node *node, enum db_lane lane, struct job *job)
{
    DL_APPEND(node->jobs[lane], job);
    NODE_PUSH(node->out->jobs[lane], &job->job);
}

void node_job_free(struct node *node, enum db_lane lane, struct job *job)
{
    DL_DELETE(node->jobs[lane], job);
    for (size_t i = 0; i < job->blobs.n; i++) {
        cc_blob_unref(job->blobs.at[i]);
    }
    free(job->blobs.at);
    cc_arena_finish(&job->arena);
    free(job);
}

struct job *node_job_answered(struct node *node, enum db_lane lane, uint64_t number)
{
    // Jobs are answered in order; those without an answer (rollbacks) end with the next one that has one.
    while (node->jobs[lane] != NULL && node->jobs[lane]->job.number < number) {
        node_job_free(node, lane, node->jobs[lane]);
    }
    struct job *job = node->jobs[lane];
    return job != NULL && job->job.number == number ? job : NULL;
}

void node_jobs_forget(struct node *node, enum db_lane lane)
{
    node->out->jobs[lane].n = 0;
    while (node->jobs[lane] != NULL) {
        node_job_free(node, lane, node->jobs[lane]);
    }
}
