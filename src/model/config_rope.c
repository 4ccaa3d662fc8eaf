/* config_rope.c - what a config.json says of rotary positions. */
#include "io/keys.h"
#include "model/config_parts.h"

#include <float.h>
#include <string.h>

/* Scaling factors are small numbers; any bound below FLT_MAX would do. */
static const float MAX_FACTOR = 1e6f;

/* Which of these a type needs is told by reading them. */
static const struct pq_key_rule rope_keys[] = {
    {"rope_type", NULL, false},        {"type", NULL, false},
    {"rope_theta", NULL, false},       {"partial_rotary_factor", "1.0", false},
    {"factor", NULL, false},           {"low_freq_factor", NULL, false},
    {"high_freq_factor", NULL, false}, {"original_max_position_embeddings", NULL, false},
};

static enum pq_status read_llama3(const struct pq_json *at, struct pq_rope *rope,
                                  struct pq_err *err) {
    PQ_TRY(pq_json_float(at, "low_freq_factor", FLT_MIN, MAX_FACTOR, &rope->low_freq_factor, err));
    PQ_TRY(
        pq_json_float(at, "high_freq_factor", FLT_MIN, MAX_FACTOR, &rope->high_freq_factor, err));
    if (!(rope->high_freq_factor > rope->low_freq_factor))
        return pq_fail(
            err, PQ_EFORMAT, "%s: key \"%shigh_freq_factor\" is %g, not above low_freq_factor, %g",
            at->file, at->path, (double)rope->high_freq_factor, (double)rope->low_freq_factor);
    return pq_json_int(at, "original_max_position_embeddings", 1, 1 << 24,
                       &rope->original_positions, err);
}

/* One object in either of its forms: rope_scaling, which older configs have beside rope_theta, or
 * rope_parameters, which holds rope_theta too. */
static enum pq_status read_scaling(const struct pq_json *at, struct pq_rope *rope,
                                   struct pq_err *err) {
    const char *key = pq_json_find(at, "rope_type") ? "rope_type" : "type", *type;
    PQ_TRY(pq_json_string(at, key, &type, err));
    const json_t *old = pq_json_find(at, "type");
    if (old && !json_equal(old, pq_json_find(at, key)))
        return pq_keys_refuse(at, "type", err);
    if (strcmp(type, "linear") == 0)
        rope->scaling = PQ_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        rope->scaling = PQ_ROPE_LLAMA3;
    else if (strcmp(type, "default") != 0)
        return pq_keys_refuse(at, key, err);
    PQ_TRY(PQ_KEYS_FOLLOW(at, rope_keys, err));
    if (rope->scaling != PQ_ROPE_PLAIN)
        PQ_TRY(pq_json_float(at, "factor", 1, MAX_FACTOR, &rope->factor, err));
    return rope->scaling == PQ_ROPE_LLAMA3 ? read_llama3(at, rope, err) : PQ_OK;
}

/* theta from `at`, if it has one; what was found before must agree. */
static enum pq_status read_theta(const struct pq_json *at, float *theta, struct pq_err *err) {
    float seen = *theta;
    PQ_TRY(pq_json_float_or(at, "rope_theta", FLT_MIN, FLT_MAX, seen, theta, err));
    if (seen != 0 && *theta != seen)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%srope_theta\" is %g, but \"rope_theta\" is %g",
                       at->file, at->path, (double)*theta, (double)seen);
    return PQ_OK;
}

enum pq_status pq_config_read_rope(const struct pq_json *top, bool early, struct pq_rope *rope,
                                   struct pq_err *err) {
    const char *key = pq_json_find(top, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    PQ_TRY(read_theta(top, &rope->theta, err));
    if (pq_json_find(top, key)) {
        struct pq_json at;
        PQ_TRY(pq_json_object(top, key, &at, err));
        PQ_TRY(read_scaling(&at, rope, err));
        PQ_TRY(read_theta(&at, &rope->theta, err));
    }
    if (strcmp(key, "rope_parameters") == 0)
        PQ_TRY(pq_keys_absent(top, "rope_scaling", err));
    if (rope->theta == 0 && early)
        rope->theta = 10000;
    return rope->theta != 0
               ? PQ_OK
               : pq_fail(err, PQ_EFORMAT, "%s: key \"rope_theta\" is missing", top->file);
}
