/* panq.h - the public interface of panq: low-bit inference and quantization of openPangu models.
 *
 * Objects
 *   pq_pool       worker threads, for everything that is given it, one call at a time
 *   pq_tokenizer  text to ids and back, and the chat template; immutable
 *   pq_model      the weights, packed for this machine; immutable, shared by contexts
 *   pq_context    the KV cache and scratch of a set of sequences; one thread drives it
 *   pq_sampler    a random stream and the sampling settings of one reply
 *
 * Conventions
 *   Results leave through out-pointers, which are untouched on failure.  The first failure writes
 *   one sentence to *err (which may be NULL): what was wrong, where, and the value seen.
 *   Whoever opens closes; every close accepts NULL.  The library never prints and never exits.
 *   m = tokens, n = outputs, k = inputs throughout. */
#ifndef PANQ_H
#define PANQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PQ_VERSION "0.1.0"

/* ---- Errors ---------------------------------------------------------------------------------- */

enum pq_status {
    PQ_OK = 0,
    PQ_EINVAL,       /* an argument is out of its documented range */
    PQ_EIO,          /* the operating system refused: open, read, write, map, rename */
    PQ_EFORMAT,      /* a file is damaged, lies about itself, or is not what it should be */
    PQ_EUNSUPPORTED, /* a well-formed thing that panq does not do */
    PQ_ERANGE,       /* more tokens than a context or a model has room for */
    PQ_ENOMEM,
    PQ_ECANCELLED, /* the caller's progress function asked to stop */
};

struct pq_err {
    char text[512]; /* one sentence, NUL-terminated, no newline */
};

/* ---- Threads --------------------------------------------------------------------------------- */

struct pq_pool;

/* threads: how many run a parallel section, the caller included; 0 = one per processor.  A pool
 * serves one call at a time: whoever shares it between threads of their own takes turns. */
enum pq_status pq_pool_open(struct pq_pool **out, int threads, struct pq_err *err);
void pq_pool_close(struct pq_pool *pool);
int pq_pool_threads(const struct pq_pool *pool);

/* ---- Instruction sets ------------------------------------------------------------------------ */

/* Within an architecture weakest first. */
enum pq_isa {
    PQ_ISA_C = 0,      /* plain C, the reference, on any architecture */
    PQ_ISA_AVX2,       /* x86-64: AVX2 and FMA */
    PQ_ISA_AVX512,     /* the same and AVX-512 F, BW, DQ and VL */
    PQ_ISA_AVXVNNI,    /* AVX2, FMA and AVX-VNNI: byte dot products in 256 bits */
    PQ_ISA_AVX512VNNI, /* AVX-512 F, BW, DQ, VL and VNNI */
    PQ_ISA_AVX512BF16, /* the same and AVX512-BF16 */
    PQ_ISA_NEON,       /* AArch64: what every such processor has */
    PQ_ISA_DOTPROD,    /* the same and byte dot products (FEAT_DotProd) */
    PQ_ISA_I8MM,       /* the same and byte and BF16 matrix products (FEAT_I8MM, FEAT_BF16) */
    PQ_ISA_COUNT
};

bool pq_isa_runs(enum pq_isa isa);        /* whether this processor and OS run it */
enum pq_isa pq_isa_best(void);            /* the last that they run */
const char *pq_isa_name(enum pq_isa isa); /* "c", "avx2", "avx512", ... */
/* false: no ISA of the architecture that this was built for has that name */
bool pq_isa_parse(const char *name, enum pq_isa *isa);

/* ---- Checkpoint directories ------------------------------------------------------------------ */

/* How the linears of a checkpoint are stored. */
enum pq_scheme {
    PQ_SCHEME_FP,   /* BF16, F16 or F32 as published */
    PQ_SCHEME_W8A8, /* int8 weights, one scale per output; int8 activations, one scale per token */
    PQ_SCHEME_W4A8, /* 4-bit weights, integer multiplier per group; activations as above */
};

const char *pq_scheme_name(enum pq_scheme scheme); /* "bf16", "w8a8", "w4a8" */

