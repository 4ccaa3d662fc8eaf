/* Any bytes as tokenizer.model ('\n' first, as the format begins), as tokenizer.json ('{' first and
 * "vocab" in it), as tokenizer_config.json ('{' first), or as a text for pangu-mini's tokenizer:
 * what opens encodes, what decodes is the text. */
#include "base/map.h"
#include "input.h"
#include "tok/tokenizer.h"
#include "tok/utf8.h"

#define MINI "models/pangu-mini"
#define SPACE "\xe2\x96\x81" /* U+2581, which decodes to a space */

static struct pq_map model, config;
static struct pq_tokenizer *mini;

static void open_mini(void) {
    if (pq_map_open(&model, MINI "/tokenizer.model", NULL) != PQ_OK ||
        pq_map_open(&config, MINI "/tokenizer_config.json", NULL) != PQ_OK ||
        pq_tokenizer_open(&mini, MINI, NULL) != PQ_OK)
        abort();
}

/* Encode and decode the text, which comes back where `exact` and no U+2581 becomes a space. */
static void check_text(const struct pq_tokenizer *tok, const char *text, size_t len, bool exact) {
    int32_t *ids;
    int n;
    char *back;
    size_t back_len;
    if (pq_encode(tok, text, len, true, &ids, &n, NULL) != PQ_OK) {
        if (exact)
            abort();
        return;
    }
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= pq_tokenizer_vocab(tok))
            abort();
    int first = n > 0 && ids[0] == tok->bos;
    if (pq_decode(tok, ids + first, n - first, false, &back, &back_len, NULL) != PQ_OK)
        abort();
    if (exact && !memmem(text, len, SPACE, 3) && (back_len != len || memcmp(back, text, len) != 0))
        abort();
    free(back);
    free(ids);
}

/* The same ids as a reply: text in whole characters, up to the end of the turn. */
static void check_reply(const char *text, size_t len) {
    struct pq_reply *reply;
    int32_t *ids;
    int n;
    bool ended = false;
    if (pq_reply_open(&reply, mini, NULL, false, NULL) != PQ_OK ||
        pq_encode(mini, text, len, false, &ids, &n, NULL) != PQ_OK)
        abort();
    for (int i = 0; i < n && !ended; i++) {
        enum pq_part part;
        const char *shown;
        size_t shown_len;
        if (pq_reply_feed(reply, ids[i], &part, &shown, &shown_len, &ended, NULL) != PQ_OK)
            abort();
        for (size_t at = 0; at < shown_len;) {
            int step = pq_utf8_length(shown + at, shown_len - at);
            if (step < 1)
                abort();
            at += (size_t)step;
        }
    }
    free(ids);
    pq_reply_close(reply);
}

static void check_files(const uint8_t *data, size_t size) {
    const struct pq_tokenizer_file given = {(const char *)data, "fuzzed", size};
    struct pq_tokenizer_files files = {
        .model = {(const char *)model.data, "model", model.size},
        .json = {.name = "json"},
        .config = {(const char *)config.data, "config", config.size},
        .jinja = {.name = "jinja"},
    };
    if (data[0] == '\n')
        files.model = given;
    else if (!memmem(data, size, "\"vocab\"", 7))
        files.config = given;
    else
        files = (struct pq_tokenizer_files){.json = given, .config.name = "config"};
    struct pq_err err = {""};
    struct pq_tokenizer *tok;
    if (pq_tokenizer_parse(&tok, &files, &err) != PQ_OK) {
        fuzz_check_sentence(err.text, "fuzzed: ");
        return;
    }
    static const char text[] =
        "[unused9]def f(s):\n    return s.upper()  # 中文 e\u0301 123\xff[unused10]<|im_end|>";
    check_text(tok, text, sizeof text - 1, false);
    pq_tokenizer_close(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!mini)
        open_mini();
    if (size > 0 && (data[0] == '\n' || data[0] == '{')) {
        check_files(data, size);
        return 0;
    }
    check_text(mini, (const char *)data, size, true);
    check_reply((const char *)data, size);
    return 0;
}
