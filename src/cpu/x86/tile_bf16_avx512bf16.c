/* vdpbf16ps adds the two products of a unit to an FP32 sum, flushing denormals. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX512BF16__)
#error "build this file with -mavx512bf16"
#endif

/* In assembly, because GCC 12 keeps the intrinsic's accumulators in memory. */
INLINE __m512 dot(__m512 sum, __m512i a, __m512i b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

INLINE void tile(const int rows, float *acc, bool add, const int32_t *x, const uint8_t *w,
                 int units, struct pq_ahead ahead) {
    __m512 sum[PQ_MR][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = add ? _mm512_loadu_ps(acc + r * PQ_NR) : _mm512_setzero_ps();
        sum[r][1] = add ? _mm512_loadu_ps(acc + r * PQ_NR + 16) : _mm512_setzero_ps();
    }
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int i = 0; i < units; i++, x += rows, w += PQ_NR * 4) {
        pq_fetch(&fetch);
        __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i xr = _mm512_set1_epi32(x[r]);
            sum[r][0] = dot(sum[r][0], w0, xr);
            sum[r][1] = dot(sum[r][1], w1, xr);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_ps(acc + r * PQ_NR, sum[r][0]);
        _mm512_storeu_ps(acc + r * PQ_NR + 16, sum[r][1]);
    }
}

void pq_tile_bf16_avx512bf16(float *acc, int rows, bool add, const void *x, const void *w,
                             int units, struct pq_ahead ahead) {
    ROWS_SWITCH(rows, tile, acc, add, x, w, units, ahead)
}

double pq_peak_bf16_avx512bf16(int rounds) {
    __m512 sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = _mm512_setzero_ps();
    __m512i a = _mm512_set1_epi32(0x3f803f80), b = a;
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++)
            sum[i] = dot(sum[i], a, b);
    }
    UNROLL
    for (int i = 0; i < 24; i++)
        __asm__ volatile("" ::"v"(sum[i]));
    return 2.0 * rounds * 24 * 32;
}
