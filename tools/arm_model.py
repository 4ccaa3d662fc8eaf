#!/usr/bin/env python3
"""What share of their products' peak AArch64 tiles would reach, by LLVM's models of processors.

    make check-arm; tools/arm_model.py build/arm64 [OBJDUMP [LLVM-MCA]]

Of every tile kernel, the innermost loop with the most products (of several the best): the cycles
that llvm-mca gives its products alone, by throughput, and those of the whole loop, with everything
in the first-level cache.  A model is not a measurement: it stands where there is no processor.
Needs binutils for AArch64 and LLVM 16 or later.
"""

import glob
import re
import subprocess
import sys

from disassembly import functions, innermost_loops

PROCESSORS = ["neoverse-n1", "neoverse-n2", "neoverse-v1", "neoverse-v2", "apple-m1"]
PRODUCTS = {"sdot", "usmmla", "smmla", "bfmmla", "fmla", "smull", "smull2", "smlal", "smlal2", "sadalp"}


def model(mca, processor, code):
    """(cycles a turn, cycles a turn by throughput alone)"""
    lines = [f"\t{m} {re.sub(r'[0-9a-f]+ <.*?>', 'loop', o)}" for _, m, o in code]
    command = [mca, "-march=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm,+bf16", "-iterations=200"]
    text = "loop:\n" + "\n".join(lines) + "\n"
    out = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    turns = float(re.search(r"Total Cycles:\s+(\d+)", out)[1]) / 200
    return turns, float(re.search(r"Block RThroughput:\s+([0-9.]+)", out)[1])


def share(mca, processor, loop):
    products = [line for line in loop if line[1] in PRODUCTS]
    return model(mca, processor, products)[1] / model(mca, processor, loop)[0]


def count(loop):
    return sum(mnemonic in PRODUCTS for _, mnemonic, _ in loop)


def main():
    build, objdump, mca = (sys.argv[1:] + ["aarch64-linux-gnu-objdump", "llvm-mca"][len(sys.argv) - 2 :])[:3]
    print("| kernel | " + " | ".join(PROCESSORS) + " |\n|" + "---|" * (len(PROCESSORS) + 1))
    for path in sorted(glob.glob(f"{build}/src/cpu/arm/tile_*.o")):
        for name, code in functions(objdump, path).items():
            loops = [loop for loop in innermost_loops(code) if name.startswith("pq_tile")]
            most = max(map(count, loops), default=0)
            best = [max(share(mca, p, l) for l in loops if count(l) == most) for p in PROCESSORS if most]
            if best:
                print(f"| `{name.removeprefix('pq_')}` | " + " | ".join(f"{100 * b:.0f} %" for b in best) + " |")


main()
