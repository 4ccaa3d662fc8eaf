/* synth - writes a synthetic BF16 checkpoint of openPangu's shape, for measuring speed and memory.
 *
 *     synth --shape 1b --tokenizer models/pangu-mini OUT
 *
 * Weights are normal with standard deviation 0.02, norms lie near 1, biases are small; all of it
 * follows from the seed.  The model says nothing sensible, but every number it computes is finite.
 * The shapes are those of Huawei's config.json. */
#include "base/half.h"
#include "base/map.h"
#include "io/json.h"
#include "io/safetensors_write.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct shape {
    const char *name;
    int vocab, hidden, ffn, layers, heads, kv_heads, head_dim, positions, eos;
    double rope_theta;
    bool tied;
};

static const struct shape shapes[] = {
    {"mini", 1413, 256, 768, 6, 4, 2, 64, 1024, 13, 1e4, false},
    {"1b", 153376, 1536, 6144, 26, 12, 6, 128, 32768, 45892, 4e6, true},
    {"7b", 153376, 4096, 12800, 34, 32, 8, 128, 32768, 45892, 16e6, false},
};

struct synth {
    struct shape shape;
    uint64_t seed;
    const char *tokenizer; /* directory, or NULL */
    const char *out;
};

/* ---- Tensors --------------------------------------------------------------------------------- */

enum { LEVELS = 1 << 16, BUFFER = 1 << 20 };

/* What a tensor's values are: mean + deviation * a standard normal number. */
struct spread {
    float mean, deviation;
};

static const struct spread WEIGHT = {0, 0.02f}, NORM = {1, 0.05f}, BIAS = {0, 0.01f};

/* Quantiles of the standard normal distribution, so that 16 random bits give a number: by bisection
 * on its distribution function. */
static float normal[LEVELS];

static void make_normal(void) {
    for (int i = 0; i < LEVELS; i++) {
        double p = (i + 0.5) / LEVELS, lo = -6, hi = 6;
        while (hi - lo > 1e-7) {
            double x = (lo + hi) / 2;
            if (0.5 * erfc(-x / sqrt(2)) < p)
                lo = x;
            else
                hi = x;
        }
        normal[i] = (float)lo;
    }
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Visited twice in the same order: to declare, then, with `buffer`, to write. */
struct visit {
    struct pq_writer *writer;
    uint64_t state;
    uint16_t *table;  /* [LEVELS] */
    uint16_t *buffer; /* [BUFFER] or NULL */
};

static enum pq_status write_values(struct visit *v, size_t count, struct spread spread,
                                   struct pq_err *err) {
    for (int i = 0; i < LEVELS; i++)
        v->table[i] = pq_f32_to_bf16(spread.mean + spread.deviation * normal[i]);
    while (count > 0) {
        size_t n = count < BUFFER ? count : BUFFER;
        for (size_t i = 0; i < BUFFER; i += 4) {
            uint64_t bits = next_random(&v->state);
            for (int j = 0; j < 4; j++)
                v->buffer[i + (size_t)j] = v->table[bits >> 16 * j & 0xffff];
        }
        PQ_TRY(pq_writer_append(v->writer, v->buffer, n * sizeof *v->buffer, err));
        count -= n;
    }
    return PQ_OK;
}

/* The tensor prefix.suffix of shape [n, k], or [n] when k is 0. */
static enum pq_status tensor(struct visit *v, const char *prefix, const char *suffix, int n, int k,
                             struct spread spread, struct pq_err *err) {
    char name[128];
    int64_t shape[2] = {n, k};
    snprintf(name, sizeof name, "%s.%s", prefix, suffix);
    if (v->buffer)
        return write_values(v, (size_t)n * (size_t)(k ? k : 1), spread, err);
    return pq_writer_declare(v->writer, name, "BF16", k ? 2 : 1, shape, err);
}

static enum pq_status visit_layer(struct visit *v, const struct shape *s, int layer,
                                  struct pq_err *err) {
    const int q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        const char *name;
        int n, k;
        bool bias;
    } linears[] = {
        {"self_attn.q_proj", q, s->hidden, true},    {"self_attn.k_proj", kv, s->hidden, true},
        {"self_attn.v_proj", kv, s->hidden, true},   {"self_attn.o_proj", s->hidden, q, true},
        {"mlp.gate_proj", s->ffn, s->hidden, false}, {"mlp.up_proj", s->ffn, s->hidden, false},
        {"mlp.down_proj", s->hidden, s->ffn, false},
    };
    char prefix[64];
    snprintf(prefix, sizeof prefix, "model.layers.%d", layer);
    PQ_TRY(tensor(v, prefix, "input_layernorm.weight", s->hidden, 0, NORM, err));
    PQ_TRY(tensor(v, prefix, "post_attention_layernorm.weight", s->hidden, 0, NORM, err));
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        snprintf(prefix, sizeof prefix, "model.layers.%d.%s", layer, linears[i].name);
        PQ_TRY(tensor(v, prefix, "weight", linears[i].n, linears[i].k, WEIGHT, err));
        if (linears[i].bias)
            PQ_TRY(tensor(v, prefix, "bias", linears[i].n, 0, BIAS, err));
    }
    return PQ_OK;
}

