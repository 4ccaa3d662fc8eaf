#include "fixtures.h"
#include "tap.h"

#include <jansson.h>
#include <string.h>

enum { UNK = 0, BOS = 1, END = 13, TOOL = 14, TOOL_END = 15, THINK = 19, ANSWER = 20, BYTE = 35 };

static struct pq_tokenizer *tok;
static struct pq_reply *reply;

/* What streamed out, part by part, in the order of its coming. */
static struct {
    char text[1 << 16];
    size_t len;
    bool ended;
} shown;

static void show(const char *text, size_t len) {
    memcpy(shown.text + shown.len, text, len);
    shown.len += len;
    shown.text[shown.len] = 0;
}

static bool feed(int32_t id) {
    static enum pq_part last;
    struct pq_err err;
    enum pq_part part;
    const char *text;
    size_t len;
    if (shown.len == 0)
        last = PQ_PART_NONE;
    if (pq_reply_feed(reply, id, &part, &text, &len, &shown.ended, &err) != PQ_OK)
        return false;
    if ((len == 0) != (part == PQ_PART_NONE) || strlen(text) < len)
        return false;
    if (len > 0 && part != last)
        show(part == PQ_PART_THINKING ? "{T}" : "{C}", 3);
    if (len > 0)
        last = part;
    show(text, len);
    return true;
}

static bool feed_text(const char *text) {
    struct pq_err err;
    int32_t *ids;
    int n;
    if (pq_encode(tok, text, strlen(text), false, &ids, &n, &err) != PQ_OK)
        return false;
    bool good = true;
    for (int i = 0; i < n; i++)
        good = good && feed(ids[i]);
    free(ids);
    return good;
}

static bool feed_byte(int byte) {
    return feed(BYTE + byte);
}

static void restart(void) {
    pq_reply_reset(reply);
    shown.len = 0;
    shown.text[0] = 0;
    shown.ended = false;
}

static bool is_whole(const char *thinking, const char *content, int tokens) {
    bool good = strcmp(pq_reply_thinking(reply), thinking) == 0 &&
                strcmp(pq_reply_content(reply), content) == 0 &&
                pq_reply_thinking_tokens(reply) == tokens;
    if (!good)
        printf("# thinking \"%s\", content \"%s\", %d tokens\n", pq_reply_thinking(reply),
               pq_reply_content(reply), pq_reply_thinking_tokens(reply));
    return good;
}