#define PQ_GROUP_CHANNEL 0 /* as a group size: the whole channel is one group */

/* How the weights of linears lie in a checkpoint. */
enum pq_panels {
    PQ_PANELS_NONE,  /* as rows, which every pq_model_open packs into memory of its own */
    PQ_PANELS_UNITS, /* as the kernels of every ISA but I8MM read them, by pq_pack */
    PQ_PANELS_PAIRS, /* as those of I8MM do */
};

const char *pq_panels_name(enum pq_panels panels); /* "none", "units", "pairs" */

enum pq_rope_scaling { PQ_ROPE_PLAIN, PQ_ROPE_LINEAR, PQ_ROPE_LLAMA3 };

/* Rotary positions: the angle of pair i at position p is p * frequency[i], plain
 * frequency[i] = theta^(-2i / head_dim). */
struct pq_rope {
    float theta;
    enum pq_rope_scaling scaling;
    float factor;                            /* LINEAR, LLAMA3 */
    float low_freq_factor, high_freq_factor; /* LLAMA3 */
    int original_positions;                  /* LLAMA3 */
};

enum { PQ_MAX_EOS = 8 };

/* What config.json says, validated. */
struct pq_config {
    char family[64]; /* its model_type: "PanguEmbedded" */
    int vocab, hidden, ffn, layers, heads, kv_heads, head_dim;
    int max_positions;
    float norm_eps;
    struct pq_rope rope;
    bool tied;             /* lm_head is the embedding */
    bool qkv_bias, o_bias; /* which projections of attention have biases */
    bool qk_norm;          /* RMSNorm over each head of q and k, before rotation */
    int bos, pad;          /* token ids; -1 = none */
    int eos[PQ_MAX_EOS];   /* [n_eos] ids that end a reply, generation_config.json's among them */
    int n_eos;
    bool thinks; /* may think where its template can; openPangu-1B has no_think only */
    enum pq_scheme scheme;
    int group; /* W4A8: inputs that share a multiplier, or PQ_GROUP_CHANNEL */
    enum pq_panels panels;
    /* Whose input is multiplied by a Hadamard matrix before it meets the weights: down's, and a
     * tied head's around its norm's gamma (docs/format.md). */
    bool rotates_down, rotates_head;
};

struct pq_tensor_info {
    const char *name;  /* borrowed from the checkpoint */
    const char *dtype; /* "BF16", "I8", ... as safetensors writes it */
    const char *file;  /* base name of the file that holds it */
    int rank;
    int64_t shape[4];
    size_t bytes;
};

/* generation_config.json, with Hugging Face's defaults where a key is missing. */
struct pq_generation_config {
    bool do_sample;
    float temperature, top_p, repetition_penalty;
    int top_k; /* 0 = off */
};

struct pq_checkpoint;

/* Map a Hugging Face directory and validate all of it: config.json, every offset, shape and type
 * of model.safetensors or of the shards its index names.  Of data nothing is read but what says how
 * others are laid out; whether panels are this machine's is left to pq_model_open. */
enum pq_status pq_checkpoint_open(struct pq_checkpoint **out, const char *dir, struct pq_err *err);
void pq_checkpoint_close(struct pq_checkpoint *ckpt);
const struct pq_config *pq_checkpoint_config(const struct pq_checkpoint *ckpt);
const struct pq_generation_config *pq_checkpoint_generation(const struct pq_checkpoint *ckpt);
/* The tensors the model uses, in file order; n receives their number. */
const struct pq_tensor_info *pq_checkpoint_tensors(const struct pq_checkpoint *ckpt, int *n);

/* Write tensors [n] into a new safetensors file, which takes the place of one at path: data[i] is
 * row-major, of infos[i].name, dtype ("F32", "I32", ...), rank and shape; file and bytes are not
 * looked at.  The file appears whole or not at all. */
enum pq_status pq_tensors_save(const char *path, const struct pq_tensor_info *infos,
                               const void *const *data, int n, struct pq_err *err);

/* ---- Text ------------------------------------------------------------------------------------ */

struct pq_tokenizer;

