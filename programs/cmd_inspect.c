/* panq inspect - what a checkpoint is. */
#include "commands.h"
#include "generate.h"
#include "report.h"
#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct inspect {
    bool tensors, json;
};

#define FIELD(member) .offset = offsetof(struct inspect, member)
static const struct pq_option options[] = {
    {.name = "tensors",
     .kind = PQ_OPTION_FLAG,
     FIELD(tensors),
     .help = "list every tensor, not every kind"},
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print JSON"},
};

static void shape_text(const struct pq_tensor_info *info, char buf[96]) {
    int n = snprintf(buf, 96, "[");
    for (int i = 0; i < info->rank; i++)
        n += snprintf(buf + n, 96 - (size_t)n, "%s%" PRId64, i ? ", " : "", info->shape[i]);
    snprintf(buf + n, 96 - (size_t)n, "]");
}

static void scheme_text(const struct pq_config *c, char buf[64]) {
    if (c->scheme != PQ_SCHEME_W4A8)
        snprintf(buf, 64, "%s", pq_scheme_name(c->scheme));
    else if (c->group == PQ_GROUP_CHANNEL)
        snprintf(buf, 64, "%s, one group a channel", pq_scheme_name(c->scheme));
    else
        snprintf(buf, 64, "%s, groups of %d", pq_scheme_name(c->scheme), c->group);
}

/* modes: their names; "" where no conversation can be had with it, as `why` says. */
static void print_model(const struct pq_config *c, const struct pq_tally *tally, const char *modes,
                        const char *why) {
    char scheme[64], total[24];
    scheme_text(c, scheme);
    printf("family     %s\n", c->family);
    printf("size       %d layers, hidden %d, ffn %d, %d query and %d KV heads of %d\n", c->layers,
           c->hidden, c->ffn, c->heads, c->kv_heads, c->head_dim);
    printf("vocabulary %d, head %s\n", c->vocab, c->tied ? "tied to the embedding" : "of its own");
    printf("positions  %d, rope theta %g\n", c->max_positions, (double)c->rope.theta);
    printf("thinking   %s%s\n", *modes ? modes : "not known: ", *modes ? "" : why);
    printf("weights    %s; %.3f bits a weight in the linears, scales included\n", scheme,
           pq_tally_bits(tally));
    if (c->panels != PQ_PANELS_NONE)
        printf("panels     of %s, mapped as they are\n", pq_panels_name(c->panels));
    if (c->rotates_down || c->rotates_head)
        printf("rotates    the inputs of %s%s%s as it runs\n", c->rotates_down ? "down" : "",
               c->rotates_down && c->rotates_head ? " and " : "",
               c->rotates_head ? "the head" : "");
    printf("total      %s in %d tensors\n\n", pq_human_bytes((double)tally->bytes, total),
           tally->tensors);
}

static void add_row(struct pq_table *table, const char *name, int count, size_t bytes,
                    const struct pq_tensor_info *info) {
    char shape[96], size[24];
    shape_text(info, shape);
    pq_table_add(table, "%s", name);
    pq_table_add(table, "%s", info->dtype);
    pq_table_add(table, "%s", shape);
    pq_table_add(table, "%d", count);
    pq_table_add(table, "%s", pq_human_bytes((double)bytes, size));
}

static void print_tensors(const struct pq_tally *tally, const struct pq_tensor_info *info,
                          bool every) {
    struct pq_table table = {.columns = 5, .left = 3};
    pq_table_add(&table, "tensor");
    pq_table_add(&table, "type");
    pq_table_add(&table, "shape");
    pq_table_add(&table, "count");
    pq_table_add(&table, "bytes");
    for (int i = 0; every && i < tally->tensors; i++)
        add_row(&table, info[i].name, 1, info[i].bytes, &info[i]);
    for (int i = 0; !every && i < tally->n; i++)
        add_row(&table, tally->group[i].name, tally->group[i].count, tally->group[i].bytes,
                tally->group[i].first);
    pq_table_print(&table);
}

