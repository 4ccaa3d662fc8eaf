"""Writes calibration.jsonl: prompts that pangu-mini replies to when it writes its own calibration
data, and that are neither in mini-eval.jsonl nor in mini-long.jsonl.

    python3 calibration.py MINI-EVAL.jsonl MINI-LONG.jsonl OUT.jsonl
"""
import json
import random
import sys

from chat import request
from long import draw_long_list_task, draw_long_text_task
from tasks import draw_task

COUNT = 96
SEED = 777


def described(prompt):
    """The docstring, which says all of a task; the function's name says nothing."""
    return prompt.split("\n", 1)[1].strip()


def main():
    *judged, out = sys.argv[1:]
    seen = set()
    for path in judged:
        with open(path, encoding="utf-8") as f:
            seen |= {described(json.loads(line)["prompt"]) for line in f}
    rng = random.Random(SEED)
    with open(out, "w", encoding="utf-8") as f:
        written = 0
        while written < COUNT:
            draw_one = rng.choice([draw_task] * 6 + [draw_long_list_task, draw_long_text_task])
            prompt = draw_one(rng).prompt
            if described(prompt) not in seen:
                seen.add(described(prompt))
                written += 1
                f.write(json.dumps({"prompt": request(prompt)}) + "\n")


if __name__ == "__main__":
    main()
