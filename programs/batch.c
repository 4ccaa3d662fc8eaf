#include "batch.h"
#include "generate.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct pq_job *job; /* NULL: free */
    struct pq_reply *reply;
    struct pq_sampler *sampler; /* of the job */
    int fed;                    /* tokens of the prompt that have been run */
    int32_t token; /* the last one generated, to be run next; once the prompt has been */
};

struct batch {
    const struct pq_batch_options *options;
    struct pq_batch_stats *stats;
    struct pq_context *ctx;
    struct pq_job *jobs; /* [n_jobs] */
    int n_jobs, started, ended;
    struct slot *slots;    /* [n_slots] */
    struct pq_feed *feeds; /* [n_slots] of this step; feeds[i].sequence is the slot */
    int n_slots, n_feeds;
    float *logits; /* [slots][vocab] */
    int vocab, room;
};

void pq_job_free(struct pq_job *job) {
    free(job->prompt);
    free(job->ids);
    free(job->thinking);
    free(job->content);
    *job = (struct pq_job){0};
}

static void close_batch(struct batch *b) {
    for (int i = 0; b->slots && i < b->n_slots; i++) {
        pq_reply_close(b->slots[i].reply);
        pq_sampler_close(b->slots[i].sampler);
    }
    pq_context_close(b->ctx);
    free(b->slots);
    free(b->feeds);
    free(b->logits);
}

static enum pq_status open_context(struct batch *b, const struct pq_engine *engine,
                                   struct pq_pool *pool, int slots, struct pq_err *err) {
    int64_t most = (int64_t)slots * b->options->positions;
    struct pq_context_options options = {.sequences = slots,
                                         .positions = b->options->positions,
                                         .batch = most < PQ_CHUNK ? (int)most : PQ_CHUNK,
                                         .kv = engine->kv};
    b->n_slots = slots;
    b->room = options.batch;
    return pq_context_open(&b->ctx, engine->model, pool, &options, err);
}

/* Half of what the system has free, in bytes. */
static double free_memory(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    double kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib > 0 ? kib * 1024 / 2 : 1e9;
}

/* As many slots as are wanted and have room in memory: the cache of one tells what each takes. */
static enum pq_status choose_slots(struct batch *b, const struct pq_engine *engine,
                                   struct pq_pool *pool, struct pq_err *err) {
    int slots = b->options->slots;
    enum pq_status status = open_context(b, engine, pool, 1, err);
    if (status != PQ_OK)
        return status;
    double room = b->options->kv_bytes > 0 ? b->options->kv_bytes : free_memory();
    double most = room / (double)pq_context_kv_bytes(b->ctx);
    slots = slots < most ? slots : most < 1 ? 1 : (int)most;
    if (slots == 1)
        return PQ_OK;
    pq_context_close(b->ctx);
    b->ctx = NULL;
    return open_context(b, engine, pool, slots, err);
}

static enum pq_status open_batch(struct batch *b, const struct pq_engine *engine,
                                 struct pq_pool *pool, struct pq_err *err) {
    enum pq_status status = choose_slots(b, engine, pool, err);
    if (status != PQ_OK)
        return status;
    size_t slots = (size_t)b->n_slots;
    b->vocab = engine->config->vocab;
    b->slots = calloc(slots, sizeof *b->slots);
    b->feeds = calloc(slots, sizeof *b->feeds);
    b->logits = pq_logits_open(slots, b->vocab);
    if (!b->slots || !b->feeds || !b->logits)
        return pq_refuse(err, PQ_ENOMEM, "no memory for a batch of %zu", slots);
    for (size_t i = 0; i < slots && status == PQ_OK; i++)
        status = pq_reply_open(&b->slots[i].reply, engine->tok, engine->config, false, err);
    b->stats->slots = b->n_slots;
    b->stats->kv_bytes = pq_context_kv_bytes(b->ctx);
    b->stats->scratch_bytes = pq_context_scratch_bytes(b->ctx);
    return status;
}

