/* Processors with vpdpbusd but without 512-bit registers. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/avxvnni.h"
#include "cpu/x86/fetch.h"

/* 12 sums, weights and an activation.  Few rows meet all outputs at once, so that their panel,
 * which is then what they wait for, is read in the order of memory. */
enum { ROWS = 6, FEW_ROWS = 4 };

INLINE void tile(const int rows, const int vectors, int32_t *acc, const int32_t *start,
                 const int32_t *x, const uint8_t *w, int units, int stride,
                 struct pq_fetch *fetch) {
    __m256i sum[ROWS][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = _mm256_set1_epi32(start[r]);
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        __m256i wc[4];
        UNROLL
        for (int c = 0; c < vectors; c++)
            wc[c] = _mm256_loadu_si256((const __m256i *)(w + 32 * c));
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xr = _mm256_set1_epi32(x[r]);
            UNROLL
            for (int c = 0; c < vectors; c++)
                sum[r][c] = pq_dpbusd256(sum[r][c], wc[c], xr);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8 * c), sum[r][c]);
    }
}

static void few_rows(int32_t *acc, int rows, const int32_t *start, const int32_t *x,
                     const uint8_t *w, int units, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int r = 0; r < rows; r += 2, fetch.step = 0) {
        int32_t *at = acc + r * PQ_NR;
        switch (rows - r) {
            ROWS_CASE(1, tile, 4, at, start + r, x + r, w, units, rows, &fetch)
        default:
            tile(2, 4, at, start + r, x + r, w, units, rows, &fetch);
        }
    }
}

static void more_rows(int32_t *acc, int rows, const int32_t *start, const int32_t *x,
                      const uint8_t *w, int units, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, 4 * units);
    int half = (rows + 1) / 2; /* 8 are 4 and 4: few rows wait for their sums */
    for (int c = 0; c < PQ_NR; c += 16)
        for (int r = 0; r < rows; r += half) {
            int32_t *at = acc + r * PQ_NR + c;
            switch (rows - r < half ? rows - r : half) {
                ROWS_CASE(2, tile, 2, at, start + r, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(3, tile, 2, at, start + r, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(4, tile, 2, at, start + r, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(5, tile, 2, at, start + r, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(6, tile, 2, at, start + r, x + r, w + 4 * c, units, rows, &fetch)
            }
        }
}

void pq_tile_i8_avxvnni(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                        int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, start, x, w, units, ahead);
    else
        more_rows(acc, rows, start, x, w, units, ahead);
}

double pq_peak_i8_avxvnni(int rounds) {
    __m256i sum[12];
    UNROLL
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++)
            sum[i] = pq_dpbusd256(sum[i], a, a);
    }
    UNROLL
    for (int i = 0; i < 12; i++)
        __asm__ volatile("" ::"x"(sum[i]));
    return 2.0 * rounds * 12 * 32;
}
