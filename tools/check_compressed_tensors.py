"""Holds transformers with compressed-tensors, and panq, against what a quantized checkpoint says.

    python3 tools/check_compressed_tensors.py PANQ CHECKPOINT [--sequences 32] [--length 8]

PANQ is the program (the tool `layers` lies beside it), CHECKPOINT what `panq quantize` wrote, of any
family and form.  The reference multiplies its weights out by hand, in FP32, and rounds what enters a
quantized linear to 8 bits a token by a hook, in one of two ways: compressed-tensors takes
absmax / 127.5 as the scale, panq absmax / 127.

transformers runs the same operations as the reference with 127.5: mean KL below 1e-9.

panq adds in another order than the reference with 127.  Now and then an activation that lies in the
middle between two codes gets the other one, and what that moves grows from layer to layer, so the
logits of a deep model say little.  So panq takes the reference's own residual stream through one
layer at a time, and q, k, v, what enters o, the stream after attention, what enters down, the stream
after the layer and the logits are compared element by element: the difference of an element at the
median token, over its root mean square over the tokens (without biases, and of the streams what was
added to them).  Few tokens of few short sequences meet a turned code; all tokens meet a wrong weight.
Where every layer does what the reference does on the reference's inputs, so does the whole.  The
bound, 1e-4, is above what FP32 sums in another order come to and below what 1 % of a row does (1e-2 in
q, k, v and the streams; less in what enters down, where silu is flat).

That it can fail is shown each time: with one row of one linear 1 % larger in the reference, for all
seven linears of the first, the middle and the last layer, the same comparison must exceed the bound.

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

BOUND = 1e-4


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


def reference(directory, config, group_size):
    """The model, and how many linears are quantized; model.rounding may be set to either rounding."""
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    quantized = [name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")]
    state = {name: tensor.float() for name, tensor in tensors.items()
             if not any(name.startswith(linear + ".weight") for linear in quantized)}
    for name in quantized:
        state[name + ".weight"] = multiply_out(tensors, name, group_size)
    config = {key: value for key, value in config.items() if key != "quantization_config"}
    model = AutoModelForCausalLM.from_config(make_config(config)).float().eval()
    model.rounding = round_as_compressed_tensors
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"tensors do not fit: missing {missing}, unexpected {unexpected}")

    for name in quantized:
        name = "lm_head" if name == "model.embed_tokens" else name
        model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: (model.rounding(inputs[0]),))
    return model, len(quantized)


def knows(quantization, tensors):
    """Does compressed-tensors know the form?  A tied head in int8 it does not."""
    return quantization["quant_method"] == "compressed-tensors" and "model.embed_tokens.weight_scale" not in tensors


def transformers_logits(directory, config, ids):
    model = AutoModelForCausalLM.from_pretrained(directory, config=make_config(config), dtype=torch.float32)
    return model(ids).logits[0]


def kl_mean(what, want, got):
    """Prints the distance of logits and returns the mean KL."""
    kl = torch.nn.functional.kl_div(got.double().log_softmax(-1), want.double().log_softmax(-1), log_target=True,
                                    reduction="none").sum(-1).mean().item()
    worst = (want - got).abs().max().item()
    agree = (want.argmax(-1) == got.argmax(-1)).float().mean().item()
    print(f"  {what}: largest logit difference {worst:.2e}, KL mean {kl:.2e}, same best token {100 * agree:.1f} %")
    return kl


def trace(model, ids):
    """What passes by in the reference: {name of layers.c: [tokens, width]}, and the streams."""
    seen, hooks = {}, []

    def keep(module, name):
        hooks.append(module.register_forward_pre_hook(
            lambda _, inputs: seen.__setitem__(name, inputs[0].flatten(0, 1)), prepend=True))

    def keep_output(module, name):
        hooks.append(module.register_forward_hook(
            lambda _, inputs, output: seen.__setitem__(name, output.flatten(0, 1))))

    layers = model.model.layers
    for i, layer in enumerate(layers):
        keep(layer, f"out.{i - 1}")
        for name in "qkv":
            keep_output(layer.self_attn.get_submodule(f"{name}_proj"), f"{name}.{i}")
        keep(layer.self_attn.o_proj, f"attention.{i}")
        keep(layer.post_attention_layernorm, f"middle.{i}")
        keep(layer.mlp.down_proj, f"inner.{i}")
    keep(model.model.norm, f"out.{len(layers) - 1}")
    seen["logits"] = model(ids).logits.flatten(0, 1)
    for hook in hooks:
        hook.remove()
    return seen


def panq_layers(panq, directory, want, n_layers, ids):
    streams = torch.stack([want[f"out.{i}"].reshape(*ids.shape, -1) for i in range(-1, n_layers)])
    with tempfile.TemporaryDirectory() as temp:
        given, out = os.path.join(temp, "in.safetensors"), os.path.join(temp, "out.safetensors")
        save_file({"streams": streams}, given)
        subprocess.run([os.path.join(os.path.dirname(panq), "layers"), directory, given, out], check=True)
        return load_file(out)


def base_of(model, want, name, i):
    """What tensor `name` of layer i has that no weight has made."""
    if name in ("q", "k", "v"):
        bias = model.model.layers[i].self_attn.get_submodule(f"{name}_proj").bias
        return 0 if bias is None else bias
    return want[{"middle": f"out.{i - 1}", "out": f"middle.{i}"}[name]] if name in ("middle", "out") else 0


def off_by(model, want, got, i):
    """(what, element, by how much) is farthest off in layer i; i = number of layers: in the logits."""
    worst = ("", 0, 0.0)
    names = ["q", "k", "v", "attention", "middle", "inner", "out"] if f"middle.{i}" in want else ["logits"]
    for name in names:
        key = name if name == "logits" else f"{name}.{i}"
        base = base_of(model, want, name, i)
        mine = got[key] - (got[f"middle.{i}"] if name == "out" else base)
        theirs = want[key] - base
        size = theirs.square().mean(0).sqrt()
        error = (mine - theirs).abs().median(0).values / size.clamp(min=1e-3 * size.mean().item())
        at = error.argmax().item()
        if error[at] > worst[2]:
            worst = (key, at, error[at].item())
    return worst


def check_breaks(model, ids, got, i):
    """Whether a row that is 1 % larger shows, for each linear of layer i."""
    layer, good = model.model.layers[i], True
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                 "mlp.up_proj", "mlp.down_proj"):
        weight = layer.get_submodule(name).weight
        row = torch.randint(len(weight), (1,)).item()
        kept = weight[row].clone()
        weight[row] *= 1.01
        what, element, by = off_by(model, trace(model, ids), got, i)
        weight[row] = kept
        print(f"  row {row} of {name} of layer {i} made 1 % larger: {what}[{element}] off by {by:.1e}")
        good = good and by > BOUND
    return good


def check_layers(directory, model, args, config):
    """panq against the reference, layer by layer; whether all is near enough and a wrong row is not."""
    ids = torch.randint(0, config["vocab_size"], (args.sequences, args.length))
    n = config["num_hidden_layers"]
    want = trace(model, ids)
    got = panq_layers(args.panq, directory, want, n, ids)
    worst = max((off_by(model, want, got, i) for i in range(n + 1)), key=lambda w: w[2])
    print(f"  panq, layer by layer: {worst[0]}[{worst[1]}] is off by {worst[2]:.1e} at most; bound {BOUND:.0e}")
    kl_mean("logits of the last norm's own input", want["logits"], got["logits"])
    broken = [check_breaks(model, ids, got, i) for i in sorted({0, n // 2, n - 1})]
    return worst[2] <= BOUND and all(broken)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panq")
    parser.add_argument("checkpoint")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--length", type=int, default=8)
    args = parser.parse_args()
    directory = args.checkpoint
    config = read_config(directory)
    quantization = config["quantization_config"]
    if quantization["quant_method"] == "panq":
        group_size = quantization["group_size"]
    else:
        group_size = quantization["config_groups"]["group_0"]["weights"].get("group_size") or 0
    torch.manual_seed(1)
    good = True
    with torch.inference_mode():
        model, linears = reference(directory, config, group_size)
        print(f"{directory}: {quantization.get('format')}, {linears} quantized linears")
        if knows(quantization, load_file(os.path.join(directory, "model.safetensors"))):
            ids = torch.randint(0, config["vocab_size"], (1, 64))
            kl = kl_mean("transformers and the reference", model(ids).logits[0], transformers_logits(directory, config, ids))
            good = kl < 1e-9
        else:
            print("  transformers does not read this form")
        model.rounding = round_as_panq
        good = check_layers(directory, model, args, config) and good
    if not good:
        sys.exit("the arithmetic differs")


if __name__ == "__main__":
    main()
