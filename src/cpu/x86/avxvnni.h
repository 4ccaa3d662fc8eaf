/* avxvnni.h - the byte dot product of AVX-VNNI. */
#ifndef PQ_CPU_X86_AVXVNNI_H
#define PQ_CPU_X86_AVXVNNI_H

#include <immintrin.h>

#if !defined(__AVXVNNI__)
#error "build this file with -mavxvnni"
#endif

/* sum[i] += four products of unsigned and signed bytes; in assembly as pq_dpbusd of vnni.h is. */
static inline __attribute__((always_inline)) __m256i pq_dpbusd256(__m256i sum, __m256i u8,
                                                                  __m256i s8) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(u8), "x"(s8));
    return sum;
}

#endif
