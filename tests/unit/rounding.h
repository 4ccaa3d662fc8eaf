/* rounding.h - inputs and weights for the tests of rounding against second moments. */
#ifndef PQ_TESTS_ROUNDING_H
#define PQ_TESTS_ROUNDING_H

#include "quant/hessian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rounding_state = 1;

static inline double uniform(void) {
    rounding_state ^= rounding_state << 13;
    rounding_state ^= rounding_state >> 7;
    rounding_state ^= rounding_state << 17;
    return ((double)(rounding_state >> 11) + 0.5) * 0x1p-53;
}

static inline double gauss(void) {
    double r = sqrt(-2 * log(uniform()));
    return r * cos(2 * 3.14159265358979324 * uniform());
}

static inline double student(void) { /* with 5 degrees of freedom */
    double squares = 0, z = gauss();
    for (int i = 0; i < 5; i++) {
        double y = gauss();
        squares += y * y;
    }
    return z / sqrt(squares / 5);
}

/* Rows [rows][k] of correlated inputs of very different sizes: a few factors that all channels
 * share, noise, and a size for each channel. */
static inline float *correlated_rows(int rows, int k, uint64_t seed) {
    enum { FACTORS = 24 };
    float *x = malloc((size_t)rows * (size_t)k * sizeof *x);
    float *mix = malloc((size_t)FACTORS * (size_t)k * sizeof *mix);
    float *size = malloc((size_t)k * sizeof *size), f[FACTORS];
    rounding_state = 88172645463325252u;
    for (int i = 0; i < FACTORS * k; i++)
        mix[i] = (float)gauss();
    for (int j = 0; j < k; j++)
        size[j] = (float)exp(0.7 * gauss());
    rounding_state += seed;
    for (int t = 0; t < rows; t++) {
        for (int i = 0; i < FACTORS; i++)
            f[i] = (float)(gauss() / sqrt(i + 1));
        for (int j = 0; j < k; j++) {
            float sum = 0.5f * (float)gauss();
            for (int i = 0; i < FACTORS; i++)
                sum += f[i] * mix[i * k + j] * 0.5f;
            x[(size_t)t * (size_t)k + (size_t)j] = size[j] * sum;
        }
    }
    free(size);
    free(mix);
    return x;
}

static inline float *student_weights(int n, int k) {
    float *w = malloc((size_t)n * (size_t)k * sizeof *w);
    rounding_state = 362436069362436069u;
    for (int i = 0; i < n * k; i++)
        w[i] = (float)(0.02 * student());
    return w;
}

/* H of rows x [rows][k], mirrored. */
static inline float *moments(const struct pq_workspace *ws, const float *x, int rows, int k) {
    float *h = calloc((size_t)k * (size_t)k, sizeof *h);
    pq_hessian_add(ws, h, k, x, rows);
    pq_hessian_mirror(ws, h, k);
    return h;
}

/* Whether `same` holds on every ISA that runs here, with one, two and three threads. */
static inline bool on_every_machine(int k, bool (*same)(const struct pq_workspace *ws)) {
    bool good = true;
    for (enum pq_isa isa = 0; isa < PQ_ISA_COUNT; isa++)
        for (int threads = 1; threads <= 3 && pq_isa_runs(isa) && good; threads++) {
            struct pq_pool *pool;
            struct pq_workspace ws;
            if (pq_pool_open(&pool, threads, NULL) != PQ_OK)
                return false;
            good = pq_workspace_open(&ws, pool, pq_ops_get(isa), k, NULL) == PQ_OK;
            if (good) {
                good = same(&ws);
                pq_workspace_close(&ws);
            }
            pq_pool_close(pool);
        }
    return good;
}

#endif
