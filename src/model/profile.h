/* profile.h - what the operators of a forward call cost: pq_context_profile.  Without a profile
 * each of these calls is a branch. */
#ifndef PQ_MODEL_PROFILE_H
#define PQ_MODEL_PROFILE_H

#include "model/layer.h"

/* An operator begins now.  What lies between an end and the next begin belongs to none. */
void pq_profile_begin(struct pq_context *ctx);
/* It ends, and the next begins unless pq_profile_begin says so later.  Not more often than there
 * are layers between two calls of pq_profile_finish. */
void pq_profile_end(struct pq_context *ctx, enum pq_operator op);
/* A forward call ends, and what is typical of it is added. */
void pq_profile_finish(struct pq_context *ctx);

/* Add the operations and bytes of all operators of a call, its chunks laid out, with logits of
 * `wanted` rows. */
void pq_profile_count(const struct pq_pass *p, int wanted);

#endif
