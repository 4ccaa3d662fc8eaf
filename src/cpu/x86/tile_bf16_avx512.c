/* Processors with AVX-512 and without BF16 products. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX512F__)
#error "build this file with -mavx512f"
#endif

/* 24 sums, two weights, an activation. */
enum { OUTPUTS = 16, ROWS = PQ_MR };

typedef __m512 vector;

INLINE vector load(const float *from) {
    return _mm512_loadu_ps(from);
}

INLINE void store(float *to, vector v) {
    _mm512_storeu_ps(to, v);
}

INLINE vector zero(void) {
    return _mm512_setzero_ps();
}

INLINE vector spread(float x) {
    return _mm512_set1_ps(x);
}

INLINE vector low(const uint8_t *w) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(w), 16));
}

INLINE vector high(const uint8_t *w) {
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(w), upper));
}

INLINE vector product(vector sum, vector x, vector w) {
    return _mm512_fmadd_ps(x, w, sum);
}

#include "cpu/x86/tile_bf16.h"

void pq_tile_bf16_avx512(float *acc, int rows, bool add, const void *x, const void *w, int units,
                         struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int i = 0; i < units; i += PIECE) {
        int n = units - i < PIECE ? units - i : PIECE;
        const uint8_t *part = (const uint8_t *)w + i * PQ_NR * 4;
        struct split s;
        split(&s, (const uint32_t *)x + i * rows, n * rows);
        ROWS_SWITCH(rows, tile, 2, acc, add || i > 0, &s, 0, part, n, rows, &fetch)
    }
}

double pq_peak_bf16_avx512(int rounds) {
    __m512 sum[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        sum[i] = _mm512_setzero_ps();
    __m512 a = _mm512_set1_ps(0.5f);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 16; i++) {
            sum[i] = _mm512_fmadd_ps(sum[i], a, a);
            __asm__ volatile("" : "+v"(sum[i])); /* or one of these equal sums would do for all */
        }
    }
    return 2.0 * rounds * 16 * 16;
}
