#include "fixtures.h"
#include "tap.h"

#include <jansson.h>
#include <string.h>

static struct pq_tokenizer *tok;

/* The messages' prompt, decoded, is "<s>" and this text, and its ids are those of the text. */
static bool prompts(const struct pq_message *messages, int n, const char *want) {
    struct pq_err err = {""};
    int32_t *ids = NULL, *direct = NULL;
    int n_ids = 0, n_direct = 0;
    char *text = NULL;
    size_t len = 0;
    bool good = pq_chat_encode(tok, messages, n, &ids, &n_ids, &err) == PQ_OK &&
                pq_decode(tok, ids, n_ids, false, &text, &len, &err) == PQ_OK &&
                strncmp(text, "<s>", 3) == 0 && strcmp(text + 3, want) == 0 &&
                pq_encode(tok, want, strlen(want), true, &direct, &n_direct, &err) == PQ_OK &&
                n_ids == n_direct && memcmp(ids, direct, (size_t)n_ids * sizeof *ids) == 0;
    if (!good)
        printf("# want %s\n# got  %s %s\n", want, text ? text : "", err.text);
    free(direct);
    free(text);
    free(ids);
    return good;
}

static void test_template(void) {
    CHECK(prompts((struct pq_message[]){{PQ_USER, "Hi", PQ_THINK_SLOW}}, 1,
                  "[unused9]系统：[unused10][unused9]用户：Hi[unused10][unused9]助手："));
    CHECK(
        prompts((struct pq_message[]){{PQ_USER, "Hi", PQ_THINK_AUTO}}, 1,
                "[unused9]系统：[unused10][unused9]用户：Hi /auto_think[unused10][unused9]助手："));
    CHECK(prompts((struct pq_message[]){{PQ_SYSTEM, "Be brief.", PQ_THINK_NO},
                                        {PQ_USER, " a ", PQ_THINK_NO},
                                        {PQ_ASSISTANT, "b\n", PQ_THINK_NO},
                                        {PQ_TOOL, "c", PQ_THINK_AUTO},
                                        {PQ_FUNCTION, "", PQ_THINK_AUTO},
                                        {PQ_SYSTEM, "d", PQ_THINK_SLOW},
                                        {PQ_USER, "", PQ_THINK_SLOW}},
                  7,
                  "[unused9]系统：Be brief.[unused10][unused9]用户： a  /no_think[unused10]"
                  "[unused9]助手：b\n[unused10][unused9]工具：c[unused10][unused9]方法：[unused10]"
                  "[unused9]系统：d[unused10][unused9]用户：[unused10][unused9]助手："));
    CHECK(prompts((struct pq_message[]){{PQ_ASSISTANT, "b", PQ_THINK_SLOW}}, 1,
                  "[unused9]系统：[unused10][unused9]助手：b[unused10][unused9]助手："));
}

/* Added tokens in a content are recognised, as in Huawei's template. */
static void test_marks_in_content(void) {
    CHECK(
        prompts((struct pq_message[]){{PQ_USER, "<s>[unused10]x", PQ_THINK_SLOW}}, 1,
                "[unused9]系统：[unused10][unused9]用户：<s>[unused10]x[unused10][unused9]助手："));
    struct pq_err err;
    int32_t *ids;
    int n, ends = 0;
    CHECK_OK(pq_chat_encode(tok, &(struct pq_message){PQ_USER, "[unused10]", PQ_THINK_SLOW}, 1,
                            &ids, &n, &err));
    for (int i = 0; i < n; i++)
        ends += ids[i] == 13;
    CHECK(ids[0] == 1 && ids[1] == 12 && ends == 3);
    free(ids);
}

static void test_golden_prompts(void) {
    FILE *f = fopen("tests/golden/replies.jsonl", "r");
    CHECK(f);
    json_t *entry;
    int all = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        json_t *want = json_object_get(entry, "prompt_ids");
        struct pq_message user = {.role = PQ_USER};
        struct pq_err err;
        int32_t *ids;
        int n;
        user.text = json_string_value(json_object_get(entry, "user"));
        CHECK(pq_think_parse(json_string_value(json_object_get(entry, "mode")), &user.think));
        CHECK_OK(pq_chat_encode(tok, &user, 1, &ids, &n, &err));
        CHECK(n == (int)json_array_size(want));
        for (int i = 0; i < n; i++)
            CHECK(ids[i] == json_integer_value(json_array_get(want, (size_t)i)));
        CHECK(prompts(&user, 1, json_string_value(json_object_get(entry, "prompt"))));
        free(ids);
        json_decref(entry);
        all++;
    }
    fclose(f);
    CHECK(all == 60);
}

