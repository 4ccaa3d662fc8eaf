#include "html.h"

#include <stdarg.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1d1f23;--soft:#5d646f;"
    "--line:#e2dfd9;--good:#0b7a55;--bad:#b3361b;--mark:#9a5b00;--goodbg:#e3f4ec;"
    "--badbg:#fbe9e4;--markbg:#fdf0d8;--c0:#0072b2;--c1:#d98200;--c2:#009e73;--c3:#b0589a;"
    "--c4:#d55e00;--c5:#5b7fa6}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1c1f25;--ink:#e8e6e1;"
    "--soft:#9aa1ac;--line:#31353d;--good:#58c99b;--bad:#f0846b;--mark:#e8b45c;"
    "--goodbg:#17332a;--badbg:#3b211c;--markbg:#3a2d15;--c0:#4aa8e0;--c1:#f0a93c;--c2:#35c79a;"
    "--c3:#d98cc4;--c4:#f2854a;--c5:#9db8d8}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "main{max-width:76rem;margin:0 auto;padding:1.5rem clamp(.8rem,3vw,2.5rem) 4rem}\n"
    "h1{font-size:clamp(1.5rem,4vw,2.1rem);line-height:1.2;margin:.4rem 0 .2rem}\n"
    "h2{font-size:1.25rem;margin:2.4rem 0 .6rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}\n"
    ".sub,.note,figcaption{color:var(--soft)}.note,figcaption{font-size:.87rem;margin:.5rem 0}\n"
    ".warn{background:var(--badbg);color:var(--bad);border-radius:.5rem;padding:.7rem 1rem;"
    "font-weight:600}\n"
    ".scroll{overflow-x:auto;border:1px solid var(--line);border-radius:.6rem;"
    "background:var(--card)}\n"
    ".grid{border-collapse:collapse;width:100%;font-size:.9rem;"
    "font-variant-numeric:tabular-nums}\n"
    ".grid th,.grid td{padding:.45rem .7rem;text-align:left;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}\n"
    ".grid tr:last-child td{border-bottom:0}.grid thead th{color:var(--soft);font-weight:600;"
    "font-size:.8rem;vertical-align:bottom}\n"
    ".grid .n{text-align:right}.grid tr.first td{border-top:2px solid var(--line)}\n"
    ".grid small{color:var(--soft)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));"
    "gap:1rem}\n"
    ".card,.plot{background:var(--card);border:1px solid var(--line);border-radius:.6rem;"
    "padding:.9rem 1rem;margin:0}\n"
    ".plot svg{display:block;width:100%;height:auto}\n"
    ".legend{font-size:.85rem;margin:.1rem 0 .5rem}.legend span{margin-right:.9rem;"
    "white-space:nowrap}.legend i{display:inline-block;width:.7rem;height:.7rem;"
    "border-radius:.15rem;margin-right:.35rem}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr));"
    "gap:1rem;margin:1rem 0}.facts b{display:block;font-size:1.9rem;line-height:1.2}"
    ".facts small{color:var(--soft)}\n"
    "@media(max-width:38rem){svg text{font-size:17px!important}}\n"
    ".plot h3{margin:0 0 .2rem}svg text{fill:var(--ink);font:12px system-ui,'DejaVu Sans',"
    "sans-serif}\n"
    "svg .soft{fill:var(--soft)}svg .axis{stroke:var(--line);stroke-width:1}\n"
    "svg .whisker{stroke:var(--ink);stroke-width:1.5;opacity:.75}\n"
    ".good{color:var(--good)}.bad{color:var(--bad)}.mark{color:var(--mark)}\n"
    ".tag{display:inline-block;border-radius:.4rem;padding:.05rem .45rem;font-size:.8rem;"
    "background:var(--line);margin-right:.3rem}\n"
    ".tag.good{background:var(--goodbg)}.tag.bad{background:var(--badbg)}"
    ".tag.mark{background:var(--markbg)}\n"
    "details{border:1px solid var(--line);border-radius:.5rem;background:var(--card);"
    "margin:.35rem 0}\n"
    "summary{cursor:pointer;padding:.45rem .8rem;overflow-wrap:anywhere}"
    "details>div{padding:0 .8rem .8rem}details details{background:var(--bg)}\n"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,'DejaVu Sans "
    "Mono',monospace;"
    "background:var(--bg);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;"
    "margin:.3rem 0;max-height:32rem;overflow-y:auto;unicode-bidi:isolate}\n"
    "pre.thinking{color:var(--soft)}\n"
    ".only:checked~.tasks>details:not(.flip){display:none}label{cursor:pointer}\n"
    "@media print{:root{color-scheme:light}body{background:#fff;font-size:11px}main{padding:0}"
    "section{break-inside:auto}.plot,.card,tr{break-inside:avoid}h2,h3{break-after:avoid}"
    ".cards{grid-template-columns:1fr 1fr}pre{max-height:none}.grid{font-size:9px}"
    ".grid th,.grid td{padding:.25rem .35rem}.grid thead th{font-size:8px;white-space:normal}"
    ".replies{display:none}.scroll{overflow:visible}}\n";

/* Control characters, which a page may not have, as their pictures. */
static void put_text(FILE *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '&')
            fputs("&amp;", out);
        else if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '"')
            fputs("&quot;", out);
        else if (c == '\'')
            fputs("&#39;", out);
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            fprintf(out, "&#x24%02x;", c == 0x7f ? 0x21 : c);
        else
            fputc(c, out);
    }
}

void pq_html(FILE *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    for (const char *p = format; *p;) {
        if (*p != '%') {
            fputc(*p++, out);
            continue;
        }
        char one[16];
        size_t n = 1 + strspn(p + 1, "+-0 #.123456789");
        char kind = p[n];
        snprintf(one, sizeof one, "%.*s", (int)n + 1, p);
        p += n + (kind != 0);
        if (kind == 's')
            put_text(out, va_arg(args, const char *));
        else if (kind == 'd')
            fprintf(out, one, va_arg(args, int));
        else if (kind == 'f' || kind == 'g')
            fprintf(out, one, va_arg(args, double));
        else
            fputc('%', out);
    }
    va_end(args);
}

void pq_html_begin(FILE *out, const char *title, const char *subtitle) {
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
          out);
    pq_html(out, "<title>%s</title>\n<style>\n", title);
    fputs(style, out);
    pq_html(out, "</style>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n<p class=\"sub\">%s</p>\n", title,
            subtitle);
}

void pq_html_end(FILE *out) {
    fputs("</main>\n</body>\n</html>\n", out);
}
