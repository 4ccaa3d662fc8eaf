/* Processors with AVX2 and without byte dot products. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

/* 12 sums, ones, an activation in two, a product. */
enum { OUTPUTS = 8, ROWS = 3 };

typedef __m256i vector;

INLINE vector load(const int32_t *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

INLINE void store(int32_t *to, vector v) {
    _mm256_storeu_si256((__m256i *)to, v);
}

INLINE vector spread(int32_t x) {
    return _mm256_set1_epi32(x);
}

INLINE vector sizes(vector x) {
    return _mm256_abs_epi8(x);
}

INLINE vector masks(vector x) {
    __m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), x);
    return _mm256_xor_si256(negative, _mm256_set1_epi8(-128));
}

/* Four products of 8 outputs.  In assembly, so that bytes come from memory where they are needed
 * and sums stay where they are: GCC would load bytes once for all rows, and there are no registers.
 */
INLINE vector products(vector sum, vector size, vector mask, const uint8_t *bytes) {
    __m256i code;
    __asm__("vpxor %2, %1, %0" : "=x"(code) : "x"(mask), "m"(*(const __m256i *)bytes));
    __m256i pairs = _mm256_maddubs_epi16(size, code);
    __m256i four = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(four));
    return sum;
}

#include "cpu/x86/tile_i8.h"

static void pass(int32_t *acc, int rows, const struct split *x, const uint8_t *w, int units,
                 struct pq_fetch *ahead) {
    struct pq_fetch fetch = *ahead; /* a copy, which stays in registers */
    for (int r = 0; r < rows; r += ROWS) {
        int32_t *at = acc + r * PQ_NR;
        switch (rows - r) {
            ROWS_CASE(1, tile, at, x, r, w, units, rows, &fetch)
            ROWS_CASE(2, tile, at, x, r, w, units, rows, &fetch)
        default:
            tile(ROWS, at, x, r, w, units, rows, &fetch);
        }
    }
    *ahead = fetch;
}

void pq_tile_i8_avx2(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    all_pieces(acc, rows, start, x, w, units, ahead);
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
