"""The paper's algorithm as one would write it down: what ours is timed against.

The masked model in full at every step, 64 pairs drawn at random, a fixed size pressure, AdamW
on clamped scores, then bisection on the number of nodes kept. Source: Gao et al. 2025, section
A.5. No code is shared with ``circuitkit.extraction`` but the masked model's definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from circuitkit import NodeSet, Transformer
from circuitkit.model import EncodedPairs, gate_tap, logit_differences, pair_losses
from circuitkit.nodes import Site


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The centres of the paper's search, but for the length."""

    n_steps: int = 2000
    pressure: float = 1e-4
    lr: float = 3e-3
    beta2: float = 0.95
    weight_decay: float = 1e-3
    temperature: float = 1.0
    start: float = 0.1
    start_std: float = 0.01
    n_pairs: int = 64


def prune_plainly(
    model: Transformer,
    train: EncodedPairs,
    select: EncodedPairs,
    values: Mapping[Site, Tensor],
    target_loss_nats: float,
    settings: Settings,
    seed: int = 0,
) -> NodeSet | None:
    """The nodes found, or None when not even all of them meet the target."""
    generator = torch.Generator().manual_seed(seed)
    widths = model.arch.widths
    scores = settings.start_std * torch.randn(sum(widths.values()), generator=generator)
    scores = (scores + settings.start).requires_grad_()
    optimizer = torch.optim.AdamW(
        [scores], settings.lr, (0.9, settings.beta2), weight_decay=settings.weight_decay
    )
    for step in range(settings.n_steps):
        optimizer.param_groups[0]["lr"] = settings.lr * (1 - step / settings.n_steps)
        batch = train[torch.randperm(len(train), generator=generator)[: settings.n_pairs]]
        soft = torch.sigmoid(scores / settings.temperature)
        gates = (scores > 0).float() + (soft - soft.detach())
        loss = _loss(model, batch, gates, values)
        optimizer.zero_grad()
        (loss + settings.pressure * gates.sum()).backward()
        optimizer.step()
        with torch.no_grad():
            scores.clamp_(-1, 1)
    return _bisect(model, select, values, target_loss_nats, scores.detach())


def _loss(
    model: Transformer, pairs: EncodedPairs, gates: Tensor, values: Mapping[Site, Tensor]
) -> Tensor:
    """The mean pair loss under a gate for every node, in nats."""
    widths = model.arch.widths
    by_site = dict(zip(widths, gates.split(list(widths.values())), strict=True))
    logits = model(pairs.tokens, gate_tap(by_site, values), pairs.last)[:, 0]
    return pair_losses(logit_differences(logits, pairs)).mean()


@torch.no_grad()
def _bisect(
    model: Transformer, select: EncodedPairs, values: Mapping[Site, Tensor], target: float,
    scores: Tensor,
) -> NodeSet | None:  # fmt: skip
    """As few of the highest scores as meet the target, by halving."""
    order = scores.argsort(descending=True, stable=True)

    def first(n: int) -> Tensor:
        return torch.zeros_like(scores).index_fill(0, order[:n], 1.0)

    low, high = 0, len(scores)
    if _loss(model, select, first(high), values) > target:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _loss(model, select, first(middle), values) <= target:
            high = middle
        else:
            low = middle
    widths = model.arch.widths
    parts = first(high).split(list(widths.values()))
    kept = {s: p.nonzero().flatten().tolist() for s, p in zip(widths, parts, strict=True)}
    return NodeSet(kept, widths)
