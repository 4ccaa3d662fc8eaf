"""Writes the golden data of a checkpoint, computed by model.py in FP32.

    python3 golden.py models/pangu-mini tests/golden

logits.safetensors   for each sequence i: ids.i I32 [t], rows.i I32 [r] (the positions kept: every
                     16th and the last), logits.i F32 [r, vocab] after those positions
replies.jsonl        greedy replies to the first tasks of mini-eval.jsonl in the three modes; margin
                     is the least distance between the two best logits at any step: two right
                     implementations may part where it is small

The sequences are the first replies with their prompts, and texts that are hard on a tokenizer.
"""
import json
import sys
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from safetensors.numpy import save_file

import chat
import model as pangu

TASKS = 20
MOST_TOKENS = 320
REPLIES_KEPT = 9
EVERY = 16
HARD_TEXTS = ["a  b\n\n\tc  ", "中文と日本語 🙂 naïve", "", "x" * 40,
              "def f(x):\n    return x  # [unused3]"]


def encode(network, pieces, text):
    return [network.config["bos_token_id"]] + pieces.encode(text)


def greedy(network, prompt):
    """The ids of the reply up to the end of turn, and the least margin."""
    ids, margin = list(prompt), float("inf")
    while len(ids) < len(prompt) + MOST_TOKENS:
        values, best = network(torch.tensor([ids]))[0, -1].topk(2)
        margin = min(margin, (values[0] - values[1]).item())
        ids.append(best[0].item())
        if ids[-1] == network.config["eos_token_id"]:
            break
    return ids[len(prompt):], margin


def reply_to(network, pieces, task, mode):
    user = chat.request(task["prompt"])
    prompt = chat.prompt(user, mode)
    prompt_ids = encode(network, pieces, prompt)
    reply_ids, margin = greedy(network, prompt_ids)
    return {"task_id": task["task_id"], "mode": mode, "user": user, "prompt": prompt,
            "prompt_ids": prompt_ids, "reply_ids": reply_ids, "reply": pieces.decode(reply_ids),
            "margin": round(margin, 4)}


def golden_logits(network, sequences):
    tensors = {}
    for i, ids in enumerate(sequences):
        rows = sorted({*range(0, len(ids), EVERY), len(ids) - 1})
        tensors[f"ids.{i}"] = np.array(ids, np.int32)
        tensors[f"rows.{i}"] = np.array(rows, np.int32)
        tensors[f"logits.{i}"] = network(torch.tensor([ids]))[0, rows].numpy()
    return tensors


@torch.inference_mode()
def main():
    checkpoint, out = Path(sys.argv[1]), Path(sys.argv[2])
    network = pangu.load(checkpoint)
    model_file = str(checkpoint / "tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=model_file)
    lines = (checkpoint / "mini-eval.jsonl").read_text(encoding="utf-8").splitlines()
    replies = [reply_to(network, pieces, json.loads(line), mode)
               for line in lines[:TASKS] for mode in chat.SUFFIX]
    sequences = [r["prompt_ids"] + r["reply_ids"] for r in replies[:REPLIES_KEPT]]
    sequences += [encode(network, pieces, text) for text in HARD_TEXTS]

    out.mkdir(parents=True, exist_ok=True)
    save_file(golden_logits(network, sequences), out / "logits.safetensors")
    with open(out / "replies.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(reply, ensure_ascii=False) + "\n" for reply in replies)
    print(f"{len(sequences)} sequences, {len(replies)} replies, "
          f"least margin {min(r['margin'] for r in replies)}")


if __name__ == "__main__":
    main()
