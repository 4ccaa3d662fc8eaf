/* What an x86-64 processor and its operating system can run, and the kernels for it. */
#include "cpu/kernels.h"

#include <cpuid.h>
#include <limits.h>

static const struct pq_ops ops_avx2 = {
    .isa = PQ_ISA_AVX2,
    .tile_i8 = pq_tile_i8_avx2,
    .start = pq_start_avx2,
    .tile_i4 = pq_tile_i4_avx2,
    .block_start = 8 << 16,
    .direct_rows = INT_MAX,
    .tile_bf16 = pq_tile_bf16_avx2,
    .tile_f32 = pq_tile_f32_avx2,
    .e = &pq_elementwise_avx2,
    .rounding = &pq_rounding_avx2,
    .attend = &pq_attend_avx2,
    .peak_i8 = pq_peak_i8_avx2,
    .peak_bf16 = pq_peak_bf16_avx2,
};

static const struct pq_ops ops_avx512 = {
    .isa = PQ_ISA_AVX512,
    .tile_i8 = pq_tile_i8_avx512,
    .start = pq_start_avx2,
    .tile_i4 = pq_tile_i4_avx512,
    .block_start = 8 << 16,
    .direct_rows = INT_MAX,
    .tile_bf16 = pq_tile_bf16_avx512,
    .tile_f32 = pq_tile_f32_avx512,
    .e = &pq_elementwise_avx512,
    .rounding = &pq_rounding_avx512,
    .attend = &pq_attend_avx512,
    .peak_i8 = pq_peak_i8_avx512,
    .peak_bf16 = pq_peak_bf16_avx512,
};

PQ_TILE_UNPACK(tile_unpack_avxvnni, pq_unpack_i4_avx2, pq_tile_i8_avxvnni)

static const struct pq_ops ops_avxvnni = {
    .isa = PQ_ISA_AVXVNNI,
    .tile_i8 = pq_tile_i8_avxvnni,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_avxvnni,
    .block_start = -8,
    .direct_rows = 7,
    .tile_unpack = tile_unpack_avxvnni,
    .tile_bf16 = pq_tile_bf16_avx2,
    .tile_f32 = pq_tile_f32_avx2,
    .e = &pq_elementwise_avx2,
    .rounding = &pq_rounding_avx2,
    .attend = &pq_attend_avx2,
    .peak_i8 = pq_peak_i8_avxvnni,
    .peak_bf16 = pq_peak_bf16_avx2,
};

static const struct pq_ops ops_avx512vnni = {
    .isa = PQ_ISA_AVX512VNNI,
    .tile_i8 = pq_tile_i8_avx512vnni,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_avx512vnni,
    .block_start = -8,
    .direct_rows = 4,
    .fetch_ends = true,
    .tile_unpack = pq_tile_unpack_avx512vnni,
    .tile_bf16 = pq_tile_bf16_avx512,
    .tile_f32 = pq_tile_f32_avx512,
    .e = &pq_elementwise_avx512,
    .rounding = &pq_rounding_avx512,
    .attend = &pq_attend_avx512,
    .peak_i8 = pq_peak_i8_avx512vnni,
    .peak_bf16 = pq_peak_bf16_avx512,
};

static const struct pq_ops ops_avx512bf16 = {
    .isa = PQ_ISA_AVX512BF16,
    .tile_i8 = pq_tile_i8_avx512vnni,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_avx512vnni,
    .block_start = -8,
    .direct_rows = 4,
    .fetch_ends = true,
    .tile_unpack = pq_tile_unpack_avx512vnni,
    .tile_bf16 = pq_tile_bf16_avx512bf16,
    .tile_f32 = pq_tile_f32_avx512,
    .e = &pq_elementwise_avx512,
    .rounding = &pq_rounding_avx512,
    .attend = &pq_attend_avx512,
    .peak_i8 = pq_peak_i8_avx512vnni,
    .peak_bf16 = pq_peak_bf16_avx512bf16,
};

/* A core of Zen 4 can wait for fewer lines on their way to its first-level cache than to its
 * second: too few while one or two tiles pass a panel. */
int pq_native_second_rows(void) {
    bool zen4 = __builtin_cpu_is("amdfam19h") && __builtin_cpu_supports("avx512vnni");
    return zen4 ? 2 * PQ_MR : 0;
}

/* The register state that the operating system saves: bit 1 SSE, 2 AVX, 5..7 AVX-512. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

const struct pq_ops *const pq_native_ops[PQ_ISA_COUNT] = {
    [PQ_ISA_AVX2] = &ops_avx2,
    [PQ_ISA_AVX512] = &ops_avx512,
    [PQ_ISA_AVXVNNI] = &ops_avxvnni,
    [PQ_ISA_AVX512VNNI] = &ops_avx512vnni,
    [PQ_ISA_AVX512BF16] = &ops_avx512bf16,
};

bool pq_native_runs(enum pq_isa isa) {
    uint32_t a, b, c, d, b7, c7, d7, a71, x;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return false;
    uint32_t need1 = bit_AVX | bit_FMA | bit_F16C;
    uint32_t need7 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    uint64_t state = saved_state();
    bool avx2 = (c & need1) == need1 && (state & 0x6) == 0x6 &&
                __get_cpuid_count(7, 0, &x, &b7, &c7, &d7) && (b7 & bit_AVX2);
    if (isa == PQ_ISA_AVX2 || !avx2)
        return avx2;
    if (!__get_cpuid_count(7, 1, &a71, &b, &c, &d))
        a71 = 0;
    bool avx512 = (state & 0xe6) == 0xe6 && (b7 & need7) == need7;
    bool avx512vnni = avx512 && (c7 & bit_AVX512VNNI);
    switch (isa) {
    case PQ_ISA_AVX512:
        return avx512;
    case PQ_ISA_AVXVNNI:
        return a71 & bit_AVXVNNI;
    case PQ_ISA_AVX512VNNI:
        return avx512vnni;
    case PQ_ISA_AVX512BF16:
        return avx512vnni && (a71 & bit_AVX512BF16);
    default:
        return false;
    }
}
