/* prompts.h - a file of prompts. */
#ifndef PQ_PROGRAMS_PROMPTS_H
#define PQ_PROGRAMS_PROMPTS_H

#include "panq.h"

/* A conversation that a model is to go on with. */
struct pq_prompt {
    struct pq_message *message; /* [n] owned, as their texts are; the last is a user's */
    int n;
    int number; /* of its line, or of its entry in a JSON array, from 1 */
};

struct pq_prompts {
    struct pq_prompt *prompt; /* [n] owned */
    int n;
};

/* The prompts of a file, at least one.  A file that begins with { or [, gzip'd or not, has JSON
 * objects, each with "messages" ([{"role": "user", "content": "..."}, ...]), or "prompt", or
 * "text"; any other file has a prompt in every line that is not blank. */
enum pq_status pq_prompts_read(struct pq_prompts *out, const char *path, struct pq_err *err);
void pq_prompts_free(struct pq_prompts *prompts);

#endif
