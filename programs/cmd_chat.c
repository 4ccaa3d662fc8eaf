/* panq chat - a conversation.  The cache keeps what the turns have in common: each turn is rendered
 * whole, and only what differs from the context is run. */
#include "commands.h"
#include "engine.h"
#include "generate.h"
#include "report.h"
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chat_options {
    struct pq_engine_options engine;
    struct pq_reply_options reply;
    int context;
};

#define FIELD(member) .offset = offsetof(struct chat_options, member)
static const struct pq_option options[] = {
    PQ_REPLY_OPTIONS(struct chat_options, reply),
    {.name = "context",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(context),
     .min = 1,
     .max = 1 << 30,
     .help = "room for the conversation, in tokens (default 8192 or the model's)"},
    PQ_ENGINE_OPTIONS(struct chat_options, engine),
};

struct chat {
    const struct chat_options *options;
    struct pq_engine engine;
    struct pq_generator generator;
    struct pq_message *messages; /* [n]; texts owned */
    int n;
    enum pq_think think;
};

/* Set by Ctrl-C; a signal handler can reach nothing else. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    interrupted = 1;
}

static const char help[] = "  /think slow|auto|no  how to think from now on\n"
                           "  /clear               forget the conversation\n"
                           "  /exit or Ctrl-D      leave\n"
                           "  Ctrl-C               stop the answer\n";

/* ---- The conversation ------------------------------------------------------------------------ */

static bool push(struct chat *chat, enum pq_role role, const char *text) {
    size_t size = (size_t)(chat->n + 1) * sizeof *chat->messages;
    struct pq_message *messages = realloc(chat->messages, size);
    char *copy = strdup(text);
    if (messages)
        chat->messages = messages;
    if (!messages || !copy) {
        free(copy);
        return false;
    }
    messages[chat->n++] = (struct pq_message){.role = role, .text = copy, .think = chat->think};
    return true;
}

static void keep_messages(struct chat *chat, int n) {
    while (chat->n > n)
        free((char *)chat->messages[--chat->n].text);
}

static int opening(const struct chat *chat) {
    return chat->options->reply.system != NULL;
}

/* Put the conversation's ids into the generator, keeping in the cache what it has of them. */
static enum pq_status render(struct chat *chat, struct pq_err *err) {
    struct pq_generator *g = &chat->generator;
    int32_t *ids;
    int n, common = 0, cached = pq_sequence_length(g->ctx, 0);
    enum pq_status status =
        pq_chat_encode(chat->engine.tok, chat->messages, chat->n, &ids, &n, err);
    if (status != PQ_OK)
        return status;
    if (n >= g->positions) {
        free(ids);
        return pq_refuse(err, PQ_ERANGE,
                         "the context is full: this turn would need %d of its %d tokens, and no "
                         "room is left to answer; /clear begins afresh",
                         n, g->positions);
    }
    /* The last id is always run again: its logits are what the reply begins with. */
    while (common < cached && common < n - 1 && g->ids[common] == ids[common])
        common++;
    pq_sequence_truncate(g->ctx, 0, common);
    memcpy(g->ids, ids, (size_t)n * sizeof *ids);
    g->n = n;
    free(ids);
    return PQ_OK;
}

static enum pq_status answer(struct chat *chat, const char *text, struct pq_err *err) {
    struct pq_generated made = {0};
    struct pq_stream stream = {.thinking = chat->options->reply.show_thinking};
    struct pq_generator *g = &chat->generator;
    int before = chat->n;
    if (!push(chat, PQ_USER, text))
        return pq_refuse(err, PQ_ENOMEM, "no memory for the conversation");
    enum pq_status status = render(chat, err);
    g->show = pq_stream_show;
    g->user = &stream;
    interrupted = 0;
    if (status == PQ_OK)
        status = pq_generate(g, chat->options->reply.max_tokens, &made, err);
    pq_stream_end(&stream);
    if (status == PQ_OK && interrupted)
        fputs("panq: stopped\n", stderr);
    else if (status == PQ_OK && !made.ended)
        fprintf(stderr, "panq: the answer was cut: %s\n",
                g->n > g->positions ? "the context is full; /clear begins afresh"
                                    : "it reached --max-tokens");
    interrupted = 0;
    /* History has answers only; a turn without one is as if it had not been. */
    const char *content = status == PQ_OK ? pq_reply_content(g->reply) : "";
    if (*content == 0)
        keep_messages(chat, before);
    else if (!push(chat, PQ_ASSISTANT, content))
        status = pq_refuse(err, PQ_ENOMEM, "no memory for the conversation");
    return status;
}

/* ---- The terminal ---------------------------------------------------------------------------- */

