"""Greedy replies of vLLM in BF16 to the prompts of `panq eval`, for `panq eval --replies`.

    python3 tools/real/vllm_replies.py DIR HumanEval.jsonl.gz OUT.jsonl [--max-tokens 768]

The prompt is the same: the checkpoint's chat template around one user turn, "Complete this Python
function." and the task's own prompt.  Replies end at the tokens that generation_config.json names.
"""
import argparse
import gzip
import json
import os

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

from vllm import LLM, SamplingParams


def read_tasks(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("tasks")
    parser.add_argument("out")
    parser.add_argument("--max-tokens", type=int, default=768)
    args = parser.parse_args()
    tasks = read_tasks(args.tasks)
    llm = LLM(args.folder, dtype="bfloat16", enforce_eager=True, max_model_len=4096, max_num_seqs=64)
    turns = [[{"role": "user", "content": "Complete this Python function.\n" + t["prompt"].rstrip("\n")}] for t in tasks]
    outputs = llm.chat(turns, SamplingParams(temperature=0, max_tokens=args.max_tokens))
    with open(args.out + ".partial", "w", encoding="utf-8") as out:
        for task, output in zip(tasks, outputs):
            reply = output.outputs[0]
            out.write(json.dumps({"task_id": task["task_id"], "mode": "no", "thinking": "", "thinking_tokens": 0,
                                  "content": reply.text, "tokens": len(reply.token_ids),
                                  "finish_reason": reply.finish_reason}) + "\n")
    os.replace(args.out + ".partial", args.out)


if __name__ == "__main__":
    main()
