/* bench_load.c - what comes before speed: a checkpoint's way to its first token, and what it and
 * its sequences take of memory. */
#include "bench.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Measuring ------------------------------------------------------------------------------- */

/* A context, and the logits after PQ_BENCH_FIRST tokens, or as many as the model has room for. */
static enum pq_status first_token(struct pq_bench_subject *subject, struct pq_pool *pool,
                                  struct pq_err *err) {
    const struct pq_config *c = subject->engine.config;
    int n = c->max_positions < PQ_BENCH_FIRST ? c->max_positions : PQ_BENCH_FIRST;
    struct pq_context_options o = {
        .sequences = 1, .positions = n, .batch = n, .kv = subject->engine.kv};
    int32_t ids[PQ_BENCH_FIRST];
    struct pq_context *ctx = NULL;
    double start = pq_seconds();
    float *logits = pq_logits_open(1, c->vocab);
    for (int i = 0; i < n; i++)
        ids[i] = i % c->vocab;
    enum pq_status status = logits ? pq_context_open(&ctx, subject->engine.model, pool, &o, err)
                                   : pq_refuse(err, PQ_ENOMEM, "no memory for logits");
    if (status == PQ_OK)
        status = pq_forward(ctx, &(struct pq_feed){0, n, ids, 1}, 1, logits, err);
    subject->load.first_s = pq_seconds() - start;
    pq_context_close(ctx);
    free(logits);
    return status;
}

enum pq_status pq_bench_load(struct pq_bench *bench, int index, struct pq_pool *pool,
                             struct pq_err *err) {
    struct pq_bench_subject *subject = &bench->subject[index];
    double before = pq_resident_now().own;
    enum pq_status status =
        pq_engine_open(&subject->engine, subject->dir, bench->options, pool, err);
    if (status != PQ_OK)
        return status;
    subject->load.open_s = subject->engine.open_s;
    subject->load.weights_s = subject->engine.load_s - subject->engine.open_s;
    subject->load.resident = pq_resident_now().own - before;
    return first_token(subject, pool, err);
}

/* ---- Showing --------------------------------------------------------------------------------- */

static double total_s(const struct pq_bench_load *load) {
    return load->open_s + load->weights_s + load->first_s;
}

static void print_load(const struct pq_bench *bench) {
    static const char *const heads[] = {"checkpoint", "open, s", "weights ready, s",
                                        "first token, s", "together, s"};
    struct pq_table table = {.columns = 5, .left = 1};
    char name[256];
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int i = 0; i < bench->subjects; i++) {
        const struct pq_bench_load *load = &bench->subject[i].load;
        pq_table_add(&table, "%s", pq_bench_label(&bench->subject[i], name));
        pq_table_add(&table, "%.3f", load->open_s);
        pq_table_add(&table, "%.3f", load->weights_s);
        pq_table_add(&table, "%.3f", load->first_s);
        pq_table_add(&table, "%.3f", total_s(load));
    }
    putchar('\n');
    pq_table_print(&table);
}

static void print_memory(const struct pq_bench *bench) {
    struct pq_table table = {.columns = 5, .left = 1};
    char text[256], size[3][24];
    double counted = 0;
    pq_table_add(&table, "checkpoint");
    pq_table_add(&table, "weights");
    pq_table_add(&table, "resident once loaded");
    pq_table_add(&table, "KV cache, %d x %d", bench->sequences, bench->positions);
    pq_table_add(&table, "scratch");
    for (int i = 0; i < bench->subjects; i++) {
        const struct pq_bench_subject *subject = &bench->subject[i];
        double bytes[4] = {(double)pq_model_bytes(subject->engine.model), subject->load.resident,
                           (double)pq_context_kv_bytes(subject->ctx),
                           (double)pq_context_scratch_bytes(subject->ctx)};
        counted += bytes[0] + bytes[2] + bytes[3];
        pq_table_add(&table, "%s", pq_bench_label(subject, text));
        for (int k = 0; k < 4; k++)
            pq_table_add(&table, "%s", pq_human_bytes(bytes[k], size[0]));
    }
    putchar('\n');
    pq_table_print(&table);
    printf("weights, caches and scratch of all: %s; resident at the end: %s, and %s of files\n",
           pq_human_bytes(counted, size[0]), pq_human_bytes(bench->resident.own, size[1]),
           pq_human_bytes(bench->resident.mapped, size[2]));
    printf("peak memory of the process, the read probe's included: %s\n",
           pq_human_bytes(bench->resident.peak, size[0]));
}

void pq_bench_print_load(const struct pq_bench *bench) {
    print_load(bench);
    print_memory(bench);
}

json_t *pq_bench_load_json(const struct pq_bench_load *load) {
    return json_pack("{s:f, s:f, s:f, s:f, s:I}", "open_s", load->open_s, "weights_s",
                     load->weights_s, "first_token_s", load->first_s, "total_s", total_s(load),
                     "resident_bytes", (json_int_t)load->resident);
}
