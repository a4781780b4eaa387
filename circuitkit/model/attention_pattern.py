"""Attention patterns: the model computes attention fused, so they are computed again here."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model.transformer import Attention


def pattern(
    attention: Attention, q: Float[Tensor, "b s c"], k: Float[Tensor, "b s c"], head: int
) -> Float[Tensor, "b s 1+s"]:
    """How much each position attends to the sink (0 without one) and to every position."""
    channels = slice(head * attention.d_head, (head + 1) * attention.d_head)
    scores = q[..., channels] @ k[..., channels].transpose(1, 2) * attention.d_head**-0.5
    seq = scores.shape[-1]
    future = torch.ones(seq, seq, dtype=torch.bool, device=q.device).triu(1)
    scores = scores.masked_fill(future, -torch.inf)
    sink = torch.full((*scores.shape[:2], 1), -torch.inf, device=q.device)
    if hasattr(attention, "attn_imp"):
        sink = sink.fill_(float(attention.attn_imp.sink_logit[head]))
    return torch.cat([sink, scores], dim=-1).softmax(-1)
