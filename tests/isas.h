/* isas.h - which instruction sets a test of kernels tries. */
#ifndef PQ_TESTS_ISAS_H
#define PQ_TESTS_ISAS_H

#include "panq.h"

#include <stdlib.h>

/* Whether an emulator runs the test, which takes a hundred times as long: tests/run names it. */
static inline bool emulated(void) {
    const char *emulator = getenv("RUN_WITH");
    return emulator && *emulator;
}

/* All that run here; emulated, plain C and the best: those between are the best of an emulated
 * processor of their own (tools/check_arm.sh). */
static inline bool isa_is_tried(enum pq_isa isa) {
    return pq_isa_runs(isa) && (isa == PQ_ISA_C || isa == pq_isa_best() || !emulated());
}

#endif
