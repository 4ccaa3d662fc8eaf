#include "fixtures.h"
#include "scratch.h"
#include "tap.h"

#include "tok/nfc.h"

#include <time.h>

static const char *const names[] = {"qwen", "llama3", "smollm", "gpt2"};
enum { QWEN, LLAMA3, SMOLLM, GPT2, TOKENIZERS };
static struct pq_tokenizer *toks[TOKENIZERS];

static uint64_t random_state = 1;

static uint32_t random32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/* ---- Ids ------------------------------------------------------------------------------------- */

/* Hugging Face's library on the same files. */
static void test_golden_ids(void) {
    FILE *f = fopen("tests/golden/bpe-ids.jsonl", "r");
    CHECK(f);
    json_t *entry;
    int all = 0, same = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL))) {
        json_t *text = json_object_get(entry, "text"), *want = json_object_get(entry, "ids");
        const char *name = json_string_value(json_object_get(entry, "tokenizer"));
        struct pq_err err;
        int32_t *ids;
        int n, which = 0;
        while (strcmp(names[which], name) != 0)
            which++;
        CHECK_OK(pq_encode(toks[which], json_string_value(text), json_string_length(text), false,
                           &ids, &n, &err));
        bool good = n == (int)json_array_size(want);
        for (int i = 0; good && i < n; i++)
            good = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
        if (!good)
            printf("# %s: %s\n", name, json_string_value(text));
        free(ids);
        json_decref(entry);
        same += good;
        all++;
    }
    fclose(f);
    CHECK(all > 400 && same == all);
}

/* The text makes exactly these ids, ended by -1. */
static bool encodes(int which, const char *text, bool bos, const int *want) {
    struct pq_err err;
    int32_t *ids;
    int n, i = 0;
    if (pq_encode(toks[which], text, strlen(text), bos, &ids, &n, &err) != PQ_OK)
        return false;
    while (i < n && want[i] == ids[i])
        i++;
    free(ids);
    return i == n && want[i] == -1;
}

static void test_bos(void) {
    int begin = pq_tokenizer_added(toks[LLAMA3], "<|begin_of_text|>");
    CHECK(begin > 0 && encodes(LLAMA3, "", true, (int[]){begin, -1}));
    CHECK(encodes(LLAMA3, "<|begin_of_text|>", true, (int[]){begin, begin, -1}));
    CHECK(encodes(LLAMA3, "", false, (int[]){-1}) && encodes(QWEN, "", true, (int[]){-1}));
    struct pq_err err = {""};
    struct pq_tokenizer *t = fixture_open(
        "qwen",
        "{\"add_bos_token\": true, \"bos_token\": {\"content\": \"<｜begin▁of▁sentence｜>\"}}",
        NULL, &err);
    int32_t *ids;
    int n;
    CHECK(t);
    CHECK_OK(pq_encode(t, "", 0, true, &ids, &n, &err));
    CHECK(n == 1 && ids[0] == pq_tokenizer_added(t, "<｜begin▁of▁sentence｜>"));
    free(ids);
    pq_tokenizer_close(t);
}

/* ---- Round trips ----------------------------------------------------------------------------- */

static bool round_trips(int which, const char *text, size_t len) {
    struct pq_err err = {""};
    int32_t *ids = NULL;
    char *back = NULL;
    size_t back_len = 0;
    int n = 0;
    bool good = pq_encode(toks[which], text, len, false, &ids, &n, &err) == PQ_OK &&
                pq_decode(toks[which], ids, n, false, &back, &back_len, &err) == PQ_OK &&
                back_len == len && memcmp(back, text, len) == 0;
    free(back);
    free(ids);
    return good;
}

/* Llama 3's tokenizer normalizes nothing: all bytes come back, UTF-8 or not. */
static void test_any_bytes(void) {
    for (int i = 0; i < 256 * 256; i++) {
        char text[2] = {(char)(i >> 8), (char)i};
        CHECK(round_trips(LLAMA3, text, 2));
    }
    for (int i = 0; i < 20000; i++) {
        static const char *const parts[] = {"<|eot_id|>", "<|eot", "\xe4\xb8\xad", "\xe4",
                                            "\xf0\x9f",   "  ",    "42",           "'s",
                                            "\n",         "def "};
        char text[256];
        size_t len = 0;
        for (int j = (int)(random32() % 12); j > 0; j--) {
            const char *part = parts[random32() % 10];
            memcpy(text + len, part, strlen(part));
            len += strlen(part);
            text[len++] = (char)random32();
        }
        CHECK(round_trips(LLAMA3, text, len));
    }
}

