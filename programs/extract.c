#include "extract.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct span {
    const char *start, *end;
};

struct fence {
    int indent, ticks;
    struct span info; /* what follows the backticks, trimmed */
};

static const char *line_end(const char *line) {
    return line + strcspn(line, "\n");
}

static const char *next_line(const char *line) {
    const char *end = line_end(line);
    return *end ? end + 1 : end;
}

static bool parse_fence(const char *line, struct fence *fence) {
    const char *end = line_end(line);
    fence->indent = (int)strspn(line, " ");
    fence->ticks = (int)strspn(line + fence->indent, "`");
    if (fence->ticks < 3)
        return false;
    const char *info = line + fence->indent + fence->ticks;
    while (info < end && strchr(" \t\r", *info))
        info++;
    while (end > info && strchr(" \t\r", end[-1]))
        end--;
    fence->info = (struct span){info, end};
    /* Text in backticks, ```like this``` , opens nothing. */
    return !memchr(info, '`', (size_t)(end - info));
}

/* 2: marked as Python, 1: unmarked, 0: something else. */
static int fence_rank(const struct fence *fence) {
    static const char *const names[] = {"python", "python3", "py"};
    size_t n = (size_t)(fence->info.end - fence->info.start);
    if (n == 0)
        return 1;
    n = strcspn(fence->info.start, " \t\r\n{,");
    for (int i = 0; i < 3; i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], fence->info.start, n) == 0)
            return 2;
    return 0;
}

/* Where a line of text begins with the definition of name; NULL: nowhere. */
static const char *find_definition(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; *line; line = next_line(line)) {
        const char *p = line;
        bool keyword = true;
        if (strncmp(p, "async ", 6) == 0)
            p += 6 + strspn(p + 6, " ");
        if (strncmp(p, "def ", 4) == 0)
            p += 4 + strspn(p + 4, " ");
        else if (strncmp(p, "class ", 6) == 0)
            p += 6 + strspn(p + 6, " ");
        else
            keyword = false;
        if (strncmp(p, name, length) != 0)
            continue;
        p += length;
        p += strspn(p, " \t");
        if (keyword ? *p == '(' || *p == ':' || *p == '[' : *p == '=' && p[1] != '=')
            return line;
    }
    return NULL;
}

/* A copy of the lines of span, each without up to `indent` leading spaces. */
static char *dedent(struct span span, int indent) {
    char *out = malloc((size_t)(span.end - span.start) + 2), *to = out;
    if (!out)
        return NULL;
    for (const char *line = span.start; line < span.end; line = next_line(line)) {
        const char *end = next_line(line);
        for (int i = 0; i < indent && *line == ' '; i++)
            line++;
        end = end > span.end ? span.end : end;
        memcpy(to, line, (size_t)(end - line));
        to += end - line;
    }
    *to = 0;
    return out;
}

/* The block of rule 2, malloc'd; *found false: the reply has none. */
static char *best_block(const char *reply, const char *entry_point, bool *found) {
    char *best = NULL;
    int best_score = 0;
    *found = false;
    for (const char *line = reply; *line;) {
        struct fence open, close;
        bool opens = parse_fence(line, &open);
        line = next_line(line);
        if (!opens)
            continue;
        struct span body = {line, line};
        while (*line && !(parse_fence(line, &close) && close.ticks >= open.ticks &&
                          close.info.start == close.info.end))
            line = next_line(line);
        body.end = line;
        line = next_line(line);
        char *code = dedent(body, open.indent);
        if (!code)
            break;
        int rank = fence_rank(&open);
        int score = rank ? rank + 2 * (find_definition(code, entry_point) != NULL) : 0;
        if (score && score >= best_score) {
            free(best);
            best = code;
            best_score = score;
            *found = true;
        } else {
            free(code);
        }
    }
    return best;
}

char *pq_extract_program(const char *reply, const char *stub, const char *entry_point) {
    bool found;
    char *code = best_block(reply, entry_point, &found), *program = NULL;
    if (!found)
        code = strdup(reply);
    if (!code)
        return NULL;
    if (code[strspn(code, " \t\r\n")] != 0) {
        const char *own = find_definition(stub, entry_point);
        size_t before = strlen(stub);
        if (find_definition(code, entry_point))
            before = own ? (size_t)(own - stub) : 0;
        bool newline = before && stub[before - 1] != '\n';
        if (asprintf(&program, "%.*s%s%s", (int)before, stub, newline ? "\n" : "", code) < 0)
            program = NULL;
    }
    free(code);
    return program;
}
