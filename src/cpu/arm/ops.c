/* What an AArch64 processor and its operating system can run, and the kernels for it.  Elementwise
 * work is the plain build's: NEON is part of AArch64, so that uses it already. */
#include "cpu/kernels.h"

#include <asm/hwcap.h>
#include <sys/auxv.h>

PQ_TILE_UNPACK(tile_unpack_neon, pq_unpack_i4_neon, pq_tile_i8_neon)

static const struct pq_ops ops_neon = {
    .isa = PQ_ISA_NEON,
    .tile_i8 = pq_tile_i8_neon,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_neon,
    .block_start = -8,
    .direct_rows = PQ_MR,
    .tile_unpack = tile_unpack_neon,
    .tile_bf16 = pq_tile_bf16_neon,
    .tile_f32 = pq_tile_f32_neon,
    .e = &pq_elementwise_c,
    .rounding = &pq_rounding_c,
    .attend = &pq_attend_c,
    .peak_i8 = pq_peak_i8_neon,
    .peak_bf16 = pq_peak_bf16_neon,
};

PQ_TILE_UNPACK(tile_unpack_dotprod, pq_unpack_i4_neon, pq_tile_i8_dotprod)

static const struct pq_ops ops_dotprod = {
    .isa = PQ_ISA_DOTPROD,
    .tile_i8 = pq_tile_i8_dotprod,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_dotprod,
    .block_start = -8,
    .direct_rows = PQ_MR,
    .tile_unpack = tile_unpack_dotprod,
    .tile_bf16 = pq_tile_bf16_neon,
    .tile_f32 = pq_tile_f32_neon,
    .e = &pq_elementwise_c,
    .rounding = &pq_rounding_c,
    .attend = &pq_attend_c,
    .peak_i8 = pq_peak_i8_dotprod,
    .peak_bf16 = pq_peak_bf16_neon,
};

PQ_TILE_UNPACK(tile_unpack_i8mm, pq_unpack_i4_pairs_neon, pq_tile_i8_i8mm)

static const struct pq_ops ops_i8mm = {
    .isa = PQ_ISA_I8MM,
    .pairs = true,
    .tile_i8 = pq_tile_i8_i8mm,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_pairs_dotprod,
    .block_start = -8,
    .direct_rows = PQ_MR,
    .tile_unpack = tile_unpack_i8mm,
    .tile_bf16 = pq_tile_bf16_i8mm,
    .tile_f32 = pq_tile_f32_neon,
    .e = &pq_elementwise_c,
    .rounding = &pq_rounding_c,
    .attend = &pq_attend_c,
    .peak_i8 = pq_peak_i8_i8mm,
    .peak_bf16 = pq_peak_bf16_i8mm,
};

const struct pq_ops *const pq_native_ops[PQ_ISA_COUNT] = {
    [PQ_ISA_NEON] = &ops_neon,
    [PQ_ISA_DOTPROD] = &ops_dotprod,
    [PQ_ISA_I8MM] = &ops_i8mm,
};

bool pq_native_runs(enum pq_isa isa) {
    bool dotprod = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
    unsigned long both = HWCAP2_I8MM | HWCAP2_BF16;
    switch (isa) {
    case PQ_ISA_NEON:
        return true;
    case PQ_ISA_DOTPROD:
        return dotprod;
    case PQ_ISA_I8MM:
        return dotprod && (getauxval(AT_HWCAP2) & both) == both;
    default:
        return false;
    }
}

int pq_native_second_rows(void) {
    return 0;
}
