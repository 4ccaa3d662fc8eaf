/* vpdpbusd multiplies unsigned by signed bytes: panels hold code + 128, activations are signed,
 * and the caller's start of the accumulators takes 128 * sum(x) off again. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"
#include "cpu/x86/vnni.h"

INLINE void tile(const int rows, int32_t *acc, const int32_t *start, const int32_t *x,
                 const uint8_t *w, int units, struct pq_ahead ahead) {
    __m512i sum[PQ_MR][2];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm512_set1_epi32(start[r]);
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int i = 0; i < units; i++, x += rows, w += PQ_NR * 4) {
        pq_fetch(&fetch);
        __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i xr = _mm512_set1_epi32(x[r]);
            sum[r][0] = pq_dpbusd(sum[r][0], w0, xr);
            sum[r][1] = pq_dpbusd(sum[r][1], w1, xr);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_si512(acc + r * PQ_NR, sum[r][0]);
        _mm512_storeu_si512(acc + r * PQ_NR + 16, sum[r][1]);
    }
}

void pq_tile_i8_avx512vnni(int32_t *acc, int rows, const int32_t *start, const void *x,
                           const void *w, int units, struct pq_ahead ahead) {
    ROWS_SWITCH(rows, tile, acc, start, x, w, units, ahead)
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
