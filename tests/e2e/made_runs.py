"""Makes three runs of twelve tasks in two modes, whose replies try to break out of a page, and a bench.json.

    python3 tests/e2e/made_runs.py FOLDER
"""
import json
import sys

HOSTILE = [
    "</pre></div></details><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg onload=alert(1)>",
    "<!-- ]]> --> &lt;script&gt; &amp;",
    "\u001b[31mred\u001b[0m \u0000 \u202e reversed \u2028",
    "<style>*{display:none}</style><base href=http://127.0.0.1/><link rel=stylesheet href=x>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1/'><iframe src=//127.0.0.1></iframe>",
    "<form action=//127.0.0.1><input></form>" + "A" * 5000,
]


def main():
    for scheme, factor in ("bf16", 1), ("w8a8", 1), ("w4a8", 2):
        settings = {"model": f"<b>{scheme}</b>", "scheme": scheme, "group": 32, "family": "<i>", "layers": 2, "hidden": 8,
                    "weight_bytes": {"bf16": 100, "w8a8": 52, "w4a8": 31}[scheme], "precision": "native",
                    "tasks": "made.jsonl", "tasks_fingerprint": "0", "split": "all", "unsafe": scheme == "w4a8"}
        with open(f"{sys.argv[1]}/{scheme}.run", "w", encoding="utf-8") as f:
            print(json.dumps({"run": settings}), file=f)
            for i in (7, 3, 10, 0, 1, 2, 11, 4, 5, 6, 8, 9):
                for mode in "no", "slow":
                    text = HOSTILE[i % len(HOSTILE)].replace("\0", "")
                    text = text[:3] + "é" + text[3:] if i == 6 and scheme != "w4a8" else text[:3] + "è" if i == 6 else text
                    thinking = 50 * factor * (i + 1) if mode == "slow" else 0
                    row = {"task_id": f"T/{i}", "mode": mode, "sample": 0,
                           "passed": not (i == 2 and scheme == "w8a8"), "reason": text[:80], "prompt_tokens": 9,
                           "thinking_tokens": thinking, "tokens": thinking + 20 + i, "finish_reason": "length" if i == 4 else "stop",
                           "loops": i == 5, "prompt": text, "thinking": text if thinking else "", "content": text}
                    print(json.dumps(row), file=f)
            print(json.dumps({"session": {"seconds": 1.5, "prefill_tokens": 10, "prefill_s": 1, "decode_tokens": 10,
                                          "decode_s": 1, "peak_bytes": 1 << 20}}), file=f)

    models = []
    for scheme, speed in ("bf16", 4), ("w8a8", 8), ("w4a8", 16):
        speeds = [{"work": work, "prompt": 8, "batch": batch, "tok_s": speed}
                  for work in ("prefill", "decode") for batch in (1, 2, 4, 8, 16, 32)]
        models.append({"scheme": scheme, "group": 32, "kv": "native", "precision": "native", "max_positions": 2048,
                       "weight_bytes": (5 << 20) // speed, "kv_bytes": 1 << 20, "kv_position_bytes": 1 << 10,
                       "scratch_bytes": 1 << 19, "speeds": speeds})
    with open(f"{sys.argv[1]}/bench.json", "w", encoding="utf-8") as f:
        json.dump({"models": models, "machine": {"cpu": "<i>", "threads": 2, "isa": "c"}}, f)


main()
