"""Makes tests/golden/families: a tiny checkpoint with random weights for every switch of every
family, and the logits that transformers computes from it in FP32.

    python3 -m venv v && v/bin/pip install torch transformers safetensors
    v/bin/python tools/golden_families.py tests/golden/families

A directory holds config.json, written as published checkpoints have it, model.safetensors in BF16
and logits.safetensors: "ids" I32 [40] and "logits" F32 [40, vocab].  Seeded: the same versions of
the packages make the same files.
"""
import argparse
import json
import os
import zlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

TOKENS = 40
CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, head_dim=32, max_position_embeddings=256, rms_norm_eps=1e-5, rope_theta=10000.0,
             hidden_act="silu", tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16")
WINDOW = dict(use_sliding_window=False, sliding_window=32, max_window_layers=1)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
# Of the 16 frequencies of 32 dimensions LLAMA3 keeps the first, blends two and divides the rest; the last
# 8 tokens lie beyond the original positions.
MODELS = {
    "llama-heads": ("llama", dict(num_key_value_heads=2)),
    "llama-pairs": ("llama", dict(rms_norm_eps=1e-6, rope_theta=500000.0)),
    "llama-fours-tied": ("llama", dict(num_attention_heads=4, tie_word_embeddings=True)),
    "llama-bias": ("llama", dict(attention_bias=True)),
    "llama-rope-llama3": ("llama", dict(rope_scaling=LLAMA3, eos_token_id=[2, 3])),
    "llama-rope-linear": ("llama", dict(rope_scaling=dict(type="linear", factor=2.5))),
    "qwen2-tied": ("qwen2", dict(WINDOW, tie_word_embeddings=True)),
    "qwen2-untied": ("qwen2", WINDOW),
    "qwen3-tied": ("qwen3", dict(WINDOW, attention_bias=False, tie_word_embeddings=True)),
    "qwen3-bias": ("qwen3", dict(attention_bias=True, num_attention_heads=4, num_key_value_heads=2,
                                 rope_parameters=dict(LLAMA3, rope_theta=10000.0), rope_theta=None)),
}


def randomize(model, seed):
    """Weights whose sums neither vanish nor explode, and biases and norms that matter, on BF16's grid."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if name.endswith("norm.weight"):
            value = 1 + 0.3 * noise
        elif name.endswith(".bias"):
            value = noise
        elif "embed_tokens" in name:
            value = 0.3 * noise
        else:
            value = 1.5 * noise / p.shape[-1] ** 0.5
        p.data.copy_(value.bfloat16().float())


def make(name, family, changes, out):
    config = {**SIZES, "model_type": family, **changes}
    config = {key: value for key, value in config.items() if value is not None}
    config_class, model_class = CLASSES[family]
    settings = {key: value for key, value in config.items() if key not in ("model_type", "torch_dtype")}
    model = model_class(config_class(**json.loads(json.dumps(settings)), attn_implementation="eager")).float().eval()
    seed = zlib.crc32(name.encode())
    randomize(model, seed)
    ids = torch.randint(3, config["vocab_size"], (1, TOKENS), generator=torch.Generator().manual_seed(seed))
    ids[0, 0] = 1
    with torch.inference_mode():
        logits = model(ids).logits[0]
    directory = os.path.join(out, name)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w") as f:
        json.dump({"architectures": [model_class.__name__], **config}, f, indent=2)
        f.write("\n")
    tensors = {key: value.bfloat16().contiguous() for key, value in model.state_dict().items()
               if not (config["tie_word_embeddings"] and key == "lm_head.weight")}
    save_file(tensors, os.path.join(directory, "model.safetensors"), {"format": "pt"})
    save_file({"ids": ids[0].int(), "logits": logits.float().contiguous()},
              os.path.join(directory, "logits.safetensors"))
    print(f"{name:20} largest |logit| {logits.abs().max().item():.2f}, deviation {logits.std().item():.2f}, "
          f"probability of the best token {logits.softmax(-1).amax(-1).mean().item():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    out = parser.parse_args().out
    for name, (family, changes) in MODELS.items():
        make(name, family, changes, out)


if __name__ == "__main__":
    main()
