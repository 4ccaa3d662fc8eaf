#include "tok/template.h"

#include "tok/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is common to several --------------------------------------------------------------- */

#define CHATML_MARKS "<|im_start|>", "<|im_end|>"
#define CHATML_TURNS                                                                               \
    .before = {[PQ_SYSTEM] = "<|im_start|>system\n",                                               \
               [PQ_USER] = "<|im_start|>user\n",                                                   \
               [PQ_ASSISTANT] = "<|im_start|>assistant\n"},                                        \
    .after = {[PQ_SYSTEM] = "<|im_end|>\n",                                                        \
              [PQ_USER] = "<|im_end|>\n",                                                          \
              [PQ_ASSISTANT] = "<|im_end|>\n"},                                                    \
    .opening = "", .end = "<|im_end|>"

/* ChatML in one line, with and without a system turn of its own. */
#define CHATML_LOOP "{% for message in messages %}"
#define CHATML_SYSTEM(text)                                                                        \
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" text         \
    "<|im_end|>\n' }}{% endif %}"
#define CHATML_REST                                                                                \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"       \
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

#define LLAMA_HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define LLAMA_TURNS                                                                                \
    .marks = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"},      \
    .before = {[PQ_SYSTEM] = LLAMA_HEADER("system"),                                               \
               [PQ_USER] = LLAMA_HEADER("user"),                                                   \
               [PQ_ASSISTANT] = LLAMA_HEADER("assistant")},                                        \
    .after =                                                                                       \
        {[PQ_SYSTEM] = "<|eot_id|>", [PQ_USER] = "<|eot_id|>", [PQ_ASSISTANT] = "<|eot_id|>"},     \
    .opening = "<|begin_of_text|>", .end = "<|eot_id|>", .trims = true

#define QWEN_TEXT "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define QWEN2_TEXT "You are a helpful assistant."
#define SMOLLM2_TEXT "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

/* ---- The table ------------------------------------------------------------------------------- */

static const struct pq_template templates[] = {
    {
        .name = "openPangu",
        .parts = {"", "[unused9]系统：", "[unused9]助手：", ""},
        .marks = {"[unused9]", "[unused10]", "[unused16]", "[unused17]"},
        .opening = "<s>",
        .system = "",
        .before = {[PQ_SYSTEM] = "[unused9]系统：",
                   [PQ_USER] = "[unused9]用户：",
                   [PQ_ASSISTANT] = "[unused9]助手：",
                   [PQ_TOOL] = "[unused9]工具：",
                   [PQ_FUNCTION] = "[unused9]方法："},
        .after = {[PQ_SYSTEM] = "[unused10]",
                  [PQ_USER] = "[unused10]",
                  [PQ_ASSISTANT] = "[unused10]",
                  [PQ_TOOL] = "[unused10]",
                  [PQ_FUNCTION] = "[unused10]"},
        .suffixes = {[PQ_THINK_AUTO] = " /auto_think", [PQ_THINK_NO] = " /no_think"},
        .replies = {[PQ_THINK_SLOW] = "", [PQ_THINK_AUTO] = "", [PQ_THINK_NO] = ""},
        .end = "[unused10]",
        .think = "[unused16]",
        .answer = "[unused17]",
    },
    {
        .name = "Qwen3",
        .parts = {"{%- if tools %}\n    {{- '<|im_start|>system\n' }}\n"
                  "    {%- if messages[0].role == 'system' %}",
                  "        {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}\n"
                  "    {%- endif %}\n{%- endif %}\n"
                  "{%- set ns = namespace(multi_step_tool=true, last_query_index=",
                  "'\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + "
                  "content.lstrip('\n') }}",
                  "    {{- '<|im_start|>assistant\n' }}\n"
                  "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
                  "        {{- '<think>\n\n</think>\n\n' }}\n    {%- endif %}\n{%- endif %}"},
        .marks = {CHATML_MARKS, "<think>", "</think>"},
        CHATML_TURNS,
        .replies = {[PQ_THINK_SLOW] = "", [PQ_THINK_NO] = "<think>\n\n</think>\n\n"},
        .history = PQ_HISTORY_QWEN3,
        .think = "<think>",
        .answer = "</think>",
        .strips_newlines = true,
    },
    {
        .name = "Qwen2.5",
        .parts = {"{%- if tools %}\n    {{- '<|im_start|>system\n' }}\n"
                  "    {%- if messages[0]['role'] == 'system' %}",
                  "    {%- else %}\n        {{- '<|im_start|>system\n" QWEN_TEXT "<|im_end|>\n' }}",
                  "        {{- '<|im_start|>' + message.role + '\n' + message.content + "
                  "'<|im_end|>' + '\n' }}",
                  "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n"
                  "{%- endif %}"},
        .marks = {CHATML_MARKS},
        CHATML_TURNS,
        .system = QWEN_TEXT,
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        .name = "Qwen2",
        .parts = {CHATML_LOOP CHATML_SYSTEM(QWEN2_TEXT) CHATML_REST},
        .marks = {CHATML_MARKS},
        CHATML_TURNS,
        .system = QWEN2_TEXT,
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        .name = "SmolLM2",
        .parts = {CHATML_LOOP CHATML_SYSTEM(SMOLLM2_TEXT) CHATML_REST},
        .marks = {CHATML_MARKS},
        CHATML_TURNS,
        .system = SMOLLM2_TEXT,
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        .name = "ChatML",
        .parts = {CHATML_LOOP CHATML_REST},
        .marks = {CHATML_MARKS},
        CHATML_TURNS,
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        /* Llama 3.2's takes today's date where Jinja can tell it; this is what it falls back to,
         * and 3.1's and 3.3's own: a prompt does not depend on the day. */
        .name = "Llama 3.1",
        .parts = {"{{- bos_token }}\n", "    {%- set system_message = \"\" %}\n{%- endif %}",
                  "\n{{- \"" LLAMA_HEADER("system") "\" }}",
                  "\n{{- \"Cutting Knowledge Date: December 2023\n\" }}\n"
                  "{{- \"Today Date: \" + date_string + \"\n\n\" }}",
                  "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ "
                  "message['content'] | trim + '<|eot_id|>' }}",
                  "    {{- '" LLAMA_HEADER("assistant") "' }}\n{%- endif %}"},
        LLAMA_TURNS,
        .system = "",
        .preamble = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        .name = "Llama 3",
        .parts = {"{% set loop_messages = messages %}{% for message in loop_messages %}"
                  "{% set content = '<|start_header_id|>' + message['role'] + "
                  "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
                  "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
                  "{{ content }}{% endfor %}",
                  "{{ '" LLAMA_HEADER("assistant") "' }}", ""},
        LLAMA_TURNS,
        .replies = {[PQ_THINK_NO] = ""},
    },
    {
        .name = "DeepSeek-R1-Distill",
        .parts = {"{% if not add_generation_prompt is defined %}",
                  "{{bos_token}}{{ns.system_prompt}}", "{{'<｜User｜>' + message['content']}}",
                  "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}"
                  "{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}",
                  "{{'<｜Assistant｜><think>\n'}}{% endif %}"},
        .marks = {"<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"},
        .opening = "<｜begin▁of▁sentence｜>",
        .before = {[PQ_SYSTEM] = "", [PQ_USER] = "<｜User｜>", [PQ_ASSISTANT] = "<｜Assistant｜>"},
        .after = {[PQ_SYSTEM] = "", [PQ_USER] = "", [PQ_ASSISTANT] = "<｜end▁of▁sentence｜>"},
        .replies = {[PQ_THINK_SLOW] = "<think>\n"},
        .lone_system = true,
        .history = PQ_HISTORY_CUT,
        .end = "<｜end▁of▁sentence｜>",
        .think = "<think>",
        .answer = "</think>",
        .opens_thinking = true,
        .strips_newlines = true,
    },
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* ---- Recognition ----------------------------------------------------------------------------- */

/* The template with a newline for each "\n" and nothing at its end, malloc'd. */
static char *unescape(const char *text, size_t len) {
    char *copy = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; copy && i < len; i++) {
        bool escape = text[i] == '\\' && i + 1 < len && text[i + 1] == 'n';
        copy[n++] = escape ? '\n' : text[i];
        i += escape;
    }
    while (n > 0 && strchr(" \t\r\n", copy[n - 1]))
        n--;
    if (copy)
        copy[n] = 0;
    return copy;
}

