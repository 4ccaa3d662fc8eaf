/* along.h - what goes along with the weights of a checkpoint that is made from another. */
#ifndef PQ_QUANT_ALONG_H
#define PQ_QUANT_ALONG_H

#include "io/json.h"
#include "quant/staging.h"

/* Write the config.json of the directory `from` with the keys of the object `changes` in it.  Takes
 * the reference to changes; NULL: there was no memory for it. */
enum pq_status pq_along_config(const struct pq_staging *staging, const char *from, json_t *changes,
                               struct pq_err *err);

/* Copy tokenizer, generation settings, licence and model card from the directory `from`. */
enum pq_status pq_along_copy(const struct pq_staging *staging, const char *from,
                             struct pq_err *err);

#endif
