/* Processors with AVX2 and without BF16 products. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__) || !defined(__FMA__)
#error "build this file with -mavx2 -mfma"
#endif

/* 12 sums, two weights of which either part is taken in turn, and an activation.  Few rows meet all
 * outputs at once, so that their panel, which is then what they wait for, is read in the order of
 * memory. */
enum { OUTPUTS = 8, ROWS = 6, FEW_ROWS = 2 };

typedef __m256 vector;

INLINE vector load(const float *from) {
    return _mm256_loadu_ps(from);
}

INLINE void store(float *to, vector v) {
    _mm256_storeu_ps(to, v);
}

INLINE vector zero(void) {
    return _mm256_setzero_ps();
}

INLINE vector spread(float x) {
    return _mm256_set1_ps(x);
}

/* The weights of 8 outputs for one of a unit's two inputs. */
INLINE vector low(const uint8_t *w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)w), 16));
}

/* The mask comes from memory, since there is no register left for it. */
INLINE vector high(const uint8_t *w) {
    static const uint32_t upper[8] = {0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
                                      0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};
    __m256 both = _mm256_loadu_ps((const float *)w), part;
    __asm__("vandps %2, %1, %0" : "=x"(part) : "x"(both), "m"(upper));
    return part;
}

/* In assembly, or GCC moves sums about. */
INLINE vector product(vector sum, vector x, vector w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
}

#include "cpu/x86/tile_bf16.h"

/* All rows past a piece. */
static void pass(float *acc, int rows, bool add, const uint32_t *x, const uint8_t *w, int units,
                 struct pq_fetch *ahead) {
    struct pq_fetch fetch = *ahead; /* a copy, which stays in registers */
    struct split s;
    split(&s, x, units * rows);
    int columns = rows <= FEW_ROWS ? PQ_NR : 16, half = rows <= ROWS ? rows : (rows + 1) / 2;
    for (int c = 0; c < PQ_NR; c += columns)
        for (int r = 0; r < rows; r += half) {
            float *at = acc + r * PQ_NR + c;
            switch (rows - r < half ? rows - r : half) {
                ROWS_CASE(1, tile, 4, at, add, &s, r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(2, tile, 4, at, add, &s, r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(3, tile, 2, at, add, &s, r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(4, tile, 2, at, add, &s, r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(5, tile, 2, at, add, &s, r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(6, tile, 2, at, add, &s, r, w + 4 * c, units, rows, &fetch)
            }
        }
    *ahead = fetch;
}

void pq_tile_bf16_avx2(float *acc, int rows, bool add, const void *x, const void *w, int units,
                       struct pq_ahead ahead) {
    int passes = rows <= FEW_ROWS ? 1 : rows <= ROWS ? 2 : 4;
    struct pq_fetch fetch = pq_fetch_begin(ahead, passes * units);
    for (int i = 0; i < units; i += PIECE)
        pass(acc, rows, add || i > 0, (const uint32_t *)x + i * rows,
             (const uint8_t *)w + i * PQ_NR * 4, units - i < PIECE ? units - i : PIECE, &fetch);
}

double pq_peak_bf16_avx2(int rounds) {
    __m256 sum[12];
    UNROLL
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_setzero_ps();
    __m256 a = _mm256_set1_ps(0.5f);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++) {
            sum[i] = _mm256_fmadd_ps(sum[i], a, a);
            __asm__ volatile("" : "+x"(sum[i])); /* or one of these equal sums would do for all */
        }
    }
    return 2.0 * rounds * 12 * 8;
}
