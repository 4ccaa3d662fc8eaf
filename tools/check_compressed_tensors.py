"""Loads a W8A8 checkpoint made by `panq quantize --portable` the way other engines do.

    python3 check_compressed_tensors.py CHECKPOINT [--tokens 64]

transformers opens the directory through compressed-tensors (an openPangu model computes what a Llama
with attention biases does), and its logits are compared with those of the same model whose
weights were multiplied out by hand and whose activations are rounded by a hook.  Exits with 1 when
any of it fails.  Needs torch, transformers, compressed-tensors and safetensors.
"""
import argparse
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def llama_config(directory, quantized):
    with open(os.path.join(directory, "config.json")) as f:
        config = json.load(f)
    for key in ("architectures", "model_type", "auto_map", "torch_dtype"):
        config.pop(key, None)
    quantization = config.pop("quantization_config")
    config["attention_bias"] = config.pop("bias", True)
    if quantized:
        config["quantization_config"] = quantization
    return LlamaConfig(**config)


def round_activations(module, inputs):
    """Per token to 8 bits, as compressed-tensors does it: scale = absmax / 127.5, codes -128..127."""
    x = inputs[0]
    scale = (x.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(x.dtype).eps)
    return ((x / scale).round().clamp(-128, 127) * scale,)


def reference(directory):
    """The model with weights multiplied out: code * scale."""
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    state, quantized = {}, []
    for name, tensor in tensors.items():
        if name.endswith(".weight_scale"):
            continue
        if tensor.dtype == torch.int8:
            tensor = tensor.float() * tensors[name + "_scale"]
            quantized.append(name.removesuffix(".weight"))
        state[name] = tensor.float()
    model = LlamaForCausalLM(llama_config(directory, quantized=False)).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"tensors do not fit: missing {missing}, unexpected {unexpected}")
    for name in quantized:
        model.get_submodule(name).register_forward_pre_hook(round_activations)
    return model, len(quantized)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    want_model, linears = reference(args.checkpoint)
    got_model = LlamaForCausalLM.from_pretrained(
        args.checkpoint, config=llama_config(args.checkpoint, quantized=True), dtype=torch.float32)
    torch.manual_seed(1)
    ids = torch.randint(0, want_model.config.vocab_size, (2, args.tokens))
    with torch.inference_mode():
        want, got = want_model(ids).logits, got_model(ids).logits
    kl = torch.nn.functional.kl_div(got.log_softmax(-1), want.log_softmax(-1), log_target=True,
                                    reduction="none").sum(-1)
    worst = (want - got).abs().max().item()
    agree = (want.argmax(-1) == got.argmax(-1)).float().mean().item()
    print(f"{linears} int8 linears, {ids.numel()} tokens: largest logit difference {worst:.2e}, "
          f"KL mean {kl.mean().item():.2e}, largest {kl.max().item():.2e}, "
          f"same best token {100 * agree:.1f} %")
    if not (kl.mean() < 1e-5 and agree > 0.98):
        sys.exit("the logits differ")


if __name__ == "__main__":
    main()