static json_t *tensor_json(const char *name, int count, size_t bytes,
                           const struct pq_tensor_info *info, bool file) {
    json_t *shape = json_array();
    for (int i = 0; i < info->rank; i++)
        json_array_append_new(shape, json_integer(info->shape[i]));
    json_t *json = json_pack("{s:s, s:s, s:o, s:i, s:I}", "name", name, "dtype", info->dtype,
                             "shape", shape, "count", count, "bytes", (json_int_t)bytes);
    if (file)
        json_object_set_new(json, "file", json_string(info->file));
    return json;
}

static int print_json(const struct pq_config *c, const struct pq_tally *tally,
                      const struct pq_tensor_info *info, bool every) {
    json_t *tensors = json_array();
    for (int i = 0; every && i < tally->tensors; i++)
        json_array_append_new(tensors, tensor_json(info[i].name, 1, info[i].bytes, &info[i], true));
    for (int i = 0; !every && i < tally->n; i++) {
        const struct pq_tally_group *g = &tally->group[i];
        json_array_append_new(tensors, tensor_json(g->name, g->count, g->bytes, g->first, false));
    }
    json_t *config = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:b, s:b, s:b, s:b}", "vocab",
        c->vocab, "hidden", c->hidden, "ffn", c->ffn, "layers", c->layers, "heads", c->heads,
        "kv_heads", c->kv_heads, "head_dim", c->head_dim, "max_positions", c->max_positions,
        "rope_theta", (double)c->rope.theta, "norm_eps", (double)c->norm_eps, "tied", c->tied,
        "qkv_bias", c->qkv_bias, "thinks", c->thinks, "rotates_down", c->rotates_down,
        "rotates_head", c->rotates_head);
    json_t *group = c->scheme != PQ_SCHEME_W4A8    ? json_null()
                    : c->group == PQ_GROUP_CHANNEL ? json_string("channel")
                                                   : json_integer(c->group);
    return pq_print_json(json_pack("{s:s, s:o, s:s, s:o, s:s, s:f, s:I, s:o}", "family", c->family,
                                   "config", config, "scheme", pq_scheme_name(c->scheme), "group",
                                   group, "panels", pq_panels_name(c->panels), "linear_bits",
                                   pq_tally_bits(tally), "bytes", (json_int_t)tally->bytes,
                                   "tensors", tensors));
}

/* The modes of the checkpoint's template, comma-separated; "" and *why where it has none. */
static void find_modes(const char *dir, const struct pq_config *config, char modes[PQ_MODES_TEXT],
                       struct pq_err *why) {
    struct pq_tokenizer *tok = NULL;
    struct pq_reply *reply = NULL;
    modes[0] = 0;
    if (pq_tokenizer_open(&tok, dir, why) == PQ_OK &&
        pq_reply_open(&reply, tok, config, false, why) == PQ_OK)
        pq_modes_text(tok, config, ", ", modes);
    pq_reply_close(reply);
    pq_tokenizer_close(tok);
}

static int main_inspect(const struct pq_command *command, int argc, char **argv) {
    struct inspect inspect = {0};
    struct pq_checkpoint *ckpt = NULL;
    struct pq_tally tally = {0};
    struct pq_err err;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &inspect, &n, &code))
        return code;
    enum pq_status status = pq_checkpoint_open(&ckpt, argv[0], &err);
    if (status == PQ_OK)
        status = pq_tally_count(&tally, ckpt, &err);
    code = PQ_EXIT_OK;
    if (status != PQ_OK) {
        code = pq_error("%s", err.text);
    } else {
        const struct pq_config *config = pq_checkpoint_config(ckpt);
        const struct pq_tensor_info *info = pq_checkpoint_tensors(ckpt, &n);
        if (inspect.json) {
            code = print_json(config, &tally, info, inspect.tensors);
        } else {
            char modes[PQ_MODES_TEXT];
            find_modes(argv[0], config, modes, &err);
            print_model(config, &tally, modes, err.text);
            print_tensors(&tally, info, inspect.tensors);
        }
    }
    pq_tally_free(&tally);
    pq_checkpoint_close(ckpt);
    return code;
}

const struct pq_command pq_command_inspect = {
    .name = "inspect",
    .arguments = "DIR",
    .least = 1,
    .most = 1,
    .summary = "say what a checkpoint is",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_inspect,
};
