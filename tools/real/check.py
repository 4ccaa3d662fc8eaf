"""Holds panq against the tokenizers and transformers libraries on one checkpoint.

    python3 tools/real/check.py PANQ DIR [--text FILE ...]

Ids: built-in hard texts, seeded random ones and every FILE give the same ids in both, and decode to
the text.  Logits: `panq logits` in FP32 and in BF16 against transformers in FP32, on one text;
maximal difference and mean KL are printed and bounded.  Prints TAP.
"""
import argparse
import json
import os
import random
import subprocess
import tempfile

import numpy as np
import tokenizers
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

HARD = ["", " ", "  a  b\n\n\tc  \r\n", "中文と日本語 🙂 naïve e\u0301", "x" * 200, " " * 100, "1234567890 3.14 ½ ²",
        "<|im_start|>user\nhi<|im_end|>\n", "don't WE'LL I'm", "\u200b\ufeff\u3000\u00a0", "a\x00b\x7f", "🏳️‍🌈👩‍👩‍👧"]
PROMPT = "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n    a, b = 0, 1\n" * 6
RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0x3040, 0x30FF),
          (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0x0, 0x1F), (0x2000, 0x206F)]
FP32_BOUND, BF16_KL_BOUND = 2e-3, 2e-3
tests = failures = 0


def ok(good, name):
    global tests, failures
    tests += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {tests} - {name}", flush=True)


def random_text(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        low, high = rng.choice(RANGES)
        parts.append(rng.choice(["", " ", "\n"]) + "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9))))
    return "".join(parts)


def panq_ids(panq, folder, text):
    done = subprocess.run([panq, "tokenize", folder, "-", "--json"], input=text.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)["ids"]


def check_ids(panq, folder, files):
    reference = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    rng = random.Random(20251224)
    texts = [("hard texts", t) for t in HARD]
    texts += [("random texts", "\n".join(random_text(rng) for _ in range(2000)))]
    texts += [(os.path.basename(f), open(f, encoding="utf-8").read()) for f in files]
    for name in dict.fromkeys(n for n, _ in texts):
        mine = [t for n, t in texts if n == name]
        ids = [(panq_ids(panq, folder, t), reference.encode(t, add_special_tokens=False).ids) for t in mine]
        ok(all(a == b for a, b in ids), f"{name}: {sum(len(b) for _, b in ids)} ids")


def kl(p, q):
    """Mean KL(p || q) of rows of logits."""
    p, q = torch.log_softmax(torch.tensor(p).double(), -1), torch.log_softmax(torch.tensor(q).double(), -1)
    return (p.exp() * (p - q)).sum(-1).mean().item()


def check_logits(panq, folder):
    ids = panq_ids(panq, folder, PROMPT)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        want = model(torch.tensor([ids])).logits[0].numpy()
    for precision, bound in (("fp32", FP32_BOUND), ("native", None)):
        with tempfile.TemporaryDirectory() as temp:
            out = os.path.join(temp, "logits.safetensors")
            subprocess.run([panq, "logits", folder, "--ids", ",".join(map(str, ids)), "-o", out,
                            "--precision", precision], check=True, stdout=subprocess.DEVNULL)
            got = load_file(out)["logits"]
        most, divergence = float(np.abs(got - want).max()), kl(want, got)
        agree = float((got.argmax(-1) == want.argmax(-1)).mean())
        good = most < bound if bound else divergence < BF16_KL_BOUND
        ok(got.shape == want.shape and good,
           f"logits {precision}: max |difference| {most:.2e}, mean KL {divergence:.2e}, top-1 {100 * agree:.1f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panq")
    parser.add_argument("folder")
    parser.add_argument("--text", nargs="*", default=[])
    args = parser.parse_args()
    check_ids(args.panq, args.folder, args.text)
    check_logits(args.panq, args.folder)
    print(f"1..{tests}")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