/* A byte that a vocabulary lacks is left out, in UTF-8 and out of it, and merges across it. */
static void test_missing_bytes(void) {
    CHECK(toks[SMOLLM]->bytes[0xff] < 0 && toks[SMOLLM]->bytes[0x04] < 0);
    struct pq_err err;
    int32_t *ids, *plain;
    int n, n_plain;
    CHECK_OK(pq_encode(toks[SMOLLM], "a\xff", 2, false, &ids, &n, &err));
    CHECK(n == 1 && ids[0] == toks[SMOLLM]->bytes['a']);
    free(ids);
    CHECK_OK(pq_encode(toks[SMOLLM], "\n\x04\n", 3, false, &ids, &n, &err));
    CHECK_OK(pq_encode(toks[SMOLLM], "\n", 1, false, &plain, &n_plain, &err));
    CHECK(n == 2 && n_plain == 1 && ids[0] == plain[0] && ids[1] == plain[0]);
    free(plain);
    free(ids);
}

/* Every token alone is what its id decodes to, whatever the tokenizer makes of it. */
static void test_tokens_decode(void) {
    for (int which = 0; which < TOKENIZERS; which++)
        for (int id = 0; id < pq_tokenizer_vocab(toks[which]); id++) {
            size_t len;
            CHECK(pq_tokenizer_text(toks[which], id, false, &len) && len > 0);
        }
}

static void test_skip_special(void) {
    struct pq_tokenizer *t = toks[QWEN];
    int32_t ids[] = {pq_tokenizer_added(t, "<|im_start|>"), t->bytes['a'],
                     pq_tokenizer_added(t, "<think>"), pq_tokenizer_added(t, "<｜User｜>"),
                     1 << 19};
    struct pq_err err;
    char *text;
    size_t len;
    CHECK_OK(pq_decode(t, ids, 5, true, &text, &len, &err));
    CHECK(strcmp(text, "a<think>") == 0);
    free(text);
    CHECK_OK(pq_decode(t, ids, 5, false, &text, &len, &err));
    CHECK(strcmp(text, "<|im_start|>a<think><｜User｜>") == 0);
    free(text);
}

/* ---- Normalization --------------------------------------------------------------------------- */

static bool normalizes(const char *text, const char *want) {
    struct pq_buffer out = {0};
    struct pq_err err;
    bool good = pq_nfc(text, strlen(text), &out, &err) == PQ_OK &&
                strcmp(out.data ? out.data : "", want) == 0;
    free(out.data);
    return good;
}

static void test_nfc(void) {
    CHECK(normalizes("", "") && normalizes("abc", "abc"));
    CHECK(normalizes("e\u0301", "\u00e9") && normalizes("\u00e9", "\u00e9"));
    CHECK(normalizes("\u212b\u2126", "\u00c5\u03a9")); /* singletons */
    CHECK(normalizes("q\u0307\u0323", "q\u0323\u0307"));
    CHECK(normalizes("\u0344", "\u0308\u0301") && normalizes("\u0390", "\u0390"));
    CHECK(normalizes("\u1112\u1161\u11ab", "\ud55c") && normalizes("\u1100\u1161", "\uac00"));
    CHECK(normalizes("\uc18c\u11a7\u11b8", "\uc18c\u11a7\u11b8")); /* no final consonant */
    CHECK(normalizes("\u0958", "\u0915\u093c"));                   /* excluded from composition */
    CHECK(normalizes("\ufb01\u00b2", "\ufb01\u00b2"));             /* compatibility stays */
    CHECK(normalizes("a\u0327\u0301\u0323", "\u1ea1\u0327\u0301"));
    CHECK(normalizes("\u0301\u0323", "\u0323\u0301"));
    /* U+0898 is a mark since Unicode 14, which Hugging Face's tables do not have. */
    CHECK(normalizes("a\u0898\u0301", "a\u0898\u0301"));
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A megabyte of the same, and of what sorts badly: quadratic work would take hours. */
static void test_long_runs(void) {
    static const char *const units[] = {"a",    " ",  "1",     "\n",    "\u4e2d",
                                        "!",    "ab", " \n",   "'s",    "\u0301\u0323",
                                        "\xff", "<",  "<|im_", "\u0301"};
    size_t size = 1 << 20;
    char *text = malloc(size);
    double start = seconds();
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t n = strlen(units[u]);
        for (size_t i = 0; i < size; i++)
            text[i] = units[u][i % n];
        for (int which = 0; which < TOKENIZERS; which++) {
            struct pq_err err = {""};
            int32_t *ids;
            int n_ids;
            CHECK_OK(pq_encode(toks[which], text, size - size % n, false, &ids, &n_ids, &err));
            free(ids);
        }
    }
    free(text);
    printf("# %.1f s\n", seconds() - start);
    CHECK(seconds() - start < 300);
}

