"""Prints the table at the end of ./demo from the JSON that panq eval and panq bench left in a folder.

    python3 tools/demo_table.py build/demo
"""
import json
import os
import sys

MODELS = ("pangu-mini", "w8a8", "w4a8")
TASKS = ("mini-eval", "mini-long")
MODES = ("slow", "auto", "no")


def load(folder, name):
    with open(os.path.join(folder, name + ".json")) as f:
        return json.load(f)


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(w) if i < 2 else cell.rjust(w)
                                for i, (cell, w) in enumerate(zip(row, widths))) + " |")
        if number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")


def accuracy_rows(folder):
    yield ["tasks", "mode"] + [f"{m} {what}" for m in ("bf16", "w8a8", "w4a8") for what in ("pass@1", "tokens")]
    for task in TASKS:
        runs = [{m["mode"]: m for m in load(folder, f"{model}.{task}")["modes"]} for model in MODELS]
        for mode in MODES:
            cells = []
            for run in runs:
                cells += [f"{100 * run[mode]['pass_at_1']:.1f} %", f"{run[mode]['tokens']:.0f}"]
            yield [task, mode] + cells


def speed_rows(bench):
    yield ["precision", "weights", "prefill 512", "decode", "of read speed"]
    for model in bench["models"]:
        speed = {s["work"]: s for s in model["speeds"] if s["batch"] == 1}
        decode = speed["decode"]
        yield [model["scheme"], f"{model['weight_bytes'] / 1e6:.1f} MB", f"{speed['prefill']['tok_s']:.0f} tok/s",
               f"{decode['tok_s']:.0f} tok/s", f"{100 * decode['gbs_share']:.0f} %"]


def main():
    folder = sys.argv[1]
    bench = load(folder, "bench")
    print_table(list(accuracy_rows(folder)))
    machine = bench["machine"]
    print(f"\n{machine['cpu']}, {machine['threads']} threads, {machine['isa']}: peak {machine['int8_gops']:.0f} GOPS in 8 bits, "
          f"{machine['bf16_gflops']:.0f} GFLOPS in BF16, {machine['read_gbs']:.0f} GB/s read")
    print_table(list(speed_rows(bench)))
    print("\nThis model fits the cache, so its speeds say little: `make bench-1b` measures openPangu-1B's shape.")


main()