/* Give the free slots the next jobs. */
static enum pq_status start_jobs(struct batch *b, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    for (int i = 0; i < b->n_slots && b->started < b->n_jobs && status == PQ_OK; i++) {
        struct slot *s = &b->slots[i];
        if (s->job)
            continue;
        s->job = &b->jobs[b->started++];
        s->fed = 0;
        pq_reply_reset(s->reply);
        pq_sequence_truncate(b->ctx, i, 0);
        struct pq_sampler_options sampling = *b->options->sampling;
        sampling.seed = s->job->seed;
        pq_sampler_close(s->sampler);
        s->sampler = NULL;
        status = pq_sampler_open(&s->sampler, b->vocab, &sampling, err);
    }
    return status;
}

/* The feeds of one step: a token of every reply, then prompts as far as the call has room. */
static void plan(struct batch *b) {
    int room = b->room;
    b->n_feeds = 0;
    for (int i = 0; i < b->n_slots; i++) {
        struct slot *s = &b->slots[i];
        if (!s->job || s->fed < s->job->n)
            continue;
        b->feeds[b->n_feeds++] =
            (struct pq_feed){.sequence = i, .n = 1, .tokens = &s->token, .n_logits = 1};
        room--;
    }
    for (int i = 0; i < b->n_slots && room > 0; i++) {
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
    if (!job->thinking || !job->content)
        return pq_refuse(err, PQ_ENOMEM, "no memory for a reply");
    return b->options->done(b->options->user, (int)(job - b->jobs), err);
}

static enum pq_status keep_id(struct pq_job *job, int32_t id, struct pq_err *err) {
    if ((job->tokens & (job->tokens - 1)) == 0) { /* the room doubles at powers of two */
        size_t room = job->tokens ? 2 * (size_t)job->tokens : 1;
        int32_t *ids = realloc(job->ids, room * sizeof *ids);
        if (!ids)
            return pq_refuse(err, PQ_ENOMEM, "no memory for a reply of %zu tokens", room);
        job->ids = ids;
    }
    job->ids[job->tokens++] = id;
    return PQ_OK;
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
        s->token = pq_sample(s->sampler, logits, NULL, 0);
        logits += b->vocab;
        status = keep_id(s->job, s->token, err);
        if (status == PQ_OK)
            status = pq_reply_feed(s->reply, s->token, &part, &text, &length, &s->job->ended, err);
        if (pq_reply_part(s->reply) == PQ_PART_THINKING)
            s->job->answer = s->job->tokens;
        if (status == PQ_OK && (s->job->ended || s->job->tokens >= b->options->max_tokens ||
                                pq_sequence_length(b->ctx, sequence) >= b->options->positions))
            status = finish(b, s, err);
    }
    return status;
}

/* One forward call, timed. */
static enum pq_status forward(struct batch *b, struct pq_err *err) {
    double start = pq_seconds();
    int prompt = 0;
    enum pq_status status = pq_forward(b->ctx, b->feeds, b->n_feeds, b->logits, err);
    double seconds = pq_seconds() - start;
    for (int i = 0; i < b->n_feeds; i++)
        if (b->feeds[i].tokens != &b->slots[b->feeds[i].sequence].token)
            prompt += b->feeds[i].n;
    if (prompt) {
        b->stats->prefill_tokens += prompt;
        b->stats->prefill_s += seconds;
    } else {
        b->stats->decode_tokens += b->n_feeds;
        b->stats->decode_s += seconds;
    }
    return status;
}

enum pq_status pq_batch_generate(const struct pq_engine *engine, struct pq_pool *pool,
                                 struct pq_job *jobs, int n, const struct pq_batch_options *options,
                                 struct pq_batch_stats *stats, struct pq_err *err) {
    struct batch b = {.options = options, .stats = stats, .jobs = jobs, .n_jobs = n};
    *stats = (struct pq_batch_stats){0};
    enum pq_status status = open_batch(&b, engine, pool, err);
    while (status == PQ_OK && b.ended < n) {
        status = start_jobs(&b, err);
        if (status == PQ_OK) {
            plan(&b);
            status = forward(&b, err);
        }
        if (status == PQ_OK)
            status = sample(&b, err);
        if (status == PQ_OK)
            status = options->step(options->user, err);
    }
    close_batch(&b);
    return status;
}
