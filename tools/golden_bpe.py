"""Trains small byte-level BPE tokenizers, and records what Hugging Face's library makes of texts.

    python3 -m venv v && v/bin/pip install tokenizers==0.23.3
    v/bin/python tools/golden_bpe.py

Writes tests/golden/bpe-*.json, each a tokenizer.json with the published blocks of a family around a
vocabulary of its own, and tests/golden/bpe-ids.jsonl: {"tokenizer", "text", "ids"}.
"""
import json
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
GOLDEN = os.path.join(HERE, "tests", "golden")

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
R1 = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"]
HEADERS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]

PROSE = """The quick brown fox jumps over the lazy dog; it's 12:30 and we've 1024 reasons to stay, don't we?
Voyez le brick géant que j'examine près du wharf. Ça coûte 3,50 €, naïveté comprise.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 東京都の人口は約1400万人です。
我们提供一个简短的介绍，大型语言模型可以编写代码。Съешь же ещё этих мягких французских булок, да выпей чаю.
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. مرحبا بالعالم ١٢٣ नमस्ते दुनिया 🙂👩‍👩‍👧
"""
TEXTS = [
    "", " ", "  ", "\n", "\r\n\r\n", "\t\tx", "a", "Hello, world!", "  a  b\n\n\tc  \r\n ", "x " * 40, "x" * 300,
    " " * 200, "\n" * 50, "1234567890 3.14 1e-9 ½ ² ١٢٣ 〇", "don't WE'LL I'm 'S 'ſ you'Re'D", "e\u0301 \u1100\u1161 \u212b \ufb01 \u0958",
    "q\u0323\u0307 q\u0307\u0323 a\u0898\u0301 \u0301x", "中文。日本語、한국어", "naïve café Ça", "🙂👩‍👩‍👧‍👦🏳️‍🌈", "\u00a0\u1680\u2003\u3000\u180e\u0085\u2028x\u200b\ufeff",
    "a\x00b\x01\x7f\x1c", "<|im_start|>user\nhi<|im_end|>\n<|im_start", "<think>\n\n</think>\n\n<|eot_id|><|eot_id|>",
    "<｜User｜>x<｜Assistant｜><think>\n", "<tool_callx</tool_call>", "<tool_call>", "def f(x):\n    return x + 1  # 東京\n",
    "for i in range(100):\n\tprint(f'{i:03d}')\n\n\n", "Ünïcödé e\u0301\u0323\u0327", "\U00031350\U0001d2c0 \U0001d2c0\U00011de0's",
    "A\u030a<think>A\u030aA\u030a", "Å\u0301mark", "  lead", "trail  ", "((((()))))", "\U0010ffff\ue000",
]
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF),
          (0x1100, 0x11FF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0, 0x1F)]


def random_text(rng, added):
    parts = []
    for _ in range(rng.randint(1, 8)):
        kind = rng.random()
        if kind < 0.6:
            low, high = rng.choice(RANGES)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))))
        elif kind < 0.7:
            parts.append(rng.choice(" \n") * rng.randint(1, 20))
        elif kind < 0.8:
            parts.append(str(rng.randrange(10 ** rng.randint(1, 12))))
        else:
            parts.append(rng.choice(added))
    return "".join(parts)


def corpus():
    with open(os.path.join(HERE, "models", "pangu-mini", "mini-eval.jsonl"), encoding="utf-8") as file:
        tasks = [json.loads(line) for line in file]
    return [PROSE] * 20 + [t["prompt"] + t["canonical_solution"] for t in tasks[:100]]


def train(pre, special, plain, size, normalizer=None, bos=None, alphabet=True, normalized=(), ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    start = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, initial_alphabet=start, show_progress=False))
    t.add_special_tokens(special)
    t.add_tokens([AddedToken(p, normalized=p in normalized) for p in plain])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        template = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                                 special_tokens=[(bos, t.token_to_id(bos))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def tokenizers():
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    yield "qwen", train(split(QWEN), CHATML + R1, ["<tool_call>", "</tool_call>", "<think>", "</think>"], 700, normalizers.NFC())
    yield "llama3", train(split(LLAMA3), HEADERS, [], 700, bos=HEADERS[0], ignore_merges=True)
    yield "smollm", train(digits, CHATML, [], 600, alphabet=False)
    yield "gpt2", train(pre_tokenizers.ByteLevel(add_prefix_space=True), CHATML[:1], ["Å\u0301mark", "range"], 600, normalizers.NFC(),
                        normalized=["Å\u0301mark", "range"])


def main():
    rng = random.Random(20251224)
    with open(os.path.join(GOLDEN, "bpe-ids.jsonl"), "w", encoding="utf-8") as out:
        for name, tokenizer in tokenizers():
            document = json.loads(tokenizer.to_str())
            if name == "llama3":  # the older of the two forms of merges
                document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
            path = os.path.join(GOLDEN, f"bpe-{name}.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(document, file, ensure_ascii=False, separators=(",", ":"))
            tokenizer = Tokenizer.from_file(path)
            added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
            for text in TEXTS + [random_text(rng, added) for _ in range(80)]:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                json.dump({"tokenizer": name, "text": text, "ids": ids}, out, separators=(",", ":"))
                out.write("\n")


if __name__ == "__main__":
    main()
