/* Conversations as the text a model was trained on: what the rows of template.c say.
 *
 * Contents are not escaped: added tokens in them are recognised, as in the published templates. Who
 * passes on a stranger's text must look for them first. */
#include "tok/tokenizer.h"
#include "tok/utf8.h"

#include <stdlib.h>
#include <string.h>

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

/* The mode of a prompt that no user turn gives one. */
static enum pq_think default_mode(const struct pq_template *t) {
    return t->replies[PQ_THINK_SLOW] ? PQ_THINK_SLOW : PQ_THINK_NO;
}

bool pq_chat_has_mode(const struct pq_tokenizer *tok, const struct pq_config *config,
                      enum pq_think think) {
    if (!tok->template || (unsigned)think >= PQ_THINKS)
        return false;
    return tok->template->replies[think] && (think == PQ_THINK_NO || !config || config->thinks);
}

/* ---- Stretches of text ----------------------------------------------------------------------- */

struct span {
    const char *text;
    size_t len;
};

static struct span span_of(const char *text) {
    return (struct span){text, text ? strlen(text) : 0};
}

static struct span strip_newlines(struct span s) {
    for (; s.len > 0 && s.text[0] == '\n'; s.text++)
        s.len--;
    while (s.len > 0 && s.text[s.len - 1] == '\n')
        s.len--;
    return s;
}

static struct span skip_newlines(const char *text) {
    return span_of(text + strspn(text, "\n"));
}

/* What follows the last `mark` in text; all of it where there is none. */
static const char *behind_last(const char *text, const char *mark) {
    for (const char *at; (at = strstr(text, mark)) != NULL;)
        text = at + strlen(mark);
    return text;
}

/* The thinking in an assistant's text: up to the first answer mark, behind the last thinking mark
 * before it. */
static struct span thinking_of(const struct pq_template *t, const char *text) {
    const char *end = strstr(text, t->answer);
    if (!end)
        return (struct span){"", 0};
    for (const char *at; (at = strstr(text, t->think)) != NULL && at < end;)
        text = at + strlen(t->think);
    return strip_newlines((struct span){text, (size_t)(end - text)});
}

/* ---- Prompts --------------------------------------------------------------------------------- */

struct prompt {
    const struct pq_template *t;
    const struct pq_message *messages; /* [n] */
    int n;
    struct pq_buffer text;
};

static enum pq_status put(struct prompt *p, struct span s, struct pq_err *err) {
    return pq_buffer_append(&p->text, s.text, s.len, err);
}

static enum pq_status put_text(struct prompt *p, const char *text, struct pq_err *err) {
    return put(p, span_of(text), err);
}

static bool is_tool_response(const char *text) {
    static const char start[] = "<tool_response>", end[] = "</tool_response>";
    size_t len = strlen(text), need = sizeof end - 1;
    return strncmp(text, start, sizeof start - 1) == 0 && len >= need &&
           strcmp(text + len - need, end) == 0;
}

/* Qwen3's template: the last user turn that is a question, else the last turn. */
static int last_question(const struct prompt *p) {
    for (int i = p->n - 1; i >= 0; i--)
        if (p->messages[i].role == PQ_USER && !is_tool_response(p->messages[i].text))
            return i;
    return p->n - 1;
}

/* The text of assistant turn i as Qwen3's template shows it. */
static enum pq_status put_qwen3(struct prompt *p, int i, struct pq_err *err) {
    const char *text = p->messages[i].text;
    bool thought = strstr(text, p->t->answer) != NULL;
    struct span thinking = thinking_of(p->t, text), content = span_of(text);
    bool shown = i > last_question(p) && (i == p->n - 1 || thinking.len > 0);
    if (thought || shown)
        content = skip_newlines(behind_last(text, p->t->answer));
    if (shown) {
        PQ_TRY(put_text(p, "<think>\n", err));
        PQ_TRY(put(p, thinking, err));
        PQ_TRY(put_text(p, "\n</think>\n\n", err));
    }
    return put(p, content, err);
}

