/* Chat templates: what turns a conversation into the text a model was trained on.
 *
 * Contents are not escaped: added tokens in them are recognised, as in Huawei's template.  Who
 * passes on a stranger's text must look for them first. */
#include "tok/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* ---- Families -------------------------------------------------------------------------------- */

static const struct pq_template templates[] = {
    {
        .family = "openPangu",
        .turn = "[unused9]",
        .end = "[unused10]",
        .think = "[unused16]",
        .answer = "[unused17]",
        .roles = {[PQ_SYSTEM] = "系统",
                  [PQ_USER] = "用户",
                  [PQ_ASSISTANT] = "助手",
                  [PQ_TOOL] = "工具",
                  [PQ_FUNCTION] = "方法"},
        .colon = "：",
        .suffixes =
            {[PQ_THINK_SLOW] = "", [PQ_THINK_AUTO] = " /auto_think", [PQ_THINK_NO] = " /no_think"},
        .opens_with_system = true,
    },
};

enum pq_status pq_template_find(struct pq_tokenizer *tok, const char *config_file,
                                struct pq_err *err) {
    for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++) {
        const struct pq_template *t = &templates[i];
        tok->turn = pq_tokenizer_added(tok, t->turn);
        tok->end = pq_tokenizer_added(tok, t->end);
        tok->think = pq_tokenizer_added(tok, t->think);
        tok->answer = pq_tokenizer_added(tok, t->answer);
        if (tok->turn < 0 || tok->end < 0 || tok->think < 0 || tok->answer < 0)
            continue;
        tok->template = t;
        return PQ_OK;
    }
    return pq_fail(err, PQ_EUNSUPPORTED,
                   "%s: the added tokens have the marks of no chat template that panq knows (%s: "
                   "%s, %s, %s and %s)",
                   config_file, templates[0].family, templates[0].turn, templates[0].end,
                   templates[0].think, templates[0].answer);
}

/* ---- Modes ----------------------------------------------------------------------------------- */

static const char *const think_names[PQ_THINKS] = {
    [PQ_THINK_SLOW] = "slow", [PQ_THINK_AUTO] = "auto", [PQ_THINK_NO] = "no"};

const char *pq_think_name(enum pq_think think) {
    return think_names[think];
}

bool pq_think_parse(const char *name, enum pq_think *think) {
    for (int i = 0; i < PQ_THINKS; i++)
        if (strcmp(think_names[i], name) == 0) {
            *think = (enum pq_think)i;
            return true;
        }
    return false;
}

/* ---- Prompts --------------------------------------------------------------------------------- */

static enum pq_status append_texts(struct pq_buffer *prompt, const char *const *texts, int n,
                                   struct pq_err *err) {
    for (int i = 0; i < n; i++)
        PQ_TRY(pq_buffer_append(prompt, texts[i], strlen(texts[i]), err));
    return PQ_OK;
}

static enum pq_status append_turn(struct pq_buffer *prompt, const struct pq_template *t,
                                  const struct pq_message *message, struct pq_err *err) {
    const char *suffix = message->role == PQ_USER ? t->suffixes[message->think] : "";
    const char *const parts[] = {t->turn, t->roles[message->role], t->colon, message->text, suffix,
                                 t->end};
    return append_texts(prompt, parts, 6, err);
}

static enum pq_status append_prompt(struct pq_buffer *prompt, const struct pq_template *t,
                                    const struct pq_message *messages, int n, struct pq_err *err) {
    if (t->opens_with_system && messages[0].role != PQ_SYSTEM)
        PQ_TRY(append_turn(prompt, t, &(struct pq_message){PQ_SYSTEM, "", PQ_THINK_SLOW}, err));
    for (int i = 0; i < n; i++)
        PQ_TRY(append_turn(prompt, t, &messages[i], err));
    const char *const opening[] = {t->turn, t->roles[PQ_ASSISTANT], t->colon};
    return append_texts(prompt, opening, 3, err);
}

static enum pq_status check_messages(const struct pq_message *messages, int n, struct pq_err *err) {
    if (n < 1)
        return pq_fail(err, PQ_EINVAL, "a conversation of %d messages cannot be encoded", n);
    for (int i = 0; i < n; i++) {
        unsigned role = messages[i].role, think = messages[i].think;
        if (role >= PQ_ROLES)
            return pq_fail(err, PQ_EINVAL, "message %d has role %u, not 0 to %d", i, role,
                           PQ_ROLES - 1);
        if (role == PQ_USER && think >= PQ_THINKS)
            return pq_fail(err, PQ_EINVAL, "message %d has thinking mode %u, not 0 to %d", i, think,
                           PQ_THINKS - 1);
        if (!messages[i].text)
            return pq_fail(err, PQ_EINVAL, "message %d has no text", i);
    }
    return PQ_OK;
}

enum pq_status pq_chat_encode(const struct pq_tokenizer *tok, const struct pq_message *messages,
                              int n, int32_t **ids, int *n_ids, struct pq_err *err) {
    PQ_TRY(check_messages(messages, n, err));
    struct pq_buffer prompt = {0};
    enum pq_status status = append_prompt(&prompt, tok->template, messages, n, err);
    if (status == PQ_OK)
        status = pq_encode(tok, prompt.data, prompt.size, true, ids, n_ids, err);
    free(prompt.data);
    return status;
}