/* The tokenizer of a checkpoint: tokenizer.model (SentencePiece BPE, with tokenizer_config.json),
 * or else tokenizer.json (byte-level BPE of Hugging Face's tokenizers library; all of the file is
 * understood or PQ_EUNSUPPORTED).  The chat template is the one of those that panq knows which the
 * checkpoint's chat_template is; without one, texts can be encoded and conversations cannot. */
enum pq_status pq_tokenizer_open(struct pq_tokenizer **out, const char *dir, struct pq_err *err);
void pq_tokenizer_close(struct pq_tokenizer *tok);
int pq_tokenizer_vocab(const struct pq_tokenizer *tok);

/* text [len] bytes, any bytes, to ids; added tokens ("[unused9]", "<|im_start|>") are recognised
 * first.  bos puts the tokenizer's first token in front, where it has one: <s> for openPangu,
 * nothing for Qwen.  *ids is malloc'd for the caller to free.  What does not come back by
 * pq_decode: with tokenizer.model a U+2581, which has the ids of a space and decodes as one; with
 * tokenizer.json what NFC changes, where it is asked for, and bytes that the vocabulary has no
 * token for, which are left out; with either the spaces that it adds in front or takes away.  The
 * ids are those of Hugging Face's tokenizers 0.23. Texts over 512 MiB are PQ_EINVAL. */
enum pq_status pq_encode(const struct pq_tokenizer *tok, const char *text, size_t len, bool bos,
                         int32_t **ids, int *n, struct pq_err *err);
/* ids [n] to the exact bytes they stand for, NUL-terminated and malloc'd; *len excludes the NUL.
 * skip_special drops what Hugging Face's does: the added tokens that tokenizer.json calls special;
 * <unk>, <s> and the end of turn with tokenizer.model.  Ids beyond the tokenizer's (a model's
 * vocabulary may be larger) stand for nothing; negative ones are PQ_EINVAL. */
enum pq_status pq_decode(const struct pq_tokenizer *tok, const int32_t *ids, int n,
                         bool skip_special, char **text, size_t *len, struct pq_err *err);

enum pq_role { PQ_SYSTEM, PQ_USER, PQ_ASSISTANT, PQ_TOOL, PQ_FUNCTION };
enum pq_think { PQ_THINK_SLOW, PQ_THINK_AUTO, PQ_THINK_NO };

const char *pq_think_name(enum pq_think think);              /* "slow", "auto", "no" */
bool pq_think_parse(const char *name, enum pq_think *think); /* false: no such name */

struct pq_message {
    enum pq_role role;
    const char *text;    /* borrowed, NUL-terminated */
    enum pq_think think; /* of a user turn: its mode, one that the template has */
};

/* Whether the tokenizer's template has the mode, and the model too: one whose config->thinks is
 * false has PQ_THINK_NO only.  config NULL: the template alone.  False without a template. */
bool pq_chat_has_mode(const struct pq_tokenizer *tok, const struct pq_config *config,
                      enum pq_think think);

/* messages [n], n >= 1, then the opening of the assistant's turn, to ids, BOS in front where the
 * template has it.  A system turn comes first: the template's own, where it has one, unless the
 * first message is a system turn. The last user turn's mode is the reply's.  Added tokens in the
 * messages' texts are recognised, as by the published templates.  PQ_EUNSUPPORTED: there is no
 * template that panq knows, or it lacks a message's role or mode. */
enum pq_status pq_chat_encode(const struct pq_tokenizer *tok, const struct pq_message *messages,
                              int n, int32_t **ids, int *n_ids, struct pq_err *err);

/* A reply's parts as it streams.  Text comes out in whole UTF-8 characters; a byte that belongs
 * to none becomes U+FFFD. */
struct pq_reply;
enum pq_part { PQ_PART_NONE, PQ_PART_THINKING, PQ_PART_CONTENT };

/* A reply ends at the template's mark, the tokenizer's EOS and config's eos (config may be NULL;
 * it is not kept).  raw: no mark opens a part, everything is content; without it PQ_EUNSUPPORTED
 * where there is no template.  The parts of replies with <think> have no newlines at their ends. */
