/* bench_rounding TOKENS N K... - seconds that calibrated rounding takes at the shapes N x K: second
 * moments of TOKENS rows, their factor, and the rows of W8A8 and W4A8 (group 32).  Random numbers
 * stand for inputs and weights. */
#include "quant/gptq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 512 /* of a call */ };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *random_floats(size_t n) {
    uint64_t state = 1;
    float *p = malloc(n * sizeof *p);
    for (size_t i = 0; p && i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)(state >> 40) * 0x1p-24f - 0.5f;
    }
    return p;
}

/* A call of ROWS rows, and from it all n. */
static void round_rows(const struct pq_gptq *g, const char *name, const float *w, int n) {
    static float scales[ROWS];
    static double errors[ROWS], powers[ROWS];
    int rows = n < ROWS ? n : ROWS;
    size_t weights = (size_t)rows * (size_t)g->k;
    struct pq_rounded_rows out = {malloc(weights), g->group ? malloc(weights) : NULL, scales,
                                  errors, powers};
    struct pq_err err;
    double start = now();
    if (pq_gptq_rows(g, w, rows, &out, &err) != PQ_OK)
        puts(err.text);
    printf("  %s %.2f s", name, (now() - start) * n / rows);
    free(out.q);
    free(out.multipliers);
}

static void bench(struct pq_pool *pool, int tokens, int n, int k) {
    struct pq_err err;
    struct pq_workspace ws;
    struct pq_factor factor;
    if (pq_workspace_open(&ws, pool, pq_ops_get(PQ_ISA_COUNT - 1), k, &err) != PQ_OK)
        return;
    float *x = random_floats((size_t)2 * PQ_DEPTH * (size_t)k);
    float *h = calloc((size_t)k * (size_t)k, sizeof *h);
    pq_hessian_add(&ws, h, k, x, PQ_DEPTH); /* memory becomes resident */
    double start = now();
    pq_hessian_add(&ws, h, k, x, 2 * PQ_DEPTH); /* all chunks take the same time */
    printf("%d x %d:  moments %.2f s", n, k, (now() - start) * tokens / (2 * PQ_DEPTH));
    start = now();
    pq_hessian_mirror(&ws, h, k);
    if (pq_factor_open(&factor, &ws, h, k, 0.01f, true, &err) == PQ_OK) {
        printf("  factor %.2f s", now() - start);
        struct pq_gptq g = {.ws = &ws,
                            .h = h,
                            .factor = &factor,
                            .k = k,
                            .sweeps = 4,
                            .refit = true,
                            .scheme = PQ_SCHEME_W8A8};
        round_rows(&g, "w8a8", x, n);
        g.scheme = PQ_SCHEME_W4A8;
        g.group = 32;
        round_rows(&g, "w4a8", x, n);
        pq_factor_close(&factor);
    }
    putchar('\n');
    free(h);
    free(x);
    pq_workspace_close(&ws);
}

int main(int argc, char **argv) {
    struct pq_pool *pool;
    struct pq_err err;
    if (argc < 4 || pq_pool_open(&pool, 0, &err) != PQ_OK)
        return 2;
    for (int i = 2; i + 1 < argc; i += 2)
        bench(pool, atoi(argv[1]), atoi(argv[i]), atoi(argv[i + 1]));
    pq_pool_close(pool);
    return 0;
}
