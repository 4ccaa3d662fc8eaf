#include "generate.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct pq_sampler_options pq_choose_sampling(const struct pq_engine *engine,
                                             const struct pq_sampling_options *options) {
    const struct pq_generation_config *config = pq_checkpoint_generation(engine->ckpt);
    struct pq_sampler_options s = {
        .temperature = options->temperature >= 0 ? options->temperature
                       : config->do_sample       ? config->temperature
                                                 : 0,
        .top_k = options->top_k >= 0 ? options->top_k : config->top_k,
        .top_p = options->top_p >= 0 ? options->top_p : config->top_p,
        .repetition_penalty = options->repetition_penalty >= 0 ? options->repetition_penalty
                                                               : config->repetition_penalty,
        .seed = options->seed,
    };
    if (options->greedy)
        s.temperature = 0;
    return s;
}

enum pq_status pq_open_sampler(struct pq_sampler **out, const struct pq_engine *engine,
                               const struct pq_sampling_options *options, struct pq_err *err) {
    struct pq_sampler_options s = pq_choose_sampling(engine, options);
    if (s.seed == UINT64_MAX && getrandom(&s.seed, sizeof s.seed, 0) != sizeof s.seed)
        return pq_refuse(err, PQ_EIO, "the system gives no random seed; give one with --seed");
    return pq_sampler_open(out, engine->config->vocab, &s, err);
}

const char *pq_modes_text(const struct pq_tokenizer *tok, const struct pq_config *config,
                          const char *between, char text[PQ_MODES_TEXT]) {
    text[0] = 0;
    for (int i = 0; i < PQ_MODES; i++) {
        size_t used = strlen(text);
        if (pq_chat_has_mode(tok, config, (enum pq_think)i))
            snprintf(text + used, PQ_MODES_TEXT - used, "%s%s", used ? between : "",
                     pq_think_name((enum pq_think)i));
    }
    return text;
}

enum pq_status pq_choose_think(const struct pq_tokenizer *tok, const struct pq_config *config,
                               int *think, struct pq_err *err) {
    char modes[PQ_MODES_TEXT];
    if (*think < 0)
        *think = pq_chat_has_mode(tok, config, PQ_THINK_SLOW) ? PQ_THINK_SLOW : PQ_THINK_NO;
    else if (!pq_chat_has_mode(tok, config, (enum pq_think) * think) &&
             *pq_modes_text(tok, config, ", ", modes))
        return pq_refuse(err, PQ_EUNSUPPORTED, "this model has no mode '%s'; it has: %s",
                         pq_think_name((enum pq_think) * think), modes);
    return PQ_OK;
}

enum pq_status pq_parse_modes(enum pq_think modes[PQ_MODES], int *n, const char *list,
                              const char *option, const struct pq_engine *engine,
                              struct pq_err *err) {
    char all[PQ_MODES_TEXT];
    *n = 0;
    if (!list && !*(list = pq_modes_text(engine->tok, engine->config, ",", all)))
        list = "no";
    while (*list) {
        char word[16];
        size_t length = strcspn(list, ",");
        enum pq_think think;
        snprintf(word, sizeof word, "%.*s", (int)length, list);
        list += length + (list[length] == ',');
        if (!pq_think_parse(word, &think))
            return pq_refuse(err, PQ_EINVAL, "--%s takes a list of slow, auto and no, not '%s'",
                             option, word);
        for (int i = 0; i < *n; i++)
            if (modes[i] == think)
                return pq_refuse(err, PQ_EINVAL, "--%s names '%s' twice", option, word);
        int chosen = think;
        enum pq_status status = pq_choose_think(engine->tok, engine->config, &chosen, err);
        if (status != PQ_OK)
            return status;
        modes[(*n)++] = think;
    }
    return *n ? PQ_OK : pq_refuse(err, PQ_EINVAL, "--%s names no mode", option);
}

enum pq_status pq_generator_open(struct pq_generator *out, const struct pq_engine *engine,
                                 struct pq_sampler *sampler, struct pq_pool *pool, int positions,
                                 bool raw, struct pq_err *err) {
    struct pq_generator g = {.sampler = sampler, .positions = positions};
    struct pq_context_options options = {.sequences = 1,
                                         .positions = positions,
                                         .batch = positions < PQ_CHUNK ? positions : PQ_CHUNK,
                                         .kv = engine->kv};
    enum pq_status status = pq_context_open(&g.ctx, engine->model, pool, &options, err);
    if (status == PQ_OK)
        status = pq_reply_open(&g.reply, engine->tok, engine->config, raw, err);
    g.logits = pq_logits_open(1, engine->config->vocab);
    g.ids = malloc(((size_t)positions + 1) * sizeof *g.ids);
    if (status == PQ_OK && (!g.logits || !g.ids))
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %d positions", positions);
    if (status == PQ_OK)
        *out = g;
    else
        pq_generator_close(&g);
    return status;
}

void pq_generator_close(struct pq_generator *generator) {
    pq_reply_close(generator->reply);
    pq_context_close(generator->ctx);
    free(generator->logits);
    free(generator->ids);
    *generator = (struct pq_generator){0};
}

enum pq_status pq_feed_chunks(struct pq_context *ctx, const int32_t *ids, int from, int to,
                              float *logits, const volatile sig_atomic_t *stop,
                              struct pq_err *err) {
    while (from < to && !(stop && *stop)) {
        int n = to - from < PQ_CHUNK ? to - from : PQ_CHUNK;
        bool last = from + n == to;
        struct pq_feed feed = {.n = n, .tokens = ids + from, .n_logits = last};
        enum pq_status status = pq_forward(ctx, &feed, 1, last ? logits : NULL, err);
        if (status != PQ_OK)
            return status;
        from += n;
    }
    return PQ_OK;
}

/* Sample a token, show it, and run the model on it unless the reply is over. */
static enum pq_status step(struct pq_generator *g, int max_tokens, struct pq_generated *result,
                           bool *over, struct pq_err *err) {
    enum pq_part part;
    const char *text;
    size_t length;
    int32_t id = pq_sample(g->sampler, g->logits, g->ids, g->n);
    g->ids[g->n++] = id;
    result->tokens++;
    enum pq_status status = pq_reply_feed(g->reply, id, &part, &text, &length, &result->ended, err);
    if (status != PQ_OK)
        return status;
    if (g->show && length)
        g->show(g->user, part, text, length);
    *over = result->ended || result->tokens >= max_tokens || g->n > g->positions ||
            (g->stop && *g->stop);
    return *over ? PQ_OK : pq_feed_chunks(g->ctx, g->ids, g->n - 1, g->n, g->logits, NULL, err);
}

enum pq_status pq_generate(struct pq_generator *g, int max_tokens, struct pq_generated *result,
                           struct pq_err *err) {
    int known = pq_sequence_length(g->ctx, 0);
    struct pq_generated made = {.prompt_tokens = g->n - known};
    double start = pq_seconds();
    pq_reply_reset(g->reply);
    enum pq_status status = pq_feed_chunks(g->ctx, g->ids, known, g->n, g->logits, g->stop, err);
    double middle = pq_seconds();
    bool over = (g->stop && *g->stop) || max_tokens < 1;
    while (status == PQ_OK && !over)
        status = step(g, max_tokens, &made, &over, err);
    made.prefill_s = middle - start;
    made.decode_s = pq_seconds() - middle;
    if (status == PQ_OK)
        *result = made;
    return status;
}
