/* kernels.h - the kernels by name, for the tables of ops.c and for the tests. */
#ifndef PQ_CPU_KERNELS_H
#define PQ_CPU_KERNELS_H

#include "cpu/ops.h"

pq_tile_i8_fn pq_tile_i8_c, pq_tile_i8_avx2, pq_tile_i8_avx512, pq_tile_i8_avxvnni,
    pq_tile_i8_avx512vnni;
pq_start_fn pq_start_shifted, pq_start_avx2;
pq_tile_i4_fn pq_tile_i4_c, pq_tile_i4_avx2, pq_tile_i4_avx512, pq_tile_i4_avxvnni,
    pq_tile_i4_avx512vnni;
pq_unpack_i4_fn pq_unpack_i4_c, pq_unpack_i4_avx2;
pq_tile_unpack_fn pq_tile_unpack_avx512vnni;
pq_tile_fp_fn pq_tile_bf16_c, pq_tile_bf16_avx2, pq_tile_bf16_avx512, pq_tile_bf16_avx512bf16;
pq_tile_fp_fn pq_tile_f32_c, pq_tile_f32_avx2, pq_tile_f32_avx512;

pq_tile_i8_fn pq_tile_i8_neon, pq_tile_i8_dotprod, pq_tile_i8_i8mm;
pq_tile_i4_fn pq_tile_i4_neon, pq_tile_i4_dotprod, pq_tile_i4_pairs_dotprod;
pq_unpack_i4_fn pq_unpack_i4_neon, pq_unpack_i4_pairs_neon;
pq_tile_fp_fn pq_tile_bf16_neon, pq_tile_bf16_i8mm, pq_tile_f32_neon;

/* A tile that unpacks, in two steps. */
#define PQ_TILE_UNPACK(name, unpack, tile_i8)                                                      \
    static void name(int32_t *acc, int rows, const int32_t *start, const void *x, uint8_t *out,    \
                     bool keep, const struct pq_panel4 *w, int blocks, struct pq_ahead ahead,      \
                     const struct pq_ends *ends) {                                                 \
        (void)keep;                                                                                \
        unpack(out, w, blocks);                                                                    \
        tile_i8(acc, rows, start, x, out, (PQ_BLOCK / 4) * blocks, ahead, ends);                   \
    }

extern const struct pq_elementwise pq_elementwise_c, pq_elementwise_avx2, pq_elementwise_avx512;
extern const struct pq_rounding pq_rounding_c, pq_rounding_avx2, pq_rounding_avx512;
extern const struct pq_attend pq_attend_c, pq_attend_avx2, pq_attend_avx512;

double pq_peak_i8_c(int rounds), pq_peak_i8_avx2(int rounds), pq_peak_i8_avx512(int rounds),
    pq_peak_i8_avxvnni(int rounds), pq_peak_i8_avx512vnni(int rounds);
double pq_peak_bf16_c(int rounds), pq_peak_bf16_avx2(int rounds), pq_peak_bf16_avx512(int rounds),
    pq_peak_bf16_avx512bf16(int rounds);

double pq_peak_i8_neon(int rounds), pq_peak_i8_dotprod(int rounds), pq_peak_i8_i8mm(int rounds);
double pq_peak_bf16_neon(int rounds), pq_peak_bf16_i8mm(int rounds);

/* In the architecture's own ops.c: its ISAs' kernels, NULL for any other ISA, and whether this
 * processor and operating system run one of them. */
extern const struct pq_ops *const pq_native_ops[PQ_ISA_COUNT];
bool pq_native_runs(enum pq_isa isa);

/* There, too: more than PQ_FEW rows, up to so many, wait less for weights that this processor
 * fetches to the second-level cache alone. */
int pq_native_second_rows(void);

#endif
