/* tile_i4_256.h - 4-bit codes as they are, in registers of 256 bits.
 *
 * What multiplies is the includer's:
 *   begin_block(sum_x)          what a block's sums begin with, of sum_x the sum of its activations
 *   add_products(sum, codes, x) four inputs of 8 outputs, codes + 8
 *   multipliers(at, first)      of 8 outputs from `first` on, and
 *   end_block(total, sum, m)    total + m * the block's sum over codes */
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

/* 4 sums of a block, 4 of all, two parts of a code.  Few rows meet all outputs at once, so that
 * their panel, which is then what they wait for, is read in the order of memory. */
enum { ROWS = 4, FEW_ROWS = 4 };

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, outputs from `first` on. */
INLINE void tile(const int rows, const int vectors, int32_t *acc, const int32_t *x,
                 const int32_t *sums, const struct pq_panel4 *w, int blocks, int stride, int first,
                 struct pq_fetch *fetch) {
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *codes = w->codes + 4 * first;
    __m256i total[ROWS][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            total[r][c] = _mm256_setzero_si256();
    }
    for (int b = 0; b < blocks; b++, sums += stride) {
        __m256i sum[ROWS][4];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vectors; c++)
                sum[r][c] = begin_block(sums[r]);
        }
        KEEP_LOOP /* unrolled, its iterations would share the registers, which they cannot */
            for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            pq_fetch(fetch);
            UNROLL
            for (int c = 0; c < vectors; c++) {
                __m256i both = _mm256_loadu_si256((const __m256i *)(codes + 32 * c));
                __m256i l = _mm256_and_si256(both, low);
                __m256i h = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
                UNROLL
                for (int r = 0; r < rows; r++) {
                    __m256i xl = _mm256_set1_epi32(x[r]), xh = _mm256_set1_epi32(x[stride + r]);
                    sum[r][c] = add_products(add_products(sum[r][c], l, xl), h, xh);
                }
            }
        }
        const uint8_t *mults = w->mults + (size_t)(b >> w->shift) * 16;
        UNROLL
        for (int c = 0; c < vectors; c++) {
            __m256i m = multipliers(mults, first + 8 * c);
            UNROLL
            for (int r = 0; r < rows; r++)
                total[r][c] = end_block(total[r][c], sum[r][c], m);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8 * c), total[r][c]);
    }
}

static void few_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *sums,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, blocks * (PQ_BLOCK / 8));
    for (int r = 0; r < rows; r++, fetch.step = 0)
        tile(1, 4, acc + r * PQ_NR, x + r, sums + r, w, blocks, rows, 0, &fetch);
}

static void more_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *sums,
                      const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    int passes = (rows + ROWS - 1) / ROWS * (PQ_NR / 8);
    struct pq_fetch fetch = pq_fetch_begin(ahead, passes * blocks * (PQ_BLOCK / 8));
    for (int c = 0; c < PQ_NR; c += 8)
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            switch (rows - r) {
                ROWS_CASE(1, tile, 1, at, x + r, sums + r, w, blocks, rows, c, &fetch)
                ROWS_CASE(2, tile, 1, at, x + r, sums + r, w, blocks, rows, c, &fetch)
                ROWS_CASE(3, tile, 1, at, x + r, sums + r, w, blocks, rows, c, &fetch)
            default:
                tile(ROWS, 1, at, x + r, sums + r, w, blocks, rows, c, &fetch);
            }
        }
}

static inline void tile_i4(int32_t *acc, int rows, const int32_t *x, const int32_t *sums,
                           const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, x, sums, w, blocks, ahead);
    else
        more_rows(acc, rows, x, sums, w, blocks, ahead);
}
