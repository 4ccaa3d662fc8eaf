#include "prompts.h"
#include "input.h"
#include "jsonl.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

void pq_prompts_free(struct pq_prompts *prompts) {
    for (int i = 0; i < prompts->n; i++) {
        for (int j = 0; j < prompts->prompt[i].n; j++)
            free((char *)prompts->prompt[i].message[j].text);
        free(prompts->prompt[i].message);
    }
    free(prompts->prompt);
    *prompts = (struct pq_prompts){0};
}

/* Add an empty prompt with room for n messages; NULL when there is no memory. */
static struct pq_prompt *add_prompt(struct pq_prompts *prompts, size_t n, int number) {
    size_t count = (size_t)prompts->n;
    struct pq_prompt *larger = count & (count - 1) /* it doubles at powers of two */
                                   ? prompts->prompt
                                   : realloc(prompts->prompt, (2 * count + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    prompts->prompt = larger;
    larger[count] =
        (struct pq_prompt){.number = number, .message = calloc(n, sizeof *larger->message)};
    return larger[count].message ? &larger[prompts->n++] : NULL;
}

static enum pq_status add_message(struct pq_prompt *prompt, enum pq_role role, const char *text,
                                  size_t size, struct pq_err *err) {
    char *copy = strndup(text, size);
    if (!copy)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the prompts");
    prompt->message[prompt->n++] = (struct pq_message){.role = role, .text = copy};
    return PQ_OK;
}

/* ---- Lines of text --------------------------------------------------------------------------- */

static enum pq_status read_lines(struct pq_prompts *prompts, const char *text, const char *path,
                                 struct pq_err *err) {
    enum pq_status status = PQ_OK;
    for (int number = 1; *text && status == PQ_OK; number++) {
        size_t length = strcspn(text, "\n"), size = length;
        if (size && text[size - 1] == '\r')
            size--;
        if (strspn(text, " \t\r") < length) {
            struct pq_prompt *prompt = add_prompt(prompts, 1, number);
            status = prompt ? add_message(prompt, PQ_USER, text, size, err)
                            : pq_refuse(err, PQ_ENOMEM, "no memory for the prompts of %s", path);
        }
        text += length + (text[length] == '\n');
    }
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static enum pq_status read_message(struct pq_prompt *prompt, const json_t *message,
                                   const char *path, struct pq_err *err) {
    static const char *const names[] = {"system", "user", "assistant", "tool", "function"};
    const char *name = json_string_value(json_object_get(message, "role"));
    const char *text = json_string_value(json_object_get(message, "content"));
    int role = 0;
    if (!name || !text)
        return pq_refuse(err, PQ_EFORMAT, "%s: a message of prompt %d has no text \"%s\"", path,
                         prompt->number, name ? "content" : "role");
    while (role < 5 && strcmp(names[role], name) != 0)
        role++;
    if (role == 5)
        return pq_refuse(err, PQ_EFORMAT, "%s: prompt %d has the role \"%s\"", path, prompt->number,
                         name);
    return add_message(prompt, (enum pq_role)role, text, strlen(text), err);
}

static enum pq_status read_object(struct pq_prompts *prompts, const json_t *object, int number,
                                  const char *path, struct pq_err *err) {
    const json_t *messages = json_object_get(object, "messages");
    const char *text = json_string_value(json_object_get(object, "prompt"));
    size_t n = json_array_size(messages);
    text = text ? text : json_string_value(json_object_get(object, "text"));
    if (n == 0 && !text)
        return pq_refuse(err, PQ_EFORMAT,
                         "%s: prompt %d has no \"messages\", \"prompt\" or \"text\"", path, number);
    struct pq_prompt *prompt = add_prompt(prompts, n ? n : 1, number);
    if (!prompt)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the prompts of %s", path);
    enum pq_status status = n ? PQ_OK : add_message(prompt, PQ_USER, text, strlen(text), err);
    for (size_t i = 0; i < n && status == PQ_OK; i++)
        status = read_message(prompt, json_array_get(messages, i), path, err);
    if (status == PQ_OK && prompt->message[prompt->n - 1].role != PQ_USER)
        status = pq_refuse(err, PQ_EFORMAT, "%s: prompt %d does not end with a user's message",
                           path, number);
    return status;
}

static enum pq_status read_json(struct pq_prompts *prompts, const char *text, size_t size,
                                const char *path, struct pq_err *err) {
    json_t *rows = NULL;
    enum pq_status status = pq_jsonl_parse(&rows, text, size, path, err);
    for (size_t i = 0; i < json_array_size(rows) && status == PQ_OK; i++)
        status = read_object(prompts, json_array_get(rows, i), (int)i + 1, path, err);
    json_decref(rows);
    return status;
}

enum pq_status pq_prompts_read(struct pq_prompts *out, const char *path, struct pq_err *err) {
    struct pq_prompts prompts = {0};
    size_t size;
    char *text;
    enum pq_status status = pq_input_read(&text, &size, path, err);
    if (status != PQ_OK)
        return status;
    const char *start = text + strspn(text, " \t\r\n");
    if (*start == '{' || *start == '[')
        status = read_json(&prompts, text, size, path, err);
    else if (strlen(text) != size)
        status = pq_refuse(err, PQ_EFORMAT, "%s: there is a NUL in it", path);
    else
        status = read_lines(&prompts, text, path, err);
    free(text);
    if (status == PQ_OK && prompts.n == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s: there are no prompts in it", path);
    if (status == PQ_OK)
        *out = prompts;
    else
        pq_prompts_free(&prompts);
    return status;
}
