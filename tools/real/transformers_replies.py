"""Greedy replies of transformers in BF16 to the prompts of `panq eval`, for `panq eval --replies`.

    python3 tools/real/transformers_replies.py DIR HumanEval.jsonl.gz OUT.jsonl [--batch 16] [--max-tokens 1024]

The prompt is the same: the checkpoint's chat template around one user turn, "Complete this Python
function." and the task's own prompt.  Replies are cut at the tokens that generation_config.json
names.  Needs torch, transformers and jinja2.
"""
import argparse
import gzip
import json
import os
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def read_tasks(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("tasks")
    parser.add_argument("out")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=1024)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.bfloat16).eval()
    tasks, start, made = read_tasks(args.tasks), time.time(), 0
    # Batches of like length waste the least on padding.
    order = sorted(range(len(tasks)), key=lambda i: len(tasks[i]["prompt"]))
    with open(args.out + ".partial", "w", encoding="utf-8") as out, torch.inference_mode():
        for at in range(0, len(order), args.batch):
            rows = [tasks[i] for i in order[at:at + args.batch]]
            turns = [[{"role": "user", "content": "Complete this Python function.\n" + r["prompt"].rstrip("\n")}] for r in rows]
            texts = [tokenizer.apply_chat_template(t, tokenize=False, add_generation_prompt=True) for t in turns]
            inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=args.max_tokens)[:, inputs["input_ids"].shape[1]:]
            stops = set(model.generation_config.eos_token_id)
            for row, reply in zip(rows, ids.tolist()):
                n = next((i for i, t in enumerate(reply) if t in stops), len(reply))
                made += n
                out.write(json.dumps({"task_id": row["task_id"], "mode": "no", "thinking": "", "thinking_tokens": 0,
                                      "content": tokenizer.decode(reply[:n]), "tokens": n + 1,
                                      "finish_reason": "stop" if n < len(reply) else "length"}) + "\n")
            print(f"{at + len(rows)} of {len(order)}, {made / (time.time() - start):.0f} tok/s", flush=True)
    os.rename(args.out + ".partial", args.out)


if __name__ == "__main__":
    main()
