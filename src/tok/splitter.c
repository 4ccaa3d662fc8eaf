#include "tok/splitter.h"

#include "io/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ByteLevel's own, as published with GPT-2 (encoder.py). */
static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* What Digits takes for one: \p{N}, and two ranges of Unicode 17 that patterns do not know. */
#define NUMERIC "[\\p{N}\U00011de0-\U00011de9\U00016ff4-\U00016ff6]"

/* ---- Reading --------------------------------------------------------------------------------- */

static enum pq_status add_step(struct pq_splitter *s, const struct pq_json *at, const char *key,
                               const char *pattern, struct pq_err *err) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", at->path, key);
    if (s->n == PQ_MAX_STEPS)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: key \"%s\" is one more step than panq's %d",
                       at->file, name, PQ_MAX_STEPS);
    PQ_TRY(pq_regex_open(&s->steps[s->n], pattern, at->file, name, err));
    s->n++;
    return PQ_OK;
}

static enum pq_status read_split(struct pq_splitter *s, const struct pq_json *at,
                                 struct pq_err *err) {
    struct pq_json pattern;
    const char *regex, *behavior;
    PQ_TRY(pq_keys_only(at, "type pattern behavior invert", err));
    PQ_TRY(pq_keys_false(at, "invert", err));
    PQ_TRY(pq_json_string(at, "behavior", &behavior, err));
    if (strcmp(behavior, "Isolated") != 0)
        return pq_keys_refuse(at, "behavior", err);
    PQ_TRY(pq_json_object(at, "pattern", &pattern, err));
    PQ_TRY(pq_keys_only(&pattern, "Regex", err));
    PQ_TRY(pq_json_string(&pattern, "Regex", &regex, err));
    return add_step(s, &pattern, "Regex", regex, err);
}

static enum pq_status read_digits(struct pq_splitter *s, const struct pq_json *at,
                                  struct pq_err *err) {
    bool individual;
    PQ_TRY(pq_keys_only(at, "type individual_digits", err));
    PQ_TRY(pq_json_bool_or(at, "individual_digits", false, &individual, err));
    return add_step(s, at, "type", individual ? NUMERIC : NUMERIC "+", err);
}

/* Offsets, which trim_offsets is about, are nothing that panq gives. */
static enum pq_status read_byte_level(struct pq_splitter *s, const struct pq_json *at,
                                      struct pq_err *err) {
    bool prefix, use_regex;
    PQ_TRY(pq_keys_only(at, "type add_prefix_space trim_offsets use_regex", err));
    PQ_TRY(pq_json_bool_or(at, "add_prefix_space", true, &prefix, err));
    PQ_TRY(pq_json_bool_or(at, "use_regex", true, &use_regex, err));
    s->prefix_step = prefix ? s->n : -1;
    return use_regex ? add_step(s, at, "use_regex", gpt2, err) : PQ_OK;
}

/* ByteLevel has to be the last: what it makes of a text is for merges only. */
static enum pq_status read_step(struct pq_splitter *s, const struct pq_json *at, bool last,
                                struct pq_err *err) {
    const char *type;
    PQ_TRY(pq_json_string(at, "type", &type, err));
    if (strcmp(type, "ByteLevel") == 0 && last)
        return read_byte_level(s, at, err);
    if (strcmp(type, "Split") == 0 && !last)
        return read_split(s, at, err);
    if (strcmp(type, "Digits") == 0 && !last)
        return read_digits(s, at, err);
    return pq_keys_refuse(at, "type", err);
}

enum pq_status pq_splitter_read(struct pq_splitter *out, const struct pq_json *root,
                                struct pq_err *err) {
    struct pq_json at, step;
    const char *type;
    json_t *steps;
    *out = (struct pq_splitter){.prefix_step = -1};
    PQ_TRY(pq_json_object(root, "pre_tokenizer", &at, err));
    PQ_TRY(pq_json_string(&at, "type", &type, err));
    if (strcmp(type, "Sequence") != 0)
        return read_step(out, &at, true, err);
    PQ_TRY(pq_keys_only(&at, "type pretokenizers", err));
    PQ_TRY(pq_keys_array(&at, "pretokenizers", &steps, err));
    size_t n = json_array_size(steps);
    if (n == 0)
        return pq_keys_refuse(&at, "pretokenizers", err);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_keys_entry(&at, "pretokenizers", i, &step, err));
        PQ_TRY(read_step(out, &step, i == n - 1, err));
    }
    return PQ_OK;
}

void pq_splitter_close(struct pq_splitter *splitter) {
    for (int i = 0; i < splitter->n; i++)
        pq_regex_close(splitter->steps[i]);
    splitter->n = 0;
}

/* ---- Splitting ------------------------------------------------------------------------------- */

void pq_splitter_scratch_close(struct pq_splitter_scratch *scratch) {
    pq_regex_scratch_close(&scratch->regex);
    free(scratch->prefixed.data);
    scratch->prefixed = (struct pq_buffer){0};
}

struct run {
    const struct pq_splitter *splitter;
    struct pq_splitter_scratch *scratch;
    pq_word_fn *word;
    void *user;
};

static enum pq_status run_step(const struct run *run, int step, const char *text, size_t len,
                               struct pq_err *err);

/* A piece for `step`.  The copy with a space in front lasts: no later step prefixes again. */
static enum pq_status run_piece(const struct run *run, int step, const char *text, size_t len,
                                struct pq_err *err) {
    struct pq_buffer *prefixed = &run->scratch->prefixed;
    if (step != run->splitter->prefix_step || text[0] == ' ')
        return run_step(run, step, text, len, err);
    prefixed->size = 0;
    PQ_TRY(pq_buffer_append(prefixed, " ", 1, err));
    PQ_TRY(pq_buffer_append(prefixed, text, len, err));
    return run_step(run, step, prefixed->data, prefixed->size, err);
}

static enum pq_status run_step(const struct run *run, int step, const char *text, size_t len,
                               struct pq_err *err) {
    if (step == run->splitter->n)
        return run->word(run->user, text, len, err);
    for (size_t at = 0, start, end; at < len; at = end) {
        PQ_TRY(pq_regex_find(run->splitter->steps[step], text, len, at, &start, &end,
                             &run->scratch->regex, err));
        if (start > at)
            PQ_TRY(run_piece(run, step + 1, text + at, start - at, err));
        if (end > start)
            PQ_TRY(run_piece(run, step + 1, text + start, end - start, err));
    }
    return PQ_OK;
}

enum pq_status pq_splitter_run(const struct pq_splitter *splitter, const char *text, size_t len,
                               struct pq_splitter_scratch *scratch, pq_word_fn *word, void *user,
                               struct pq_err *err) {
    struct run run = {splitter, scratch, word, user};
    return len > 0 ? run_piece(&run, 0, text, len, err) : PQ_OK;
}
