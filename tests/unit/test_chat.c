#include "panq.h"
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
    pq_tokenizer_close(tok);
    return tap_done();
}