static enum pq_status put_content(struct prompt *p, int i, struct pq_err *err) {
    const struct pq_message *message = &p->messages[i];
    struct span content = span_of(message->text);
    if (message->role == PQ_ASSISTANT && p->t->history == PQ_HISTORY_QWEN3)
        return put_qwen3(p, i, err);
    if (message->role == PQ_ASSISTANT && p->t->history == PQ_HISTORY_CUT)
        content = span_of(behind_last(message->text, p->t->answer));
    if (p->t->trims)
        pq_utf8_trim(&content.text, &content.len);
    PQ_TRY(put(p, content, err));
    return message->role == PQ_USER ? put_text(p, p->t->suffixes[message->think], err) : PQ_OK;
}

static enum pq_status put_turn(struct prompt *p, int i, struct pq_err *err) {
    enum pq_role role = p->messages[i].role;
    PQ_TRY(put_text(p, p->t->before[role], err));
    if (i == 0 && role == PQ_SYSTEM)
        PQ_TRY(put_text(p, p->t->preamble, err));
    PQ_TRY(put_content(p, i, err));
    return put_text(p, p->t->after[role], err);
}

/* The system turn that the messages do not have. */
static enum pq_status put_system(struct prompt *p, struct pq_err *err) {
    PQ_TRY(put_text(p, p->t->before[PQ_SYSTEM], err));
    PQ_TRY(put_text(p, p->t->preamble, err));
    PQ_TRY(put_text(p, p->t->system, err));
    return put_text(p, p->t->after[PQ_SYSTEM], err);
}

/* The last system text, where it stands for all. */
static enum pq_status put_lone_system(struct prompt *p, struct pq_err *err) {
    for (int i = p->n - 1; i >= 0; i--)
        if (p->messages[i].role == PQ_SYSTEM)
            return put_text(p, p->messages[i].text, err);
    return PQ_OK;
}

static enum pq_status put_prompt(struct prompt *p, struct pq_err *err) {
    const struct pq_template *t = p->t;
    enum pq_think mode = default_mode(t);
    PQ_TRY(put_text(p, t->opening, err));
    if (t->lone_system)
        PQ_TRY(put_lone_system(p, err));
    else if (t->system && p->messages[0].role != PQ_SYSTEM)
        PQ_TRY(put_system(p, err));
    for (int i = 0; i < p->n; i++) {
        if (p->messages[i].role == PQ_USER)
            mode = p->messages[i].think;
        if (p->messages[i].role != PQ_SYSTEM || !t->lone_system)
            PQ_TRY(put_turn(p, i, err));
    }
    PQ_TRY(put_text(p, t->before[PQ_ASSISTANT], err));
    return put_text(p, t->replies[mode], err);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static enum pq_status check_message(const struct pq_template *t, const struct pq_message *message,
                                    int i, struct pq_err *err) {
    static const char *const roles[PQ_ROLES] = {"system", "user", "assistant", "tool", "function"};
    unsigned role = message->role, think = message->think;
    if (role >= PQ_ROLES)
        return pq_fail(err, PQ_EINVAL, "message %d has role %u, not 0 to %d", i, role,
                       PQ_ROLES - 1);
    if (role == PQ_USER && think >= PQ_THINKS)
        return pq_fail(err, PQ_EINVAL, "message %d has thinking mode %u, not 0 to %d", i, think,
                       PQ_THINKS - 1);
    if (!message->text)
        return pq_fail(err, PQ_EINVAL, "message %d has no text", i);
    if (!t->before[role])
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "message %d has role %s, which panq does not have of the template of %s", i,
                       roles[role], t->name);
    if (role == PQ_USER && !t->replies[think])
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "message %d has thinking mode '%s', which the template of %s does not have",
                       i, think_names[think], t->name);
    return PQ_OK;
}

enum pq_status pq_chat_encode(const struct pq_tokenizer *tok, const struct pq_message *messages,
                              int n, int32_t **ids, int *n_ids, struct pq_err *err) {
    if (n < 1)
        return pq_fail(err, PQ_EINVAL, "a conversation of %d messages cannot be encoded", n);
    if (!tok->template)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s", tok->no_template.text);
    for (int i = 0; i < n; i++)
        PQ_TRY(check_message(tok->template, &messages[i], i, err));
    struct prompt prompt = {.t = tok->template, .messages = messages, .n = n};
    enum pq_status status = put_prompt(&prompt, err);
    if (status == PQ_OK)
        status = pq_encode(tok, prompt.text.data, prompt.text.size, false, ids, n_ids, err);
    free(prompt.text.data);
    return status;
}
