/* gemm.h - linears in panels, activations in tiles, and the product of the two on a pool. */
#ifndef PQ_CPU_GEMM_H
#define PQ_CPU_GEMM_H

#include "base/threads.h"
#include "cpu/ops.h"

/* How values are held in 4-byte units. */
enum pq_kind { PQ_KIND_I8, PQ_KIND_I4, PQ_KIND_BF16, PQ_KIND_F32 };

/* Values of one unit; 4-bit weights meet 8-bit activations, so theirs is that of int8. */
static inline int pq_unit_values(enum pq_kind kind) {
    return kind == PQ_KIND_F32 ? 1 : kind == PQ_KIND_BF16 ? 2 : 4;
}

/* Whether tiles of a kind, and panels that meet them, come in pairs of units. */
static inline bool pq_in_pairs(const struct pq_ops *ops, enum pq_kind kind) {
    return ops->pairs && kind != PQ_KIND_F32;
}

static inline int pq_round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* Of the form below, and of weights in it (ops.h), which files have: another form, another number.
 */
enum { PQ_PANELS_VERSION = 1 };

/* y = x W^T + bias, W [n][k], as panels of PQ_NR outputs.  All that products read of a panel lies
 * in one piece, and pieces in the order in which they are read, because memory is fastest in order.
 * Borrowed from the model's memory. */
struct pq_linear {
    enum pq_kind kind;
    int n, k;              /* as the checkpoint has them */
    int units;             /* of a panel row: k padded to a multiple of PQ_BLOCK */
    bool pairs;            /* of units, see ops.h; I4's codes are as they are */
    int shift;             /* I4: group of block b = b >> shift */
    size_t mult_bytes;     /* of a panel's multipliers, */
    size_t weight_bytes;   /* of its weights, */
    size_t panel_bytes;    /* and of all of it */
    size_t stride;         /* from a panel to the next, a gate's or a gated linear's in between */
    unsigned char *panels; /* aligned to 64 bytes */
    /* What a thread multiplies after its share of this one: more than PQ_FEW rows of the share's
     * last panel fetch the first of it.  NULL: not known. */
    const struct pq_linear *next;
};

/* A panel's parts, in the order of memory. */
struct pq_panel {
    unsigned char *mults;   /* [mult_bytes], see ops.h; I4 */
    float *bias;            /* [PQ_NR], zeros where there is none */
    float *scale;           /* [PQ_NR]; I8, I4 */
    unsigned char *weights; /* [weight_bytes], see ops.h */
};

/* Whether it meets activations in 8 bits. */
static inline bool pq_takes_integers(const struct pq_linear *linear) {
    return linear->kind == PQ_KIND_I8 || linear->kind == PQ_KIND_I4;
}

static inline int pq_linear_panels(const struct pq_linear *linear) {
    return (linear->n + PQ_NR - 1) / PQ_NR;
}

/* Set the sizes of a linear, for these kernels, from kind, n, k and (I4) group, with no other's
 * panels between its own; `panels` and `next` stay as they are. */
void pq_linear_shape(struct pq_linear *linear, const struct pq_ops *ops, enum pq_kind kind, int n,
                     int k, int group);
/* Let the panels of two linears of one n take turns, the first one's first: then second->panels is
 * first->panels + first->panel_bytes. */
void pq_linears_alternate(struct pq_linear *first, struct pq_linear *second);
/* What its panels, with another's between them or not, take. */
static inline size_t pq_linear_room(const struct pq_linear *linear) {
    return (size_t)pq_linear_panels(linear) * linear->stride;
}
/* Panel `index`, 0 <= index < pq_linear_panels. */
struct pq_panel pq_linear_panel(const struct pq_linear *linear, int index);
/* Bytes that a product must read: weights, multipliers and scales, panels' padding included. */
size_t pq_linear_bytes(const struct pq_linear *linear);

/* Activations of m tokens, ready to be multiplied. */
struct pq_rows {
    const struct pq_ops *ops; /* whose tiles they are */
    enum pq_kind kind;        /* I8, BF16 or F32 */
    int m, units;
    unsigned char *x; /* tiles, as few as there can be, of equal heights or one less: see ops.h */
    float *scale;     /* I8: [m] */
    int32_t *start;   /* I8: [m], see pq_start_fn */
    int32_t *starts;  /* I8: tiles [blocks][rows], of each block; NULL where no 4-bit panel is
                         multiplied as it is */
    unsigned char *apart; /* [m][units], of tiles that several threads make */
    _Atomic int *made;    /* [tiles], rows of such a tile that are there */
};

/* The tiles of m rows, and the row that tile t begins with. */
static inline int pq_tiles(int m) {
    return (m + PQ_MR - 1) / PQ_MR;
}

static inline int pq_first_row(int m, int t) {
    return (int)((int64_t)m * t / pq_tiles(m));
}

/* Units of rows [rows][n] of a kind to a tile; n is even. */
static inline void pq_lay_tile(const struct pq_ops *ops, enum pq_kind kind, uint32_t *tile,
                               const uint32_t *units, int rows, int n) {
    bool pairs = pq_in_pairs(ops, kind);
    (pairs ? ops->e->interleave_pairs : ops->e->interleave)(tile, rows, units, rows, n);
}

/* Memory for m rows of k values of a kind, and its division for linears of the kind and these
 * kernels; I4: of 4 and of 8 bits. */
size_t pq_rows_bytes(enum pq_kind kind, int m, int k);
void pq_rows_place(struct pq_rows *rows, const struct pq_ops *ops, enum pq_kind kind, int m, int k,
                   void *memory);
/* Rows are made in parts of a tile, from x [k]: each row r + i, i < n, of a part is set, then the
 * part is put, once after pq_rows_place.  temp, pq_rows_scratch bytes, holds it until then.
 * Different parts may be made at the same time; a tile can be multiplied once its last one was put.
 */
size_t pq_rows_scratch(enum pq_kind kind, int k);
void pq_rows_set(const struct pq_rows *rows, int r, int i, const float *x, int k, void *temp);
void pq_rows_put(const struct pq_rows *rows, int r, int n, void *temp);

/* The same rows in the forms that weights meet.  A form that no product takes need not be set. */
struct pq_inputs {
    struct pq_rows integers, fp;
};

/* One product of a call: y [m][n], rows ldy apart; added to y where `add`.  With a gate, of the
 * same n and k, y = silu(gate's product) * the linear's (Shazeer, arXiv:2002.05202 eq. 6). */
struct pq_product {
    const struct pq_linear *linear, *gate; /* fastest where their panels take turns in memory */
    float *y;
    size_t ldy;
    bool add; /* not with a gate */
};

/* What each thread needs: an unpacked panel of a 4-bit linear of k inputs, and its gate's. */
size_t pq_multiply_scratch(int k, bool gated);

/* All products of the same rows, one or more, in one parallel section.  scratch [threads] as
 * above. */
void pq_multiply(struct pq_pool *pool, const struct pq_ops *ops, const struct pq_inputs *inputs,
                 const struct pq_product *products, int n, void *const *scratch);

#endif