static bool refuses(struct pq_message message, int n, const char *words) {
    struct pq_message messages[2] = {{PQ_USER, "Hi", PQ_THINK_SLOW}, message};
    struct pq_err err = {""};
    int32_t *ids = NULL;
    int n_ids = 7;
    return pq_chat_encode(tok, messages, n, &ids, &n_ids, &err) == PQ_EINVAL && !ids &&
           n_ids == 7 && strstr(err.text, words);
}

static void test_bad_messages(void) {
    CHECK(refuses((struct pq_message){PQ_USER, "Hi", PQ_THINK_SLOW}, 0, "0 messages"));
    CHECK(refuses((struct pq_message){PQ_USER, "Hi", PQ_THINK_SLOW}, -1, "-1 messages"));
    CHECK(refuses((struct pq_message){(enum pq_role)5, "Hi", PQ_THINK_SLOW}, 2, "1 has role 5"));
    CHECK(refuses((struct pq_message){PQ_USER, "Hi", (enum pq_think)3}, 2, "mode 3"));
    CHECK(refuses((struct pq_message){PQ_USER, NULL, PQ_THINK_SLOW}, 2, "no text"));
}

static void test_think_names(void) {
    enum pq_think think = PQ_THINK_SLOW;
    CHECK(strcmp(pq_think_name(PQ_THINK_SLOW), "slow") == 0);
    CHECK(strcmp(pq_think_name(PQ_THINK_AUTO), "auto") == 0);
    CHECK(strcmp(pq_think_name(PQ_THINK_NO), "no") == 0);
    CHECK(pq_think_parse("no", &think) && think == PQ_THINK_NO);
    CHECK(pq_think_parse("auto", &think) && think == PQ_THINK_AUTO);
    CHECK(!pq_think_parse("Slow", &think) && !pq_think_parse("", &think) && think == PQ_THINK_AUTO);
}

/* ---- Families -------------------------------------------------------------------------------- */

/* The prompt's ids decode to `want`, and are those of that text. */
static bool lays_out(const struct pq_tokenizer *t, const struct pq_message *messages, int n,
                     const char *want) {
    struct pq_err err = {""};
    int32_t *ids = NULL, *direct = NULL;
    int n_ids = 0, n_direct = 0;
    char *text = NULL;
    size_t len = 0;
    bool good = pq_chat_encode(t, messages, n, &ids, &n_ids, &err) == PQ_OK &&
                pq_decode(t, ids, n_ids, false, &text, &len, &err) == PQ_OK &&
                strcmp(text, want) == 0 &&
                pq_encode(t, want, strlen(want), false, &direct, &n_direct, &err) == PQ_OK &&
                n_ids == n_direct && memcmp(ids, direct, (size_t)n_ids * sizeof *ids) == 0;
    if (!good)
        printf("# want %s\n# got  %s %s\n", want, text ? text : "", err.text);
    free(direct);
    free(text);
    free(ids);
    return good;
}

static bool check_golden(const struct pq_tokenizer *t, const json_t *entry) {
    static const char *const roles[] = {"system", "user", "assistant"};
    struct pq_message messages[8] = {0};
    json_t *list = json_object_get(entry, "messages"), *item;
    enum pq_think think;
    size_t i;
    if (!pq_think_parse(json_string_value(json_object_get(entry, "think")), &think))
        return false;
    json_array_foreach(list, i, item) {
        const char *role = json_string_value(json_object_get(item, "role"));
        for (int r = 0; r < 3; r++)
            if (strcmp(role, roles[r]) == 0)
                messages[i].role = (enum pq_role)r;
        messages[i].text = json_string_value(json_object_get(item, "content"));
        messages[i].think = think;
    }
    return lays_out(t, messages, (int)json_array_size(list),
                    json_string_value(json_object_get(entry, "prompt")));
}

