/* Codes + 8 times activations: the eight units of a block sum to at most 8 * 15 * 127 a byte lane
 * and fit 16 bits, two lanes of an output together, too.  The block's sum is brought to signed
 * codes by -8 * sum(x) and multiplied by the group's multiplier once. */
#include "cpu/arm/codes.h"
#include "cpu/kernels.h"

/* At most: 12 sums of a block, 6 of all, two parts of a code, activations. */
enum { ROWS = 3, VECS = 4 };

/* sum[0]: the byte lanes of outputs 0 and 1; sum[1]: of outputs 2 and 3. */
INLINE void add_products(int16x8_t sum[2], int8x16_t code, int8x16_t x) {
    sum[0] = vmlal_s8(sum[0], vget_low_s8(code), vget_low_s8(x));
    sum[1] = vmlal_high_s8(sum[1], code, x);
}

INLINE void block(const int rows, const int vecs, int16x8_t sum[ROWS][VECS][2], const int32_t *x,
                  int stride, const uint8_t *codes) {
    KEEP_LOOP
    for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
        int32x4_t xl = pq_units4(x, rows), xh = pq_units4(x + stride, rows);
        UNROLL
        for (int c = 0; c < vecs; c++) {
            int8x16_t code[2];
            pq_codes4(code, codes + 16 * c);
            UNROLL
            for (int r = 0; r < rows; r++) {
                add_products(sum[r][c], code[0], pq_spread(xl, r));
                add_products(sum[r][c], code[1], pq_spread(xh, r));
            }
        }
    }
}

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, 4 * vecs outputs from `first`. */
INLINE void tile(const int rows, const int vecs, int32_t *acc, const int32_t *x,
                 const int32_t *starts, const struct pq_panel4 *w, int stride, int first,
                 int blocks) {
    int32x4_t total[ROWS][VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            total[r][c] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, starts += stride) {
        int16x8_t sum[ROWS][VECS][2];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vecs; c++)
                sum[r][c][0] = sum[r][c][1] = vdupq_n_s16(0);
        }
        block(rows, vecs, sum, x + (size_t)b * (PQ_BLOCK / 4) * (size_t)stride, stride,
              w->codes + (size_t)b * PQ_BLOCK / 2 * PQ_NR + 4 * first);
        int32x4_t m[VECS];
        pq_multipliers(m, w, b, first, vecs);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vecs; c++) {
                int32x4_t all = vpaddlq_s16(vpaddq_s16(sum[r][c][0], sum[r][c][1]));
                all = vaddq_s32(all, vdupq_n_s32(starts[r]));
                total[r][c] = vmlaq_s32(total[r][c], all, m[c]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            vst1q_s32(acc + r * PQ_NR + 4 * c, total[r][c]);
    }
}

void pq_tile_i4_neon(int32_t *acc, int rows, const void *x, const int32_t *starts,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    const int32_t *xr = x;
    for (int r = 0; r < rows; r += ROWS, xr += ROWS)
        switch (rows - r < ROWS ? rows - r : ROWS) {
            SHAPE4(1, 4, tile, acc, rows, xr, starts, w, blocks)
            SHAPE4(2, 2, tile, acc, rows, xr, starts, w, blocks)
            SHAPE4(3, 2, tile, acc, rows, xr, starts, w, blocks)
        }
}

/* code * mult + 128 of four outputs, in two units or pairs of them. */
INLINE void put_values(uint8_t *out, const int8x16_t code[2], int8x16_t mult, const bool pairs) {
    uint32x4_t unit[2];
    UNROLL
    for (int h = 0; h < 2; h++) {
        int8x16_t value = vmulq_s8(vsubq_s8(code[h], vdupq_n_s8(8)), mult);
        unit[h] = vreinterpretq_u32_u8(veorq_u8(vreinterpretq_u8_s8(value), vdupq_n_u8(128)));
    }
    uint32x4_t first = pairs ? vzip1q_u32(unit[0], unit[1]) : unit[0];
    uint32x4_t second = pairs ? vzip2q_u32(unit[0], unit[1]) : unit[1];
    vst1q_u8(out, vreinterpretq_u8_u32(first));
    vst1q_u8(out + (pairs ? 16 : PQ_NR * 4), vreinterpretq_u8_u32(second));
}

INLINE void unpack(uint8_t *out, const struct pq_panel4 *w, int blocks, const bool pairs) {
    const uint8_t *codes = w->codes;
    for (int b = 0; b < blocks; b++) {
        int8x16_t m[PQ_NR / 4]; /* of four outputs, for each of their bytes */
        for (int c = 0; c < PQ_NR; c += 4) {
            int32x4_t lanes[2];
            pq_multipliers8(lanes, w, b, c / 8 * 8);
            m[c / 4] = vreinterpretq_s8_s32(vmulq_n_s32(lanes[c / 4 % 2], 0x01010101));
        }
        for (int i = 0; i < PQ_BLOCK / 8; i++, codes += PQ_NR * 4, out += 2 * PQ_NR * 4)
            for (int c = 0; c < PQ_NR / 4; c++) {
                int8x16_t code[2];
                pq_codes4(code, codes + 16 * c);
                put_values(out + (pairs ? 32 : 16) * c, code, m[c], pairs);
            }
    }
}

void pq_unpack_i4_neon(uint8_t *out, const struct pq_panel4 *w, int blocks) {
    unpack(out, w, blocks, false);
}

void pq_unpack_i4_pairs_neon(uint8_t *out, const struct pq_panel4 *w, int blocks) {
    unpack(out, w, blocks, true);
}
