"""Draws what `panq bench --profile --json` measured under the machine's roofs, as one SVG.

    python3 tools/roofline.py bench/MACHINE/*.json -o docs/roofline.svg

A point is an operator, or all of a pass: operations for each byte that it reads and writes, and
operations a second.  The roofs are the best that the machine gave in any of the files.
"""

import argparse
import json
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 520, 70, 190, 40, 56
X, Y = (0.5, 5000), (10, 4000)  # operations a byte; GOPS
COLORS = {"bf16": "#8250df", "w8a8": "#0969da", "w4a8": "#bc4c00"}
SHAPES = {"prefill": "circle", "decode": "square"}


def place(x, y):
    """Of a point, in the drawing's units."""
    along = (math.log(x) - math.log(X[0])) / (math.log(X[1]) - math.log(X[0]))
    up = (math.log(y) - math.log(Y[0])) / (math.log(Y[1]) - math.log(Y[0]))
    return LEFT + along * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)


def text(x, y, words, **attributes):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{words}</text>'


def line(x1, y1, x2, y2, stroke, **attributes):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{more}/>'


def mark(shape, x, y, color, size, title):
    filling = f'fill="{color}" fill-opacity="{0.9 if size > 4 else 0.35}" stroke="{color}"'
    if shape == "circle":
        body = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {filling}>'
    else:
        body = (f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" '
                f'{filling}>')
    return f'{body}<title>{title}</title></{"circle" if shape == "circle" else "rect"}>'


def axes():
    for x in (1, 10, 100, 1000):
        at, _ = place(x, Y[0])
        yield line(at, TOP, at, HEIGHT - BOTTOM, "#d8dee4")
        yield text(at, HEIGHT - BOTTOM + 18, x, text_anchor="middle")
    for y in (10, 30, 100, 300, 1000, 3000):
        _, at = place(X[0], y)
        yield line(LEFT, at, WIDTH - RIGHT, at, "#d8dee4")
        yield text(LEFT - 8, at + 4, y, text_anchor="end")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "operations a byte read or written",
               text_anchor="middle")
    yield text(8, TOP - 16, "GOPS")


def roofs(machine):
    """One slope, memory's, and a ceiling for each kind of product."""
    for name, peak in (("8-bit", machine["int8_gops"]), ("BF16", machine["bf16_gflops"])):
        corner = place(peak / machine["read_gbs"], peak)
        right = place(X[1], peak)
        yield line(*place(X[0], X[0] * machine["read_gbs"]), *corner, "#1f2328", stroke_width=1.5)
        yield line(*corner, *right, "#1f2328", stroke_width=1.5)
        yield text(right[0] + 6, right[1] + 4, f"{name} peak {peak:.0f}")
    x, y = place(10, 10 * machine["read_gbs"])
    yield text(x - 10, y, f'memory {machine["read_gbs"]:.0f} GB/s', text_anchor="end")


def points(results):
    """The operators small, all of each pass large and above them."""
    small, large = [], []
    for model in (m for r in results for m in r["models"]):
        color = COLORS[model["scheme"]]
        for s in model["speeds"]:
            batch = f'{s["batch"]} x ' if s["batch"] > 1 else ""
            name = f'{model["dir"]}, {s["work"]} {batch}{s["prompt"]}'
            profile = s["profile"]
            whole = {"operator": "all", "limit_share": profile["limit_share"]}
            for rate in ("gops", "gbs"):
                whole[rate] = sum(o[rate] * o["ms"] for o in profile["operators"]) / profile["all_ms"]
            for part in [*profile["operators"], whole]:
                if part["gops"] <= 0 or part["gbs"] <= 0:
                    continue
                x, y = part["gops"] / part["gbs"], part["gops"]
                if not (X[0] <= x <= X[1] and Y[0] <= y <= Y[1]):
                    continue
                title = (f'{name}, {part["operator"]}: {y:.0f} GOPS, '
                         f'{100 * part["limit_share"]:.0f} % of its limit')
                size = 6 if part is whole else 3.5
                (large if part is whole else small).append(
                    mark(SHAPES[s["work"]], *place(x, y), color, size, title))
    return small + large


def legend(results):
    y = TOP + 120
    schemes = {m["scheme"] for r in results for m in r["models"]}
    for scheme, color in COLORS.items():
        if scheme in schemes:
            yield mark("circle", WIDTH - RIGHT + 16, y, color, 5, scheme)
            yield text(WIDTH - RIGHT + 28, y + 4, scheme)
            y += 22
    for work, shape in SHAPES.items():
        yield mark(shape, WIDTH - RIGHT + 16, y, "#656d76", 5, work)
        yield text(WIDTH - RIGHT + 28, y + 4, work)
        y += 22
    yield text(WIDTH - RIGHT + 8, y + 8, "large: a whole pass")
    yield text(WIDTH - RIGHT + 8, y + 26, "small: an operator")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("-o", dest="out", required=True)
    options = parser.parse_args()
    results = [json.load(open(name, encoding="utf-8")) for name in options.files]
    if any("profile" not in s for r in results for m in r["models"] for s in m["speeds"]):
        raise SystemExit("roofline.py: a file was made without --profile")
    machine = {key: max(r["machine"][key] for r in results)
               for key in ("int8_gops", "bf16_gflops", "read_gbs")}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="sans-serif" font-size="13" fill="#1f2328">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             *axes(), *roofs(machine), *points(results), *legend(results), "</svg>"]
    with open(options.out, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