/* Take a line that begins with a slash; true: leave. */
static bool obey(struct chat *chat, const char *line) {
    static const char *const commands[] = {"/think", "/clear", "/exit", "/help"};
    struct pq_err err;
    enum pq_think think;
    if (strcmp(line, "/exit") == 0)
        return true;
    if (strcmp(line, "/clear") == 0) {
        keep_messages(chat, opening(chat));
        fputs("panq: the conversation is forgotten\n", stderr);
    } else if (strcmp(line, "/help") == 0) {
        fputs(help, stderr);
    } else if (strncmp(line, "/think ", 7) == 0 && pq_think_parse(line + 7, &think)) {
        int chosen = think;
        if (pq_choose_think(chat->engine.tok, chat->engine.config, &chosen, &err) != PQ_OK)
            pq_error("%s", err.text);
        else
            chat->think = think;
    } else if (strncmp(line, "/think", 6) == 0) {
        fprintf(stderr, "panq: /think takes slow, auto or no; it is %s now\n",
                pq_think_name(chat->think));
    } else {
        const char *meant = pq_did_you_mean(line, commands, 4);
        fprintf(stderr, "panq: no command '%s'%s%s%s (/help lists them)\n", line,
                meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
    }
    return false;
}

/* Show the prompt and wait until the terminal has a line; false: Ctrl-C came instead.  Ctrl-C is
 * held back but for the waiting itself, so that none slips in between a check and the wait. */
static bool wait_for_line(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    fputs("> ", stdout);
    fflush(stdout);
    while (!interrupted && ppoll(&input, 1, NULL, &before) < 0 && errno == EINTR)
        ;
    bool came = !interrupted;
    interrupted = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return came;
}

/* The next line without its end; false: the end of input. */
static bool read_line(char **line, size_t *size) {
    while (isatty(STDIN_FILENO) && !wait_for_line())
        fputs("\npanq: /exit or Ctrl-D leaves\n", stderr);
    if (getline(line, size, stdin) < 0)
        return false;
    (*line)[strcspn(*line, "\r\n")] = 0;
    return true;
}

static enum pq_status converse(struct chat *chat, struct pq_err *err) {
    char *line = NULL;
    size_t size = 0;
    enum pq_status status = PQ_OK;
    if (chat->options->reply.system && !push(chat, PQ_SYSTEM, chat->options->reply.system))
        return pq_refuse(err, PQ_ENOMEM, "no memory for the conversation");
    if (isatty(STDIN_FILENO))
        fputs("panq: /help lists the commands, /exit leaves\n", stderr);
    while (status == PQ_OK && read_line(&line, &size)) {
        if (line[0] == '/') {
            if (obey(chat, line))
                break;
        } else if (line[strspn(line, " \t")]) {
            status = answer(chat, line, err);
            if (status == PQ_ERANGE) {
                pq_error("%s", err->text);
                status = PQ_OK;
            }
        }
    }
    free(line);
    keep_messages(chat, 0);
    free(chat->messages);
    return status;
}

static enum pq_status open_and_converse(const struct chat_options *o, const char *dir,
                                        struct pq_pool *pool, struct pq_err *err) {
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: it ends a wait */
    struct chat chat = {.options = o};
    struct pq_sampler *sampler = NULL;
    int think = o->reply.think, positions = 0;
    enum pq_status status = pq_engine_open(&chat.engine, dir, &o->engine, pool, err);
    if (status == PQ_OK)
        status = pq_choose_think(chat.engine.tok, chat.engine.config, &think, err);
    if (status == PQ_OK) {
        int most = chat.engine.config->max_positions, want = o->context ? o->context : 8192;
        positions = want < most ? want : most;
        chat.think = (enum pq_think)think;
        status = pq_open_sampler(&sampler, &chat.engine, &o->reply.sampling, err);
    }
    if (status == PQ_OK)
        status =
            pq_generator_open(&chat.generator, &chat.engine, sampler, pool, positions, false, err);
    if (status == PQ_OK) {
        chat.generator.stop = &interrupted;
        sigaction(SIGINT, &action, NULL);
        status = converse(&chat, err);
    }
    pq_generator_close(&chat.generator);
    pq_sampler_close(sampler);
    pq_engine_close(&chat.engine);
    return status;
}

/* Worker threads are made with Ctrl-C held back: it is the main thread's to be interrupted by. */
static enum pq_status open_pool(struct pq_pool **pool, int threads, struct pq_err *err) {
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    enum pq_status status = pq_pool_open(pool, threads, err);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

static int main_chat(const struct pq_command *command, int argc, char **argv) {
    struct chat_options o = {.reply = PQ_REPLY_DEFAULTS};
    struct pq_err err = {""};
    struct pq_pool *pool = NULL;
    char *builtin = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    const char *dir = n ? argv[0] : (builtin = pq_builtin_checkpoint(&err));
    enum pq_status status = dir ? open_pool(&pool, o.engine.threads, &err) : PQ_EIO;
    if (status == PQ_OK)
        status = open_and_converse(&o, dir, pool, &err);
    pq_pool_close(pool);
    free(builtin);
    return status == PQ_OK ? PQ_EXIT_OK : pq_error("%s", err.text);
}

const struct pq_command pq_command_chat = {
    .name = "chat",
    .arguments = "[DIR]",
    .least = 0,
    .most = 1,
    .summary = "talk with a model",
    .details =
        "In the conversation, /think slow|auto|no changes the mode, /clear forgets what was\n"
        "said, /exit or Ctrl-D leaves, and Ctrl-C stops an answer.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_chat,
};