enum pq_status pq_reply_open(struct pq_reply **out, const struct pq_tokenizer *tok,
                             const struct pq_config *config, bool raw, struct pq_err *err);
void pq_reply_close(struct pq_reply *reply);
void pq_reply_reset(struct pq_reply *reply); /* for the next reply */
/* Take one id.  *text [*len] is what can be shown now, in part *part; valid until the next call.
 * *ended becomes true when the id ends the turn; an id after that is PQ_EINVAL.  *part is
 * PQ_PART_NONE when there is nothing to show. */
enum pq_status pq_reply_feed(struct pq_reply *reply, int32_t id, enum pq_part *part,
                             const char **text, size_t *len, bool *ended, struct pq_err *err);
/* What has been gathered so far, whole: thinking and content, NUL-terminated, owned by reply.
 * Text before an answer mark is thinking even where no thinking mark opened it; text before a
 * thinking mark belongs to neither. */
const char *pq_reply_thinking(const struct pq_reply *reply);
const char *pq_reply_content(const struct pq_reply *reply);
int pq_reply_thinking_tokens(const struct pq_reply *reply); /* without the marks */
/* What the next id's text is in, if it is no mark: PQ_PART_THINKING or PQ_PART_CONTENT. */
enum pq_part pq_reply_part(const struct pq_reply *reply);

/* ---- The engine ------------------------------------------------------------------------------ */

struct pq_model;

enum pq_precision {
    PQ_PRECISION_NATIVE, /* BF16 products and KV cache, FP32 sums; integers where quantized */
    PQ_PRECISION_FP32,   /* FP32 wherever it is not integers */
};

struct pq_model_options {
    enum pq_precision precision;
    enum pq_isa isa; /* the best to use; PQ_ISA_COUNT - 1 for no cap */
};

/* Pack the weights for this machine, in parallel on the pool, or leave them in the file where they
 * lie in panels.  The checkpoint is borrowed until pq_model_close: its embeddings, and panels, are
 * read from the mapping.  PQ_EUNSUPPORTED, among others: panels that the ISA's kernels or
 * PQ_PRECISION_FP32 have no use for. */
enum pq_status pq_model_open(struct pq_model **out, const struct pq_checkpoint *ckpt,
                             const struct pq_model_options *options, struct pq_pool *pool,
                             struct pq_err *err);
void pq_model_close(struct pq_model *model);
const struct pq_config *pq_model_config(const struct pq_model *model);
enum pq_isa pq_model_isa(const struct pq_model *model);
size_t pq_model_bytes(const struct pq_model *model); /* weights in panels, in bytes */
size_t
pq_model_token_bytes(const struct pq_model *model);       /* weight bytes one decoded token reads */
double pq_model_token_macs(const struct pq_model *model); /* linears of the body, per token */

struct pq_context;

/* How the keys and values of past tokens are kept. */
enum pq_kv_format {
    PQ_KV_NATIVE, /* as the model's precision has it: BF16 or FP32 */
    PQ_KV_INT8,   /* 8-bit codes, one scale for each token and head: half of BF16 */
};

struct pq_context_options {
    int sequences; /* slots 0 .. sequences-1 */
    int positions; /* room of each slot, in tokens */
    int batch;     /* most tokens in one forward call */
    enum pq_kv_format kv;
};

enum pq_status pq_context_open(struct pq_context **out, const struct pq_model *model,
                               struct pq_pool *pool, const struct pq_context_options *options,
                               struct pq_err *err);
void pq_context_close(struct pq_context *ctx);
size_t pq_context_kv_bytes(const struct pq_context *ctx); /* reserved for all slots, full */
/* Of that, what a decoded token reads for each token before it. */
size_t pq_context_position_bytes(const struct pq_context *ctx);
size_t pq_context_scratch_bytes(const struct pq_context *ctx);

/* The next tokens of one sequence: a chunk of a prompt or one decoded token. */
struct pq_feed {
    int sequence;          /* slot; at most one feed a slot in a call */
    int n;                 /* tokens, >= 1 */
    const int32_t *tokens; /* [n] ids, 0 <= id < vocab; borrowed for the call */
    int n_logits;          /* 0 .. n: logits of this many of the last tokens are wanted */
};