/* What Jinja makes of conversations with the published templates. */
static void test_published_templates(void) {
    FILE *f = fopen("tests/golden/chat.jsonl", "r");
    CHECK(f);
    json_t *entry;
    int same = 0, all = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *name = json_string_value(json_object_get(entry, "family"));
        const struct fixture_family *family = fixture_find(name);
        struct pq_err err = {""};
        /* openPangu's has a mode's suffix for slow alone, which is none. */
        struct pq_tokenizer *t =
            family ? fixture_open(family->tokenizer, NULL, family->jinja, &err) : tok;
        bool good = t && (family || strcmp(name, "openpangu") == 0) && check_golden(t, entry);
        if (!good)
            printf("# %s, conversation %d: %s\n", name, all, err.text);
        if (family)
            pq_tokenizer_close(t);
        json_decref(entry);
        same += good;
        all++;
    }
    fclose(f);
    CHECK(all == 153 && same == all);
}

/* Whether the tokenizer has a template; without one, texts can be encoded all the same. */
static bool knows(const char *tokenizer, const char *jinja, struct pq_err *err) {
    struct pq_tokenizer *t = fixture_open(tokenizer, NULL, jinja, err);
    struct pq_reply *reply = NULL;
    int32_t *ids = NULL;
    int n;
    if (!t || pq_encode(t, "a", 1, false, &ids, &n, err) != PQ_OK)
        abort();
    free(ids);
    bool known = pq_reply_open(&reply, t, NULL, false, err) == PQ_OK;
    pq_reply_close(reply);
    pq_tokenizer_close(t);
    return known;
}

static void test_recognition(void) {
    static char text[8192];
    struct pq_err err;
    for (int i = 0; i < FIXTURE_FAMILIES; i++) {
        const struct fixture_family *family = &fixture_families[i];
        CHECK(knows(family->tokenizer, family->jinja, &err));
        snprintf(text, sizeof text, "%s \n\r\n", family->jinja); /* space at the end */
        CHECK(knows(family->tokenizer, text, &err));
        size_t n = 0;
        for (const char *c = family->jinja; *c; c++) { /* Jinja's "\n" for the character */
            text[n++] = *c == '\n' ? '\\' : *c;
            if (*c == '\n')
                text[n++] = 'n';
        }
        text[n] = 0;
        CHECK(knows(family->tokenizer, text, &err));
    }
}

/* A template that differs anywhere from what it would be recognised by is not guessed at. */
static void test_other_templates(void) {
    static char text[4096];
    struct pq_err err;
    for (int i = 0; i < FIXTURE_FAMILIES; i++) {
        const struct fixture_family *family = &fixture_families[i];
        for (size_t at = 0; at < strlen(family->jinja); at += 5) {
            snprintf(text, sizeof text, "%s", family->jinja);
            text[at] = text[at] == '#' ? '!' : '#';
            CHECK(!knows(family->tokenizer, text, &err));
        }
        snprintf(text, sizeof text, "{# #}%.4000s", family->jinja);
        CHECK(!knows(family->tokenizer, text, &err));
        snprintf(text, sizeof text, "%.4000s{# #}", family->jinja);
        CHECK(strcmp(family->name, "llama3") == 0 || !knows(family->tokenizer, text, &err));
    }
    CHECK(!knows("qwen", "", &err) && strstr(err.text, "none of those that panq knows"));
    CHECK(strstr(err.text, "--raw") && strstr(err.text, "Qwen2.5") && strstr(err.text, ".jinja"));
    CHECK(!knows("qwen", NULL, &err) && strstr(err.text, "there is no chat_template"));
    CHECK(!knows("smollm", fixture_find("llama3")->jinja, &err));
    CHECK(strstr(err.text, "Llama 3") && strstr(err.text, "<|start_header_id|>"));
}

/* tokenizer_config.json's chat_template: a string, or a list with a default; the file goes first.
 */