static bool streamed(const char *want) {
    if (strcmp(shown.text, want) != 0)
        printf("# streamed \"%s\"\n", shown.text);
    return strcmp(shown.text, want) == 0;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static void test_three_parts(void) {
    restart();
    CHECK(is_whole("", "", 0));
    CHECK(feed_text("[unused16] a\n") && is_whole(" a\n", "", 2) && !shown.ended);
    CHECK(feed_text("[unused17]\n b ") && !shown.ended && feed(END) && shown.ended);
    CHECK(is_whole(" a\n", "\n b ", 2) && streamed("{T} a\n{C}\n b "));
}

static void test_content_alone(void) {
    restart();
    CHECK(feed_text("b") && feed(END) && shown.ended);
    CHECK(is_whole("", "b", 0) && streamed("{C}b"));
    restart();
    CHECK(feed(END) && shown.ended && is_whole("", "", 0) && streamed(""));
}

static void test_empty_parts(void) {
    restart();
    CHECK(feed_text("[unused16][unused17]b[unused10]"));
    CHECK(is_whole("", "b", 0) && streamed("{C}b"));
    restart();
    CHECK(feed_text("[unused16][unused17][unused10]") && is_whole("", "", 0));
}

static void test_thinking_without_end(void) {
    restart();
    CHECK(feed_text("[unused16]a") && is_whole("a", "", 1));
    CHECK(feed(END) && is_whole("a", "", 1) && streamed("{T}a"));
}

/* It was shown as content when nobody could know. */
static void test_unopened_thinking(void) {
    restart();
    CHECK(feed_text("aa") && is_whole("", "aa", 0));
    int32_t *ids;
    int n;
    struct pq_err err;
    CHECK_OK(pq_encode(tok, "aa", 2, false, &ids, &n, &err));
    free(ids);
    CHECK(feed(ANSWER) && is_whole("aa", "", n));
    CHECK(feed_text("b[unused10]") && is_whole("aa", "b", n) && streamed("{C}aab"));
}

static void test_text_before_thinking(void) {
    restart();
    CHECK(feed_text("x\n[unused16]a[unused17]b") && is_whole("a", "b", 1));
    CHECK(streamed("{C}x\n{T}a{C}b"));
}

static void test_repeated_marks(void) {
    restart();
    CHECK(feed_text("[unused16]a[unused16]a[unused17]b[unused17]c[unused16]d[unused10]"));
    CHECK(is_whole("a[unused16]a", "b[unused17]c[unused16]d", 3));
}

static void test_tool_marks(void) {
    restart();
    CHECK(feed_text("[unused11][{\"name\": \"f\"}][unused12][unused10]"));
    CHECK(is_whole("", "[unused11][{\"name\": \"f\"}][unused12]", 0));
}

static void test_special_tokens(void) {
    restart();
    CHECK(feed_text("a<s><unk>b</s>[unused9][unused10]") && is_whole("", "ab</s>[unused9]", 0));
    restart();
    CHECK(feed(5000) && feed(INT32_MAX) && feed_text("b") && is_whole("", "b", 0));
}

static void test_after_the_end(void) {
    struct pq_err err = {""};
    enum pq_part part = PQ_PART_THINKING;
    const char *text = "untouched";
    size_t len = 9;
    bool ended = false;
    restart();
    CHECK(feed_text("a"));
    CHECK(pq_reply_feed(reply, -1, &part, &text, &len, &ended, &err) == PQ_EINVAL);
    CHECK(strstr(err.text, "-1") && is_whole("", "a", 0));
    CHECK(feed(END));
    CHECK(pq_reply_feed(reply, 40, &part, &text, &len, &ended, &err) == PQ_EINVAL);
    CHECK(part == PQ_PART_THINKING && strcmp(text, "untouched") == 0 && len == 9 && !ended);
    CHECK(is_whole("", "a", 0));
    restart();
    CHECK(is_whole("", "", 0) && feed_text("b") && is_whole("", "b", 0));
}

/* ---- Characters ------------------------------------------------------------------------------ */

static void test_split_characters(void) {
    static const char text[] = "\xf0\x9f\x99\x82\xc3\xa9\xe4\xb8\xad";
    restart();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        size_t before = shown.len;
        CHECK(feed_byte((unsigned char)text[i]));
        bool completes = i == 3 || i == 5 || i == 8;
        CHECK((shown.len > before) == completes);
    }
    CHECK(streamed("{C}\xf0\x9f\x99\x82\xc3\xa9\xe4\xb8\xad"));
}

static void test_bad_bytes(void) {
    restart();
    CHECK(feed_byte(0xff) && feed_byte(0xe4) && feed_byte(0xb8) && feed_text("a"));
    CHECK(is_whole("",
                   "\ufffd\ufffd\ufffd"
                   "a",
                   0));
    restart(); /* a surrogate, then a lead byte cut short by another lead byte */
    CHECK(feed_byte(0xed) && feed_byte(0xa0) && feed_byte(0x80) && feed_byte(0xf0));
    CHECK(feed_byte(0x9f) && feed_byte(0xc3) && feed_byte(0xa9));
    CHECK(is_whole("", "\ufffd\ufffd\ufffd\ufffd\ufffd\u00e9", 0));
}

static void test_tail_at_a_mark(void) {
    restart();
    CHECK(feed(THINK) && feed_byte(0xe4) && feed_byte(0xb8) && streamed(""));
    CHECK(feed(ANSWER) && streamed("{T}\ufffd\ufffd") && feed_byte(0xad) && feed_byte(0xf0));
    CHECK(feed(END) && is_whole("\ufffd\ufffd", "\ufffd\ufffd", 2));
    CHECK(streamed("{T}\ufffd\ufffd{C}\ufffd\ufffd"));
    restart();
    CHECK(feed_byte(0xe4) && feed(THINK) && streamed("{C}\ufffd") && is_whole("", "", 0));
    restart();
    CHECK(feed_byte(0xe4));
    restart(); /* forgets it */
    CHECK(feed_byte(0xb8) && streamed("{C}\ufffd"));
}

/* ---- Golden replies -------------------------------------------------------------------------- */

/* text up to `mark`, or all of it, malloc'd; *rest is what follows. */
static char *up_to(const char *text, const char *mark, const char **rest) {
    const char *at = strstr(text, mark);
    size_t len = at ? (size_t)(at - text) : strlen(text);
    *rest = at ? at + strlen(mark) : text + len;
    return strndup(text, len);
}