/* Run the model on a ragged batch: feeds [n] of any lengths, together at most options.batch tokens.
 * A sequence's results do not depend on what else is in the batch, on how its prompt is cut into
 * chunks, or on the number of threads.
 *   logits  [sum of n_logits][vocab] out, in the order of the feeds; NULL when none are wanted;
 *           fastest where they are aligned to 64 bytes
 * Errors: PQ_EINVAL, PQ_ERANGE; no sequence has advanced then. */
enum pq_status pq_forward(struct pq_context *ctx, const struct pq_feed *feeds, int n, float *logits,
                          struct pq_err *err);
/* 0 <= sequence < options.sequences, for both. */
int pq_sequence_length(const struct pq_context *ctx, int sequence);
/* Forget all but the first `length` tokens; 0 frees the slot for another sequence. */
void pq_sequence_truncate(struct pq_context *ctx, int sequence, int length);

/* Sees the residual stream x [m][hidden] of a forward call's tokens: at point 0 their embeddings,
 * at 2 l + 1 what is there after attention in layer l and at 2 l + 2 after its MLP. */
typedef void pq_watch_fn(void *user, int point, const float *x, int m);
/* Call fn from every pq_forward of the context, on the caller's thread; NULL ends it. */
void pq_context_watch(struct pq_context *ctx, pq_watch_fn *fn, void *user);

/* The operators of a forward call, in its order.  The rows for linears are x's norm, rotated where
 * the config asks for it, rounded to what the weights meet. */
enum pq_operator {
    PQ_OP_EMBED,
    PQ_OP_QKV_ROWS,
    PQ_OP_QKV,
    PQ_OP_ATTENTION, /* keys and values to the cache, and queries' past; at their angles */
    PQ_OP_O_ROWS,
    PQ_OP_O,
    PQ_OP_GATE_UP_ROWS,
    PQ_OP_GATE_UP, /* and SwiGLU */
    PQ_OP_DOWN_ROWS,
    PQ_OP_DOWN,
    PQ_OP_HEAD_ROWS, /* of tokens whose logits are wanted */
    PQ_OP_HEAD,
    PQ_OPERATORS
};

const char *pq_operator_name(enum pq_operator op); /* "embedding", "rows for q,k,v", "q,k,v", ... */

/* What an operator of all layers took, and what it had to do: operations in 8 bits and in floating
 * point, 2 a multiply-add, attention's for what each token sees alone; bytes of weights, of the
 * cache and of activations, each counted once a call where it is read and where it is written.
 * `typical` is what it would have taken if all layers of a call had taken what their median took:
 * what somebody else on the machine takes of single layers is not in it. */
struct pq_operator_cost {
    double seconds, typical, int8_ops, fp_ops, bytes;
};

struct pq_profile {
    struct pq_operator_cost cost[PQ_OPERATORS];
};

/* Add the costs of every pq_forward of the context to *profile, which is borrowed; NULL ends it. */
void pq_context_profile(struct pq_context *ctx, struct pq_profile *profile);

/* ---- Sampling -------------------------------------------------------------------------------- */

struct pq_sampler_options {
    float temperature;        /* 0 to 1000; 0 = greedy */
    int top_k;                /* 0 = off */
    float top_p;              /* 0 to 1; 1 = off */
    float repetition_penalty; /* 0.001 to 1000; 1 = off; CTRL, arXiv:1909.05858 section 4.1 */
    uint64_t seed;
};

struct pq_sampler;
enum pq_status pq_sampler_open(struct pq_sampler **out, int vocab,
                               const struct pq_sampler_options *options, struct pq_err *err);
void pq_sampler_close(struct pq_sampler *sampler);
/* The next id from logits [vocab], which are left as they were; history [n] is what the penalty
 * looks at.  Greedy takes the lowest id among equals.  A logit that is no number is that of the
 * last choice: an id is drawn whatever they are, and the greatest where that is infinite. */
int32_t pq_sample(struct pq_sampler *sampler, const float *logits, const int32_t *history, int n);

