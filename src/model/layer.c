/* Every family is Llama with more or fewer biases and, in Qwen3, a norm over each head of q and k:
 *   x += o(attention(rope(norm(q(n1))), rope(norm(k(n1))), v(n1))),  n1 = rmsnorm(x)
 *   x += down(silu(gate(n2)) * up(n2)),                              n2 = rmsnorm(x)
 * Where the config asks for it, down's input is multiplied by a Hadamard matrix H (QuaRot,
 * arXiv:2404.00456, section 4), and a tied head's is (gamma * rmsnorm(x H^T)) H: the embedding is
 * rotated then, and x with it, but gamma belongs to the channels of before.
 * The residual stream x is FP32; a linear's input is rounded once, to what its weights meet. */
#include "model/profile.h"

#include <string.h>

enum {
    SHARE = 6144,   /* values of a thread's rows, at least: a microsecond or two */
    EVEN_TILES = 8, /* for each thread: dealt whole they are even enough */
};

/* ---- Inputs of linears ----------------------------------------------------------------------- */

/* One input of m rows of `width`, and what its row r is made of. */
struct input {
    enum pq_input which;
    int m, width;
    const float *gamma;                 /* the norm of x, or */
    const float *rows;                  /* [m][width] as it is */
    const int *pick;                    /* row r is the norm of x's row pick[r]; NULL: of row r */
    const struct pq_hadamard *rotation; /* of what a row is then; NULL: none */
};

static struct input input_of(const struct pq_pass *p, const struct pq_layer *layer,
                             enum pq_input which) {
    const struct pq_config *c = &p->model->config;
    struct input input = {.which = which, .m = p->m, .width = c->hidden};
    switch (which) {
    case PQ_INPUT_QKV:
        input.gamma = layer->attention_norm;
        break;
    case PQ_INPUT_O:
        input.rows = p->s->attention;
        input.width = c->heads * c->head_dim;
        break;
    case PQ_INPUT_MLP:
        input.gamma = layer->mlp_norm;
        break;
    case PQ_INPUT_DOWN:
        input.rows = p->s->mlp;
        input.width = c->ffn;
        input.rotation = c->rotates_down ? &p->model->down_rotation : NULL;
        break;
    case PQ_INPUT_HEAD:
        input.gamma = p->model->norm;
        input.rotation = c->rotates_head ? &p->model->head_rotation : NULL;
        break;
    }
    return input;
}

/* What the tasks that make an input share. */
struct making {
    const struct pq_pass *pass;
    struct input input;
    struct pq_inputs forms;
    bool want_integers, want_sums, want_fp; /* the forms that the linears take */
    int shares;                             /* of its rows, see shares_of */
};

/* Row r of the input: where it is, or made at `row`. */
static const float *make_row(const struct pq_pass *p, const struct input *input, int r,
                             float *row) {
    size_t width = (size_t)input->width;
    if (!input->gamma) {
        const float *x = input->rows + (size_t)r * width;
        if (!input->rotation)
            return x;
        p->e->hadamard(row, x, input->rotation, false);
        return row;
    }
    const float *x = p->s->x + (size_t)(input->pick ? input->pick[r] : r) * width;
    if (input->rotation) { /* gamma belongs to the channels of before */
        p->e->hadamard(row, x, input->rotation, true);
        x = row;
    }
    p->e->rmsnorm(row, x, input->gamma, input->width, p->model->config.norm_eps);
    if (input->rotation)
        p->e->hadamard(row, row, input->rotation, false);
    return row;
}

/* Rows r .. r + n - 1, of one tile. */
static void make_rows(const struct making *making, int r, int n, unsigned char *scratch) {
    const struct pq_pass *p = making->pass;
    const struct input *input = &making->input;
    const struct pq_rows *integers = &making->forms.integers, *fp = &making->forms.fp;
    int width = input->width;
    unsigned char *codes = scratch + pq_arena_piece((size_t)width * sizeof(float));
    unsigned char *floats = codes + pq_rows_scratch(PQ_KIND_I8, width);
    for (int i = 0; i < n; i++) {
        const float *row = make_row(p, input, r + i, (float *)scratch);
        if (p->observer)
            p->observer->row(p->observer->user, input->which, r + i, row, width);
        if (making->want_integers)
            pq_rows_set(integers, r + i, i, row, width, codes);
        if (making->want_fp)
            pq_rows_set(fp, r + i, i, row, width, floats);
    }
    if (making->want_integers)
        pq_rows_put(integers, r, n, codes);
    if (making->want_fp)
        pq_rows_put(fp, r, n, floats);
}

/* What of a tile is in a share: nothing, or one part. */
static void make_task(void *arg, int task, int thread) {
    const struct making *making = arg;
    int m = making->input.m, tiles = pq_tiles(m), tile = task % tiles, share = task / tiles;
    int from = (int)((int64_t)m * share / making->shares);
    int end = (int)((int64_t)m * (share + 1) / making->shares);
    if (from < pq_first_row(m, tile))
        from = pq_first_row(m, tile);
    if (end > pq_first_row(m, tile + 1))
        end = pq_first_row(m, tile + 1);
    if (from < end)
        make_rows(making, from, end - from, making->pass->s->thread[thread]);
}

/* Many rows are made tile by tile.  Few are shared by the threads where that is worth telling them
 * of it, although a tile that two of them make is gathered from memory. */