static void check_golden(json_t *entry) {
    json_t *ids = json_object_get(entry, "reply_ids"), *id;
    size_t i;
    int tokens = 0;
    bool answered = false;
    restart();
    json_array_foreach(ids, i, id) {
        int32_t value = (int32_t)json_integer_value(id);
        CHECK(!shown.ended && feed(value));
        answered = answered || value == ANSWER;
        tokens += !answered && value != THINK;
    }
    CHECK(shown.ended);
    const char *rest, *text = json_string_value(json_object_get(entry, "reply"));
    CHECK(strncmp(text, "[unused16]", 10) == 0);
    char *thinking = up_to(text + 10, "[unused17]", &rest);
    char *content = up_to(rest, "[unused10]", &rest);
    bool good = is_whole(thinking, content, tokens) && *rest == 0;
    char stream[sizeof shown.text];
    snprintf(stream, sizeof stream, "%s%s{C}%s", *thinking ? "{T}" : "", thinking, content);
    free(content);
    free(thinking);
    CHECK(good && streamed(stream));
}

static void test_golden_replies(void) {
    FILE *f = fopen("tests/golden/replies.jsonl", "r");
    CHECK(f);
    json_t *entry;
    int all = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        check_golden(entry);
        json_decref(entry);
        all++;
    }
    fclose(f);
    CHECK(all == 60 && !tap_failed_now);
}

/* ---- Families -------------------------------------------------------------------------------- */

/* Replies by the template of `family` (NULL: raw), of a tokenizer of tests/golden. */
struct other {
    struct pq_tokenizer *tok;
    struct pq_reply *reply;
    struct pq_tokenizer *saved_tok;
    struct pq_reply *saved_reply;
};

static bool become(struct other *o, const char *tokenizer, const char *family,
                   const struct pq_config *config) {
    struct pq_err err = {""};
    const char *jinja = family ? fixture_find(family)->jinja : NULL;
    *o = (struct other){.saved_tok = tok, .saved_reply = reply};
    bool chatml = strcmp(tokenizer, "llama3") != 0;
    o->tok =
        fixture_open(tokenizer, chatml ? "{\"eos_token\": \"<|endoftext|>\"}" : NULL, jinja, &err);
    if (!o->tok || pq_reply_open(&o->reply, o->tok, config, !family, &err) != PQ_OK) {
        printf("# %s\n", err.text);
        return false;
    }
    tok = o->tok;
    reply = o->reply;
    restart();
    return true;
}

static void be_back(struct other *o) {
    tok = o->saved_tok;
    reply = o->saved_reply;
    pq_reply_close(o->reply);
    pq_tokenizer_close(o->tok);
}

/* Newlines at the ends of a part are left out, those inside are kept, whatever tokens bring them.
 */
static void test_qwen3_reply(void) {
    struct other o;
    CHECK(become(&o, "qwen", "qwen3", NULL));
    bool good = feed_text("<think>\n\nLet\n\n\nme.\n\n") && is_whole("Let\n\n\nme.", "", 12) &&
                streamed("{T}Let\n\n\nme.");
    good = good && feed_text("</think>\n\nFour\n") && !shown.ended && feed_text("\n.\n<|im_end|>");
    good = good && shown.ended && streamed("{T}Let\n\n\nme.{C}Four\n\n.") &&
           strcmp(pq_reply_content(reply), "Four\n\n.") == 0;
    restart(); /* what was held back is forgotten */
    good = good && feed_text("<think>\n\n</think>\n\n x\n ") && is_whole("", " x\n ", 2);
    restart();
    good = good && feed_text("\nx\n") && feed_text("<|im_end|>") && streamed("{C}x");
    be_back(&o);
    CHECK(good);
}

/* The prompt has opened the thinking. */
static void test_r1_reply(void) {
    struct other o;
    CHECK(become(&o, "qwen", "r1", NULL));
    bool good = feed_text("a\n") && is_whole("a", "", 2) && feed_text("</think>\n\nb");
    good = good && feed_text("<think>") && feed_text("<｜end▁of▁sentence｜>") && shown.ended;
    good = good && is_whole("a", "b<think>", 2) && streamed("{T}a{C}b<think>");
    restart();
    good = good && feed_text("a") && is_whole("a", "", 1) && streamed("{T}a");
    be_back(&o);
    CHECK(good);
}

/* Models that do not think: nothing is a mark, and whitespace is kept. */
static void test_plain_reply(void) {
    struct other o;
    CHECK(become(&o, "qwen", "qwen25", NULL));
    bool good = feed_text("\n<think>a</think>\n") && is_whole("", "\n<think>a</think>\n", 0);
    good =
        good && feed_text("<|im_start|>") && !shown.ended && feed_text("<|im_end|>") && shown.ended;
    good = good && streamed("{C}\n<think>a</think>\n");
    be_back(&o);
    CHECK(good);
}