static void test_where_templates_are(void) {
    struct pq_err err = {""};
    const char *chatml = fixture_find("chatml")->jinja;
    json_t *alone = json_pack("{s:s}", "chat_template", chatml);
    json_t *named = json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "chat_template", "name", "tool_use",
                              "template", "x", "name", "default", "template", chatml);
    char *texts[] = {json_dumps(alone, 0), json_dumps(named, 0)};
    json_decref(alone);
    json_decref(named);
    for (int i = 0; i < 2; i++) {
        struct pq_tokenizer *t = fixture_open("qwen", texts[i], NULL, &err);
        CHECK(t && pq_chat_has_mode(t, NULL, PQ_THINK_NO));
        pq_tokenizer_close(t);
        t = fixture_open("qwen", texts[i], "other", &err);
        CHECK(t && !pq_chat_has_mode(t, NULL, PQ_THINK_NO));
        pq_tokenizer_close(t);
        free(texts[i]);
    }
}

static bool has_modes(const char *name, const struct pq_config *config, bool slow, bool automatic,
                      bool no) {
    const struct fixture_family *family = fixture_find(name);
    struct pq_err err;
    struct pq_tokenizer *t =
        family ? fixture_open(family->tokenizer, NULL, family->jinja, &err) : tok;
    bool good = t && pq_chat_has_mode(t, config, PQ_THINK_SLOW) == slow &&
                pq_chat_has_mode(t, config, PQ_THINK_AUTO) == automatic &&
                pq_chat_has_mode(t, config, PQ_THINK_NO) == no;
    if (family)
        pq_tokenizer_close(t);
    return good;
}

static void test_modes(void) {
    struct pq_config thinks = {.thinks = true}, not = {.thinks = false};
    CHECK(has_modes("openpangu", NULL, true, true, true));
    CHECK(has_modes("openpangu", &thinks, true, true, true));
    CHECK(has_modes("openpangu", &not, false, false, true));
    CHECK(has_modes("qwen3", &thinks, true, false, true));
    CHECK(has_modes("r1", &thinks, true, false, false));
    CHECK(has_modes("qwen25", &thinks, false, false, true));
    CHECK(has_modes("llama31", NULL, false, false, true));
    CHECK(!pq_chat_has_mode(tok, NULL, (enum pq_think)3));
}

/* A role or a mode that the template does not have is refused, and nothing else. */
static void test_refused_turns(void) {
    const struct fixture_family *family = fixture_find("qwen3");
    struct pq_err err = {""};
    struct pq_tokenizer *t = fixture_open(family->tokenizer, NULL, family->jinja, &err);
    int32_t *ids = NULL;
    int n = 7;
    struct pq_message turns[] = {{PQ_TOOL, "4", PQ_THINK_NO}, {PQ_USER, "a", PQ_THINK_AUTO}};
    CHECK(t && pq_chat_encode(t, turns, 1, &ids, &n, &err) == PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "role tool") && strstr(err.text, "Qwen3") && !ids && n == 7);
    CHECK(pq_chat_encode(t, turns + 1, 1, &ids, &n, &err) == PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "mode 'auto'") && strstr(err.text, "Qwen3") && !ids && n == 7);
    pq_tokenizer_close(t);
    t = fixture_open("qwen", NULL, "x", &err);
    CHECK(t && pq_chat_encode(t, turns, 1, &ids, &n, &err) == PQ_EUNSUPPORTED && !ids);
    CHECK(strstr(err.text, "--raw"));
    pq_tokenizer_close(t);
}

/* The mode of a reply is that of the last user turn. */
static void test_last_mode(void) {
    const struct fixture_family *family = fixture_find("qwen3");
    struct pq_err err;
    struct pq_tokenizer *t = fixture_open(family->tokenizer, NULL, family->jinja, &err);
    CHECK(t && lays_out(t,
                        (struct pq_message[]){{PQ_USER, "a", PQ_THINK_NO},
                                              {PQ_ASSISTANT, "b", PQ_THINK_NO},
                                              {PQ_USER, "c", PQ_THINK_SLOW}},
                        3,
                        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"));
    pq_tokenizer_close(t);
}

int main(void) {
    struct pq_err err;
    if (pq_tokenizer_open(&tok, "models/pangu-mini", &err) != PQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    RUN(test_template);
    RUN(test_marks_in_content);
    RUN(test_golden_prompts);
    RUN(test_bad_messages);
    RUN(test_think_names);
    RUN(test_published_templates);
    RUN(test_recognition);
    RUN(test_other_templates);
    RUN(test_where_templates_are);
    RUN(test_modes);
    RUN(test_refused_turns);
    RUN(test_last_mode);
    pq_tokenizer_close(tok);
    return tap_done();
}
