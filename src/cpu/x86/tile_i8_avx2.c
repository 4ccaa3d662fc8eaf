/* vpmaddubsw multiplies unsigned by signed bytes but saturates sums of two at 16 bits, so neither
 * operand can be moved by 128.  The activation's size is the unsigned one, and the code the other,
 * its bits inverted where the activation is negative: -code - 1, so that a product lacks the size,
 * which `start` has, the same for all outputs.  Two products are at most 2 * 127 * 128: exact. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

/* 12 sums, ones, an activation in two, a product.  A piece of so many units of a panel and of all
 * rows stays in the first-level cache. */
enum { ROWS = 3, PIECE = 96 };

/* A piece of a tile: the sizes of its activations, and what turns code + 128 into the code or, with
 * a negative activation, into -code - 1. */
struct split {
    int32_t size[PIECE * PQ_MR], mask[PIECE * PQ_MR];
};

static void split(struct split *s, const int32_t *x, int n) {
    const __m256i zero = _mm256_setzero_si256(), flip = _mm256_set1_epi8(-128);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        __m256i mask = _mm256_xor_si256(_mm256_cmpgt_epi8(zero, v), flip);
        _mm256_storeu_si256((__m256i *)(s->size + i), _mm256_abs_epi8(v));
        _mm256_storeu_si256((__m256i *)(s->mask + i), mask);
    }
    for (; i < n; i++) {
        __m128i v = _mm_cvtsi32_si128(x[i]);
        __m128i mask = _mm_xor_si128(_mm_cmpgt_epi8(_mm256_castsi256_si128(zero), v),
                                     _mm256_castsi256_si128(flip));
        s->size[i] = _mm_cvtsi128_si32(_mm_abs_epi8(v));
        s->mask[i] = _mm_cvtsi128_si32(mask);
    }
}

/* Four products of 8 outputs.  In assembly, so that bytes come from memory where they are needed
 * and sums stay where they are: GCC would load bytes once for all rows, and there are no registers.
 */
INLINE __m256i products(__m256i sum, __m256i size, __m256i mask, const uint8_t *bytes) {
    __m256i code;
    __asm__("vpxor %2, %1, %0" : "=x"(code) : "x"(mask), "m"(*(const __m256i *)bytes));
    __m256i pairs = _mm256_maddubs_epi16(size, code);
    __m256i four = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(four));
    return sum;
}

INLINE void tile(const int rows, int32_t *acc, const struct split *x, int first, const uint8_t *w,
                 int units, int stride, struct pq_fetch *fetch) {
    const int32_t *size = x->size + first, *mask = x->mask + first;
    __m256i sum[ROWS][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < 4; c++)
            sum[r][c] = _mm256_loadu_si256((const __m256i *)(acc + r * PQ_NR + 8 * c));
    }
    for (int i = 0; i < units; i++, size += stride, mask += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xs = _mm256_set1_epi32(size[r]), xm = _mm256_set1_epi32(mask[r]);
            UNROLL
            for (int c = 0; c < 4; c++)
                sum[r][c] = products(sum[r][c], xs, xm, w + 32 * c);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < 4; c++)
            _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8 * c), sum[r][c]);
    }
}

/* All rows past a piece. */
static void pass(int32_t *acc, int rows, const int32_t *x, const uint8_t *w, int units,
                 struct pq_fetch *ahead) {
    struct pq_fetch fetch = *ahead; /* a copy, which stays in registers */
    struct split s;
    split(&s, x, units * rows);
    for (int r = 0; r < rows; r += ROWS) {
        int32_t *at = acc + r * PQ_NR;
        switch (rows - r) {
            ROWS_CASE(1, tile, at, &s, r, w, units, rows, &fetch)
            ROWS_CASE(2, tile, at, &s, r, w, units, rows, &fetch)
        default:
            tile(ROWS, at, &s, r, w, units, rows, &fetch);
        }
    }
    *ahead = fetch;
}

void pq_tile_i8_avx2(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + ROWS - 1) / ROWS * units);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < PQ_NR; c++)
            acc[r * PQ_NR + c] = start[r];
    for (int i = 0; i < units; i += PIECE)
        pass(acc, rows, (const int32_t *)x + i * rows, (const uint8_t *)w + i * PQ_NR * 4,
             units - i < PIECE ? units - i : PIECE, &fetch);
}

/* What products of negative activations lack. */
int32_t pq_start_avx2(const int8_t *x, int n, int32_t sum) {
    (void)sum;
    const __m256i zero = _mm256_setzero_si256();
    __m256i sizes = zero; /* in four parts of 64 bits */
    int32_t rest = 0;
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + i));
        __m256i size = _mm256_abs_epi8(_mm256_min_epi8(v, zero));
        sizes = _mm256_add_epi64(sizes, _mm256_sad_epu8(size, zero));
    }
    for (; i < n; i++)
        rest -= x[i] < 0 ? x[i] : 0;
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sizes), _mm256_extracti128_si256(sizes, 1));
    return rest + _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 2);
}

double pq_peak_i8_avx2(int rounds) {
    __m256i sum[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 8; i++) {
            __asm__ volatile("" : "+x"(a)); /* or one product would do for all */
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), one));
        }
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" ::"x"(sum[i]));
    return 2.0 * rounds * 8 * 32;
}