/* A reply ends at the template's mark, the tokenizer's EOS and the config's ids, raw or not. */
static void test_ends(void) {
    struct pq_config config = {.n_eos = 2};
    for (int raw = 0; raw < 2; raw++) {
        struct other o;
        CHECK(become(&o, "qwen", raw ? NULL : "qwen3", &config));
        config.eos[0] = pq_tokenizer_added(tok, "<tool_call>");
        config.eos[1] = tok->bytes['z'];
        be_back(&o);
        CHECK(become(&o, "qwen", raw ? NULL : "qwen3", &config));
        static const char *const ends[] = {"<tool_call>", "z", "<|endoftext|>", "<|im_end|>"};
        bool good = true;
        for (int i = 0; i < 4 - raw; i++) {
            restart();
            good = good && feed_text("a") && !shown.ended && feed_text(ends[i]) && shown.ended &&
                   strcmp(pq_reply_content(reply), "a") == 0;
        }
        be_back(&o);
        CHECK(good);
    }
}

/* Without a template only raw replies can be had, in which all is content. */
static void test_raw_reply(void) {
    struct other o;
    CHECK(become(&o, "qwen", NULL, NULL));
    bool good = feed_text("\n<think>\na</think><|im_end|>b") && !shown.ended &&
                is_whole("", "\n<think>\na</think>b", 0) && streamed("{C}\n<think>\na</think>b");
    struct pq_err err = {""};
    struct pq_reply *none = NULL;
    good = good && pq_reply_open(&none, tok, NULL, false, &err) == PQ_EUNSUPPORTED && !none &&
           strstr(err.text, "--raw");
    be_back(&o);
    CHECK(good);
    CHECK_OK(pq_reply_open(&none, tok, NULL, true, &err)); /* openPangu's marks neither */
    struct pq_reply *saved = reply;
    reply = none;
    restart();
    good = feed_text("[unused16]a[unused17]b") && is_whole("", "[unused16]a[unused17]b", 0) &&
           feed(END) && shown.ended;
    reply = saved;
    pq_reply_close(none);
    CHECK(good);
}

/* No feed shows half a character, whatever bytes tokens stand for; together they are the text. */
static void test_streamed_characters(void) {
    static const char text[] = "e\u0301 \u4e1c\u4eac \U0001f642\U0001f469\u200d\U0001f467 \u0928";
    struct other o;
    CHECK(become(&o, "llama3", NULL, NULL));
    struct pq_err err;
    int32_t *ids;
    int n;
    CHECK_OK(pq_encode(tok, text, strlen(text), false, &ids, &n, &err));
    bool good = n > 12; /* of 12 characters: some were cut */
    for (int i = 0; i < n; i++) {
        size_t before = shown.len;
        good = good && feed(ids[i]) && (shown.text[before] & 0xc0) != 0x80 &&
               (shown.len == before || !strstr(shown.text + before, "\ufffd"));
    }
    free(ids);
    good = good && strcmp(shown.text + 3, text) == 0;
    be_back(&o);
    CHECK(good);
}

static void test_long_reply(void) {
    restart();
    CHECK(feed(THINK));
    for (int i = 0; i < 20000; i++)
        CHECK(feed(i % 2 ? BYTE + 'x' : BYTE + 0xff));
    CHECK(strlen(pq_reply_thinking(reply)) == 40000 && pq_reply_thinking_tokens(reply) == 20000);
}

int main(void) {
    struct pq_err err;
    if (pq_tokenizer_open(&tok, "models/pangu-mini", &err) != PQ_OK ||
        pq_reply_open(&reply, tok, NULL, false, &err) != PQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    RUN(test_three_parts);
    RUN(test_content_alone);
    RUN(test_empty_parts);
    RUN(test_thinking_without_end);
    RUN(test_unopened_thinking);
    RUN(test_text_before_thinking);
    RUN(test_repeated_marks);
    RUN(test_tool_marks);
    RUN(test_special_tokens);
    RUN(test_after_the_end);
    RUN(test_split_characters);
    RUN(test_bad_bytes);
    RUN(test_tail_at_a_mark);
    RUN(test_golden_replies);
    RUN(test_qwen3_reply);
    RUN(test_r1_reply);
    RUN(test_plain_reply);
    RUN(test_ends);
    RUN(test_raw_reply);
    RUN(test_streamed_characters);
    RUN(test_long_reply);
    pq_reply_close(NULL);
    pq_reply_close(reply);
    pq_tokenizer_close(tok);
    return tap_done();
}