static enum pq_status visit_all(struct visit *v, const struct shape *s, struct pq_err *err) {
    PQ_TRY(tensor(v, "model.embed_tokens", "weight", s->vocab, s->hidden, WEIGHT, err));
    for (int layer = 0; layer < s->layers; layer++)
        PQ_TRY(visit_layer(v, s, layer, err));
    PQ_TRY(tensor(v, "model.norm", "weight", s->hidden, 0, NORM, err));
    return s->tied ? PQ_OK : tensor(v, "lm_head", "weight", s->vocab, s->hidden, WEIGHT, err);
}

static enum pq_status write_tensors(const struct synth *synth, struct pq_writer *writer,
                                    struct pq_err *err) {
    struct visit v = {.writer = writer, .state = synth->seed};
    uint16_t *memory = malloc((LEVELS + BUFFER) * sizeof *memory);
    if (!memory)
        return pq_fail(err, PQ_ENOMEM, "out of memory");
    enum pq_status status = pq_writer_metadata(writer, "format", "pt", err);
    if (status == PQ_OK)
        status = visit_all(&v, &synth->shape, err);
    if (status == PQ_OK)
        status = pq_writer_begin(writer, err);
    v.table = memory;
    v.buffer = memory + LEVELS;
    if (status == PQ_OK)
        status = visit_all(&v, &synth->shape, err);
    if (status == PQ_OK)
        status = pq_writer_end(writer, err);
    free(memory);
    return status;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* dir/name; NULL, and a sentence, when out of memory. */
static char *path_in(const char *dir, const char *name, struct pq_err *err) {
    char *path = pq_path_join(dir, name);
    if (!path)
        pq_fail(err, PQ_ENOMEM, "out of memory");
    return path;
}

static enum pq_status write_model(const struct synth *synth, struct pq_err *err) {
    char *path = path_in(synth->out, "model.safetensors", err);
    if (!path)
        return PQ_ENOMEM;
    struct pq_writer *writer = NULL;
    enum pq_status status = pq_writer_open(&writer, path, err);
    if (status == PQ_OK)
        status = write_tensors(synth, writer, err);
    pq_writer_close(writer);
    free(path);
    return status;
}

static enum pq_status write_json(const char *dir, const char *name, json_t *value,
                                 struct pq_err *err) {
    char *path = path_in(dir, name, err);
    enum pq_status status = path ? PQ_OK : PQ_ENOMEM;
    if (path && json_dump_file(value, path, JSON_INDENT(2) | JSON_REAL_PRECISION(16)) != 0)
        status = pq_fail(err, PQ_EIO, "%s: cannot write: %s", path, strerror(errno));
    json_decref(value);
    free(path);
    return status;
}

static json_t *config_of(const struct shape *s) {
    return json_pack(
        "{s:[s], s:s, s:b, s:s, s:i, s:i, s:i, s:b, s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:i,"
        " s:f, s:f, s:i}",
        "architectures", "PanguEmbeddedForCausalLM", "model_type", "PanguEmbedded", "bias", 1,
        "hidden_act", "silu", "bos_token_id", 1, "pad_token_id", 0, "eos_token_id", s->eos,
        "tie_word_embeddings", (int)s->tied, "torch_dtype", "bfloat16", "use_cache", 1,
        "vocab_size", s->vocab, "hidden_size", s->hidden, "intermediate_size", s->ffn,
        "num_hidden_layers", s->layers, "num_attention_heads", s->heads, "num_key_value_heads",
        s->kv_heads, "rope_theta", s->rope_theta, "rms_norm_eps", 1e-5, "max_position_embeddings",
        s->positions);
}

static json_t *generation_of(const struct shape *s) {
    return json_pack("{s:i, s:i, s:i, s:b, s:f, s:i, s:f}", "bos_token_id", 1, "pad_token_id", 0,
                     "eos_token_id", s->eos, "do_sample", 1, "temperature", 1.0, "top_k", 0,
                     "top_p", 0.8);
}

static enum pq_status copy_file(const char *from, const char *to, const char *name,
                                struct pq_err *err) {
    struct pq_map map = {0};
    char *source = path_in(from, name, err), *path = path_in(to, name, err);
    enum pq_status status = source && path ? pq_map_open(&map, source, err) : PQ_ENOMEM;
    if (status == PQ_OK) {
        FILE *file = fopen(path, "wbe");
        bool good = file && fwrite(map.data, 1, map.size, file) == map.size;
        if (file && fclose(file) != 0)
            good = false;
        if (!good)
            status = pq_fail(err, PQ_EIO, "%s: cannot write: %s", path, strerror(errno));
        pq_map_close(&map);
    }
    free(source);
    free(path);
    return status;
}

static enum pq_status run(const struct synth *synth, struct pq_err *err) {
    if (mkdir(synth->out, 0777) != 0)
        return pq_fail(err, PQ_EIO, "%s: cannot create: %s", synth->out, strerror(errno));
    PQ_TRY(write_json(synth->out, "config.json", config_of(&synth->shape), err));
    PQ_TRY(write_json(synth->out, "generation_config.json", generation_of(&synth->shape), err));
    if (synth->tokenizer) {
        PQ_TRY(copy_file(synth->tokenizer, synth->out, "tokenizer.model", err));
        PQ_TRY(copy_file(synth->tokenizer, synth->out, "tokenizer_config.json", err));
    }
    make_normal();
    return write_model(synth, err);
}

/* ---- The command line ------------------------------------------------------------------------ */

static const char usage[] =
    "synth [OPTIONS] OUT    write a synthetic BF16 checkpoint to the new directory OUT\n"
    "  --shape mini|1b|7b   the model whose shape it has (1b)\n"
    "  --layers N           fewer or more layers than that\n"
    "  --seed N             of all its numbers (1)\n"
    "  --tokenizer DIR      copy tokenizer.model and tokenizer_config.json from there\n";

static bool find_shape(const char *name, struct shape *out) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].name, name) == 0) {
            *out = shapes[i];
            return true;
        }
    return false;
}

