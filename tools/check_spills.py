#!/usr/bin/env python3
"""Compilers have kept the accumulators of tiles in memory before, at two thirds or half of the speed:
no vector register may be moved to the stack in an innermost loop there, nor in those of the passes
that every activation takes.  What is stored once before a loop is a constant.

    tools/check_spills.py build [OBJDUMP]
"""

import glob
import os
import re
import sys

from disassembly import functions, innermost_loops

PASSES = ["silu_mul", "quantize", "interleave"]


def spills(code):
    """Stores of vectors to the stack in the innermost loops of a function."""
    framed = any(m == "mov" and o == "%rsp,%rbp" for _, m, o in code)
    x86 = re.compile(r"%[yz]mm\d+,[-x0-9a-f]*\(%r" + ("[sb]p" if framed else "sp") + r"\)")
    arm = re.compile(r"st[rp] .*q\d+, \[(sp|x29)")
    lines = [f"{m} {o}" for loop in innermost_loops(code) for _, m, o in loop]
    return sum(bool(x86.search(line) or arm.search(line)) for line in lines)


def main():
    build, objdump = (sys.argv[1:] + ["objdump"])[:2]
    tiles = sorted(glob.glob(f"{build}/src/cpu/*/tile_*.o"))
    found = [(path, functions(objdump, path)) for path in tiles]
    path = f"{build}/src/cpu/x86/elementwise_avx512.o"
    if os.path.exists(path):
        every = functions(objdump, path)
        found += [(f"{path} {name}", {name: every.get(name)}) for name in PASSES]
    bad = [] if found else [f"{build}: no tiles"]
    for where, code in found:
        if not code or not all(code.values()):
            bad.append(f"{where}: no instructions")
        elif count := sum(map(spills, code.values())):
            bad.append(f"{where}: {count} spills")
    print("\n".join(bad) or "no accumulator is spilled")
    sys.exit(bool(bad))


main()
