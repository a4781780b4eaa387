"""A plain implementation of the same training step, to time circuitkit's trainer against.

The same semantics in the most direct PyTorch: explicit attention with a sink
column, top-k by ``torch.topk`` and scatter, eager, float32. It takes a state
dict of ours, so a test can hold its losses against ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from circuitkit.model.architecture import Architecture

Weights = dict[str, Tensor]


def topk(x: Tensor, fraction: float | None) -> Tensor:
    """Keep the largest magnitudes of the last axis."""
    if fraction is None:
        return x
    chosen = x.abs().topk(int(fraction * x.shape[-1]), dim=-1, sorted=False).indices
    return x * torch.zeros_like(x).scatter_(-1, chosen, 1.0)


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """Divide by the root mean square, times a gain."""
    eps = torch.finfo(x.dtype).eps
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def attention(x: Tensor, w: Weights, at: str, arch: Architecture) -> Tensor:
    """Scores, causal mask, a column for the sink, softmax, weighted values."""
    keep = arch.activation_topk.get
    x = topk(x, keep("attn.act_in"))
    parts = F.linear(x, w[f"{at}c_attn.weight"], w[f"{at}c_attn.bias"]).chunk(3, dim=-1)
    batch, seq, _ = x.shape
    q, k, v = (
        topk(part, keep(f"attn.{name}")).view(batch, seq, arch.n_head, -1).transpose(1, 2)
        for name, part in zip("qkv", parts, strict=True)
    )
    scores = q @ k.transpose(-1, -2) / arch.d_head**0.5
    later = torch.ones(seq, seq, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, float("-inf"))
    sink = w[f"{at}attn_imp.sink_logit"].view(1, -1, 1, 1).expand(batch, -1, seq, 1)
    weights = torch.cat([sink, scores], dim=-1).softmax(-1)[..., 1:]
    y = (weights @ v).transpose(1, 2).reshape(batch, seq, -1)
    y = F.linear(y, w[f"{at}c_proj.weight"], w[f"{at}c_proj.bias"])
    return topk(y, keep("attn.resid_delta"))


def mlp(x: Tensor, w: Weights, at: str, arch: Architecture) -> Tensor:
    """Two matrices and a GELU."""
    keep = arch.activation_topk.get
    x = topk(x, keep("mlp.act_in"))
    h = F.gelu(F.linear(x, w[f"{at}c_fc.weight"], w[f"{at}c_fc.bias"]))
    y = F.linear(topk(h, keep("mlp.post_act")), w[f"{at}c_proj.weight"], w[f"{at}c_proj.bias"])
    return topk(y, keep("mlp.resid_delta"))


def loss(w: Weights, rows: Tensor, arch: Architecture) -> Tensor:
    """Mean cross entropy in nats of every token but the first."""
    tokens = rows[:, :-1]
    x = w["transformer.wte.weight"][tokens]
    for layer in range(arch.n_layer):
        at = f"transformer.h.{layer}."
        x = x + attention(rms_norm(x, w[f"{at}ln_1.weight"]), w, f"{at}attn.", arch)
        x = x + mlp(rms_norm(x, w[f"{at}ln_2.weight"]), w, f"{at}mlp.", arch)
    logits = F.linear(rms_norm(x, w["transformer.ln_f.weight"]), w["lm_head.weight"])
    logits = logits + w["final_logits_bias"] + w["bigram_table"][tokens]
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
