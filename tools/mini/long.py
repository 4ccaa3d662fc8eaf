"""Writes mini-long.jsonl: 164 tasks of four to eight steps, most of them longer than any of their
kind that pangu-mini was trained on.  It fails on more than half: a loss of accuracy shows.

    python3 long.py OUT.jsonl
"""
import json
import random
import sys

from tasks import CHANGE, COMBINE, KEEP, MEASURE, TEXT, draw, fill, list_task, text_task

COUNT = 164  # as many as HumanEval has
SEED = 4242


def draw_long_list_task(rng):
    steps = [draw(rng, KEEP) for _ in range(rng.randint(1, 3))]
    steps += [draw(rng, CHANGE) for _ in range(rng.randint(2, 4))]
    rng.shuffle(steps)
    verbs = ["keep only the " if step.keeps else "" for step in steps]
    combine = draw(rng, COMBINE)
    return list_task(rng, "Given a list of integers xs: ", steps, verbs, combine)


def draw_long_text_task(rng):
    steps = [fill(rng, step) for step in rng.sample(TEXT, rng.randint(3, 5))]
    return text_task(rng, "Given a string s: ", steps, draw(rng, MEASURE))


def main():
    rng = random.Random(SEED)
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        for i in range(COUNT):
            draw_one = draw_long_list_task if rng.random() < 0.6 else draw_long_text_task
            f.write(json.dumps(draw_one(rng).record(f"Long/{i}")) + "\n")


if __name__ == "__main__":
    main()
