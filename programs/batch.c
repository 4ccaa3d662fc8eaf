#include "batch.h"
#include "generate.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    struct pq_job *job; /* NULL: free */
    struct pq_reply *reply;
    int fed;       /* tokens of the prompt that have been run */
    int32_t token; /* the last one generated, to be run next; once the prompt has been */
};

struct batch {
    const struct pq_batch_options *options;
    struct pq_context *ctx;
    struct pq_sampler *sampler;
    struct slot *slots;    /* [slots] */
    struct pq_feed *feeds; /* [slots] of this step; feeds[i].sequence is the slot */
    int n_feeds;
    float *logits; /* [slots][vocab] */
    int vocab, room;
    int ended;
};

void pq_job_free(struct pq_job *job) {
    free(job->prompt);
    free(job->thinking);
    free(job->content);
    *job = (struct pq_job){0};
}

static void close_batch(struct batch *b) {
    for (int i = 0; b->slots && i < b->options->slots; i++)
        pq_reply_close(b->slots[i].reply);
    pq_sampler_close(b->sampler);
    pq_context_close(b->ctx);
    free(b->slots);
    free(b->feeds);
    free(b->logits);
}

static enum pq_status open_batch(struct batch *b, const struct pq_engine *engine,
                                 struct pq_pool *pool, struct pq_err *err) {
    static const struct pq_sampler_options greedy = {.top_p = 1, .repetition_penalty = 1};
    size_t slots = (size_t)b->options->slots;
    int most = b->options->slots * b->options->positions;
    struct pq_context_options options = {.sequences = b->options->slots,
                                         .positions = b->options->positions,
                                         .batch = most < PQ_CHUNK ? most : PQ_CHUNK};
    b->vocab = engine->config->vocab;
    b->room = options.batch;
    b->slots = calloc(slots, sizeof *b->slots);
    b->feeds = calloc(slots, sizeof *b->feeds);
    b->logits = calloc(slots, (size_t)b->vocab * sizeof *b->logits);
    if (!b->slots || !b->feeds || !b->logits)
        return pq_refuse(err, PQ_ENOMEM, "no memory for a batch of %zu", slots);
    enum pq_status status = pq_context_open(&b->ctx, engine->model, pool, &options, err);
    if (status == PQ_OK)
        status = pq_sampler_open(&b->sampler, b->vocab, &greedy, err);
    for (size_t i = 0; i < slots && status == PQ_OK; i++)
        status = pq_reply_open(&b->slots[i].reply, engine->tok, engine->config, false, err);
    return status;
}

/* The feeds of one step: a token of every reply, then prompts as far as the call has room. */
static void plan(struct batch *b) {
    int room = b->room;
    b->n_feeds = 0;
    for (int i = 0; i < b->options->slots; i++) {
        struct slot *s = &b->slots[i];
        if (!s->job || s->fed < s->job->n)
            continue;
        b->feeds[b->n_feeds++] =
            (struct pq_feed){.sequence = i, .n = 1, .tokens = &s->token, .n_logits = 1};
        room--;
    }
    for (int i = 0; i < b->options->slots && room > 0; i++) {
        struct slot *s = &b->slots[i];
        if (!s->job || s->fed == s->job->n)
            continue;
        int left = s->job->n - s->fed, n = left < room ? left : room;
        b->feeds[b->n_feeds++] = (struct pq_feed){
            .sequence = i, .n = n, .tokens = s->job->prompt + s->fed, .n_logits = n == left};
        s->fed += n;
        room -= n;
    }
}

/* Keep the reply and free the slot. */
static enum pq_status finish(struct batch *b, struct slot *s, struct pq_err *err) {
    struct pq_job *job = s->job;
    job->thinking = strdup(pq_reply_thinking(s->reply));
    job->content = strdup(pq_reply_content(s->reply));
    job->thinking_tokens = pq_reply_thinking_tokens(s->reply);
    s->job = NULL;
    b->ended++;
    return job->thinking && job->content ? PQ_OK
                                         : pq_refuse(err, PQ_ENOMEM, "no memory for a reply");
}

/* The next token of every sequence that has logits. */
static enum pq_status sample(struct batch *b, struct pq_err *err) {
    const float *logits = b->logits;
    enum pq_status status = PQ_OK;
    for (int i = 0; i < b->n_feeds && status == PQ_OK; i++) {
        enum pq_part part;
        const char *text;
        size_t length;
        int sequence = b->feeds[i].sequence;
        struct slot *s = &b->slots[sequence];
        if (!b->feeds[i].n_logits)
            continue;
        s->token = pq_sample(b->sampler, logits, NULL, 0);
        s->job->tokens++;
        logits += b->vocab;
        status = pq_reply_feed(s->reply, s->token, &part, &text, &length, &s->job->ended, err);
        if (status == PQ_OK && (s->job->ended || s->job->tokens >= b->options->max_tokens ||
                                pq_sequence_length(b->ctx, sequence) >= b->options->positions))
            status = finish(b, s, err);
    }
    return status;
}

enum pq_status pq_batch_generate(const struct pq_engine *engine, struct pq_pool *pool,
                                 struct pq_job *jobs, int n, const struct pq_batch_options *options,
                                 struct pq_err *err) {
    struct batch b = {.options = options};
    int started = 0;
    enum pq_status status = open_batch(&b, engine, pool, err);
    while (status == PQ_OK && b.ended < n) {
        for (int i = 0; i < options->slots && started < n; i++) {
            struct slot *s = &b.slots[i];
            if (s->job)
                continue;
            s->job = &jobs[started++];
            s->fed = 0;
            pq_reply_reset(s->reply);
            pq_sequence_truncate(b.ctx, i, 0);
        }
        plan(&b);
        status = pq_forward(b.ctx, b.feeds, b.n_feeds, b.logits, err);
        if (status == PQ_OK)
            status = sample(&b, err);
        if (status == PQ_OK && options->progress &&
            !options->progress(options->user, "generating", (uint64_t)b.ended, (uint64_t)n))
            status = pq_refuse(err, PQ_ECANCELLED, "stopped");
    }
    close_batch(&b);
    return status;
}
