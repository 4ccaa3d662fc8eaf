#include "tally.h"
#include "report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* name with its first number between dots, the layer's, as N. */
static void generalize(const char *name, char out[160]) {
    const char *digits = name;
    size_t n = 0;
    for (; *digits; digits++) {
        n = strspn(digits, "0123456789");
        if (n && digits > name && digits[-1] == '.' && digits[n] == '.')
            break;
        n = 0;
    }
    snprintf(out, 160, "%.*s%s%s", (int)(digits - name), name, n ? "N" : "", digits + n);
}

static bool same_shape(const struct pq_tensor_info *a, const struct pq_tensor_info *b) {
    bool same = a->rank == b->rank && strcmp(a->dtype, b->dtype) == 0;
    for (int i = 0; same && i < a->rank; i++)
        same = a->shape[i] == b->shape[i];
    return same;
}

static void count_group(struct pq_tally *tally, const struct pq_tensor_info *info) {
    char name[160];
    int i = 0;
    generalize(info->name, name);
    while (i < tally->n &&
           !(strcmp(tally->group[i].name, name) == 0 && same_shape(tally->group[i].first, info)))
        i++;
    struct pq_tally_group *group = &tally->group[i];
    if (i == tally->n) {
        *group = (struct pq_tally_group){.first = info};
        memcpy(group->name, name, sizeof name);
        tally->n++;
    }
    group->count++;
    group->bytes += info->bytes;
}

/* Weights, scales and multipliers of the projections and the head; their biases are not. */
static void count_linear(struct pq_tally *tally, const struct pq_tensor_info *info) {
    static const char *const kinds[] = {".weight", ".weight_packed", ".weight_scale",
                                        ".weight_group"};
    const char *dot = strrchr(info->name, '.');
    if (!dot || (!strstr(info->name, "_proj.") && strncmp(info->name, "lm_head.", 8) != 0))
        return;
    for (int i = 0; i < 4; i++) {
        if (strcmp(dot, kinds[i]) != 0)
            continue;
        tally->linear_bytes += info->bytes;
        if (i < 2 && info->rank == 2)
            tally->linear_weights += i == 1 ? 2.0 * (double)info->bytes
                                            : (double)info->shape[0] * (double)info->shape[1];
    }
}

/* Panels of a layer's linears, and of a head of its own; config tells how many weights they hold.
 */
static void count_panels(struct pq_tally *tally, const struct pq_tensor_info *info,
                         const struct pq_config *c) {
    const char *dot = strrchr(info->name, '.');
    bool head = strncmp(info->name, "lm_head.", 8) == 0;
    if (!dot || strcmp(dot, ".panels") != 0 || (head && c->tied))
        return;
    double attention = 2.0 * (c->heads + c->kv_heads) * c->head_dim;
    tally->linear_bytes += info->bytes;
    tally->linear_weights += c->hidden * (head ? c->vocab : attention + 3.0 * c->ffn);
}

enum pq_status pq_tally_count(struct pq_tally *out, const struct pq_checkpoint *ckpt,
                              struct pq_err *err) {
    struct pq_tally tally = {0};
    const struct pq_tensor_info *info = pq_checkpoint_tensors(ckpt, &tally.tensors);
    tally.group = calloc((size_t)tally.tensors + 1, sizeof *tally.group);
    if (!tally.group)
        return pq_refuse(err, PQ_ENOMEM, "no memory to list %d tensors", tally.tensors);
    for (int i = 0; i < tally.tensors; i++) {
        tally.bytes += info[i].bytes;
        count_group(&tally, &info[i]);
        count_linear(&tally, &info[i]);
        count_panels(&tally, &info[i], pq_checkpoint_config(ckpt));
    }
    *out = tally;
    return PQ_OK;
}

void pq_tally_free(struct pq_tally *tally) {
    free(tally->group);
    *tally = (struct pq_tally){0};
}

double pq_tally_bits(const struct pq_tally *tally) {
    return tally->linear_weights ? 8.0 * (double)tally->linear_bytes / tally->linear_weights : 0;
}
