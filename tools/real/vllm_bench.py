"""Speed of vLLM on the CPU, measured as `panq bench` does it: for docs/performance.md.

    python3 tools/real/vllm_bench.py DIR [--prompt 128,512,2048] [--decode 64] [--repeat 5]

Random tokens, one sequence, BF16 where nothing is quantized; a prefill ends with its first token,
decoding is what further tokens take.  Prints medians with the least and the most.
"""
import argparse
import os
import random
import statistics
import time

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from vllm import LLM, SamplingParams


def seconds(llm, prompt, tokens):
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    start = time.perf_counter()
    llm.generate([{"prompt_token_ids": prompt}], sampling, use_tqdm=False)
    return time.perf_counter() - start


def show(what, speeds):
    print(f"{what}: {statistics.median(speeds):.1f} tok/s ({min(speeds):.1f} .. {max(speeds):.1f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--prompt", default="128,512,2048")
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    lengths = [int(n) for n in args.prompt.split(",")]
    room = max(lengths) + args.decode + 1
    llm = LLM(args.folder, dtype="bfloat16", enforce_eager=True, enable_prefix_caching=False, max_model_len=room,
              max_num_batched_tokens=max(2048, max(lengths)), max_num_seqs=1, skip_tokenizer_init=True)
    rng = random.Random(1)
    for n in lengths:
        prompt = [rng.randrange(1000, 30000) for _ in range(n)]
        prefill = [seconds(llm, prompt, 1) for _ in range(args.repeat + 1)][1:]
        show(f"prefill {n}", [n / s for s in prefill])
        if n == lengths[0]:
            base = statistics.median(prefill)
            whole = [seconds(llm, prompt, args.decode + 1) for _ in range(args.repeat)]
            show(f"decode {args.decode} at {n}", [args.decode / (s - base) for s in whole])


if __name__ == "__main__":
    main()
