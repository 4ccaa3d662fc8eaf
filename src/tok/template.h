/* template.h - the chat templates that panq knows, as data.
 *
 * A checkpoint says how it was trained to be talked to in its chat_template, a program in Jinja
 * (tokenizer_config.json or chat_template.jinja).  panq does not run Jinja: it recognises published
 * templates by what is written in them, and has what they do in a row of a table.  One that it does
 * not recognise leaves a tokenizer without a template: texts are encoded, conversations refused. */
#ifndef PQ_TOK_TEMPLATE_H
#define PQ_TOK_TEMPLATE_H

#include "base/status.h"

struct pq_tokenizer;

enum { PQ_ROLES = PQ_FUNCTION + 1, PQ_THINKS = PQ_THINK_NO + 1, PQ_TEMPLATE_PARTS = 6 };

/* What becomes of the thinking in an assistant's turn of the messages. */
enum pq_history {
    PQ_HISTORY_AS_IS,
    PQ_HISTORY_CUT,   /* all through the last answer mark is left out */
    PQ_HISTORY_QWEN3, /* cut in turns up to the last question, laid out anew in those after it */
};

/* A prompt is
 *     opening, turns of before[role] content after[role], before[assistant] replies[mode]
 * where the mode is that of the last user turn. */
struct pq_template {
    const char *name; /* of the family, for sentences */
    /* The checkpoint's chat_template begins with the first of these, ends with the last and has the
     * others between them, in this order; a single one is all of it.  Jinja's "\n" and the
     * character are alike, and whitespace at the end does not count. */
    const char *parts[PQ_TEMPLATE_PARTS];
    const char *marks[4]; /* added tokens that it is made of */

    const char *opening;  /* "" where there is none */
    const char *system;   /* content of the first turn where the messages begin otherwise; NULL: no
                           * such turn is added */
    const char *preamble; /* in front of a first system turn's content; NULL: nothing */
    const char *before[PQ_ROLES], *after[PQ_ROLES]; /* NULL: panq does not have that role of it */
    const char *suffixes[PQ_THINKS]; /* behind a user turn's content; NULL: nothing */
    const char *replies[PQ_THINKS];  /* NULL: it does not have that mode */
    bool lone_system; /* only the last system text counts; it comes first, between no marks */
    bool trims;       /* whitespace around contents is left out */
    enum pq_history history;

    const char *end;            /* the added token that ends a reply */
    const char *think, *answer; /* added tokens in front of a reply's parts; NULL: none */
    bool opens_thinking;        /* the prompt ends inside the thinking */
    bool strips_newlines;       /* around the parts of a reply, as the family's own code does */
};

/* Find the template that chat_template text [len] is (NULL: the checkpoint has none), and fill in
 * tok->template and the marks, or tok->no_template.  `file` is named in that sentence. */
void pq_template_find(struct pq_tokenizer *tok, const char *text, size_t len, const char *file);

#endif
