/* bench_show.c - what was measured, as tables for people or as JSON. */
#include "bench.h"
#include "report.h"

#include <stdio.h>

/* ---- Tables ---------------------------------------------------------------------------------- */

static void print_speeds(const struct pq_bench *bench) {
    static const char *const heads[] = {"checkpoint", "work",    "tok/s", "min .. max", "ms",
                                        "GOPS",       "of peak", "GB/s",  "of peak",    "to first"};
    struct pq_table table = {.columns = bench->subjects > 1 ? 10 : 9, .left = 2};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int w = 0; w < bench->works; w++) {
        double first = pq_bench_conclude(bench, 0, w).median;
        for (int i = 0; i < bench->subjects; i++) {
            char name[256], work[64];
            struct pq_bench_result r = pq_bench_conclude(bench, i, w);
            pq_table_add(&table, "%s", pq_bench_label(&bench->subject[i], name));
            pq_table_add(&table, "%s", pq_bench_work_name(&bench->work[w], work));
            pq_table_add(&table, "%.1f", r.median);
            pq_table_add(&table, "%.1f .. %.1f", r.least, r.most);
            pq_table_add(&table, "%.1f", r.ms);
            pq_bench_add_rate(&table, r.gops);
            pq_bench_add_share(&table, r.gops_share);
            pq_bench_add_rate(&table, r.gbs);
            pq_bench_add_share(&table, r.gbs_share);
            if (bench->subjects > 1)
                pq_table_add(&table, "%.2fx", r.median / first);
        }
    }
    pq_table_print(&table);
}

void pq_bench_print(const struct pq_bench *bench) {
    const struct pq_machine *m = &bench->machine;
    printf("%s, %d threads, %s\n", m->cpu, bench->threads, pq_isa_name(m->isa));
    printf("peak, the best between works: %.0f GOPS in 8 bits, %.0f GFLOPS in BF16, "
           "%.1f GB/s read\n\n",
           m->int8_gops, m->bf16_gflops, m->read_gbs);
    print_speeds(bench);
    if (bench->profile)
        pq_bench_print_profile(bench);
    pq_bench_print_load(bench);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *work_json(const struct pq_bench *bench, int subject, int w) {
    struct pq_bench_result r = pq_bench_conclude(bench, subject, w);
    const struct pq_bench_work *work = &bench->work[w];
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "work",
                  work->decode ? "decode" : "prefill", "batch", work->batch, "prompt", work->prompt,
                  "tokens", work->decode ? work->decode : work->prompt, "tok_s", r.median,
                  "tok_s_min", r.least, "tok_s_max", r.most, "ms", r.ms, "gops", r.gops,
                  "gops_share", r.gops_share, "gbs", r.gbs, "gbs_share", r.gbs_share);
    if (bench->profile)
        json_object_set_new(json, "profile", pq_bench_profile_json(bench, subject, w));
    return json;
}

static json_t *model_json(const struct pq_bench *bench, int i) {
    const struct pq_bench_subject *subject = &bench->subject[i];
    const struct pq_model *model = subject->engine.model;
    json_t *speeds = json_array();
    for (int w = 0; w < bench->works; w++)
        json_array_append_new(speeds, work_json(bench, i, w));
    const struct pq_config *config = subject->engine.config;
    return json_pack(
        "{s:s, s:s, s:i, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:f}", "dir",
        subject->dir, "scheme", pq_scheme_name(config->scheme), "group", config->group, "precision",
        bench->options->precision == PQ_PRECISION_FP32 ? "fp32" : "native", "kv",
        subject->engine.kv == PQ_KV_INT8 ? "int8" : "native", "isa",
        pq_isa_name(pq_model_isa(model)), "layers", config->layers, "max_positions",
        config->max_positions, "load", pq_bench_load_json(&subject->load), "speeds", speeds,
        "weight_bytes", (json_int_t)pq_model_bytes(model), "kv_bytes",
        (json_int_t)pq_context_kv_bytes(subject->ctx), "kv_position_bytes",
        (json_int_t)pq_context_position_bytes(subject->ctx), "scratch_bytes",
        (json_int_t)pq_context_scratch_bytes(subject->ctx), "token_bytes",
        (json_int_t)pq_model_token_bytes(model), "token_macs", pq_model_token_macs(model));
}

int pq_bench_print_json(const struct pq_bench *bench) {
    const struct pq_machine *m = &bench->machine;
    json_t *models = json_array();
    for (int i = 0; i < bench->subjects; i++)
        json_array_append_new(models, model_json(bench, i));
    json_t *machine =
        json_pack("{s:s, s:s, s:i, s:f, s:f, s:f}", "cpu", m->cpu, "isa", pq_isa_name(m->isa),
                  "threads", bench->threads, "int8_gops", m->int8_gops, "bf16_gflops",
                  m->bf16_gflops, "read_gbs", m->read_gbs);
    return pq_print_json(json_pack(
        "{s:O, s:o, s:i, s:i, s:i, s:o, s:I, s:I, s:I}", "arguments", bench->arguments, "machine",
        machine, "repeat", bench->repeat, "sequences", bench->sequences, "positions",
        bench->positions, "models", models, "resident_bytes", (json_int_t)bench->resident.own,
        "mapped_bytes", (json_int_t)bench->resident.mapped, "peak_memory_bytes",
        (json_int_t)bench->resident.peak));
}
