/* fixtures.h - the byte-level tokenizers of tests/golden, with a chat template in memory. */
#ifndef PQ_TESTS_FIXTURES_H
#define PQ_TESTS_FIXTURES_H

#include "base/map.h"
#include "tok/tokenizer.h"

#include <string.h>

#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define CHATML_START "{% for message in messages %}"
#define CHATML_DEFAULT(text)                                                                       \
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" text         \
    "<|im_end|>\n' }}{% endif %}"
#define CHATML_END                                                                                 \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"       \
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

/* What the published templates are recognised by, in their own words and order. */
static const struct fixture_family {
    const char *name, *tokenizer, *jinja;
} fixture_families[] = {
    {"qwen3", "qwen",
     "{%- if tools %}\n    {{- '<|im_start|>system\n' }}\n"
     "    {%- if messages[0].role == 'system' %}"
     "        {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}\n"
     "    {%- endif %}\n{%- endif %}\n"
     "{%- set ns = namespace(multi_step_tool=true, last_query_index="
     "'\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
     "    {{- '<|im_start|>assistant\n' }}\n"
     "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
     "        {{- '<think>\n\n</think>\n\n' }}\n    {%- endif %}\n{%- endif %}"},
    {"qwen25", "qwen",
     "{%- if tools %}\n    {{- '<|im_start|>system\n' }}\n"
     "    {%- if messages[0]['role'] == 'system' %}"
     "    {%- else %}\n        {{- '<|im_start|>system\n" QWEN_SYSTEM "<|im_end|>\n' }}"
     "        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
     "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n{%- endif %}"},
    {"qwen2", "qwen", CHATML_START CHATML_DEFAULT("You are a helpful assistant.") CHATML_END},
    {"smollm2", "qwen",
     CHATML_START CHATML_DEFAULT("You are a helpful AI assistant named SmolLM, trained by Hugging "
                                 "Face") CHATML_END},
    {"chatml", "qwen", CHATML_START CHATML_END},
    {"llama31", "llama3",
     "{{- bos_token }}\n    {%- set system_message = \"\" %}\n{%- endif %}"
     "\n{{- \"<|start_header_id|>system<|end_header_id|>\n\n\" }}"
     "\n{{- \"Cutting Knowledge Date: December 2023\n\" }}\n"
     "{{- \"Today Date: \" + date_string + \"\n\n\" }}"
     "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ "
     "message['content'] | trim + '<|eot_id|>' }}"
     "    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}\n{%- endif %}"},
    {"llama3", "llama3",
     "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
     "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
     "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
     "{{ content }}{% endfor %}"
     "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"},
    {"r1", "qwen",
     "{% if not add_generation_prompt is defined %}{{bos_token}}{{ns.system_prompt}}"
     "{{'<｜User｜>' + message['content']}}"
     "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
     "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}"
     "{{'<｜Assistant｜><think>\n'}}{% endif %}"},
};
enum { FIXTURE_FAMILIES = sizeof fixture_families / sizeof *fixture_families };

static inline const struct fixture_family *fixture_find(const char *name) {
    if (strcmp(name, "llama32") == 0) /* differs in what becomes of the date alone */
        name = "llama31";
    for (int i = 0; i < FIXTURE_FAMILIES; i++)
        if (strcmp(fixture_families[i].name, name) == 0)
            return &fixture_families[i];
    return NULL;
}

/* tests/golden/bpe-<tokenizer>.json with config (NULL: none) and template jinja (NULL: none). */
static inline struct pq_tokenizer *fixture_open(const char *tokenizer, const char *config,
                                                const char *jinja, struct pq_err *err) {
    char path[128];
    struct pq_map map;
    struct pq_tokenizer *tok = NULL;
    snprintf(path, sizeof path, "tests/golden/bpe-%s.json", tokenizer);
    if (pq_map_open(&map, path, err) != PQ_OK)
        return NULL;
    struct pq_tokenizer_files files = {
        .model.name = "tokenizer.model",
        .json = {(const char *)map.data, path, map.size},
        .config = {config, "tokenizer_config.json", config ? strlen(config) : 0},
        .jinja = {jinja, "chat_template.jinja", jinja ? strlen(jinja) : 0}};
    pq_tokenizer_parse(&tok, &files, err);
    pq_map_close(&map);
    return tok;
}

#endif