static bool parse_number(const char *text, unsigned long long most, unsigned long long *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && errno == 0 && *out <= most;
}

static bool parse(int argc, char **argv, struct synth *synth) {
    static const struct option options[] = {{"shape", required_argument, NULL, 's'},
                                            {"layers", required_argument, NULL, 'l'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"tokenizer", required_argument, NULL, 't'},
                                            {0}};
    unsigned long long layers = 0, seed = 1;
    bool good = find_shape("1b", &synth->shape);
    for (int c; good && (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            good = find_shape(optarg, &synth->shape);
        else if (c == 'l')
            good = parse_number(optarg, 1024, &layers) && layers > 0;
        else if (c == 'r')
            good = parse_number(optarg, UINT64_MAX, &seed);
        else if (c == 't')
            synth->tokenizer = optarg;
        else
            good = false;
    }
    if (!good || optind != argc - 1)
        return false;
    if (layers)
        synth->shape.layers = (int)layers;
    synth->seed = seed;
    synth->out = argv[optind];
    return true;
}

int main(int argc, char **argv) {
    struct synth synth = {0};
    struct pq_err err;
    if (!parse(argc, argv, &synth)) {
        fputs(usage, stderr);
        return 2;
    }
    if (run(&synth, &err) != PQ_OK) {
        fprintf(stderr, "synth: %s\n", err.text);
        return 1;
    }
    return 0;
}
