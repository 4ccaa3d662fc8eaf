/* Any bytes as config.json and as generation_config.json: what is accepted is in range. */
#include "input.h"
#include "model/config.h"

static void check_config(const struct pq_config *c) {
    if (c->vocab < 1 || c->hidden < 1 || c->hidden > PQ_MAX_INPUTS || c->ffn < 1 ||
        c->ffn > PQ_MAX_INPUTS || c->layers < 1 || c->kv_heads < 1 || c->heads % c->kv_heads != 0 ||
        c->head_dim < 2 || c->head_dim % 2 != 0 ||
        (int64_t)c->heads * c->head_dim > PQ_MAX_INPUTS || !(c->rope.theta > 0) ||
        !(c->norm_eps > 0) || c->n_eos > PQ_MAX_EOS || c->bos >= c->vocab || c->pad >= c->vocab)
        abort();
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] < 0 || c->eos[i] >= c->vocab)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    struct pq_err err = {""};
    struct pq_config config = {.vocab = 1000}; /* of generation_config.json's ids, if not read */
    struct pq_generation_config generation;
    if (pq_config_load(&config, path, &err) == PQ_OK)
        check_config(&config);
    else
        fuzz_check_sentence(err.text, path);
    if (pq_generation_load(&generation, &config, path, &err) != PQ_OK)
        fuzz_check_sentence(err.text, path);
    else if (!(generation.temperature >= 0) || !(generation.top_p <= 1) || generation.top_k < 0)
        abort();
    return 0;
}
