/* panq run - one prompt, one reply. */
#include "commands.h"
#include "engine.h"
#include "generate.h"
#include "input.h"
#include "report.h"
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const char *dir, *prompt; /* dir NULL: the built-in model */
    struct pq_engine_options engine;
    struct pq_reply_options reply;
    int context;
    bool raw, json;
};

#define FIELD(member) .offset = offsetof(struct run, member)
static const struct pq_option options[] = {
    PQ_REPLY_OPTIONS(struct run, reply),
    {.name = "raw",
     .kind = PQ_OPTION_FLAG,
     FIELD(raw),
     .help = "continue the prompt as it is, without the chat template"},
    {.name = "context",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(context),
     .min = 1,
     .max = 1 << 30,
     .help = "room for prompt and reply, in tokens (default: as needed)"},
    PQ_ENGINE_OPTIONS(struct run, engine),
    {.name = "json",
     .kind = PQ_OPTION_FLAG,
     FIELD(json),
     .help = "print the reply, its counts and timings as JSON when it is complete"},
};

/* The ids that the reply follows, malloc'd. */
static enum pq_status encode_prompt(const struct run *run, const struct pq_engine *engine,
                                    int32_t **ids, int *n, struct pq_err *err) {
    char *input = NULL;
    const char *prompt = run->prompt;
    struct pq_message messages[2];
    int turns = 0, think = run->reply.think;
    enum pq_status status = PQ_OK;
    if (strcmp(prompt, "-") == 0) {
        size_t size;
        status = pq_input_read(&input, &size, "-", err);
        if (status != PQ_OK)
            return status;
        prompt = input;
    }
    if (run->raw) {
        status = pq_encode(engine->tok, prompt, strlen(prompt), true, ids, n, err);
    } else {
        status = pq_choose_think(engine->tok, engine->config, &think, err);
        if (run->reply.system)
            messages[turns++] = (struct pq_message){.role = PQ_SYSTEM, .text = run->reply.system};
        messages[turns++] =
            (struct pq_message){.role = PQ_USER, .text = prompt, .think = (enum pq_think)think};
        if (status == PQ_OK)
            status = pq_chat_encode(engine->tok, messages, turns, ids, n, err);
    }
    free(input);
    return status;
}

/* How many positions the context needs for a prompt of n tokens. */
static enum pq_status choose_positions(const struct run *run, const struct pq_config *config, int n,
                                       int *positions, struct pq_err *err) {
    int64_t want = (int64_t)n + run->reply.max_tokens;
    if (run->context > config->max_positions)
        return pq_refuse(err, PQ_ERANGE, "--context %d is more than the model's %d positions",
                         run->context, config->max_positions);
    *positions = want < config->max_positions ? (int)want : config->max_positions;
    if (run->context && run->context < *positions)
        *positions = run->context;
    if (n > *positions)
        return pq_refuse(err, PQ_ERANGE, "the prompt has %d tokens, more than the context's %d", n,
                         *positions);
    return PQ_OK;
}

static double rate(int tokens, double seconds) {
    return seconds > 0 ? tokens / seconds : 0;
}

static json_t *result_json(const struct pq_engine *engine, const struct pq_generator *g,
                           const struct pq_generated *made) {
    int decoded = made->tokens > 1 ? made->tokens - 1 : 0; /* the first comes with the prefill */
    return json_pack("{s:i, s:i, s:s, s:s, s:s, s:{s:f, s:f, s:f, s:f, s:f}}", "prompt_tokens",
                     made->prompt_tokens, "tokens", made->tokens, "thinking",
                     pq_reply_thinking(g->reply), "content", pq_reply_content(g->reply),
                     "finish_reason", made->ended ? "stop" : "length", "timings", "load_s",
                     engine->load_s, "prefill_s", made->prefill_s, "decode_s", made->decode_s,
                     "prefill_tok_s", rate(made->prompt_tokens, made->prefill_s), "decode_tok_s",
                     rate(decoded, made->decode_s));
}

/* On standard output as it comes or, with --json, in *result, which is owned. */
static enum pq_status answer(json_t **result, const struct run *run, const struct pq_engine *engine,
                             struct pq_pool *pool, struct pq_err *err) {
    struct pq_generator g = {0};
    struct pq_generated made;
    struct pq_sampler *sampler = NULL;
    struct pq_stream stream = {.thinking = run->reply.show_thinking};
    int32_t *ids = NULL;
    int n = 0, positions = 0;
    enum pq_status status = encode_prompt(run, engine, &ids, &n, err);
    if (status == PQ_OK)
        status = choose_positions(run, engine->config, n, &positions, err);
    if (status == PQ_OK)
        status = pq_open_sampler(&sampler, engine, &run->reply.sampling, err);
    if (status == PQ_OK)
        status = pq_generator_open(&g, engine, sampler, pool, positions, run->raw, err);
    if (status == PQ_OK) {
        memcpy(g.ids, ids, (size_t)n * sizeof *ids);
        g.n = n;
        if (!run->json) {
            g.show = pq_stream_show;
            g.user = &stream;
        }
        status = pq_generate(&g, run->reply.max_tokens, &made, err);
    }
    if (!run->json)
        pq_stream_end(&stream);
    if (status == PQ_OK && run->json)
        *result = result_json(engine, &g, &made);
    pq_generator_close(&g);
    pq_sampler_close(sampler);
    free(ids);
    return status;
}

static int main_run(const struct pq_command *command, int argc, char **argv) {
    struct run run = {.reply = PQ_REPLY_DEFAULTS};
    struct pq_err err = {""};
    struct pq_engine engine = {0};
    struct pq_pool *pool = NULL;
    char *builtin = NULL;
    json_t *result = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &run, &n, &code))
        return code;
    if (run.raw && (run.reply.system || run.reply.think >= 0))
        return pq_usage_error(command, "--raw has no chat template for --system or --think");
    if (n == 1 && pq_is_checkpoint(argv[0]))
        return pq_usage_error(command, "%s is a checkpoint, and there is no prompt", argv[0]);
    run.prompt = argv[n - 1];
    run.dir = n == 2 ? argv[0] : (builtin = pq_builtin_checkpoint(&err));
    enum pq_status status = run.dir ? pq_pool_open(&pool, run.engine.threads, &err) : PQ_EIO;
    if (status == PQ_OK)
        status = pq_engine_open(&engine, run.dir, &run.engine, pool, &err);
    if (status == PQ_OK)
        status = answer(&result, &run, &engine, pool, &err);
    pq_engine_close(&engine);
    pq_pool_close(pool);
    free(builtin);
    if (status != PQ_OK)
        return pq_error("%s", err.text);
    return run.json ? pq_print_json(result) : PQ_EXIT_OK;
}

const struct pq_command pq_command_run = {
    .name = "run",
    .arguments = "[DIR] PROMPT",
    .least = 1,
    .most = 2,
    .summary = "answer one prompt",
    .details = "PROMPT - reads standard input.  With one argument, that is the prompt, and the\n"
               "built-in model answers; a lone directory with a config.json is taken for a DIR\n"
               "whose prompt was forgotten.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_run,
};
