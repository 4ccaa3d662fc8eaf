/* rows.h - a tile kernel for each number of rows: the row count must be a constant, so that the
 * accumulators are registers. */
#ifndef PQ_CPU_ROWS_H
#define PQ_CPU_ROWS_H

#include "cpu/ops.h"

#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#define KEEP_LOOP _Pragma("GCC unroll 1")
#endif

/* Calls tile(CONSTANT, ...) for 1 <= rows <= PQ_MR. */
#define ROWS_CASE(n, tile, ...)                                                                    \
    case n:                                                                                        \
        tile(n, __VA_ARGS__);                                                                      \
        break;
#define ROWS_SWITCH(rows, tile, ...)                                                               \
    switch (rows) {                                                                                \
        ROWS_CASE(1, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(2, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(3, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(4, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(5, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(6, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(7, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(8, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(9, tile, __VA_ARGS__)                                                            \
        ROWS_CASE(10, tile, __VA_ARGS__)                                                           \
        ROWS_CASE(11, tile, __VA_ARGS__)                                                           \
        ROWS_CASE(12, tile, __VA_ARGS__)                                                           \
    }

#endif
