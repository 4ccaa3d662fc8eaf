/* bench_cells.c - names and cells that the tables of a bench share. */
#include "bench.h"
#include "report.h"

#include <libgen.h>
#include <stdio.h>

const char *pq_bench_label(const struct pq_bench_subject *subject, char buf[256]) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", subject->dir);
    snprintf(buf, 256, "%.200s (%s)", basename(copy),
             pq_scheme_name(subject->engine.config->scheme));
    return buf;
}

const char *pq_bench_work_name(const struct pq_bench_work *work, char buf[64]) {
    char batch[16] = "";
    if (work->batch > 1)
        snprintf(batch, sizeof batch, "%d x ", work->batch);
    if (work->decode)
        snprintf(buf, 64, "decode %s%d at %d", batch, work->decode, work->prompt);
    else
        snprintf(buf, 64, "prefill %s%d", batch, work->prompt);
    return buf;
}

void pq_bench_add_rate(struct pq_table *table, double value) {
    if (value > 0)
        pq_table_add(table, value < 10 ? "%.2f" : "%.0f", value);
    else
        pq_table_add(table, "-");
}

void pq_bench_add_share(struct pq_table *table, double share) {
    if (share > 0)
        pq_table_add(table, "%.0f %%", 100 * share);
    else
        pq_table_add(table, "-");
}