/* ---- Hostile files --------------------------------------------------------------------------- */

static const char least[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 4, \"content\": \"<e>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
    "false,"
    " \"normalized\": false, \"special\": true}], \"normalizer\": null, \"pre_tokenizer\": "
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"\\\\p{L}+\"}, \"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", "
    "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}]}, "
    "\"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": "
    "\"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", "
    "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, "
    "\"ignore_merges\": false, \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"\u0120\": 3}, "
    "\"merges\": [\"a b\"]}}";

static enum pq_status parse(struct pq_tokenizer **out, const char *json, const char *config,
                            struct pq_err *err) {
    struct pq_tokenizer_files files = {
        .json = {json, "tokenizer.json", strlen(json)},
        .config = {config, "tokenizer_config.json", config ? strlen(config) : 0},
        .model.name = "tokenizer.model",
        .jinja.name = "chat_template.jinja"};
    return pq_tokenizer_parse(out, &files, err);
}

/* The least file with the first `from` replaced. */
static const char *edited(const char *from, const char *to) {
    static char text[8192];
    const char *at = strstr(least, from);
    if (!at)
        abort();
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - least), least, to, at + strlen(from));
    return text;
}

/* It is refused in one sentence that holds these words. */
static bool refuses(const char *from, const char *to, enum pq_status want, const char *words) {
    struct pq_err err = {""};
    struct pq_tokenizer *tok = NULL;
    enum pq_status status = parse(&tok, edited(from, to), NULL, &err);
    bool good = status == want && !tok && strncmp(err.text, "tokenizer.json: ", 16) == 0 &&
                strstr(err.text, words);
    if (!good)
        printf("# %s: status %d, %s\n", to, status, err.text);
    pq_tokenizer_close(tok);
    return good;
}

static bool takes(const char *from, const char *to) {
    struct pq_err err = {""};
    struct pq_tokenizer *tok = NULL;
    bool good = parse(&tok, edited(from, to), NULL, &err) == PQ_OK;
    if (!good)
        printf("# %s: %s\n", to, err.text);
    pq_tokenizer_close(tok);
    return good;
}

static void test_least_file(void) {
    struct pq_tokenizer *tok;
    struct pq_err err;
    int32_t *ids;
    int n;
    CHECK_OK(parse(&tok, least, NULL, &err));
    CHECK_OK(pq_encode(tok, " abba<e>\x01", 9, true, &ids, &n, &err));
    const int32_t want[] = {3, 2, 1, 0, 4};
    CHECK(n == 5 && memcmp(ids, want, sizeof want) == 0 && pq_tokenizer_vocab(tok) == 5);
    free(ids);
    pq_tokenizer_close(tok);
    CHECK(takes("\"a b\"", "[\"a\", \"b\"]") && takes("\"a b\"", "\"#version: 0.2\", \"a b\""));
    CHECK(takes("\"normalizer\": null", "\"normalizer\": {\"type\": \"Sequence\", "
                                        "\"normalizers\": [{\"type\": \"NFC\"}]}"));
    CHECK(takes("\"dropout\": null", "\"dropout\": 0.0"));
    CHECK(takes("\"type\": \"BPE\", ", ""));
}

