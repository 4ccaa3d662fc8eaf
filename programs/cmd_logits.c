/* panq logits - the logits of a text or of ids, in a file that other programs read. */
#include "commands.h"
#include "engine.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 }; /* tokens of one call */

struct logits {
    struct pq_engine_options engine;
    const char *ids, *text, *out;
};

#define FIELD(member) .offset = offsetof(struct logits, member)
static const struct pq_option options[] = {
    {.name = "ids",
     .kind = PQ_OPTION_TEXT,
     .value = "1,2,3",
     FIELD(ids),
     .help = "the ids, separated by commas"},
    {.name = "text",
     .kind = PQ_OPTION_TEXT,
     .value = "TEXT",
     FIELD(text),
     .help = "instead: a text, without the chat template"},
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(out),
     .help = "the safetensors file to write"},
    PQ_ENGINE_OPTIONS(struct logits, engine),
};

/* "1,2,3" to ids, malloc'd. */
static enum pq_status parse_ids(const char *text, int32_t **out, int *n, struct pq_err *err) {
    int32_t *ids = malloc((strlen(text) / 2 + 1) * sizeof *ids);
    int count = 0;
    if (!ids)
        return pq_refuse(err, PQ_ENOMEM, "out of memory for the ids");
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX || (*end != ',' && *end != 0)) {
            free(ids);
            return pq_refuse(err, PQ_EINVAL, "--ids takes ids separated by commas, not '%.60s'",
                             at);
        }
        ids[count++] = (int32_t)id;
        at = end + 1;
        if (*end == 0)
            break;
    }
    *out = ids;
    *n = count;
    return PQ_OK;
}

static enum pq_status save(const struct logits *logits, const int32_t *ids, int n,
                           const float *values, int vocab, struct pq_err *err) {
    const struct pq_tensor_info infos[] = {
        {.name = "ids", .dtype = "I32", .rank = 1, .shape = {n}},
        {.name = "logits", .dtype = "F32", .rank = 2, .shape = {n, vocab}},
    };
    return pq_tensors_save(logits->out, infos, (const void *const[]){ids, values}, 2, err);
}

static enum pq_status compute(const struct pq_engine *engine, struct pq_pool *pool,
                              const int32_t *ids, int n, float *values, struct pq_err *err) {
    struct pq_context_options room = {
        .sequences = 1, .positions = n, .batch = n < CHUNK ? n : CHUNK, .kv = engine->kv};
    struct pq_context *ctx = NULL;
    enum pq_status status = pq_context_open(&ctx, engine->model, pool, &room, err);
    for (int at = 0; status == PQ_OK && at < n; at += room.batch) {
        int now = n - at < room.batch ? n - at : room.batch;
        struct pq_feed feed = {0, now, ids + at, now};
        status =
            pq_forward(ctx, &feed, 1, values + (size_t)at * (size_t)engine->config->vocab, err);
    }
    pq_context_close(ctx);
    return status;
}

static enum pq_status logits_of(const struct logits *logits, const struct pq_engine *engine,
                                struct pq_pool *pool, struct pq_err *err) {
    int32_t *ids = NULL;
    float *values = NULL;
    int n = 0, vocab = engine->config->vocab;
    enum pq_status status = logits->ids ? parse_ids(logits->ids, &ids, &n, err)
                                        : pq_encode(engine->tok, logits->text, strlen(logits->text),
                                                    true, &ids, &n, err);
    if (status == PQ_OK && n == 0)
        status = pq_refuse(err, PQ_EINVAL, "the text is empty: there is nothing to take logits of");
    if (status == PQ_OK)
        values = calloc((size_t)n, (size_t)vocab * sizeof *values);
    if (status == PQ_OK && !values)
        status = pq_refuse(err, PQ_ENOMEM, "out of memory for the logits of %d tokens", n);
    if (status == PQ_OK)
        status = compute(engine, pool, ids, n, values, err);
    if (status == PQ_OK)
        status = save(logits, ids, n, values, vocab, err);
    free(values);
    free(ids);
    return status;
}

static int main_logits(const struct pq_command *command, int argc, char **argv) {
    struct logits logits = {0};
    struct pq_engine engine = {0};
    struct pq_pool *pool = NULL;
    struct pq_err err;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &logits, &n, &code))
        return code;
    if (!logits.ids == !logits.text)
        return pq_usage_error(command, "one of --ids and --text is needed, and not both");
    if (!logits.out)
        return pq_usage_error(command, "-o says where the logits go, and is missing");
    logits.engine.without_text = logits.ids;
    enum pq_status status = pq_pool_open(&pool, logits.engine.threads, &err);
    if (status == PQ_OK)
        status = pq_engine_open(&engine, argv[0], &logits.engine, pool, &err);
    if (status == PQ_OK)
        status = logits_of(&logits, &engine, pool, &err);
    pq_engine_close(&engine);
    pq_pool_close(pool);
    return status == PQ_OK ? PQ_EXIT_OK : pq_error("%s", err.text);
}

const struct pq_command pq_command_logits = {
    .name = "logits",
    .arguments = "DIR --ids LIST -o F",
    .least = 1,
    .most = 1,
    .summary = "write the logits of a text or of ids",
    .details =
        "The file holds \"ids\", I32 [t], and \"logits\", F32 [t, vocab]: row i follows the\n"
        "ids up to i.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_logits,
};
