/* Codes + 8 are the unsigned operand.  The sum of a block over signed codes is at most
 * 32 * 8 * 127, which fits 16 bits: so vpmaddwd multiplies it by the group's multiplier. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/avxvnni.h"

/* 4 sums of a block, 4 of all, two parts of a code.  Few rows meet all outputs at once, so that
 * their panel, which is then what they wait for, is read in the order of memory. */
enum { OUTPUTS = 8, ROWS = 4, FEW_ROWS = 4 };

typedef __m256i vector;

INLINE vector load(const uint8_t *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

INLINE void store(int32_t *to, vector v) {
    _mm256_storeu_si256((__m256i *)to, v);
}

INLINE vector zero(void) {
    return _mm256_setzero_si256();
}

INLINE vector spread(int32_t x) {
    return _mm256_set1_epi32(x);
}

INLINE vector low_codes(vector both) {
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

INLINE vector high_codes(vector both) {
    return low_codes(_mm256_srli_epi16(both, 4));
}

/* The multipliers of 8 outputs' groups, as int32. */
INLINE __m256i multipliers(const uint8_t *at, int first) {
    __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(at + first % 16)));
    return first < 16 ? _mm256_and_si256(both, _mm256_set1_epi32(15)) : _mm256_srli_epi32(both, 4);
}

INLINE __m256i add_products(__m256i sum, __m256i codes, __m256i x) {
    return pq_dpbusd256(sum, codes, x);
}

INLINE __m256i end_block(__m256i total, __m256i sum, __m256i m) {
    return _mm256_add_epi32(total, _mm256_madd_epi16(sum, m));
}

#include "cpu/x86/tile_i4.h"

static void few_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *starts,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, blocks * (PQ_BLOCK / 8));
    for (int r = 0; r < rows; r++, fetch.step = 0)
        tile(1, 4, acc + r * PQ_NR, x + r, starts + r, w, blocks, rows, 0, &fetch);
}

static void more_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *starts,
                      const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    int passes = (rows + ROWS - 1) / ROWS * (PQ_NR / 8);
    struct pq_fetch fetch = pq_fetch_begin(ahead, passes * blocks * (PQ_BLOCK / 8));
    for (int c = 0; c < PQ_NR; c += 8)
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            switch (rows - r) {
                ROWS_CASE(1, tile, 1, at, x + r, starts + r, w, blocks, rows, c, &fetch)
                ROWS_CASE(2, tile, 1, at, x + r, starts + r, w, blocks, rows, c, &fetch)
                ROWS_CASE(3, tile, 1, at, x + r, starts + r, w, blocks, rows, c, &fetch)
            default:
                tile(ROWS, 1, at, x + r, starts + r, w, blocks, rows, c, &fetch);
            }
        }
}

void pq_tile_i4_avxvnni(int32_t *acc, int rows, const void *x, const int32_t *starts,
                        const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, x, starts, w, blocks, ahead);
    else
        more_rows(acc, rows, x, starts, w, blocks, ahead);
}
