"""Trains pangu-mini: a small checkpoint in openPangu-Embedded's own format, from nothing.

    python3 train.py OUT [--steps 2950]

OUT receives config.json, generation_config.json, tokenizer.model, tokenizer_config.json,
mini-eval.jsonl (tasks held out from training, in HumanEval's fields) and model.safetensors (BF16),
the last one again at every report, so that an interrupted run leaves a whole checkpoint.
It runs on the CPU: the committed run took 65 minutes on two cores.
"""
import argparse
import json
import math
import random
import time
from pathlib import Path

import sentencepiece
import torch
import torch.nn.functional as F
from torch import nn

import chat
import model as pangu
import tasks
import tokenizer

SHAPE = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
         "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "max_position_embeddings": 1024}
BOS, PAD = 1, 0
SEED, EVAL_SEED = 7, 1234
EVAL_TASKS = 164  # as many as HumanEval has
AUTO_STEPS = 4  # in auto mode the model thinks from this many steps on
ROWS, LENGTH = 16, 384
PEAK_RATE, LAST_RATE, WARMUP = 1.5e-3, 0.05, 100  # the last as a share of the peak
CONTEXT_WEIGHT = 0.1  # what a token outside a reply counts in the loss; inside it is 1
REPORT = 50


def hold_out():
    """The evaluation's tasks, all different, none of a single step."""
    rng, held = random.Random(EVAL_SEED), {}
    while len(held) < EVAL_TASKS:
        task = tasks.draw_task(rng)
        if task.steps >= 2:
            held.setdefault(task.key, task)
    return held


def configs(pieces):
    """What config.json and generation_config.json hold."""
    end = pieces.piece_to_id(chat.END)
    config = {"architectures": ["PanguEmbeddedForCausalLM"], "model_type": "PanguEmbedded",
              "bias": True, "hidden_act": "silu", "bos_token_id": BOS, "pad_token_id": PAD,
              "eos_token_id": end, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
              "use_cache": True, "vocab_size": pieces.get_piece_size(), **SHAPE}
    generation = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": end,
                  "do_sample": False, "temperature": 1.0, "top_k": 0, "top_p": 0.8}
    return config, generation


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def sample(task, mode, pieces):
    """The ids of a prompt and of the reply that is to be learnt in this mode."""
    thinks = mode == "slow" or (mode == "auto" and task.steps >= AUTO_STEPS)
    prompt = chat.prompt(chat.request(task.prompt), mode)
    reply = chat.reply(task.thinking if thinks else "", task.answer)
    return [BOS] + pieces.encode(prompt), pieces.encode(reply)


def row(rng, held, pieces):
    """LENGTH + 1 ids and their weights in the loss: as many whole samples as fit, then padding.

    Samples of a row see each other, as in one long conversation: <s> is all that parts them.
    """
    ids, weights = [], []
    while True:
        task = tasks.draw_task(rng)
        if task.key in held:
            continue
        prompt, reply = sample(task, rng.choice(["slow", "auto", "no"]), pieces)
        room = LENGTH + 1 - len(ids)
        if len(prompt) + len(reply) > room:
            return ids + [PAD] * room, weights + [0.0] * room
        ids += prompt + reply
        weights += [CONTEXT_WEIGHT] * len(prompt) + [1.0] * len(reply)


def rate(step, steps):
    """Rises linearly over WARMUP steps and falls along a cosine over all of them."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_RATE * min(1, (step + 1) / WARMUP) * (LAST_RATE + (1 - LAST_RATE) * cosine)


def optimizer(network):
    """AdamW; only matrices decay."""
    matrices = [p for p in network.parameters() if p.dim() == 2]
    vectors = [p for p in network.parameters() if p.dim() != 2]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                              {"params": vectors, "weight_decay": 0.0}],
                             lr=PEAK_RATE, betas=(0.9, 0.95))


def loss_of(network, ids, weights):
    """The weighted mean of the next token's cross entropy, products in BF16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(ids[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def train(network, steps, held, pieces, out):
    rng, opt = random.Random(SEED), optimizer(network)
    start, tokens = time.monotonic(), 0
    for step in range(steps):
        rows = [row(rng, held, pieces) for _ in range(ROWS)]
        ids = torch.tensor([r[0] for r in rows])
        weights = torch.tensor([r[1] for r in rows])
        for group in opt.param_groups:
            group["lr"] = rate(step, steps)
        loss = loss_of(network, ids, weights)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        opt.step()
        tokens += int((ids != PAD).sum())
        if (step + 1) % REPORT == 0 or step + 1 == steps:
            print(f"step {step + 1}: loss {loss.item():.4f}, {tokens / 1e6:.2f}M tokens, "
                  f"{time.monotonic() - start:.0f} s", flush=True)
            pangu.save(network, out)


def main():
    parser = argparse.ArgumentParser(description="Train pangu-mini.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2950)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    proto = tokenizer.train()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
    config, generation = configs(pieces)
    held = hold_out()
    (args.out / "tokenizer.model").write_bytes(proto)
    write_json(args.out / "tokenizer_config.json", tokenizer.describe(pieces))
    write_json(args.out / "config.json", config)
    write_json(args.out / "generation_config.json", generation)
    with open(args.out / "mini-eval.jsonl", "w", encoding="utf-8") as f:
        for i, task in enumerate(held.values()):
            f.write(json.dumps(task.record(f"Mini/{i}")) + "\n")

    torch.manual_seed(SEED)
    network = pangu.Pangu(config)
    pangu.initialize(network)
    print(sum(p.numel() for p in network.parameters()), "parameters,",
          config["vocab_size"], "pieces", flush=True)
    train(network, args.steps, held, pieces, args.out)


if __name__ == "__main__":
    main()
