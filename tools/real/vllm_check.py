"""Loads a portable quantized checkpoint in vLLM on the CPU and holds panq against what it computes.

    python3 tools/real/vllm_check.py PANQ SOURCE QUANTIZED [--tokens 48]

SOURCE is the checkpoint that QUANTIZED was made from with --portable.  Both engines run in FP32
wherever they do not run in integers, but for 4-bit weights vLLM, whose kernel takes BF16 only and does
not round activations to 8 bits.  Prints TAP:

  - vLLM runs the linears as quantized ones (their scheme is printed), and each output of each of
    them has the gain that the file's codes and scales mean: least squares over random inputs gives
    1 within GAIN.  Rounding of activations is noise around it; a scale 1 % off is not;
  - the log-probabilities that it gives the 20 likeliest tokens at each position of some prompts and
    replies are nearer to panq's on QUANTIZED than those are to panq's on SOURCE.  This is coarse:
    activations near the middle between two codes turn over in one engine and not in the other;
  - its greedy replies are panq's, or part where panq's two best tokens lie closer than what the
    engines differ by there.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the model is looked at from here
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import numpy as np
import torch
from safetensors.torch import load_file
from vllm import LLM, SamplingParams

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from check_compressed_tensors import multiply_out

PROMPTS = ["def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
           "# Read a CSV file and print the mean of each column.\nimport csv\n",
           "The three largest cities of Japan are", "快速排序的平均时间复杂度是"]
TOP, ROWS, GAIN = 20, 512, 4e-3
PARTS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}  # what vLLM joins
tests = failures = 0


def ok(good, name):
    global tests, failures
    tests += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {tests} - {name}", flush=True)


def panq_ids(panq, folder, text):
    done = subprocess.run([panq, "tokenize", folder, "-", "--json"], input=text.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)["ids"]


def panq_logprobs(panq, folder, ids):
    """[len(ids)][vocab] in FP64."""
    with tempfile.TemporaryDirectory() as temp:
        out = os.path.join(temp, "logits.safetensors")
        subprocess.run([panq, "logits", folder, "--ids", ",".join(map(str, ids)), "-o", out, "--precision", "fp32"],
                       check=True, stdout=subprocess.DEVNULL)
        logits = load_file(out)["logits"].double().numpy()
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def gains(model, tensors, group_size, dtype):
    """The largest |gain - 1| of an output of each linear that the file has quantized, and their schemes."""
    worst, schemes = {}, set()
    for name, module in model.named_modules():
        stem, _, last = name.rpartition(".")
        parts = [f"{stem}.{part}" for part in PARTS.get(last, (last,))]
        if f"{parts[0]}.weight_scale" not in tensors:
            continue
        weight = torch.cat([multiply_out(tensors, part, group_size) for part in parts])
        x = torch.randn(ROWS, weight.shape[1], generator=torch.Generator().manual_seed(len(worst)))
        # Without the bias: in BF16 a large one takes the bits of what is looked at.
        got, want = module.quant_method.apply(module, x.to(dtype)).float(), x @ weight.T
        worst[name] = ((got * want).sum(0) / (want * want).sum(0) - 1).abs().max().item()
        schemes.add(type(module.scheme).__name__ if hasattr(module, "scheme") else "none")
    return worst, schemes


def check_linears(llm, quantized, group_size, dtype):
    tensors = load_file(os.path.join(quantized, "model.safetensors"))
    worst, schemes = llm.apply_model(lambda model: gains(model, tensors, group_size, dtype))[0]
    name = max(worst, key=worst.get, default=None)
    ok(bool(worst) and worst[name] < GAIN, f"{len(worst)} linears, {', '.join(schemes)}: gains differ by {worst.get(name, 0):.1e} at most, in {name}")


def vllm_replies(llm, prompts, tokens):
    """For each prompt the ids of prompt and greedy reply, and {id: logprob} of the likeliest after each but the last."""
    sampling = SamplingParams(temperature=0, max_tokens=tokens, logprobs=TOP, prompt_logprobs=TOP, ignore_eos=True)
    for result in llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False):
        reply = result.outputs[0]
        likeliest = result.prompt_logprobs[1:] + reply.logprobs
        yield (list(result.prompt_token_ids) + list(reply.token_ids),
               [{i: p.logprob for i, p in step.items()} for step in likeliest])


def distance(step, mine):
    """KL over the listed tokens from their log-probabilities in `mine` [vocab], and the largest difference."""
    ids = list(step)
    theirs = np.array([step[i] for i in ids])
    return float((np.exp(theirs) * (theirs - mine[ids])).sum()), float(np.abs(theirs - mine[ids]).max())


def check_reply(panq, source, quantized, n_prompt, ids, likeliest):
    """Mean KL of vLLM to panq and of panq to its source, the largest difference, greedy tokens that are not panq's."""
    mine, full = (panq_logprobs(panq, folder, ids[:-1]) for folder in (quantized, source))
    kl, most = zip(*(distance(step, row) for step, row in zip(likeliest, mine)))
    moved = [(np.exp(a) * (a - b)).sum() for a, b in zip(mine, full)]
    parted = 0
    for at in range(n_prompt, len(ids)):
        gap = mine[at - 1].max() - mine[at - 1][ids[at]]
        parted += gap > 2 * most[at - 1]
    return np.mean(kl), np.mean(moved), max(most), parted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panq")
    parser.add_argument("source")
    parser.add_argument("quantized")
    parser.add_argument("--tokens", type=int, default=48)
    args = parser.parse_args()
    with open(os.path.join(args.quantized, "config.json")) as f:
        weights = json.load(f)["quantization_config"]["config_groups"]["group_0"]["weights"]
    dtype = torch.float32 if weights["num_bits"] == 8 else torch.bfloat16
    llm = LLM(args.quantized, dtype=dtype, enforce_eager=True, max_model_len=512, max_logprobs=TOP)
    check_linears(llm, args.quantized, weights.get("group_size") or 0, dtype)
    prompts = [panq_ids(args.panq, args.source, text) for text in PROMPTS]
    kls, moves = [], []
    for text, prompt, (ids, likeliest) in zip(PROMPTS, prompts, vllm_replies(llm, prompts, args.tokens)):
        kl, moved, most, parted = check_reply(args.panq, args.source, args.quantized, len(prompt), ids, likeliest)
        kls.append(kl)
        moves.append(moved)
        ok(parted == 0, f"{text[:24]!r}: {parted} of {len(ids) - len(prompt)} greedy tokens not panq's, largest difference {most:.1e}")
    ok(np.mean(kls) < np.mean(moves), f"mean KL to panq {np.mean(kls):.1e}, of panq to its source {np.mean(moves):.1e}")
    print(f"1..{tests}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
