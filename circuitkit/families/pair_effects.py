"""Per-pair effects: for every pair and node, how much the answer moves by its interchange.

In: a model and pairs. Out: to first order, how far the logit difference falls when one node takes
its value on the other prompt of the pair: gradient × (own value - other value), summed over
positions, the mean of both prompts. One backward pass a batch gives it for every pair and node.
Source: attribution patching (Syed et al. 2023), kept by pair instead of averaged.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model import (
    EncodedPairs,
    Transformer,
    gate_tap,
    logit_differences,
    record_tap,
)
from circuitkit.model.other_prompt import swapped
from circuitkit.nodes import Site
from circuitkit.progress import Progress, silent

_NUMBERS_AT_ONCE = 2**24
"""Nodes times positions whose activations a backward pass may hold: about 0.8 GB."""


def pair_effects(
    model: Transformer, pairs: EncodedPairs, progress: Progress = silent
) -> Float[Tensor, "pairs nodes"]:
    """The effect of every node on every pair, sites in the order of ``arch.widths``."""
    order, found = pairs.by_length(), []
    pairs = pairs.to(model.device)
    held = 2 * pairs.tokens.shape[1] * sum(model.arch.widths.values())
    for some in order.split(max(1, _NUMBERS_AT_ONCE // held)):
        found.append(_effects(model, pairs[some]))
        progress("effects", sum(map(len, found)), len(pairs))
    return torch.cat(found)[order.argsort()]


def _effects(model: Transformer, batch: EncodedPairs) -> Float[Tensor, "batch nodes"]:
    """A gate for every row and node: what its gradient sums over is the row's positions."""
    gates = {
        site: torch.ones(len(batch.tokens), 1, width, device=model.device, requires_grad=True)
        for site, width in model.arch.widths.items()
    }
    logits = model(batch.tokens, gate_tap(gates, _on_the_other(model, batch)), batch.last)[:, 0]
    logit_differences(logits, batch).sum().backward(inputs=list(gates.values()))
    moved = [torch.zeros_like(g) if g.grad is None else g.grad for g in gates.values()]
    return torch.cat(moved, dim=2)[:, 0].unflatten(0, (2, -1)).mean(0).cpu()


@torch.no_grad()
def _on_the_other(model: Transformer, batch: EncodedPairs) -> dict[Site, Tensor]:
    """For every prompt, the activations on the other prompt of its pair at aligned positions."""
    seen: dict[Site, Tensor] = {}
    model(batch.tokens, record_tap(seen), batch.last)
    return swapped(batch, seen)
