/* bench_profile.c - where the time of a work goes: operator by operator beside the machine's
 * limits, and what of it grows with tokens, pasts and layers. */
#include "bench.h"
#include "report.h"

#include <math.h>
#include <stdio.h>

/* ---- Concluding ------------------------------------------------------------------------------ */

/* What the machine gave around a round, a second. */
struct limits {
    double int8_ops, fp_ops, bytes; /* fp_ops 0: not known */
};

/* Seconds that an operator takes at least; 0: not known. */
static double least(const struct pq_operator_cost *cost, const struct limits *limits,
                    bool *memory) {
    if (cost->fp_ops > 0 && limits->fp_ops <= 0)
        return 0;
    double arithmetic = cost->int8_ops / limits->int8_ops;
    if (cost->fp_ops > 0)
        arithmetic += cost->fp_ops / limits->fp_ops;
    double moving = cost->bytes / limits->bytes;
    *memory = moving > arithmetic;
    return fmax(moving, arithmetic);
}

/* Of a round of `steps` steps that took `whole` seconds. */
static struct pq_bench_part part_of(const struct pq_operator_cost *cost, double least_s,
                                    double whole, int steps) {
    double s = cost->seconds;
    struct pq_bench_part part = {
        .ms = 1e3 * s / steps, .of_all = s / whole, .typical_ms = 1e3 * cost->typical / steps};
    if (s > 0) {
        part.gops = 1e-9 * (cost->int8_ops + cost->fp_ops) / s;
        part.gbs = 1e-9 * cost->bytes / s;
        part.share = least_s / s;
        part.typical_share = least_s / cost->typical;
    }
    return part;
}

/* once_ms, token_us and pair_ns of a profile whose parts are there. */
static void fit(struct pq_bench_profile *p, const struct pq_config *c,
                const struct pq_bench_work *work, double attention_ops) {
    const struct pq_bench_part *part = p->part;
    int tokens = work->batch * (work->decode ? 1 : work->prompt),
        steps = work->decode ? work->decode : 1;
    double pairs = attention_ops / (4.0 * c->layers * c->heads * c->head_dim) / steps;
    double attention = part[PQ_OP_ATTENTION].ms;
    p->once_ms =
        part[PQ_OP_EMBED].ms + part[PQ_OP_HEAD_ROWS].ms + part[PQ_OP_HEAD].ms + p->between.ms;
    p->token_us = 1e3 * (p->all.ms - p->once_ms - attention) / c->layers / tokens;
    p->pair_ns = 1e6 * attention / c->layers / pairs;
}

struct pq_bench_profile pq_bench_profile_of(const struct pq_bench *bench, int index, int w) {
    const struct pq_bench_subject *subject = &bench->subject[index];
    const struct pq_bench_round *round = &subject->round[w][(bench->repeat - 1) / 2];
    const struct pq_operator_cost *cost = round->profile.cost;
    bool fp32 = bench->options->precision == PQ_PRECISION_FP32;
    const struct pq_machine *m = &round->machine;
    struct limits limits = {1e9 * m->int8_gops, fp32 ? 0 : 1e9 * m->bf16_gflops, 1e9 * m->read_gbs};
    int steps = bench->work[w].decode ? bench->work[w].decode : 1;
    struct pq_bench_profile p = {0};
    struct pq_operator_cost all = {.seconds = round->seconds}, between = all;
    double all_least = 0;
    bool known = true;
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++) {
        bool memory = false;
        double s = least(&cost[op], &limits, &memory);
        p.part[op] = part_of(&cost[op], s, round->seconds, steps);
        p.part[op].memory = memory;
        between.seconds -= cost[op].seconds;
        all.typical += cost[op].typical;
        all.int8_ops += cost[op].int8_ops;
        all.fp_ops += cost[op].fp_ops;
        all.bytes += cost[op].bytes;
        all_least += s;
        known &= s > 0;
    }
    between.typical = between.seconds;
    all.typical += between.seconds;
    p.between = part_of(&between, 0, round->seconds, steps);
    p.all = part_of(&all, known ? all_least : 0, round->seconds, steps);
    fit(&p, subject->engine.config, &bench->work[w],
        cost[PQ_OP_ATTENTION].int8_ops + cost[PQ_OP_ATTENTION].fp_ops);
    return p;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void add_part(struct pq_table *table, const char *name, const struct pq_bench_part *part,
                     const char *limit) {
    pq_table_add(table, "%s", name);
    pq_table_add(table, "%.3f", part->ms);
    pq_table_add(table, "%.1f %%", 100 * part->of_all);
    pq_bench_add_rate(table, part->gops);
    pq_bench_add_rate(table, part->gbs);
    pq_bench_add_share(table, part->share);
    pq_table_add(table, "%.3f", part->typical_ms);
    pq_bench_add_share(table, part->typical_share);
    pq_table_add(table, "%s", part->share > 0 ? limit : "-");
}

