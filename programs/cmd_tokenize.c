/* panq tokenize - the ids of a text. */
#include "commands.h"
#include "generate.h"
#include "input.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tokenize {
    bool json, chat, bos;
    int think; /* enum pq_think; -1 = the template's default */
};

#define FIELD(member) .offset = offsetof(struct tokenize, member)
static const struct pq_option options[] = {
    {.name = "chat",
     .kind = PQ_OPTION_FLAG,
     FIELD(chat),
     .help = "through the chat template, as the user's turn"},
    {.name = "think",
     .kind = PQ_OPTION_CHOICE,
     .value = "slow|auto|no",
     FIELD(think),
     .help = "with --chat: how to think (default: slow if the template can, else no)"},
    {.name = "bos",
     .kind = PQ_OPTION_FLAG,
     FIELD(bos),
     .help = "with the tokenizer's first token in front, where it has one"},
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print ids and pieces as JSON"},
};

static enum pq_status encode(const struct tokenize *o, const struct pq_tokenizer *tok,
                             const char *text, size_t size, int32_t **ids, int *n,
                             struct pq_err *err) {
    int think = o->think;
    if (!o->chat)
        return pq_encode(tok, text, size, o->bos, ids, n, err);
    if (strlen(text) != size)
        return pq_refuse(err, PQ_EINVAL, "a turn of a conversation cannot contain a NUL");
    enum pq_status status = pq_choose_think(tok, NULL, &think, err);
    struct pq_message message = {.role = PQ_USER, .text = text, .think = (enum pq_think)think};
    return status == PQ_OK ? pq_chat_encode(tok, &message, 1, ids, n, err) : status;
}

/* What an id stands for; where that is no UTF-8, its bytes, as in "<0xE4><0xB8>". */
static json_t *piece_json(const struct pq_tokenizer *tok, int32_t id) {
    char *text, *shown;
    size_t size;
    if (pq_decode(tok, &id, 1, false, &text, &size, NULL) != PQ_OK)
        return NULL;
    json_t *json = json_stringn(text, size);
    if (!json && (shown = malloc(6 * size + 1)) != NULL) {
        for (size_t i = 0; i < size; i++)
            sprintf(shown + 6 * i, "<0x%02X>", (unsigned)(unsigned char)text[i]);
        json = json_string(shown);
        free(shown);
    }
    free(text);
    return json;
}

static int print_json(const struct pq_tokenizer *tok, const int32_t *ids, int n) {
    json_t *list = json_array(), *pieces = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(list, json_integer(ids[i]));
        json_array_append_new(pieces, piece_json(tok, ids[i]));
    }
    return pq_print_json(json_pack("{s:o, s:o}", "ids", list, "pieces", pieces));
}

static int print_ids(const int32_t *ids, int n) {
    for (int i = 0; i < n; i++)
        printf("%s%d", i ? " " : "", ids[i]);
    putchar('\n');
    return fflush(stdout) == 0 ? PQ_EXIT_OK : pq_error("standard output cannot be written");
}

static int main_tokenize(const struct pq_command *command, int argc, char **argv) {
    struct tokenize o = {.think = -1};
    struct pq_err err = {""};
    struct pq_tokenizer *tok = NULL;
    int32_t *ids = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    if (o.chat ? o.bos : o.think >= 0)
        return pq_usage_error(command, o.chat ? "--chat decides about --bos"
                                              : "--think has no meaning without --chat");
    char *input = NULL;
    const char *text = argv[1];
    size_t size = strlen(text);
    enum pq_status status = pq_tokenizer_open(&tok, argv[0], &err);
    if (status == PQ_OK && strcmp(text, "-") == 0) {
        status = pq_input_read(&input, &size, "-", &err);
        text = input;
    }
    if (status == PQ_OK)
        status = encode(&o, tok, text, size, &ids, &n, &err);
    if (status == PQ_OK)
        code = o.json ? print_json(tok, ids, n) : print_ids(ids, n);
    free(ids);
    free(input);
    pq_tokenizer_close(tok);
    return status == PQ_OK ? code : pq_error("%s", err.text);
}

const struct pq_command pq_command_tokenize = {
    .name = "tokenize",
    .arguments = "DIR TEXT",
    .least = 2,
    .most = 2,
    .summary = "print the ids of a text",
    .details = "TEXT - reads standard input.  DIR needs no more than a tokenizer.  In the JSON, a\n"
               "piece that is no whole character is written as its bytes: \"<0xE4><0xB8>\".\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_tokenize,
};
