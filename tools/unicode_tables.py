"""Writes src/tok/unicode.inc: where Hugging Face's tokenizers and the C libraries know different
versions of Unicode.

    python3 -m venv v && v/bin/pip install tokenizers==0.23.3 unicodedata2==18.0.0
    v/bin/python tools/unicode_tables.py > src/tok/unicode.inc

Its patterns are run by Oniguruma with Unicode 16, where PCRE2 may be as old as 14; its form C has the
tables of Unicode 10, where utf8proc's are newer.  What the library does is asked of the library.
"""
import textwrap
import unicodedata

import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So".split()
assert unicodedata.unidata_version == "14.0.0" and unicodedata2.unidata_version == "18.0.0"
CHARS = [chr(c) for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
nfc = normalizers.NFC().normalize_str


def members(category):
    split = pre_tokenizers.Split(Regex(rf"\p{{{category}}}"), "isolated")
    return {c for c in CHARS if len(split.pre_tokenize_str(f"\1{c}\1")) == 3}


def ranges(chars):
    out = []
    for c in sorted(map(ord, chars)):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def newer():
    """Characters that patterns know beyond Unicode 14, by category."""
    rows = []
    for category in CATEGORIES:
        rows += [(a, b, category) for a, b in ranges(c for c in members(category) if unicodedata.category(c) != category)]
    return sorted(rows)


def inert():
    """Characters that Unicode reorders, composes or decomposes, and that the library leaves alone."""
    out = set()
    for c in CHARS:
        mark = unicodedata2.combining(c)
        if mark:
            pair = c + "\u0334" if mark > 1 else "\u0323" + c  # classes 1 and 220, the wrong way round
            if nfc(pair) != unicodedata2.normalize("NFC", pair):
                out.add(c)
        parts = unicodedata2.normalize("NFD", c)
        if len(parts) > 1 and nfc(parts) != unicodedata2.normalize("NFC", parts):
            out |= {c, *(p for p in parts[1:] if not unicodedata2.combining(p))}
    return out


def table(name, comment, rows):
    print(f"\n/* {comment} */\n#define {name} \\")
    print(textwrap.fill(" ".join(rows), 97, initial_indent="    ", subsequent_indent="    ").replace("\n", " \\\n"))


def main():
    print("/* Made by tools/unicode_tables.py. */")
    table("PQ_UNICODE_NEWER", "{first, last, category} of what patterns know beyond Unicode 14",
          [f'{{0x{a:x},0x{b:x},"{k}"}},' for a, b, k in newer()])
    table("PQ_UNICODE_INERT", "{first, last} of what form C leaves alone", [f"{{0x{a:x},0x{b:x}}}," for a, b in ranges(inert())])


if __name__ == "__main__":
    main()