static void test_refused_files(void) {
    CHECK(refuses("}}", "}", PQ_EFORMAT, "JSON"));
    CHECK(refuses("\"1.0\",", "\"1.0\", \"new\": 1,", PQ_EUNSUPPORTED, "\"new\" is 1"));
    CHECK(refuses("\"truncation\": null", "\"truncation\": {\"n\": 8}", PQ_EUNSUPPORTED,
                  "truncation"));
    CHECK(refuses("\"BPE\"", "\"Unigram\"", PQ_EUNSUPPORTED, "\"model.type\" is \"Unigram\""));
    CHECK(refuses("\"dropout\": null", "\"dropout\": 0.1", PQ_EUNSUPPORTED, "dropout\" is 0.1"));
    CHECK(refuses("\"byte_fallback\": false", "\"byte_fallback\": true", PQ_EUNSUPPORTED,
                  "byte_fallback"));
    CHECK(refuses("\"unk_token\": null", "\"unk_token\": \"<e>\"", PQ_EUNSUPPORTED, "unk_token"));
    CHECK(refuses("\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": \"##\"",
                  PQ_EUNSUPPORTED, "##"));
    CHECK(refuses("\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"",
                  PQ_EUNSUPPORTED, "</w>"));
    CHECK(refuses("\"a\": 0", "\"a\": -1", PQ_EFORMAT, "-1"));
    CHECK(refuses("\"a\": 0", "\"a\": 1048576", PQ_EFORMAT, "1048576"));
    CHECK(refuses("\"a\": 0", "\"a\": 0.5", PQ_EFORMAT, "0.5"));
    CHECK(refuses("\"a\": 0", "\"a\": 1", PQ_EFORMAT, "id 1 twice"));
    CHECK(refuses("\"a b\"", "\"a c\"", PQ_EFORMAT, "the right part"));
    CHECK(refuses("\"a b\"", "\"c a\"", PQ_EFORMAT, "the left part"));
    CHECK(refuses("\"a b\"", "\"b a\"", PQ_EFORMAT, "the whole"));
    CHECK(refuses("\"a b\"", "\"ab\"", PQ_EFORMAT, "not two tokens"));
    CHECK(refuses("\"a b\"", "\"a b c\"", PQ_EFORMAT, "not two tokens"));
    CHECK(refuses("\"a b\"", "[\"a\"]", PQ_EFORMAT, "not two tokens"));
    CHECK(refuses("\"a b\"", "[\"a\", \"b\", \"a\"]", PQ_EFORMAT, "not two tokens"));
    CHECK(refuses("\"a b\"", "7", PQ_EFORMAT, "merges[0]\" is 7"));
    CHECK(refuses("\"merges\": [\"a b\"]", "\"merges\": {}", PQ_EFORMAT, "not an array"));
    CHECK(refuses("\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": null", PQ_EFORMAT,
                  "decoder"));
    CHECK(refuses("\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": {\"type\": \"Fuse\"}",
                  PQ_EUNSUPPORTED, "Fuse"));
    CHECK(refuses("\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}", PQ_EUNSUPPORTED,
                  "NFKC"));
    CHECK(refuses("\"normalizer\": null",
                  "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, "
                  "{\"type\": \"Lowercase\"}]}",
                  PQ_EUNSUPPORTED, "Lowercase"));
}

static void test_refused_added_tokens(void) {
    CHECK(refuses("\"id\": 4", "\"id\": 5", PQ_EFORMAT, "makes it 4"));
    CHECK(refuses("<e>", "ab", PQ_EFORMAT, "makes it 2"));
    CHECK(refuses("<e>", "", PQ_EFORMAT, "0 bytes"));
    CHECK(refuses("\"lstrip\": false", "\"lstrip\": true", PQ_EUNSUPPORTED, "lstrip"));
    CHECK(refuses("\"rstrip\": false", "\"rstrip\": true", PQ_EUNSUPPORTED, "rstrip"));
    CHECK(refuses("\"single_word\": false", "\"single_word\": 1", PQ_EFORMAT, "single_word"));
    CHECK(refuses("\"added_tokens\": [", "\"added_tokens\": [7, ", PQ_EFORMAT, "added_tokens[0]"));
    CHECK(refuses("\"added_tokens\": [", "\"added_tokens\": [{\"id\": 4, \"content\": \"<e>\"}, ",
                  PQ_EFORMAT, "makes it 5"));
}

static void test_refused_pre_tokenizers(void) {
    static const char block[] = "{\"type\": \"Split\"", pattern[] = "\\\\p{L}+";
    CHECK(refuses(block, "{\"type\": \"Punctuation\"", PQ_EUNSUPPORTED, "Punctuation"));
    CHECK(refuses("\"Isolated\"", "\"Removed\"", PQ_EUNSUPPORTED, "Removed"));
    CHECK(refuses("\"invert\": false", "\"invert\": true", PQ_EUNSUPPORTED, "invert"));
    CHECK(refuses("{\"Regex\"", "{\"String\"", PQ_EUNSUPPORTED, "String"));
    CHECK(refuses("\"use_regex\": false}]", "\"use_regex\": false}, {\"type\": \"ByteLevel\"}]",
                  PQ_EUNSUPPORTED, "pretokenizers[1].type"));
    CHECK(
        refuses(", {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                "\"use_regex\": false}]",
                "]", PQ_EUNSUPPORTED, "pretokenizers[0].type"));
    static const char *const unknown[] = {
        "a|.",      "^a",         "a$",    "\\\\w+",      "\\\\h",      "\\\\bab",   "(?<=a)b",
        "(?<n>a)",  "(?>a)",      "(?i)a", "[a[b]]",      "[a&&b]",     "[]a]",      "a{,3}",
        "a{2}+",    "a{2}{3}",    "\\\\1", "\\\\x41",     "\\\\p{Han}", "\\\\p{^L}", "\\\\pL",
        "[^\\\\S]", "[\\\\P{L}]", "(*F)",  "\\\\Qa\\\\E", "a{99999}",   "\\\\p{L",   "a\\\\",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        CHECK(refuses(pattern, unknown[i], PQ_EUNSUPPORTED, "does not support"));
    CHECK(refuses(pattern, "\\\\p{L}*", PQ_EUNSUPPORTED, "empty"));
    CHECK(refuses(pattern, "", PQ_EUNSUPPORTED, "empty"));
    CHECK(refuses(pattern, "(a", PQ_EFORMAT, "PCRE2"));
    CHECK(refuses(pattern, "[b-a]", PQ_EFORMAT, "PCRE2"));
    static const char *const known[] = {"\\\\P{Lu}",   "[^\\\\s\\\\p{N}]+?", "a{2,}b{1,3}c{4}",
                                        "\\\\S+\\\\d", "(?:a|b)++(?=c)",     "[\\\\]\\\\-x]|\\\\."};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CHECK(takes(pattern, known[i]));
}

/* A pattern that tries exponentially many ways ends in a status. */
static void test_endless_pattern(void) {
    struct pq_tokenizer *tok;
    struct pq_err err = {""};
    int32_t *ids = NULL;
    int n;
    CHECK_OK(parse(&tok, edited("\\\\p{L}+", "(a|aa)+[bc]"), NULL, &err));
    char text[200];
    memset(text, 'a', sizeof text);
    CHECK(pq_encode(tok, text, sizeof text, false, &ids, &n, &err) == PQ_EFORMAT && !ids);
    CHECK(strstr(err.text, "too long"));
    pq_tokenizer_close(tok);
}

static bool refuses_processor(const char *processor, enum pq_status want, const char *words) {
    char text[1024];
    snprintf(text, sizeof text, "\"post_processor\": %s", processor);
    return refuses("\"post_processor\": null", text, want, words);
}

#define SPECIAL "{\"SpecialToken\": {\"id\": \"<e>\", \"type_id\": 0}}"
#define SEQUENCE "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
static void test_refused_processors(void) {
    CHECK(refuses_processor("{\"type\": \"BertProcessing\"}", PQ_EUNSUPPORTED, "BertProcessing"));
    CHECK(refuses_processor("{\"type\": \"TemplateProcessing\", \"single\": []}", PQ_EUNSUPPORTED,
                            "single"));
    CHECK(refuses_processor("{\"type\": \"TemplateProcessing\", \"single\": [" SEQUENCE ", " SPECIAL
                            "]}",
                            PQ_EUNSUPPORTED, "single"));
    CHECK(refuses_processor("{\"type\": \"TemplateProcessing\", \"single\": [" SPECIAL "]}",
                            PQ_EUNSUPPORTED, "single"));
    CHECK(refuses_processor("{\"type\": \"TemplateProcessing\", \"single\": [" SPECIAL ", " SEQUENCE
                            "], \"special_tokens\": {}}",
                            PQ_EFORMAT, "special_tokens.<e>"));
    CHECK(refuses_processor("{\"type\": \"TemplateProcessing\", \"single\": [" SPECIAL ", " SEQUENCE
                            "], \"special_tokens\": {\"<e>\": {\"ids\": [9]}}}",
                            PQ_EUNSUPPORTED, "[9]"));
    CHECK(takes("\"post_processor\": null",
                "\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": "
                "\"ByteLevel\"}, {\"type\": \"TemplateProcessing\", \"single\": [" SPECIAL
                ", " SEQUENCE "], \"special_tokens\": {\"<e>\": {\"ids\": [4]}}}]}"));
}

static void test_refused_configs(void) {
    static const char *const configs[][2] = {
        {"[]", "JSON"},
        {"{\"eos_token\": \"x\"}", "no added token"},
        {"{\"eos_token\": 7}", "eos_token"},
        {"{\"add_bos_token\": true, \"bos_token\": \"x\"}", "no added token"},
        {"{\"added_tokens_decoder\": {\"5\": {\"content\": \"<e>\"}}}", "is 4"},
        {"{\"added_tokens_decoder\": {\"5\": {\"content\": \"<f>\"}}}", "none"},
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct pq_tokenizer *tok = NULL;
        struct pq_err err = {""};
        CHECK(parse(&tok, least, configs[i][0], &err) == PQ_EFORMAT && !tok);
        CHECK(strstr(err.text, "tokenizer_config.json: ") && strstr(err.text, configs[i][1]));
    }
}

static void test_truncated_files(void) {
    struct pq_map map;
    struct pq_err err;
    CHECK_OK(pq_map_open(&map, "tests/golden/bpe-qwen.json", &err));
    for (size_t size = 0; size < map.size; size += 61) {
        struct pq_tokenizer *tok = NULL;
        struct pq_tokenizer_files files = {.json = {(const char *)map.data, "tokenizer.json", size},
                                           .config.name = "tokenizer_config.json"};
        CHECK(pq_tokenizer_parse(&tok, &files, &err) == PQ_EFORMAT && !tok);
    }
    pq_map_close(&map);
}

/* A directory: tokenizer.model goes before tokenizer.json, which needs no other file. */
static void test_directory(void) {
    struct pq_tokenizer *tok = NULL;
    struct pq_err err = {""};
    CHECK(pq_tokenizer_open(&tok, scratch_dir, &err) == PQ_EIO && !tok);
    CHECK(strstr(err.text, "tokenizer.model") && strstr(err.text, "tokenizer.json"));
    scratch_text("tokenizer.json", least);
    CHECK_OK(pq_tokenizer_open(&tok, scratch_dir, &err));
    CHECK(pq_tokenizer_vocab(tok) == 5);
    pq_tokenizer_close(tok);
    tok = NULL;
    scratch_text("chat_template.jinja", "");
    CHECK_OK(pq_tokenizer_open(&tok, scratch_dir, &err));
    pq_tokenizer_close(tok);
    tok = NULL;
    scratch_text("tokenizer.model", "");
    CHECK(pq_tokenizer_open(&tok, scratch_dir, &err) == PQ_EIO && !tok);
    CHECK(strstr(err.text, "tokenizer_config.json"));
    scratch_text("tokenizer_config.json", "{}");
    CHECK(pq_tokenizer_open(&tok, scratch_dir, &err) == PQ_EFORMAT && !tok);
    CHECK(strstr(err.text, "tokenizer.model"));
}

int main(void) {
    struct pq_err err = {""};
    scratch_open();
    for (int i = 0; i < TOKENIZERS; i++) {
        toks[i] = fixture_open(names[i], NULL, NULL, &err);
        if (!toks[i]) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    }
    RUN(test_golden_ids);
    RUN(test_bos);
    RUN(test_any_bytes);
    RUN(test_missing_bytes);
    RUN(test_tokens_decode);
    RUN(test_skip_special);
    RUN(test_nfc);
    RUN(test_long_runs);
    RUN(test_least_file);
    RUN(test_refused_files);
    RUN(test_refused_added_tokens);
    RUN(test_refused_pre_tokenizers);
    RUN(test_endless_pattern);
    RUN(test_refused_processors);
    RUN(test_refused_configs);
    RUN(test_truncated_files);
    RUN(test_directory);
    for (int i = 0; i < TOKENIZERS; i++)
        pq_tokenizer_close(toks[i]);
    return tap_done();
}
