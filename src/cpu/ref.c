/* ref.c - the tile kernels in plain C: what every ISA's version must compute. */
#include "base/half.h"
#include "cpu/kernels.h"

#include <string.h>

/* -128 for every code that meets w = code + 128. */
int32_t pq_start_shifted(const int8_t *x, int n, int32_t sum) {
    (void)x, (void)n;
    return -128 * sum;
}

void pq_tile_i8_c(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                  int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    (void)ahead;
    (void)start;
    const int8_t *xr = x;
    const uint8_t *wi = w;
    memset(acc, 0, (size_t)(rows * PQ_NR) * sizeof *acc);
    for (int i = 0; i < units; i++, wi += PQ_NR * 4)
        for (int r = 0; r < rows; r++, xr += 4)
            for (int c = 0; c < PQ_NR; c++) {
                const uint8_t *wc = wi + 4 * c;
                acc[r * PQ_NR + c] += xr[0] * (wc[0] - 128) + xr[1] * (wc[1] - 128) +
                                      xr[2] * (wc[2] - 128) + xr[3] * (wc[3] - 128);
            }
}

/* Code (+ 8) of input j of the panel's output c. */
static int code_at(const struct pq_panel4 *w, int c, int j) {
    int byte = w->codes[((size_t)(j / 8) * PQ_NR + (size_t)c) * 4 + (size_t)(j % 4)];
    return j % 8 < 4 ? byte & 15 : byte >> 4;
}

static int mult_at(const struct pq_panel4 *w, int c, int block) {
    int byte = w->mults[(size_t)(block >> w->shift) * 16 + (size_t)(c % 16)];
    return c < 16 ? byte & 15 : byte >> 4;
}

void pq_tile_i4_c(int32_t *acc, int rows, const void *x, const int32_t *starts,
                  const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    const int8_t *xs = x;
    memset(acc, 0, (size_t)(rows * PQ_NR) * sizeof *acc);
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < PQ_NR; c++) {
                int32_t sum = starts[b * rows + r];
                for (int j = b * PQ_BLOCK; j < (b + 1) * PQ_BLOCK; j++)
                    sum += xs[(j / 4 * rows + r) * 4 + j % 4] * code_at(w, c, j);
                acc[r * PQ_NR + c] += mult_at(w, c, b) * sum;
            }
}

void pq_unpack_i4_c(uint8_t *out, const struct pq_panel4 *w, int blocks) {
    for (int j = 0; j < blocks * PQ_BLOCK; j++)
        for (int c = 0; c < PQ_NR; c++) {
            int value = mult_at(w, c, j / PQ_BLOCK) * (code_at(w, c, j) - 8);
            out[((size_t)(j / 4) * PQ_NR + (size_t)c) * 4 + (size_t)(j % 4)] =
                (uint8_t)(value + 128);
        }
}

void pq_tile_bf16_c(float *acc, int rows, bool add, const void *x, const void *w, int units,
                    struct pq_ahead ahead) {
    (void)ahead;
    const uint16_t *xr = x, *wi = w;
    if (!add)
        memset(acc, 0, (size_t)(rows * PQ_NR) * sizeof *acc);
    for (int i = 0; i < units; i++, wi += PQ_NR * 2)
        for (int r = 0; r < rows; r++, xr += 2) {
            float x0 = pq_bf16_to_f32(xr[0]), x1 = pq_bf16_to_f32(xr[1]);
            for (int c = 0; c < PQ_NR; c++) {
                float *sum = acc + r * PQ_NR + c;
                *sum = *sum + x0 * pq_bf16_to_f32(wi[2 * c]) + x1 * pq_bf16_to_f32(wi[2 * c + 1]);
            }
        }
}

/* Plain C has no peak of its own; a dot product that the compiler may vectorize stands for it. */
enum { PEAK_LENGTH = 1024 };

double pq_peak_i8_c(int rounds) {
    int16_t a[PEAK_LENGTH], b[PEAK_LENGTH];
    for (int i = 0; i < PEAK_LENGTH; i++)
        a[i] = b[i] = (int16_t)(i % 16);
    volatile int32_t sink = 0;
    for (int r = 0; r < rounds; r++) {
        int32_t sum = 0;
        for (int i = 0; i < PEAK_LENGTH; i++)
            sum += a[i] * b[i];
        sink = sink + sum;
        __asm__ volatile("" ::: "memory");
    }
    return 2.0 * rounds * PEAK_LENGTH;
}

double pq_peak_bf16_c(int rounds) {
    float a[PEAK_LENGTH], sum[PEAK_LENGTH] = {0};
    for (int i = 0; i < PEAK_LENGTH; i++)
        a[i] = (float)i;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < PEAK_LENGTH; i++)
            sum[i] += a[i] * 0.5f;
        __asm__ volatile("" ::"r"(sum) : "memory");
    }
    return 2.0 * rounds * PEAK_LENGTH;
}
