"""Holds transformers with compressed-tensors, and panq, against what a quantized checkpoint says.

    python3 tools/check_compressed_tensors.py CHECKPOINT [--panq build/panq] [--tokens 64]

CHECKPOINT is what `panq quantize` wrote, of any family and form.  The reference multiplies its weights
out by hand, in FP32, and rounds what enters a quantized linear to 8 bits a token by a hook, in one
of two ways: compressed-tensors takes absmax / 127.5 as the scale, panq absmax / 127.  Compared are

  transformers with the reference's 127.5, if compressed-tensors knows the form,
  panq (logits in FP32) with the reference's 127, if --panq is given,
  the two with each other.

The first two differ in the order of FP32 sums only, which now and then turns one code over to its
neighbour: their mean KL is below a quarter of that between the two roundings, which move every
code, or below 1e-5.  The third may differ as much as the
two roundings do in the reference, plus the first two.  Exits with 1 when any of it does not hold.  Needs torch, transformers, compressed-tensors and safetensors.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM


def read_config(directory):
    with open(os.path.join(directory, "config.json")) as f:
        config = json.load(f)
    if config["model_type"] == "PanguEmbedded":  # computes what a Llama with biases does
        config.update(model_type="llama", attention_bias=config.pop("bias", True))
        config.pop("auto_map", None)
    config.pop("architectures", None)
    return config


def make_config(config):
    config = dict(config)
    return AutoConfig.for_model(config.pop("model_type"), **config)


def nibbles(packed, count):
    """Unsigned values, the lowest nibble of the first byte first."""
    data = packed.contiguous().view(torch.uint8).reshape(packed.shape[0], -1)
    return torch.stack([data & 15, data >> 4], -1).reshape(packed.shape[0], -1)[:, :count]


def multiply_out(tensors, name, group_size):
    """The weight of linear `name`, from whichever form it is in."""
    scale = tensors[name + ".weight_scale"].float()
    if name + ".weight" in tensors:
        return tensors[name + ".weight"].float() * scale.reshape(-1, 1)
    packed = tensors[name + ".weight_packed"]
    per_value = 8 if packed.dtype == torch.int32 else 2
    shape = tensors.get(name + ".weight_shape")
    k = int(shape[1]) if shape is not None else packed.shape[1] * per_value
    codes = nibbles(packed, k).float() - 8
    groups = -(-k // group_size) if group_size else 1
    if name + ".weight_group" in tensors:
        scale = scale.reshape(-1, 1) * nibbles(tensors[name + ".weight_group"], groups).float()
    return codes * scale.reshape(len(codes), -1).repeat_interleave(group_size or k, 1)[:, :k]


def round_as_compressed_tensors(x):
    scale = (x.abs().amax(-1, keepdim=True) / 127.5).clamp(min=torch.finfo(x.dtype).eps)
    return (x / scale).round().clamp(-128, 127) * scale


def round_as_panq(x):
    most = x.abs().amax(-1, keepdim=True).clamp(min=1e-30)
    return (x * (127 / most)).round() * (most / 127)


def reference(directory, config, group_size, rounding):
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    quantized = [name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")]
    state = {name: tensor.float() for name, tensor in tensors.items()
             if not any(name.startswith(linear + ".weight") for linear in quantized)}
    for name in quantized:
        state[name + ".weight"] = multiply_out(tensors, name, group_size)
    config = {key: value for key, value in config.items() if key != "quantization_config"}
    model = AutoModelForCausalLM.from_config(make_config(config)).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"tensors do not fit: missing {missing}, unexpected {unexpected}")

    for name in quantized:
        name = "lm_head" if name == "model.embed_tokens" else name
        model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: (rounding(inputs[0]),))
    return model, len(quantized)


def knows(quantization, tensors):
    """Does compressed-tensors know the form?  A tied head in int8 it does not."""
    return quantization["quant_method"] == "compressed-tensors" and "model.embed_tokens.weight_scale" not in tensors


def transformers_logits(directory, config, ids):
    model = AutoModelForCausalLM.from_pretrained(directory, config=make_config(config), dtype=torch.float32)
    return model(ids).logits[0]


def panq_logits(panq, directory, ids):
    with tempfile.TemporaryDirectory() as temp:
        out = os.path.join(temp, "logits.safetensors")
        subprocess.run([panq, "logits", directory, "--ids", ",".join(map(str, ids[0].tolist())), "-o", out,
                        "--precision", "fp32"], check=True)
        return load_file(out)["logits"]


def compare(what, want, got):
    """Prints the distance and returns the largest difference and the mean KL."""
    kl = torch.nn.functional.kl_div(got.double().log_softmax(-1), want.double().log_softmax(-1), log_target=True,
                                    reduction="none").sum(-1)
    worst = (want - got).abs().max().item()
    agree = (want.argmax(-1) == got.argmax(-1)).float().mean().item()
    print(f"  {what}: largest logit difference {worst:.2e}, KL mean {kl.mean().item():.2e}, "
          f"largest {kl.max().item():.2e}, same best token {100 * agree:.1f} %")
    return worst, kl.mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--panq", help="the program, to be compared too")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    config = read_config(args.checkpoint)
    quantization = config["quantization_config"]
    if quantization["quant_method"] == "panq":
        group_size = quantization["group_size"]
    else:
        group_size = quantization["config_groups"]["group_0"]["weights"].get("group_size") or 0
    torch.manual_seed(1)
    ids = torch.randint(0, config["vocab_size"], (1, args.tokens))
    with torch.inference_mode():
        model, linears = reference(args.checkpoint, config, group_size, round_as_compressed_tensors)
        want_other = model(ids).logits[0]
        want_panq = reference(args.checkpoint, config, group_size, round_as_panq)[0](ids).logits[0]
        print(f"{args.checkpoint}: {quantization.get('format')}, {linears} quantized linears, {args.tokens} tokens")
        allowed, rounding_kl = compare("the two roundings in the reference", want_panq, want_other)
        good, got = True, {}
        for name, want in (("transformers", want_other), ("panq", want_panq)):
            if name == "panq" and args.panq:
                got[name] = panq_logits(args.panq, args.checkpoint, ids)
            elif name == "transformers" and knows(quantization, load_file(
                    os.path.join(args.checkpoint, "model.safetensors"))):
                got[name] = transformers_logits(args.checkpoint, config, ids)
            else:
                print(f"  {name}: not compared")
                continue
            worst, kl = compare(f"{name} and the reference", want, got[name])
            allowed += worst
            good = good and kl < max(1e-5, rounding_kl / 4)
    if len(got) == 2:
        worst = compare("panq and transformers", got["panq"], got["transformers"])[0]
        print(f"  bound on their largest difference: {allowed:.2e}")
        good = good and worst <= 1.0001 * allowed
    if not good or not got:
        sys.exit("the logits differ" if got else "nothing was compared")


if __name__ == "__main__":
    main()
