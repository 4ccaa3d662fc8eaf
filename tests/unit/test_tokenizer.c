#include "tok/spmodel.h"
#include "tok/tokenizer.h"
#include "tok/utf8.h"
#include "base/map.h"
#include "scratch.h"
#include "tap.h"

#include <fcntl.h>
#include <jansson.h>

#define MINI "models/pangu-mini"

static struct pq_tokenizer *mini;
static struct pq_map mini_model, mini_config;

static uint64_t random_state = 1;

static uint32_t random32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/* ---- Round trips ----------------------------------------------------------------------------- */

static bool round_trips(const char *text, size_t len) {
    struct pq_err err = {""};
    int32_t *ids = NULL;
    char *back = NULL;
    size_t back_len = 0;
    int n = 0;
    bool good = pq_encode(mini, text, len, false, &ids, &n, &err) == PQ_OK &&
                pq_decode(mini, ids, n, false, &back, &back_len, &err) == PQ_OK &&
                back_len == len && memcmp(back, text, len) == 0 && back[len] == 0;
    if (!good)
        printf("# \"%.*s\" becomes %d ids, then \"%s\" %s\n", (int)len, text, n, back ? back : "",
               err.text);
    free(back);
    free(ids);
    return good;
}

/* The text makes exactly these ids, ended by -1. */
static bool encodes(const char *text, bool bos, const int *want) {
    struct pq_err err = {""};
    int32_t *ids = NULL;
    int n = 0, i = 0;
    if (pq_encode(mini, text, strlen(text), bos, &ids, &n, &err) != PQ_OK)
        return false;
    while (i < n && want[i] == ids[i])
        i++;
    free(ids);
    return i == n && want[i] == -1;
}

