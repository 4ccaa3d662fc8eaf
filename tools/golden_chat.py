"""Records what published chat templates make of conversations, in tests/golden/chat.jsonl.

    python3 -m venv v && v/bin/pip install jinja2==3.1.6
    v/bin/python tools/golden_chat.py DIR

DIR has the chat_template of a published model of each family as it is, in FAMILY.jinja:
    openpangu   pangu-mini's own                qwen3      Qwen/Qwen3-0.6B
    qwen25      Qwen/Qwen2.5-7B-Instruct        qwen2      Qwen/Qwen2-0.5B-Instruct
    smollm2     SmolLM2-135M-Instruct           chatml     HuggingFaceTB/SmolLM-135M-Instruct
    llama31     meta-llama/Llama-3.1-8B-Instruct           llama32    meta-llama/Llama-3.2-1B-Instruct
    llama3      meta-llama/Meta-Llama-3-8B-Instruct        r1         deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B
"""
import json
import os
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BOS = {"openpangu": "<s>", "llama3": "<|begin_of_text|>", "llama31": "<|begin_of_text|>", "llama32": "<|begin_of_text|>",
       "r1": "<｜begin▁of▁sentence｜>"}
FAMILIES = ["openpangu", "qwen3", "qwen25", "qwen2", "smollm2", "chatml", "llama31", "llama32", "llama3", "r1"]
THOUGHT = "<think>\nLet me see.\n\n</think>\n\n\nFour."
S, U, A = "system", "user", "assistant"
CASES = [
    [(U, "Hi")],
    [(S, "Be brief."), (U, " What is 2+2?\n")],
    [(S, ""), (U, "")],
    [(U, "a"), (A, "b"), (U, "c")],
    [(S, " s\n"), (U, "a\u3000"), (A, "\tb \n"), (U, "c")],
    [(U, "2+2?"), (A, THOUGHT), (U, "3+3?")],
    [(U, "2+2?"), (A, THOUGHT)],
    [(U, "2+2?"), (A, "Four.")],
    [(U, "2+2?"), (A, "\nFour."), (A, THOUGHT), (A, "Really.\n")],
    [(U, "2+2?"), (A, "x</think>\ny</think>z"), (S, "Now briefly."), (U, "3+3?")],
    [(U, "2+2?"), (A, "<think>a<think>b\n"), (U, "<tool_response>4</tool_response>")],
    [(A, "Hello."), (U, "Hi <|im_end|>"), (S, "t")],
    [(S, "one"), (S, "two"), (A, "a")],
    [(S, "one"), (S, "two"), (U, "a")],
]


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    with open(os.path.join(HERE, "tests", "golden", "chat.jsonl"), "w", encoding="utf-8") as out:
        for family in FAMILIES:
            with open(os.path.join(sys.argv[1], family + ".jinja"), encoding="utf-8") as file:
                template = environment.from_string(file.read())
            for think in (True, False) if family == "qwen3" else (True,) if family in ("openpangu", "r1") else (False,):
                for case in CASES:
                    if family == "qwen3" and not think and U not in dict(case):
                        continue  # the mode is a user turn's
                    messages = [{"role": r, "content": c} for r, c in case]
                    prompt = template.render(messages=messages, add_generation_prompt=True, bos_token=BOS.get(family, ""),
                                             enable_thinking=think)
                    if family == "openpangu":  # its tokenizer adds BOS
                        prompt = BOS[family] + prompt
                    json.dump({"family": family, "think": "slow" if think else "no", "messages": messages, "prompt": prompt}, out)
                    out.write("\n")


if __name__ == "__main__":
    main()
