/* checkpoint.h - a checkpoint directory, open: what the rest of the library sees of it.
 *
 * Tensors of a linear P (P = "model.layers.3.self_attn.q_proj", "lm_head", ...):
 *   FP     P.weight         BF16 | F16 | F32  [n, k]
 *   W8     P.weight         I8                [n, k]
 *          P.weight_scale   F32 | BF16 | F16  [n, 1] or [n]
 *   W4     P.weight_packed  U8   [n, ceil(k/2)]     code + 8, input 0 in the low nibble
 *          P.weight_group   U8   [n, ceil(G/2)]     multiplier 1..15 of each group, group 0 in the
 *                                                   low nibble; G = ceil(k/group); none when the
 *                                                   group size is the channel, optional when G = 1
 *          P.weight_scale   F32  [n, 1] or [n]
 *          or, as compressed-tensors packs them, group dividing k and 8 dividing k:
 *          P.weight_packed  I32  [n, k/8]          code + 8, input 0 in the lowest nibble
 *          P.weight_scale   F32 | BF16 | F16  [n, G]  of each group; see group_scales.h
 *          P.weight_shape   I64  [2]               n, k
 *   all    P.bias           BF16 | F16 | F32  [n], where the family has one
 * weight = scale[n] * multiplier[n][j / group] * code, codes -8..7.
 * The embedding is FP, or W8 (rows are its outputs) when it is also the head.
 *
 * Linears in panels (config->panels; pq_pack) have, instead of all that:
 *   model.layers.N.panels    U8 [bytes]  q, k, v, o, gate and up in turns, down, as cpu/gemm.h has
 *                                        them; begin at a multiple of 64 bytes of the file
 *   model.layers.N.schemes   U8 [7]      enum pq_scheme of q, k, v, o, gate, up, down; FP is BF16
 *   lm_head.panels           U8 [bytes]  the head, tied or not
 *   lm_head.schemes          U8 [1]
 *
 * config.json says which forms may occur (W8A8: FP and W8; W4A8: all three, the head FP or W8), the
 * tensors say which one a linear has.  A tied checkpoint's own lm_head.weight, and
 * *.rotary_emb.inv_freq, are left out; any other tensor that the model does not use is an error,
 * since it computes something then that panq does not.  So is a tensor that a shard holds and the
 * index does not list, since files of different checkpoints have been mixed then.
 *
 * No other alignment of a tensor's data is promised: older writers did not pad the header. */
#ifndef PQ_MODEL_CHECKPOINT_H
#define PQ_MODEL_CHECKPOINT_H

#include "base/map.h"
#include "base/status.h"

enum pq_dtype { PQ_F32, PQ_F16, PQ_BF16, PQ_I8, PQ_U8, PQ_I32, PQ_I64 };

struct pq_tensor {
    struct pq_tensor_info info;
    enum pq_dtype dtype;
    const void *data;         /* row-major, borrowed from the mapping */
    const struct pq_map *map; /* the file it lies in, for pq_map_forget */
};

/* NULL: the checkpoint has no such tensor. */
const struct pq_tensor *pq_checkpoint_find(const struct pq_checkpoint *ckpt, const char *name);
/* The one called "prefix.suffix". */
const struct pq_tensor *pq_checkpoint_find_of(const struct pq_checkpoint *ckpt, const char *prefix,
                                              const char *suffix);
const char *pq_checkpoint_dir(const struct pq_checkpoint *ckpt);

/* count elements from element `first` of an F32, F16 or BF16 tensor, exactly, as FP32. */
void pq_tensor_to_f32(const struct pq_tensor *tensor, size_t first, size_t count, float *out);

/* How the linear called `name` is stored; its tensors exist and have the shapes above. */
enum pq_scheme pq_checkpoint_linear_scheme(const struct pq_checkpoint *ckpt, const char *name);

#endif