static int shares_of(int m, int width, int threads) {
    int64_t worth = (int64_t)m * width / SHARE;
    int most = m < threads ? m : threads;
    if (pq_tiles(m) >= EVEN_TILES * threads || worth < 1)
        return 1;
    return worth < most ? (int)worth : most;
}

static void make(struct making *making) {
    struct pq_pool *pool = making->pass->ctx->pool;
    int m = making->input.m;
    making->shares = shares_of(m, making->input.width, pq_pool_threads(pool));
    pq_pool_run(pool, pq_tiles(m) * making->shares, make_task, making);
}

static void want(struct making *making, const struct pq_linear *linear) {
    making->want_integers |= pq_takes_integers(linear);
    making->want_sums |= linear->kind == PQ_KIND_I4;
    making->want_fp |= !pq_takes_integers(linear);
}

/* Who makes an input, and who multiplies it. */
static const struct {
    enum pq_operator rows, product;
} operators[] = {
    [PQ_INPUT_QKV] = {PQ_OP_QKV_ROWS, PQ_OP_QKV},
    [PQ_INPUT_O] = {PQ_OP_O_ROWS, PQ_OP_O},
    [PQ_INPUT_MLP] = {PQ_OP_GATE_UP_ROWS, PQ_OP_GATE_UP},
    [PQ_INPUT_DOWN] = {PQ_OP_DOWN_ROWS, PQ_OP_DOWN},
    [PQ_INPUT_HEAD] = {PQ_OP_HEAD_ROWS, PQ_OP_HEAD},
};

/* products [n] of one input. */
static void linears(const struct pq_pass *p, const struct input *input,
                    const struct pq_product *products, int n) {
    struct making making = {.pass = p, .input = *input};
    struct pq_inputs *forms = &making.forms;
    for (int i = 0; i < n; i++) {
        want(&making, products[i].linear);
        if (products[i].gate)
            want(&making, products[i].gate);
    }
    const struct pq_ops *ops = p->model->ops;
    pq_rows_place(&forms->integers, ops, making.want_sums ? PQ_KIND_I4 : PQ_KIND_I8, input->m,
                  input->width, p->s->integer_rows);
    pq_rows_place(&forms->fp, ops, p->model->fp, input->m, input->width, p->s->fp_rows);
    pq_profile_begin(p->ctx);
    make(&making);
    pq_profile_end(p->ctx, operators[input->which].rows);
    pq_multiply(p->ctx->pool, ops, forms, products, n, (void *const *)p->s->thread);
    pq_profile_end(p->ctx, operators[input->which].product);
}

static struct pq_product product(const struct pq_linear *linear, float *y, bool add) {
    return (struct pq_product){.linear = linear, .y = y, .ldy = (size_t)linear->n, .add = add};
}

/* ---- The steps ------------------------------------------------------------------------------- */

void pq_pass_attention(const struct pq_pass *p, const struct pq_layer *layer, int index) {
    struct pq_scratch *s = p->s;
    struct pq_product qkv[] = {product(&layer->q, s->q, false), product(&layer->k, s->k, false),
                               product(&layer->v, s->v, false)};
    struct input input = input_of(p, layer, PQ_INPUT_QKV);
    linears(p, &input, qkv, 3);
    struct pq_attention a = {.ops = p->model->ops,
                             .kv = &p->ctx->kv,
                             .fp = p->model->fp,
                             .chunks = s->chunks,
                             .n = p->n_chunks,
                             .layer = index,
                             .heads = p->model->config.heads,
                             .q_norm = layer->q_norm,
                             .k_norm = layer->k_norm,
                             .norm_eps = p->model->config.norm_eps,
                             .angles = s->angles,
                             .q = s->q,
                             .k = s->k,
                             .v = s->v,
                             .out = s->attention,
                             .first_task = s->first_task,
                             .partial = s->partial,
                             .partial_tokens = s->partial_tokens,
                             .scratch = s->thread};
    pq_profile_begin(p->ctx);
    pq_attention_run(p->ctx->pool, &a);
    pq_profile_end(p->ctx, PQ_OP_ATTENTION);
}

void pq_pass_output(const struct pq_pass *p, const struct pq_layer *layer) {
    struct pq_product o = product(&layer->o, p->s->x, true);
    struct input input = input_of(p, layer, PQ_INPUT_O);
    linears(p, &input, &o, 1);
}

void pq_pass_gate_up(const struct pq_pass *p, const struct pq_layer *layer) {
    struct pq_product up = product(&layer->up, p->s->mlp, false);
    struct input input = input_of(p, layer, PQ_INPUT_MLP);
    up.gate = &layer->gate;
    linears(p, &input, &up, 1);
}

void pq_pass_down(const struct pq_pass *p, const struct pq_layer *layer) {
    struct pq_product down = product(&layer->down, p->s->x, true);
    struct input input = input_of(p, layer, PQ_INPUT_DOWN);
    linears(p, &input, &down, 1);
}

void pq_pass_head(const struct pq_pass *p, const int *pick, int n, float *logits) {
    struct pq_product head = product(&p->model->head, logits, false);
    struct input input = input_of(p, NULL, PQ_INPUT_HEAD);
    input.m = n;
    input.pick = pick;
    linears(p, &input, &head, 1);
}

void pq_pass_look(const struct pq_pass *p, const struct pq_layer *layer, enum pq_input input) {
    struct making making = {.pass = p, .input = input_of(p, layer, input)};
    make(&making);
}
