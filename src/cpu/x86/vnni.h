/* vnni.h - the byte dot product of AVX-512 VNNI, and a tile's sums of it. */
#ifndef PQ_CPU_X86_VNNI_H
#define PQ_CPU_X86_VNNI_H

#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__)
#error "build this file with -mavx512bw -mavx512vnni"
#endif

/* sum[i] += four products of unsigned and signed bytes.  In assembly, because GCC 12 keeps the
 * intrinsic's accumulators in memory: half the speed. */
static inline __attribute__((always_inline)) __m512i pq_dpbusd(__m512i sum, __m512i u8,
                                                               __m512i s8) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u8), "v"(s8));
    return sum;
}

/* Four inputs of PQ_NR outputs, w, times those of the rows: x [rows] units. */
INLINE void pq_add_products(const int rows, __m512i (*sum)[2], const uint8_t *w, const int32_t *x) {
    __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m512i xr = _mm512_set1_epi32(x[r]);
        sum[r][0] = pq_dpbusd(sum[r][0], w0, xr);
        sum[r][1] = pq_dpbusd(sum[r][1], w1, xr);
    }
}

/* A row's sums begin at start[r], */
INLINE void pq_begin_sums(const int rows, __m512i (*sum)[2], const int32_t *start) {
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm512_set1_epi32(start[r]);
}

/* and end in acc [rows][PQ_NR]. */
INLINE void pq_end_sums(const int rows, int32_t *acc, __m512i (*sum)[2]) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_si512(acc + r * PQ_NR, sum[r][0]);
        _mm512_storeu_si512(acc + r * PQ_NR + 16, sum[r][1]);
    }
}

#endif