static bool is_written_so(const struct pq_template *t, const char *text) {
    int last = 0;
    while (last + 1 < PQ_TEMPLATE_PARTS && t->parts[last + 1])
        last++;
    if (last == 0)
        return strcmp(text, t->parts[0]) == 0;
    if (strncmp(text, t->parts[0], strlen(t->parts[0])) != 0)
        return false;
    text += strlen(t->parts[0]);
    for (int i = 1; i < last; i++) {
        text = strstr(text, t->parts[i]);
        if (!text)
            return false;
        text += strlen(t->parts[i]);
    }
    size_t left = strlen(text), need = strlen(t->parts[last]);
    return left >= need && strcmp(text + left - need, t->parts[last]) == 0;
}

static void adopt(struct pq_tokenizer *tok, const struct pq_template *t, const char *file) {
    for (int i = 0; i < 4 && t->marks[i]; i++)
        if (pq_tokenizer_added(tok, t->marks[i]) < 0) {
            pq_fail(&tok->no_template, PQ_EFORMAT,
                    "%s: chat_template is that of %s, whose mark %s is no added token", file,
                    t->name, t->marks[i]);
            return;
        }
    tok->template = t;
    tok->end = pq_tokenizer_added(tok, t->end);
    tok->think = t->think ? pq_tokenizer_added(tok, t->think) : -1;
    tok->answer = t->answer ? pq_tokenizer_added(tok, t->answer) : -1;
}

void pq_template_find(struct pq_tokenizer *tok, const char *text, size_t len, const char *file) {
    char known[256] = "";
    char *copy = unescape(text ? text : "", len);
    tok->end = tok->think = tok->answer = -1;
    for (int i = 0; copy && i < TEMPLATES; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", templates[i].name);
        if (text && is_written_so(&templates[i], copy)) {
            adopt(tok, &templates[i], file);
            free(copy);
            return;
        }
    }
    free(copy);
    pq_fail(&tok->no_template, PQ_EUNSUPPORTED,
            "%s: %s (%s): a conversation cannot be laid out, only text as it is (--raw)", file,
            text ? "chat_template is none of those that panq knows" : "there is no chat_template",
            known);
}