static void test_texts(void) {
    static const char *const texts[] = {
        "",
        " ",
        "  a  b   ",
        "\n",
        "\n\n\t x\r\n",
        "def f(x):\n    return x\n",
        "中文，和日本語。",
        "naïve café",
        "🙂👩‍👩‍👧‍👦",
        "\xef\xbf\xbd",
        "\ufeffbom",
        "<0x0A><0xff>",
        "<unk>",
        "a<s>b</s>",
        "[unused3]",
        " [unused3] [unused3][unused31]",
        "[unused",
        "[unused1",
        "[unused32]",
        "[[unused1]]",
        "[unused[unused1]",
        "\x7f\x01\x1f",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        CHECK(round_trips(texts[i], strlen(texts[i])));
}

static void test_every_byte(void) {
    for (int i = 0; i < 256; i++) {
        char text[3] = {(char)i, (char)i, (char)i};
        CHECK(round_trips(text, 1));
        CHECK(round_trips(text, 3));
    }
    for (int i = 0; i < 256 * 256; i++) {
        char text[2] = {(char)(i >> 8), (char)i};
        CHECK(round_trips(text, 2));
    }
}

/* Whether U+2581, which becomes a space, occurs. */
static bool has_space_mark(const char *text, size_t len) {
    return memmem(text, len, "\xe2\x96\x81", 3) != NULL;
}

static void test_random_bytes(void) {
    for (int i = 0; i < 10000; i++) {
        char text[64];
        size_t len = random32() % sizeof text;
        for (size_t j = 0; j < len; j++)
            text[j] = (char)random32();
        CHECK(has_space_mark(text, len) || round_trips(text, len));
    }
}

static void test_mixtures(void) {
    static const char *const parts[] = {
        "[unused9]",    "[unused10]", "[unused1", "]",        "[",        "<s>",      "<",
        "</s>",         "<unk>",      " ",        "  ",       "\n",       "\t",       "def ",
        "return",       "用户：",     "\xe7",     "\x94\xa8", "\xf0\x9f", "\x99\x82", "\xff",
        "🙂",         "s.upper()",  "",         "0",        "unused",   "\xe2",     "\xe2\x96",
        "\xed\xa0\x80",
    };
    enum { PARTS = sizeof parts / sizeof parts[0] };
    for (int i = 0; i < 10000; i++) {
        char text[512];
        size_t len = 0;
        for (int j = (int)(random32() % 24); j > 0; j--) {
            size_t which = random32() % PARTS;
            size_t n = which == 23 ? 1 : strlen(parts[which]); /* a NUL, once in a while */
            memcpy(text + len, parts[which], n);
            len += n;
        }
        CHECK(has_space_mark(text, len) || round_trips(text, len));
    }
}

static void test_long_text(void) {
    size_t len = 1 << 20;
    char *text = malloc(len);
    static const char unit[] = "[unused[unused9 def f(s):\n    return s.upper()\n\xff[unused9]";
    for (size_t i = 0; i < len; i++)
        text[i] = unit[i % (sizeof unit - 1)];
    bool good = round_trips(text, len);
    memset(text, '[', len);
    good = good && round_trips(text, len);
    memset(text, ' ', len);
    good = good && round_trips(text, len);
    free(text);
    CHECK(good);
}

/* ---- Ids ------------------------------------------------------------------------------------- */

static void test_known_ids(void) {
    /* Python's sentencepiece 0.2.3 on the same model */
    CHECK(encodes("", true, (int[]){1, -1}));
    CHECK(encodes("", false, (int[]){-1}));
    CHECK(encodes("<s>", true, (int[]){1, 1, -1}));
    CHECK(encodes("[unused9]系统：[unused10]", true, (int[]){1, 12, 739, 1402, 13, -1}));
    CHECK(encodes("[unused16][unused17]", false, (int[]){19, 20, -1}));
    CHECK(encodes("\xff", false, (int[]){35 + 255, -1}));
    CHECK(encodes("a\xe7", false, (int[]){1346, 35 + 0xe7, -1}));
    CHECK(encodes("\xe2\x96\x81", false, (int[]){1339, -1})); /* the ids of a space */
    CHECK(encodes(" ", false, (int[]){1339, -1}));
    CHECK(pq_tokenizer_vocab(mini) == 1413);
}

/* Every piece that is no byte, alone in a text, is what its id decodes to. */
static void test_pieces_decode(void) {
    struct pq_spmodel model;
    struct pq_err err;
    CHECK_OK(pq_spmodel_read(&model, mini_model.data, mini_model.size, "x", &err));
    CHECK(model.n == 1413);
    for (int id = 0; id < model.n; id++) {
        size_t len;
        const char *text = pq_tokenizer_text(mini, id, false, &len);
        if (model.pieces[id].type == PQ_PIECE_BYTE)
            CHECK(len == 1 && model.bytes[(unsigned char)text[0]] == id);
        else
            CHECK(len > 0 && round_trips(text, len));
    }
    pq_spmodel_close(&model);
}

static bool decodes(const int *ids, int n, bool skip_special, const char *want) {
    struct pq_err err;
    char *text = NULL;
    size_t len = 0;
    bool good = pq_decode(mini, ids, n, skip_special, &text, &len, &err) == PQ_OK &&
                len == strlen(want) && strcmp(text, want) == 0;
    free(text);
    return good;
}

static void test_decode(void) {
    const int ids[] = {1, 12, 0, 2, 1339, 1346, 13};
    CHECK(decodes(ids, 7, false, "<s>[unused9]<unk></s> a[unused10]"));
    CHECK(decodes(ids, 7, true, "[unused9]</s> a"));
    CHECK(decodes((int[]){1413, 153375, INT32_MAX, 12}, 4, false, "[unused9]"));
    CHECK(decodes(NULL, 0, false, ""));
    struct pq_err err = {""};
    char *text = NULL;
    size_t len = 7;
    CHECK(pq_decode(mini, (int[]){12, -1}, 2, false, &text, &len, &err) == PQ_EINVAL);
    CHECK(strstr(err.text, "-1") && !text && len == 7);
    CHECK(pq_decode(mini, ids, -1, false, &text, &len, &err) == PQ_EINVAL && !text);
}

static void test_golden_replies_decode(void) {
    FILE *f = fopen("tests/golden/replies.jsonl", "r");
    CHECK(f);
    json_t *entry;
    int same = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        json_t *list = json_object_get(entry, "reply_ids"), *value;
        size_t i;
        int32_t ids[1024];
        json_array_foreach(list, i, value) ids[i] = (int32_t)json_integer_value(value);
        int n = (int)json_array_size(list);
        same += decodes(ids, n, false, json_string_value(json_object_get(entry, "reply")));
        json_decref(entry);
    }
    fclose(f);
    CHECK(same == 60);
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static void test_utf8_length(void) {
    CHECK(pq_utf8_length("\0", 1) == 1 && pq_utf8_length("a\xff", 2) == 1);
    CHECK(pq_utf8_length("\xc3\xa9", 2) == 2 && pq_utf8_length("\xc3", 1) == PQ_UTF8_CUT);
    CHECK(pq_utf8_length("\xe4\xb8\xad", 3) == 3 && pq_utf8_length("\xe4\xb8", 2) == PQ_UTF8_CUT);
    CHECK(pq_utf8_length("\xf0\x9f\x99\x82", 4) == 4);
    CHECK(pq_utf8_length("\xf4\x8f\xbf\xbf", 4) == 4 &&
          pq_utf8_length("\xf0\x90\x80", 3) == PQ_UTF8_CUT);
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xe4z",
        "\xe4\xb8z",
        "\xf0\x9f\x99z",
        "\xc3\xc3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(pq_utf8_length(bad[i], strlen(bad[i])) == PQ_UTF8_BAD);
    /* What remains incomplete when everything may follow is the beginning of a character. */
    CHECK(pq_utf8_length("\xed\xa0", 2) == PQ_UTF8_BAD &&
          pq_utf8_length("\xe0\x80", 2) == PQ_UTF8_BAD);
}

/* ---- Hostile models -------------------------------------------------------------------------- */

/* A protocol buffer in the making. */
struct proto {
    char data[1 << 18];
    size_t size;
};

static void put_varint(struct proto *p, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        p->data[p->size++] = (char)(v | 0x80);
    p->data[p->size++] = (char)v;
}

static void put_bytes(struct proto *p, int field, const void *bytes, size_t n) {
    put_varint(p, (uint64_t)field << 3 | 2);
    put_varint(p, n);
    memcpy(p->data + p->size, bytes, n);
    p->size += n;
}

static void put_number(struct proto *p, int field, uint64_t v) {
    put_varint(p, (uint64_t)field << 3);
    put_varint(p, v);
}

static void put_piece(struct proto *p, const void *text, size_t len, uint64_t type) {
    static struct proto piece;
    piece.size = 0;
    put_bytes(&piece, 1, text, len);
    memcpy(piece.data + piece.size, "\x15\0\0\x80\x3f", 5); /* score = 1 */
    piece.size += 5;
    put_number(&piece, 3, type);
    put_bytes(p, 1, piece.data, piece.size);
}

/* The numbers of one trainer_spec or normalizer_spec. */
static void put_numbers(struct proto *p, int field, const int (*numbers)[2], int n) {
    struct proto inner = {.size = 0};
    for (int i = 0; i < n; i++)
        put_number(&inner, numbers[i][0], (uint64_t)numbers[i][1]);
    put_bytes(p, field, inner.data, inner.size);
}

enum { NO_BYTES = 1, NO_TRAINER = 2 };

/* The least model panq takes: <unk>, <s>, 256 bytes, the space and "a". */
static struct proto *least_model(int without) {
    static struct proto p;
    p.size = 0;
    put_piece(&p, "<unk>", 5, PQ_PIECE_UNKNOWN);
    put_piece(&p, "<s>", 3, PQ_PIECE_CONTROL);
    for (int i = 0; i < 256 && !(without & NO_BYTES); i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        put_piece(&p, text, 6, PQ_PIECE_BYTE);
    }
    put_piece(&p, "\xe2\x96\x81", 3, PQ_PIECE_NORMAL);
    put_piece(&p, "a", 1, PQ_PIECE_NORMAL);
    if (!(without & NO_TRAINER))
        put_numbers(&p, 2, (const int[][2]){{3, 2}, {35, 1}}, 2);    /* BPE with byte_fallback */
    put_numbers(&p, 3, (const int[][2]){{3, 0}, {4, 0}, {5, 1}}, 3); /* whitespace is kept */
    return &p;
}

static const char least_config[] =
    "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"[unused10]\"}, \"unk_token\": "
    "\"<unk>\","
    "\"added_tokens_decoder\": {\"0\": {\"content\": \"<unk>\"}, \"1\": {\"content\": \"<s>\"},"
    "\"300\": {\"content\": \"[unused9]\"}, \"301\": {\"content\": \"[unused10]\"},"
    "\"302\": {\"content\": \"[unused16]\"}, \"303\": {\"content\": \"[unused17]\"}}}";

static enum pq_status parse(struct pq_tokenizer **out, const void *model, size_t model_size,
                            const char *config, size_t config_size, struct pq_err *err) {
    struct pq_tokenizer_files files = {.model = {model, "tokenizer.model", model_size},
                                       .config = {config, "tokenizer_config.json", config_size},
                                       .jinja = {.name = "chat_template.jinja"}};
    return pq_tokenizer_parse(out, &files, err);
}

/* The model is refused with this status in one sentence that holds these words. */
static bool refuses_model(const struct proto *p, enum pq_status want, const char *words) {
    struct pq_err err = {""};
    struct pq_tokenizer *tok = NULL;
    enum pq_status status =
        parse(&tok, p->data, p->size, least_config, sizeof least_config - 1, &err);
    bool good = status == want && !tok && strncmp(err.text, "tokenizer.model: ", 17) == 0 &&
                strstr(err.text, words) && !strchr(err.text, '\n');
    if (!good)
        printf("# %s: status %d, %s\n", words, status, err.text);
    pq_tokenizer_close(tok);
    return good;
}

static void test_least_model(void) {
    struct proto *p = least_model(0);
    struct pq_tokenizer *tok = NULL;
    struct pq_err err;
    CHECK_OK(parse(&tok, p->data, p->size, least_config, sizeof least_config - 1, &err));
    CHECK(pq_tokenizer_vocab(tok) == 304);
    static const char text[] = "[unused9] a\xff[unused17]\n";
    const int32_t want[] = {1, 300, 258, 259, 2 + 255, 303, 2 + '\n'};
    int32_t *ids;
    int n;
    char *back;
    size_t len;
    CHECK_OK(pq_encode(tok, text, sizeof text - 1, true, &ids, &n, &err));
    CHECK(n == 7 && memcmp(ids, want, sizeof want) == 0);
    CHECK_OK(pq_decode(tok, ids + 1, n - 1, false, &back, &len, &err));
    CHECK(strcmp(back, text) == 0);
    free(back);
    free(ids);
    CHECK_OK(pq_decode(tok, (int[]){260, 299, 300}, 3, false, &back, &len, &err)); /* a gap */
    CHECK(strcmp(back, "[unused9]") == 0);
    free(back);
    pq_tokenizer_close(tok);
}

static void test_refused_models(void) {
    struct proto *p = least_model(0);
    p->size = 0;
    CHECK(refuses_model(p, PQ_EFORMAT, "no pieces"));
    CHECK(refuses_model(least_model(NO_TRAINER), PQ_EUNSUPPORTED, "model_type is 1"));
    CHECK(refuses_model(least_model(NO_BYTES), PQ_EUNSUPPORTED, "<0x00>"));
    put_piece(p = least_model(0), "", 0, PQ_PIECE_NORMAL);
    CHECK(refuses_model(p, PQ_EFORMAT, "piece 260 has 0 bytes"));
    put_piece(p = least_model(0), "a", 1, PQ_PIECE_NORMAL);
    CHECK(refuses_model(p, PQ_EFORMAT, "already defined"));
    put_piece(p = least_model(0), "<unk2>", 6, PQ_PIECE_UNKNOWN);
    CHECK(refuses_model(p, PQ_EFORMAT, "unk is already defined"));
    put_piece(p = least_model(0), "b", 1, 9);
    CHECK(refuses_model(p, PQ_EFORMAT, "type 9"));
    put_piece(p = least_model(0), "b", 1, (uint64_t)1 << 32 | 2);
    CHECK(refuses_model(p, PQ_EFORMAT, "type 4294967298"));
    put_piece(p = least_model(0), "<0xff>", 6, PQ_PIECE_BYTE);
    CHECK(refuses_model(p, PQ_EFORMAT, "<0xff>"));
    put_piece(p = least_model(0), "b\0c", 3, PQ_PIECE_USER);
    CHECK(refuses_model(p, PQ_EFORMAT, "NUL"));
    static char longest[PQ_MAX_PIECE + 1];
    memset(longest, 'b', sizeof longest);
    put_piece(p = least_model(0), longest, sizeof longest, PQ_PIECE_NORMAL);
    CHECK(refuses_model(p, PQ_EFORMAT, "1025 bytes"));
    put_numbers(p = least_model(0), 2, (const int[][2]){{3, 1}}, 1);
    CHECK(refuses_model(p, PQ_EUNSUPPORTED, "model_type is 1"));
    put_numbers(p = least_model(0), 2, (const int[][2]){{35, 0}}, 1);
    CHECK(refuses_model(p, PQ_EFORMAT, "byte_fallback"));
    put_bytes(p = least_model(0), 3, "\x12\x05\x01\0\0\0x", 7); /* a normaliser table */
    CHECK(refuses_model(p, PQ_EUNSUPPORTED, "precompiled_charsmap"));
    put_varint(p = least_model(0), 1 << 3 | 3); /* a group */
    CHECK(refuses_model(p, PQ_EFORMAT, "damaged"));
    put_number(p = least_model(0), 1, 5);
    CHECK(refuses_model(p, PQ_EFORMAT, "damaged"));
    put_varint(p = least_model(0), 1 << 3 | 2); /* ten bytes promised, none there */
    put_varint(p, 10);
    CHECK(refuses_model(p, PQ_EFORMAT, "damaged"));
}

/* SentencePiece reads beyond an array where more than 64 user-defined pieces begin one another. */
static void test_nested_user_pieces(void) {
    static char text[65];
    memset(text, 'b', sizeof text);
    struct proto *p = least_model(0);
    for (size_t len = 1; len <= 64; len++)
        put_piece(p, text, len, PQ_PIECE_USER);
    struct pq_tokenizer *tok = NULL;
    struct pq_err err;
    int32_t *ids;
    int n;
    CHECK_OK(parse(&tok, p->data, p->size, least_config, sizeof least_config - 1, &err));
    CHECK_OK(pq_encode(tok, text, 65, false, &ids, &n, &err));
    CHECK(n == 2 && ids[0] == 260 + 63 && ids[1] == 260);
    free(ids);
    pq_tokenizer_close(tok);
    put_piece(p, text, 65, PQ_PIECE_USER);
    CHECK(refuses_model(p, PQ_EUNSUPPORTED, "64 different lengths"));
}

/* A piece that SentencePiece loads and then cannot encode with is a status, not a crash. */
static void test_encoding_failure(void) {
    struct proto *p = least_model(0);
    put_piece(p, "b", 1, PQ_PIECE_CONTROL);
    struct pq_tokenizer *tok = NULL;
    struct pq_err err = {""};
    int32_t *ids = NULL;
    int n = 7;
    CHECK_OK(parse(&tok, p->data, p->size, least_config, sizeof least_config - 1, &err));
    CHECK(pq_encode(tok, "ab", 2, true, &ids, &n, &err) == PQ_EFORMAT && !ids && n == 7);
    CHECK(strstr(err.text, "tokenizer.model"));
    pq_tokenizer_close(tok);
}

/* Nothing that happens in `work` writes to standard error. */
static bool is_silent(void (*work)(void)) {
    const char *path = scratch_text("stderr", "");
    int file = open(path, O_RDWR), saved = dup(2);
    dup2(file, 2);
    work();
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    off_t size = lseek(file, 0, SEEK_END);
    close(file);
    return size == 0;
}

static int opened;

static void load_failing_self_test(void) {
    struct proto *p = least_model(0), sample = {.size = 0}, samples = {.size = 0};
    put_bytes(&sample, 1, "a", 1);
    put_bytes(&sample, 2, "b", 1);
    put_bytes(&samples, 1, sample.data, sample.size);
    put_bytes(p, 4, samples.data, samples.size);
    struct pq_tokenizer *tok = NULL;
    opened += parse(&tok, p->data, p->size, least_config, sizeof least_config - 1, NULL) == PQ_OK;
    pq_tokenizer_close(tok);
}

static void load_damaged_models(void) {
    char *model = malloc(mini_model.size);
    for (int i = 0; i < 400; i++) {
        size_t size = mini_model.size;
        memcpy(model, mini_model.data, size);
        for (int j = 0; j < 3; j++)
            model[random32() % size] ^= (char)(1 << random32() % 8);
        size = i % 2 ? size : random32() % size;
        if (i % 4 == 0)
            for (size_t j = 0; j < size; j++)
                model[j] = (char)random32();
        struct pq_tokenizer *tok = NULL;
        struct pq_err err = {""};
        if (parse(&tok, model, size, (const char *)mini_config.data, mini_config.size, &err) ==
            PQ_OK) {
            int32_t *ids = NULL;
            int n;
            opened++;
            if (pq_encode(tok, "def f(s): return s", 18, true, &ids, &n, NULL) == PQ_OK)
                free(ids);
            pq_tokenizer_close(tok);
        } else if (tok || strncmp(err.text, "tokenizer.model: ", 17) != 0) {
            opened = -1000;
        }
    }
    free(model);
}

static void test_silence(void) {
    opened = 0;
    CHECK(is_silent(load_failing_self_test) && opened == 1);
    opened = 0;
    CHECK(is_silent(load_damaged_models) && opened > 0 && opened < 300);
}

static void test_truncated_models(void) {
    for (size_t size = 0; size < mini_model.size; size += size < 600 ? 1 : 97) {
        struct pq_tokenizer *tok = NULL;
        struct pq_err err = {""};
        enum pq_status status = parse(&tok, mini_model.data, size, (const char *)mini_config.data,
                                      mini_config.size, &err);
        CHECK((status == PQ_EFORMAT || status == PQ_EUNSUPPORTED) && !tok && err.text[0]);
    }
}

/* ---- Hostile configs ------------------------------------------------------------------------- */

/* The least config with the first `from` replaced is refused. */
static bool refuses_config(const char *from, const char *to, enum pq_status want,
                           const char *words) {
    char config[4096];
    const char *at = strstr(least_config, from);
    if (!at)
        return false;
    snprintf(config, sizeof config, "%.*s%s%s", (int)(at - least_config), least_config, to,
             at + strlen(from));
    struct proto *p = least_model(0);
    struct pq_err err = {""};
    struct pq_tokenizer *tok = NULL;
    enum pq_status status = parse(&tok, p->data, p->size, config, strlen(config), &err);
    bool good = status == want && !tok && strncmp(err.text, "tokenizer_config.json: ", 23) == 0 &&
                strstr(err.text, words);
    if (!good)
        printf("# %s: status %d, %s\n", to, status, err.text);
    pq_tokenizer_close(tok);
    return good;
}

static void test_refused_configs(void) {
    CHECK(refuses_config(least_config, "", PQ_EFORMAT, "JSON"));
    CHECK(refuses_config("}}}", "}}", PQ_EFORMAT, "JSON"));
    CHECK(refuses_config("added_tokens_decoder", "x", PQ_EFORMAT, "added_tokens_decoder"));
    CHECK(refuses_config("\"<s>\"", "null", PQ_EFORMAT, "bos_token"));
    CHECK(refuses_config("\"<s>\"", "\"<S>\"", PQ_EFORMAT, "\"<S>\", which is no added token"));
    CHECK(refuses_config("\"<s>\"", "\"<\"", PQ_EFORMAT, "no added token"));
    CHECK(refuses_config("\"<s>\"", "\"\"", PQ_EFORMAT, "no added token"));
    CHECK(refuses_config("\"<s>\"", "{}", PQ_EFORMAT, "bos_token.content"));
    CHECK(refuses_config("\"300\"", "\"-1\"", PQ_EFORMAT, "-1"));
    CHECK(refuses_config("\"300\"", "\"0300\"", PQ_EFORMAT, "0300"));
    CHECK(refuses_config("\"300\"", "\"\"", PQ_EFORMAT, "no id"));
    CHECK(refuses_config("\"300\"", "\"1048576\"", PQ_EFORMAT, "1048576"));
    CHECK(refuses_config("\"300\"", "\"99999999999999999999\"", PQ_EFORMAT, "9999"));
    CHECK(refuses_config("\"300\"", "\"301\"", PQ_EFORMAT, "duplicate"));
    CHECK(refuses_config("{\"content\": \"[unused9]\"}", "7", PQ_EFORMAT, "300"));
    CHECK(refuses_config("[unused9]", "", PQ_EFORMAT, "0 bytes"));
    CHECK(refuses_config("[unused9]", "[unused10]", PQ_EFORMAT, "are both"));
    CHECK(refuses_config("\"[unused9]\"", "\"[unused9]\", \"lstrip\": true", PQ_EUNSUPPORTED,
                         "300.lstrip"));
}

/* Added tokens that begin one another: the longest wins, and the leftmost before it. */
static void test_longest_added(void) {
    static const char config[] =
        "{\"bos_token\": \"b\", \"eos_token\": \"b\", \"unk_token\": \"b\", "
        "\"added_tokens_decoder\": {"
        "\"300\": {\"content\": \"[unused9]\"}, \"301\": {\"content\": \"[unused10]\"},"
        "\"302\": {\"content\": \"[unused16]\"}, \"303\": {\"content\": \"[unused17]\"},"
        "\"304\": {\"content\": \"b\"}, \"305\": {\"content\": \"bbb\"}, \"306\": {\"content\": "
        "\"bc\"},"
        "\"307\": {\"content\": \"bbbbbc\"}, \"308\": {\"content\": \"cc\"}, \"309\": "
        "{\"content\": \"界\"}}}";
    struct proto *p = least_model(0);
    struct pq_tokenizer *tok = NULL;
    struct pq_err err;
    CHECK_OK(parse(&tok, p->data, p->size, config, sizeof config - 1, &err));
    static const char text[] = "bbbbbcbbbbcccac世界bb";
    const int32_t want[] = {307,      305,      306,      308, 259, 2 + 'c',
                            2 + 0xe4, 2 + 0xb8, 2 + 0x96, 309, 304, 304};
    int32_t *ids;
    int n;
    CHECK_OK(pq_encode(tok, text, sizeof text - 1, false, &ids, &n, &err));
    CHECK(n == 12 && memcmp(ids, want, sizeof want) == 0);
    free(ids);
    CHECK(pq_tokenizer_added(tok, "bb") == -1 && pq_tokenizer_added(tok, "bbb") == 305);
    pq_tokenizer_close(tok);
}

static void test_missing_files(void) {
    struct pq_tokenizer *tok = NULL;
    struct pq_err err = {""};
    CHECK(pq_tokenizer_open(&tok, scratch_path("none"), &err) == PQ_EIO && !tok);
    CHECK(strstr(err.text, "tokenizer.model"));
    scratch_write("tokenizer.model", mini_model.data, mini_model.size);
    CHECK(pq_tokenizer_open(&tok, scratch_dir, &err) == PQ_EIO && !tok);
    CHECK(strstr(err.text, "tokenizer_config.json"));
    scratch_text("tokenizer.model", "");
    scratch_write("tokenizer_config.json", mini_config.data, mini_config.size);
    CHECK(pq_tokenizer_open(&tok, scratch_dir, &err) == PQ_EFORMAT && !tok);
    scratch_write("tokenizer.model", mini_model.data, mini_model.size);
    CHECK_OK(pq_tokenizer_open(&tok, scratch_dir, &err));
    pq_tokenizer_close(tok);
    pq_tokenizer_close(NULL);
}

static void test_too_long(void) {
    struct pq_err err = {""};
    int32_t *ids = NULL;
    int n;
    CHECK(pq_encode(mini, "a", SIZE_MAX, true, &ids, &n, &err) == PQ_EINVAL && !ids);
    CHECK(err.text[0]);
}

int main(void) {
    struct pq_err err;
    scratch_open();
    if (pq_tokenizer_open(&mini, MINI, &err) != PQ_OK ||
        pq_map_open(&mini_model, MINI "/tokenizer.model", &err) != PQ_OK ||
        pq_map_open(&mini_config, MINI "/tokenizer_config.json", &err) != PQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    RUN(test_texts);
    RUN(test_every_byte);
    RUN(test_random_bytes);
    RUN(test_mixtures);
    RUN(test_long_text);
    RUN(test_known_ids);
    RUN(test_pieces_decode);
    RUN(test_decode);
    RUN(test_golden_replies_decode);
    RUN(test_utf8_length);
    RUN(test_least_model);
    RUN(test_refused_models);
    RUN(test_nested_user_pieces);
    RUN(test_encoding_failure);
    RUN(test_silence);
    RUN(test_truncated_models);
    RUN(test_refused_configs);
    RUN(test_longest_added);
    RUN(test_missing_files);
    RUN(test_too_long);
    pq_map_close(&mini_config);
    pq_map_close(&mini_model);
    pq_tokenizer_close(mini);
    return tap_done();
}
