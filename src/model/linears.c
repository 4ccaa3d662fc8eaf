#include "model/linears.h"

#include <stdio.h>
#include <string.h>

static const char *const names[PQ_LINEARS] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

struct pq_name pq_layer_tensor(int layer, const char *rest) {
    struct pq_name name;
    snprintf(name.s, sizeof name.s, "model.layers.%d.%s", layer, rest);
    return name;
}

struct pq_name pq_linear_tensor(int layer, enum pq_linear_name which, const char *suffix) {
    struct pq_name name;
    snprintf(name.s, sizeof name.s, "model.layers.%d.%s%s", layer, names[which], suffix);
    return name;
}

const char *pq_in_layer(const char *tensor, int *layer) {
    int found, length = 0;
    bool in = sscanf(tensor, "model.layers.%d.%n", &found, &length) == 1 && length > 0;
    *layer = in ? found : -1;
    return in ? tensor + length : NULL;
}

int pq_linear_index(const char *tensor) {
    int layer;
    const char *rest = pq_in_layer(tensor, &layer);
    for (int i = 0; rest && i < PQ_LINEARS; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(rest, names[i], length) == 0 && (rest[length] == '.' || !rest[length]))
            return layer * PQ_LINEARS + i;
    }
    return -1;
}

struct pq_linear_shape pq_linear_shape_of(const struct pq_config *c, enum pq_linear_name which) {
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const struct pq_linear_shape shapes[PQ_LINEARS] = {
        {q, c->hidden, c->qkv_bias}, {kv, c->hidden, c->qkv_bias}, {kv, c->hidden, c->qkv_bias},
        {c->hidden, q, c->o_bias},   {c->ffn, c->hidden, false},   {c->ffn, c->hidden, false},
        {c->hidden, c->ffn, false}};
    return shapes[which];
}

struct pq_linear *pq_layer_linear(struct pq_layer *layer, enum pq_linear_name which) {
    struct pq_linear *const linears[PQ_LINEARS] = {&layer->q,    &layer->k,  &layer->v,   &layer->o,
                                                   &layer->gate, &layer->up, &layer->down};
    return linears[which];
}