/* ---- Traces ---------------------------------------------------------------------------------- */

/* What a token sequence is: a reply in a thinking mode, or plain text. */
enum pq_trace_mode {
    PQ_TRACE_SLOW = PQ_THINK_SLOW,
    PQ_TRACE_AUTO = PQ_THINK_AUTO,
    PQ_TRACE_NO = PQ_THINK_NO,
    PQ_TRACE_TEXT,
    PQ_TRACE_MODES
};

const char *pq_trace_mode_name(enum pq_trace_mode mode); /* "slow", "auto", "no", "text" */

/* A sequence to calibrate with or to compare checkpoints on.  ids[0..prompt) are the prompt, BOS
 * among them, ids[prompt..answer) the thinking and ids[answer..n) the answer; marks belong to the
 * part that they open.  Plain text has prompt = answer = 0. */
struct pq_trace {
    enum pq_trace_mode mode;
    const int32_t *ids; /* [n] of pq_traces.ids */
    int n, prompt, answer;
};

struct pq_traces {
    struct pq_trace *trace; /* [n] owned */
    int n;
    int32_t *ids; /* of all traces, one after the other; owned */
};

/* Read JSON lines {"mode": "slow", "ids": [1, ...], "prompt": 12, "answer": 80}, at least one.
 * PQ_EFORMAT names the line: no such mode, an id outside 0 .. vocab-1, 0 <= prompt <= answer <= n
 * broken, or a reply without a prompt or without a token of its own. */
enum pq_status pq_traces_read(struct pq_traces *out, const char *path, int vocab,
                              struct pq_err *err);
void pq_traces_free(struct pq_traces *traces);

/* ---- Comparison ------------------------------------------------------------------------------ */

/* How distribution q of the next token differs from p: both the softmax of FP32 logits, in FP64. */
struct pq_divergence {
    double kl;             /* KL(p || q) = sum over ids of p ln(p / q), in nats, >= 0 */
    int32_t p_top, q_top;  /* the likeliest id of each, the lowest among equals */
    double p_best, q_best; /* what p and q give to p_top */
    double p_loss, q_loss; /* -ln of what p and q give to the target; 0 without targets */
};

/* out [n] from logits p, q [n][vocab] and targets [n] (ids; may be NULL), in parallel.  PQ_EINVAL
 * names the row whose logits are not finite, and whose they are. */
enum pq_status pq_diverge(struct pq_divergence *out, const float *p, const float *q, int n,
                          int vocab, const int32_t *targets, struct pq_pool *pool,
                          struct pq_err *err);

/* How the residual stream of a checkpoint made by pq_quantize lies to its source's: as it is, or
 * rotated, y = x diag(signs) H with the Hadamard matrix of its size. */
struct pq_basis;

/* Find it from the embeddings of the same tokens, x [m][width] in the source and y in the other.
 * PQ_EUNSUPPORTED: y is neither near x nor near a rotation of it. */
enum pq_status pq_basis_find(struct pq_basis **out, const float *x, const float *y, int m,
                             int width, struct pq_err *err);
void pq_basis_close(struct pq_basis *basis);
/* y [m][width] of the other stream, turned back in place: the source's x, but for noise. */
void pq_basis_undo(const struct pq_basis *basis, float *y, int m);

/* ---- Quantization ---------------------------------------------------------------------------- */

/* Called from time to time; done and total are in bytes of source weights.  false asks to stop. */
typedef bool pq_progress_fn(void *user, const char *what, uint64_t done, uint64_t total);

enum pq_recipe_name {
    PQ_RECIPE_RTN,    /* round to nearest */
    PQ_RECIPE_ROTATE, /* the same of weights rotated by Hadamard matrices: docs/quantization.md */
    PQ_RECIPE_SMOOTH, /* scaled instead of rotated, and rounded against calibration's moments */
    PQ_RECIPE_BEST,   /* rotated, and rounded against calibration's second moments */
};

