"""Functions of an object file and their innermost loops, as objdump prints them."""

import re
import subprocess

JUMPS = re.compile(r"(j\w+|b|b\..*|cbn?z|tbn?z)$")  # of x86 and AArch64


def functions(objdump, path):
    """Name -> [(address, mnemonic, operands)]."""
    command = [objdump, "-d", "--no-show-raw-insn", path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found, name = {}, None
    for line in text.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            found[name := head[1]] = []
        elif code := re.match(r"\s+([0-9a-f]+):\s+(\S+)\s*(.*)$", line):
            found[name].append((int(code[1], 16), code[2], code[3].split("//")[0].strip()))
    return found


def innermost_loops(code):
    """What lies between jumps backward and their target, all jumps to one target together, where
    there is no other loop."""
    at = {address: i for i, (address, _, _) in enumerate(code)}
    end = {}
    for i, (_, mnemonic, operands) in enumerate(code):
        target = re.search(r"([0-9a-f]+) <", operands)
        if JUMPS.match(mnemonic) and target and at.get(int(target[1], 16), len(code)) <= i:
            end[at[int(target[1], 16)]] = i
    return [code[i : end[i] + 1] for i in end if not any(i < j <= end[i] for j in end)]
