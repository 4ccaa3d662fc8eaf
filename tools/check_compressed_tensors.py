"""Holds transformers with compressed-tensors, and panq, against what a quantized checkpoint says.

    python3 tools/check_compressed_tensors.py PANQ CHECKPOINT [--tokens 64]

PANQ is the program, CHECKPOINT what `panq quantize` wrote, of any family and form.  The reference multiplies its weights
out by hand, in FP32, and rounds what enters a quantized linear to 8 bits a token by a hook, in one of
two ways: compressed-tensors takes absmax / 127.5 as the scale, panq absmax / 127.

transformers runs the same operations as the reference with 127.5: mean KL below 1e-9.

panq adds in another order than the reference with 127.  An activation near the middle between two
codes then gets the other one, and what that moves grows from layer to layer: in a deep model the
reference is no nearer to itself in FP64 (printed).  So panq is compared twice.  Cut down to its first
layer: within a quarter of the KL between the two roundings, which tells one rounding from the other (but not
a weight scale that is off by 1 %: that shows against transformers).
Whole: within twice that KL or the reference's own in FP64, whichever is larger, which tells a model
that works from one that does not, and no more.

Exits with 1 when any of it does not hold.  Needs torch, transformers, compressed-tensors and
safetensors.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
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
    """Prints the distance and returns the mean KL."""
    kl = torch.nn.functional.kl_div(got.double().log_softmax(-1), want.double().log_softmax(-1), log_target=True,
                                    reduction="none").sum(-1)
    worst = (want - got).abs().max().item()
    agree = (want.argmax(-1) == got.argmax(-1)).float().mean().item()
    print(f"  {what}: largest logit difference {worst:.2e}, KL mean {kl.mean().item():.2e}, "
          f"largest {kl.max().item():.2e}, same best token {100 * agree:.1f} %")
    return kl.mean().item()


def cut(directory, out, layers):
    """The checkpoint's first layers, as a checkpoint."""
    with open(os.path.join(directory, "config.json")) as f:
        config = json.load(f)
    config["num_hidden_layers"] = layers
    if config.get("layer_types"):
        config["layer_types"] = config["layer_types"][:layers]
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f)
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    save_file({name: tensor for name, tensor in tensors.items()
               if not name.startswith("model.layers.") or int(name.split(".")[2]) < layers},
              os.path.join(out, "model.safetensors"), {"format": "pt"})


def check(directory, what, args, share_of):
    """Whether all is near enough; share_of(roundings, floor) is the KL that panq may have."""
    config = read_config(directory)
    quantization = config["quantization_config"]
    if quantization["quant_method"] == "panq":
        group_size = quantization["group_size"]
    else:
        group_size = quantization["config_groups"]["group_0"]["weights"].get("group_size") or 0
    torch.manual_seed(1)
    ids = torch.randint(0, config["vocab_size"], (1, args.tokens))
    model, linears = reference(directory, config, group_size, round_as_compressed_tensors)
    print(f"{args.checkpoint}, {what}: {quantization.get('format')}, {linears} quantized linears, {args.tokens} tokens")
    want_other = model(ids).logits[0]
    good = True
    if knows(quantization, load_file(os.path.join(directory, "model.safetensors"))):
        kl = compare("transformers and the reference", want_other, transformers_logits(directory, config, ids))
        good = kl < 1e-9
    else:
        print("  transformers does not read this form")
    model = reference(directory, config, group_size, round_as_panq)[0]
    want = model(ids).logits[0]
    roundings = compare("the two roundings in the reference", want, want_other)
    floor = compare("the reference in FP64 and in FP32", model.double()(ids).logits[0], want)
    kl, most = compare("panq and the reference", want, panq_logits(args.panq, directory, ids)), share_of(roundings, floor)
    print(f"  panq's KL may be {most:.2e}")
    return good and kl <= most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panq")
    parser.add_argument("checkpoint")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    with torch.inference_mode(), tempfile.TemporaryDirectory() as first:
        cut(args.checkpoint, first, 1)
        good = check(first, "first layer", args, lambda roundings, floor: roundings / 4)
        good = check(args.checkpoint, "whole", args, lambda roundings, floor: 2 * max(roundings, floor)) and good
    if not good:
        sys.exit("the logits differ")


if __name__ == "__main__":
    main()