/* Steps of a recipe that can be left out, to see what they are worth. */
enum {
    PQ_STEP_ROTATE = 1,    /* all rotations */
    PQ_STEP_ONLINE = 2,    /* those that a model makes as it runs */
    PQ_STEP_GPTQ = 4,      /* rounding with feedback of the error */
    PQ_STEP_REFINE = 8,    /* coordinate descent and new scales after it */
    PQ_STEP_EQUALIZE = 16, /* scales between v and o, up and down, before rotations */
    PQ_STEP_GPTAQ = 32,    /* making up for what inputs have lost; needs GPTQ */
};

/* What calibration has seen and what came of it, over the layers that this run has rounded. */
struct pq_calibration_report {
    int64_t tokens, bos; /* of the traces; those that count nothing because they are BOS */
    /* Four inputs of linears in a layer have a row for each token.  massive: rows that count
     * nothing because they are over 1000 times the median in squared length. */
    int64_t rows, massive;
    int inputs;          /* that were looked at */
    double masked_share; /* of the rows' squared lengths, which is the trace of their second
                            moments: what BOS and massive rows have of it, the mean over inputs */
    double worst_share;  /* the most of any input */
    char worst[64];      /* and a linear of that input, "layers.3.down_proj"; "": none */
    int nearest;         /* linears rounded to nearest, for their second moments have no factor */
    double loss;         /* squared error of the linears' outputs, a part of their power */
};

struct pq_quantize_options {
    enum pq_scheme scheme; /* W8A8 or W4A8 */
    int group;             /* W4A8: 32, 256 or PQ_GROUP_CHANNEL */
    enum pq_recipe_name recipe;
    unsigned without;                    /* PQ_STEP_... of the recipe, or 0 */
    uint64_t seed;                       /* of the rotations' signs */
    const struct pq_traces *calibration; /* SMOOTH and BEST need it; others: for budget_bits */
    float mode_weight[PQ_TRACE_MODES];   /* of the traces; all 0: alike */
    double budget_bits; /* W4A8: mean bits a weight of the layers' linears that promotion of
                           some to 8 bits may reach; 0: none is promoted */
    struct pq_calibration_report *report; /* zeros without calibration; may be NULL */
    bool portable;            /* head and embeddings stay, W4 is pack-quantized: docs/format.md */
    pq_progress_fn *progress; /* may be NULL */
    void *user;
};

/* Quantize the checkpoint in `dir` into the new directory `out`, a tensor at a time.  `out` appears
 * whole or not at all.  PQ_EUNSUPPORTED, among others: ROTATE, and panq can make no Hadamard matrix
 * of the order of one of its sizes. */
enum pq_status pq_quantize(const char *dir, const char *out,
                           const struct pq_quantize_options *options, struct pq_pool *pool,
                           struct pq_err *err);

struct pq_pack_options {
    enum pq_isa isa;          /* for whose kernels; PQ_ISA_COUNT - 1 for the best of this machine */
    pq_progress_fn *progress; /* in bytes of panels; may be NULL */
    void *user;
};

/* Write the checkpoint in `dir`, of any scheme, into the new directory `out` with its weights in
 * panels, so that models map them instead of packing rows: ready at once, and in memory once for
 * all processes (docs/format.md).  The model itself stays the same, to the last bit.  Takes the
 * memory of one layer or of the head.  `out` appears whole or not at all. */
enum pq_status pq_pack(const char *dir, const char *out, const struct pq_pack_options *options,
                       struct pq_pool *pool, struct pq_err *err);

/* ---- The machine ----------------------------------------------------------------------------- */

/* What this machine can do with the pool's threads, measured now: a second, or a few where memory
 * is slow, and 512 MiB of memory; up to 2 GiB for more than 8 threads. */
struct pq_machine {
    char cpu[64];     /* the processor's own name */
    enum pq_isa isa;  /* that the peaks were measured with */
    double int8_gops; /* 8-bit multiply-adds from registers, 2 operations each, 1e9 a second */
    double bf16_gflops;
    double read_gbs; /* memory read, 1e9 bytes a second: the median of a few trials */
};

enum pq_status pq_machine_measure(struct pq_machine *out, enum pq_isa isa, struct pq_pool *pool,
                                  struct pq_err *err);

#ifdef __cplusplus
}
#endif
#endif
