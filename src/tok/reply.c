/* Replies, as they stream: a thinking mark, thinking, an answer mark, content and an end mark
 * ([unused16], [unused17] and [unused10]; <think>, </think> and <|im_end|>), or content alone.
 *
 * The marks count as in Huawei's server, which takes the first of each.  Text before the thinking
 * mark belongs to neither part, though it has been shown as content by then.  A mark that comes
 * again, or a thinking mark after the answer mark, is text like any other.  Without an answer mark
 * there is no content once a thinking mark has come, or once the prompt has opened the thinking.
 *
 * openPangu's whitespace is kept everywhere, as are replies of models that do not think.  Where the
 * marks are <think> and </think>, newlines at both ends of thinking and content are left out, as
 * the code that Qwen publishes with its models does: they are held back until more text comes. */
#include "tok/tokenizer.h"
#include "tok/utf8.h"

#include <stdlib.h>
#include <string.h>

struct pq_reply {
    const struct pq_tokenizer *tok;  /* borrowed */
    const struct pq_template *marks; /* NULL: none count */
    int32_t ends[PQ_MAX_EOS + 2];    /* [n_ends] ids that end it */
    int n_ends;
    bool thought;  /* thinking has begun, before any answer mark */
    bool answered; /* the answer mark has come */
    bool ended;
    struct pq_buffer before; /* text up to the answer mark, owned */
    struct pq_buffer after;  /* text behind it, owned */
    size_t start;            /* of the thinking in `before` */
    int tokens;              /* ids since then, up to the answer mark, without marks */
    char pending[4];         /* the beginning of a character */
    int n_pending;           /* 0 .. 3 between calls */
    size_t held;             /* newlines that count only if more text comes in their part */
};

static void end_at(struct pq_reply *reply, int32_t id) {
    if (id >= 0)
        reply->ends[reply->n_ends++] = id;
}

enum pq_status pq_reply_open(struct pq_reply **out, const struct pq_tokenizer *tok,
                             const struct pq_config *config, bool raw, struct pq_err *err) {
    if (!raw && !tok->template)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s", tok->no_template.text);
    struct pq_reply *reply = calloc(1, sizeof *reply);
    if (!reply)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a reply");
    reply->tok = tok;
    reply->marks = raw ? NULL : tok->template;
    end_at(reply, tok->eos);
    end_at(reply, tok->template ? tok->end : -1);
    for (int i = 0; config && i < config->n_eos && i < PQ_MAX_EOS; i++)
        end_at(reply, config->eos[i]);
    pq_reply_reset(reply);
    *out = reply;
    return PQ_OK;
}

void pq_reply_close(struct pq_reply *reply) {
    if (!reply)
        return;
    free(reply->before.data);
    free(reply->after.data);
    free(reply);
}

void pq_reply_reset(struct pq_reply *reply) {
    reply->before.size = reply->after.size = 0; /* their memory serves the next reply */
    reply->thought = reply->marks && reply->marks->opens_thinking;
    reply->answered = reply->ended = false;
    reply->start = reply->held = 0;
    reply->tokens = reply->n_pending = 0;
}

/* ---- Characters ------------------------------------------------------------------------------ */

/* Put a character, for which, and for all that is held back, buffer has the room. */
static void put(struct pq_reply *reply, struct pq_buffer *buffer, const char *bytes, int n) {
    size_t start = reply->answered ? 0 : reply->start;
    if (reply->marks && reply->marks->strips_newlines && bytes[0] == '\n') {
        reply->held += buffer->size > start;
        return;
    }
    for (; reply->held > 0; reply->held--)
        buffer->data[buffer->size++] = '\n';
    memcpy(buffer->data + buffer->size, bytes, (size_t)n);
    buffer->size += (size_t)n;
}

static void drop_pending(struct pq_reply *reply, int n) {
    reply->n_pending -= n;
    memmove(reply->pending, reply->pending + n, (size_t)reply->n_pending);
}

static void put_byte(struct pq_reply *reply, struct pq_buffer *buffer, char byte) {
    reply->pending[reply->n_pending++] = byte;
    while (reply->n_pending > 0) {
        int length = pq_utf8_length(reply->pending, (size_t)reply->n_pending);
        if (length == PQ_UTF8_CUT)
            return;
        if (length == PQ_UTF8_BAD)
            put(reply, buffer, PQ_UTF8_REPLACEMENT, 3);
        else
            put(reply, buffer, reply->pending, length);
        drop_pending(reply, length == PQ_UTF8_BAD ? 1 : length);
    }
}

/* What is pending will not become a character any more. */
static void flush(struct pq_reply *reply, struct pq_buffer *buffer) {
    for (; reply->n_pending > 0; reply->n_pending--)
        put(reply, buffer, PQ_UTF8_REPLACEMENT, 3);
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static bool opens_part(const struct pq_reply *reply, int32_t id) {
    if (!reply->marks || reply->answered)
        return false;
    return id == reply->tok->answer || (id == reply->tok->think && !reply->thought);
}

static void open_part(struct pq_reply *reply, int32_t id) {
    reply->held = 0;
    if (id == reply->tok->answer) {
        reply->answered = true;
        return;
    }
    reply->thought = true;
    reply->start = reply->before.size;
    reply->tokens = 0;
}

static bool ends_reply(const struct pq_reply *reply, int32_t id) {
    for (int i = 0; i < reply->n_ends; i++)
        if (reply->ends[i] == id)
            return true;
    return false;
}

enum pq_part pq_reply_part(const struct pq_reply *reply) {
    return reply->thought && !reply->answered ? PQ_PART_THINKING : PQ_PART_CONTENT;
}

enum pq_status pq_reply_feed(struct pq_reply *reply, int32_t id, enum pq_part *part,
                             const char **text, size_t *len, bool *ended, struct pq_err *err) {
    if (id < 0)
        return pq_fail(err, PQ_EINVAL, "id %d of a reply is negative", id);
    if (reply->ended)
        return pq_fail(err, PQ_EINVAL, "id %d comes after the end of the reply", id);
    bool ends = ends_reply(reply, id);
    bool opens = opens_part(reply, id);
    struct pq_buffer *buffer = reply->answered ? &reply->after : &reply->before;
    enum pq_part now = pq_reply_part(reply);
    size_t start = buffer->size, n;
    const char *bytes = pq_tokenizer_text(reply->tok, id, true, &n);
    /* If all bytes are bad. */
    PQ_TRY(pq_buffer_reserve(buffer, reply->held + 3 * (sizeof reply->pending + n), err));

    if (opens || ends)
        flush(reply, buffer);
    for (size_t i = 0; i < n && !opens && !ends; i++)
        put_byte(reply, buffer, bytes[i]);
    buffer->data[buffer->size] = 0;
    reply->tokens += !reply->answered && !opens && !ends;
    reply->ended = ends;
    if (opens)
        open_part(reply, id);

    *text = buffer->data + start;
    *len = buffer->size - start;
    *part = *len > 0 ? now : PQ_PART_NONE;
    *ended = ends;
    return PQ_OK;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static const char *from(const struct pq_buffer *buffer, size_t start) {
    return buffer->size > start ? buffer->data + start : "";
}

const char *pq_reply_thinking(const struct pq_reply *reply) {
    return reply->thought || reply->answered ? from(&reply->before, reply->start) : "";
}

const char *pq_reply_content(const struct pq_reply *reply) {
    if (reply->answered)
        return from(&reply->after, 0);
    return reply->thought ? "" : from(&reply->before, 0);
}

int pq_reply_thinking_tokens(const struct pq_reply *reply) {
    return reply->thought || reply->answered ? reply->tokens : 0;
}
