/* vnni.h - the byte dot product of AVX-512 VNNI. */
#ifndef PQ_CPU_X86_VNNI_H
#define PQ_CPU_X86_VNNI_H

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

#endif
