/* rope.h - the frequencies of rotary positions. */
#ifndef PQ_MODEL_ROPE_H
#define PQ_MODEL_ROPE_H

#include "panq.h"

/* frequencies [head_dim / 2], out: pair i turns by position * frequencies[i] (Su et al.,
 * arXiv:2104.09864 section 3.4.2).  In FP32, step for step as transformers computes them
 * (modeling_rope_utils.py), so that both have the same angles at far positions. */
void pq_rope_frequencies(const struct pq_rope *rope, int head_dim, float *frequencies);

/* angles [head_dim], out: the cosines, then the sines, of a position's angles, in FP32 as the
 * published code computes them. */
void pq_rope_angles(const float *frequencies, int head_dim, int position, float *angles);

#endif
