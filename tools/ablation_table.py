"""Prints the tables of tools/ablation.sh from what it left in a folder.

    python3 tools/ablation_table.py build/ablation
"""
import json
import os
import sys

MODES = ("slow", "auto", "no")
HEADS = [f"KL {MODES[0]}", *MODES[1:], "p99", "flips", "pass@1", "tokens to BF16's"]


def load(path):
    with open(path) as f:
        return json.load(f)


def kl_of(rows, mode):
    """Mean KL of a mode's thinking and answers together."""
    parts = [row for row in rows if row["mode"] == mode]
    return sum(row["kl"] * row["tokens"] for row in parts) / sum(row["tokens"] for row in parts)


def passed(modes):
    return 100 * sum(m["passed"] for m in modes) / sum(m["tasks"] for m in modes)


def cells_of(path, reference):
    """What HEADS says; without outliers and with them the same file gives the same."""
    if os.path.exists(path + ".same"):
        return ["the same file"] + [""] * (len(HEADS) - 1)
    rows = load(path + ".fidelity.json")["models"][0]["rows"]
    modes = load(path + ".eval.json")["modes"]
    ratios = [m["tokens"] / r["tokens"] for m, r in zip(modes, reference)]
    whole = rows[0]
    return ([f"{kl_of(rows, mode):.1e}" for mode in MODES] +
            [f"{whole['kl_p99']:.1e}", str(whole["flips"]), f"{passed(modes):.1f} %",
             f"{min(ratios):.3f} .. {max(ratios):.3f}"])


def options_of(path):
    with open(path + ".options") as f:
        words = f.read().split()
    if "--calibration" in words:
        at = words.index("--calibration")
        del words[at:at + 2]
    return f"`{' '.join(words)}`"


def print_row(cells):
    print("| " + " | ".join(cells) + " |")


def main():
    folder = sys.argv[1]
    reference = load(os.path.join(folder, "bf16.eval.json"))["modes"]
    print(f"BF16 solves {passed(reference):.1f} % of {sum(m['tasks'] for m in reference)}.\n")
    print_row(["", "", *HEADS, *[f"planted: {head}" if head is HEADS[0] else head for head in HEADS]])
    print("|" + "---|" * (2 + 2 * len(HEADS)))
    with open(os.path.join(folder, "rows")) as f:
        names = f.read().split()
    for name in names:
        plain, planted = (os.path.join(folder, place, name) for place in ("plain", "planted"))
        print_row([name, options_of(plain), *cells_of(plain, reference), *cells_of(planted, reference)])
    print("\nKL of one mode, W4A8 channel best, calibrated with one mode:\n")
    print_row(["calibrated with", *MODES])
    print("|" + "---|" * 4)
    for name in MODES + ("B6",):
        rows = load(os.path.join(folder, "plain", name + ".fidelity.json"))["models"][0]["rows"]
        print_row([name if name != "B6" else "all three (B6)", *[f"{kl_of(rows, m):.1e}" for m in MODES]])


main()
