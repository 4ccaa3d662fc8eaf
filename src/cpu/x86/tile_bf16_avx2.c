/* A unit's two bf16 values are widened to FP32 by a shift and a mask. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>
#include <string.h>

#if !defined(__AVX2__) || !defined(__FMA__)
#error "build this file with -mavx2 -mfma"
#endif

/* 12 sums, two weights of which either part is taken in turn, and an activation.  Few rows meet all
 * outputs at once, so that their panel, which is then what they wait for, is read in the order of
 * memory.  A piece of so many units of a panel and of all rows stays in the first-level cache. */
enum { ROWS = 6, FEW_ROWS = 2, PIECE = 96 };

/* A piece of a tile in FP32. */
struct split {
    float low[PIECE * PQ_MR], high[PIECE * PQ_MR];
};

static void split(struct split *s, const uint32_t *x, int n) {
    const __m256i mask = _mm256_set1_epi32((int)0xffff0000);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        _mm256_storeu_si256((__m256i *)(s->low + i), _mm256_slli_epi32(v, 16));
        _mm256_storeu_si256((__m256i *)(s->high + i), _mm256_and_si256(v, mask));
    }
    for (; i < n; i++) {
        uint32_t low = x[i] << 16, high = x[i] & 0xffff0000;
        memcpy(s->low + i, &low, sizeof low);
        memcpy(s->high + i, &high, sizeof high);
    }
}

/* The weights of 8 outputs for one of a unit's two inputs. */
INLINE __m256 low(const uint8_t *w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)w), 16));
}

/* The mask comes from memory, since there is no register left for it. */
INLINE __m256 high(const uint8_t *w) {
    static const uint32_t upper[8] = {0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
                                      0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};
    __m256 both = _mm256_loadu_ps((const float *)w), part;
    __asm__("vandps %2, %1, %0" : "=x"(part) : "x"(both), "m"(upper));
    return part;
}

/* In assembly, or GCC moves sums about. */
INLINE __m256 product(__m256 sum, __m256 x, __m256 w) {
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
}

/* One input of each row, x [rows], times the weights of `vectors` * 8 outputs. */
INLINE void add_input(const int rows, const int vectors, __m256 sum[ROWS][4], const __m256 *weights,
                      const float *x) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m256 xr = _mm256_set1_ps(x[r]);
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = product(sum[r][c], xr, weights[c]);
    }
}

INLINE void tile(const int rows, const int vectors, float *acc, bool add, const struct split *x,
                 int first, const uint8_t *w, int units, int stride, struct pq_fetch *fetch) {
    const float *xl = x->low + first, *xh = x->high + first;
    __m256 sum[ROWS][4], weights[4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = add ? _mm256_loadu_ps(acc + r * PQ_NR + 8 * c) : _mm256_setzero_ps();
    }
    for (int i = 0; i < units; i++, xl += stride, xh += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        UNROLL
        for (int c = 0; c < vectors; c++)
            weights[c] = low(w + 32 * c);
        add_input(rows, vectors, sum, weights, xl);
        __asm__("" : "+r"(w)); /* loaded twice, or clang keeps sums in memory to hold it */
        UNROLL
        for (int c = 0; c < vectors; c++)
            weights[c] = high(w + 32 * c);
        add_input(rows, vectors, sum, weights, xh);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            _mm256_storeu_ps(acc + r * PQ_NR + 8 * c, sum[r][c]);
    }
}

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
