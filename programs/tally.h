/* tally.h - the tensors of a checkpoint, counted. */
#ifndef PQ_PROGRAMS_TALLY_H
#define PQ_PROGRAMS_TALLY_H

#include "panq.h"

/* Tensors that differ in their layer only: "model.layers.N.mlp.up_proj.weight". */
struct pq_tally_group {
    char name[160];
    const struct pq_tensor_info *first; /* borrowed from the checkpoint */
    int count;
    size_t bytes;
};

struct pq_tally {
    struct pq_tally_group *group; /* [n], owned */
    int n;
    int tensors;
    size_t bytes;
    size_t linear_bytes;   /* of the linears' weights, with their scales and multipliers */
    double linear_weights; /* how many weights these have */
};

enum pq_status pq_tally_count(struct pq_tally *out, const struct pq_checkpoint *ckpt,
                              struct pq_err *err);
void pq_tally_free(struct pq_tally *tally);
double pq_tally_bits(const struct pq_tally *tally); /* per weight of the linears */

#endif
