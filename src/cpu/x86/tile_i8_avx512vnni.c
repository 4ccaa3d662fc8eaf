/* vpdpbusd multiplies unsigned by signed bytes: panels hold code + 128, activations are signed,
 * and the caller's start of the accumulators takes 128 * sum(x) off again. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"
#include "cpu/x86/vnni.h"

enum { BLOCK = PQ_BLOCK / 4 }; /* units */

INLINE void tile(const int rows, int32_t *acc, const int32_t *start, const int32_t *x,
                 const uint8_t *w, int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    const bool few = rows <= PQ_FEW; /* end in too few lines to hold anything up */
    __m512i sum[PQ_MR][2];
    pq_begin_sums(rows, sum, start);
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    struct pq_end_fetch end_fetch = {0};
    if (!few)
        end_fetch = pq_end_fetch_begin(ends, rows, units / BLOCK);
    for (int i = 0, block = 0; i < units; block++) {
        int end = few || units - i < BLOCK ? units : i + BLOCK;
        if (!few)
            pq_fetch_end(&end_fetch, block);
        KEEP_LOOP
        for (; i < end; i++, x += rows, w += PQ_NR * 4) {
            pq_fetch(&fetch);
            pq_add_products(rows, sum, w, x);
        }
    }
    pq_end_sums(rows, acc, sum);
}

/* Apart, so that few rows need not save the registers that more take. */
static __attribute__((noinline)) void more_rows(int32_t *acc, int rows, const int32_t *start,
                                                const void *x, const void *w, int units,
                                                struct pq_ahead ahead, const struct pq_ends *ends) {
    switch (rows) {
        ROWS_CASE(5, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(6, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(7, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(8, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(9, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(10, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(11, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(12, tile, acc, start, x, w, units, ahead, ends)
    }
}

void pq_tile_i8_avx512vnni(int32_t *acc, int rows, const int32_t *start, const void *x,
                           const void *w, int units, struct pq_ahead ahead,
                           const struct pq_ends *ends) {
    switch (rows) {
        ROWS_CASE(1, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(2, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(3, tile, acc, start, x, w, units, ahead, ends)
        ROWS_CASE(4, tile, acc, start, x, w, units, ahead, ends)
    default:
        more_rows(acc, rows, start, x, w, units, ahead, ends);
    }
}

double pq_peak_i8_avx512vnni(int rounds) {
    __m512i sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = _mm512_setzero_si512();
    __m512i a = _mm512_set1_epi8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++)
            sum[i] = pq_dpbusd(sum[i], a, a);
    }
    UNROLL
    for (int i = 0; i < 24; i++)
        __asm__ volatile("" ::"v"(sum[i]));
    return 2.0 * rounds * 24 * 64;
}