static void print_parts(const struct pq_bench_profile *p) {
    static const char *const heads[] = {"operator", "ms",          "of time",  "GOPS", "GB/s",
                                        "of limit", "typical, ms", "of limit", "limit"};
    struct pq_table table = {.columns = 9, .left = 1};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++)
        add_part(&table, pq_operator_name(op), &p->part[op],
                 p->part[op].memory ? "memory" : "arithmetic");
    add_part(&table, "between operators", &p->between, "-");
    add_part(&table, "all", &p->all, "sum");
    pq_table_print(&table);
}

static void print_growth(const struct pq_bench *bench) {
    static const char *const heads[] = {"checkpoint",  "work",       "ms",    "once, ms",
                                        "a token, us", "a pair, ns", "layers"};
    struct pq_table table = {.columns = 7, .left = 2};
    char name[256], work[64];
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int i = 0; i < bench->subjects; i++) {
        for (int w = 0; w < bench->works; w++) {
            struct pq_bench_profile p = pq_bench_profile_of(bench, i, w);
            pq_table_add(&table, "%s", pq_bench_label(&bench->subject[i], name));
            pq_table_add(&table, "%s", pq_bench_work_name(&bench->work[w], work));
            pq_table_add(&table, "%.2f", p.all.ms);
            pq_table_add(&table, "%.2f", p.once_ms);
            pq_table_add(&table, "%.2f", p.token_us);
            pq_table_add(&table, "%.3f", p.pair_ns);
            pq_table_add(&table, "%d", bench->subject[i].engine.config->layers);
        }
    }
    printf("\ngrowth: ms = once + layers x (tokens x us + pairs x ns)\n");
    pq_table_print(&table);
}

void pq_bench_print_profile(const struct pq_bench *bench) {
    char name[256], work[64];
    for (int w = 0; w < bench->works; w++) {
        for (int i = 0; i < bench->subjects; i++) {
            struct pq_bench_profile p = pq_bench_profile_of(bench, i, w);
            printf("\n%s, %s%s\n", pq_bench_label(&bench->subject[i], name),
                   pq_bench_work_name(&bench->work[w], work),
                   bench->work[w].decode ? ", a step" : "");
            print_parts(&p);
        }
    }
    printf("\ntypical: as if all layers had taken what the median layer of their call took\n");
    print_growth(bench);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *part_json(const char *name, const struct pq_bench_part *part) {
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "operator", name, "ms",
                     part->ms, "of_all", part->of_all, "gops", part->gops, "gbs", part->gbs,
                     "limit_share", part->share, "typical_ms", part->typical_ms,
                     "typical_limit_share", part->typical_share, "limit",
                     part->memory ? "memory" : "arithmetic");
}

json_t *pq_bench_profile_json(const struct pq_bench *bench, int subject, int work) {
    struct pq_bench_profile p = pq_bench_profile_of(bench, subject, work);
    json_t *parts = json_array();
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++)
        json_array_append_new(parts, part_json(pq_operator_name(op), &p.part[op]));
    const struct pq_machine *m =
        &bench->subject[subject].round[work][(bench->repeat - 1) / 2].machine;
    return json_pack("{s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "int8_gops",
                     m->int8_gops, "bf16_gflops", m->bf16_gflops, "read_gbs", m->read_gbs,
                     "operators", parts, "between_ms", p.between.ms, "all_ms", p.all.ms,
                     "limit_share", p.all.share, "typical_ms", p.all.typical_ms,
                     "typical_limit_share", p.all.typical_share, "once_ms", p.once_ms, "token_us",
                     p.token_us, "pair_ns", p.pair_ns);
}
