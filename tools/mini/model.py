"""openPangu-Embedded in PyTorch, written from its description and on its own: nothing of panq is
used, so that agreement between the two means something.

Modules bear the names of the checkpoint's tensors; state_dict() is the checkpoint.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config["hidden_size"]))
        self.eps = config["rms_norm_eps"]

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class Attention(nn.Module):
    """Grouped queries, biases on all four projections, causal."""

    def __init__(self, config):
        super().__init__()
        self.head_dim = config["head_dim"]
        hidden = config["hidden_size"]
        queries = config["num_attention_heads"] * self.head_dim
        keys = config["num_key_value_heads"] * self.head_dim
        self.q_proj = nn.Linear(hidden, queries)
        self.k_proj = nn.Linear(hidden, keys)
        self.v_proj = nn.Linear(hidden, keys)
        self.o_proj = nn.Linear(queries, hidden)

    def heads(self, y):
        """[batch, t, heads * head_dim] to [batch, heads, t, head_dim]"""
        return y.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x, cos, sin):
        q = rotate(self.heads(self.q_proj(x)), cos, sin)
        k = rotate(self.heads(self.k_proj(x)), cos, sin)
        v = self.heads(self.v_proj(x))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU without biases."""

    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = MLP(config)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """What the checkpoint calls `model`: everything but the head."""

    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RMSNorm(config)

    def forward(self, ids, cos, sin):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Pangu(nn.Module):
    """ids [batch, t] to logits [batch, t, vocab]; position 0 is the first of each row."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)

    def forward(self, ids):
        return self.lm_head(self.model(ids, *angles(self.config, ids.shape[1])))


def angles(config, t):
    """cos and sin [t, head_dim] of RoPE's angles; the second half of a head repeats the first's."""
    dim = config["head_dim"]
    inverse = config["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.outer(torch.arange(t, dtype=torch.float32), inverse).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(y, cos, sin):
    """Turns the pairs (i, i + head_dim / 2) of each head by their position's angle."""
    first, second = y.chunk(2, -1)
    return y * cos + torch.cat((-second, first), -1) * sin


def initialize(model):
    """Normal weights of 0.02, less where a branch joins the residual stream, and no biases."""
    branches = 2 * model.config["num_hidden_layers"]
    for name, p in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.normal_(p, std=0.02 / math.sqrt(branches))
        elif p.dim() == 2:
            nn.init.normal_(p, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(p)


def save(model, directory):
    """Writes model.safetensors in BF16."""
    state = {name: t.to(torch.bfloat16) for name, t in model.state_dict().items()}
    save_file(state, Path(directory) / "model.safetensors", metadata={"format": "pt"})


def load(directory):
    """A checkpoint's model: its BF16 weights, FP32 arithmetic."""
    directory = Path(directory)
    model = Pangu(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    state = load_file(directory / "model.safetensors")
    model.load_state_dict({name: t.float() for name, t in state.items()})
    return model.eval()
