"""The masked model: the whole transformer with all but some nodes at their ablation value.

In: node sets and pairs. Out: logit differences and losses, one a prompt or pair.
This is the definition; ``compiled`` is the same thing faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model import (
    EncodedPairs,
    Tap,
    Transformer,
    gate_tap,
    gates_of,
    logit_differences,
    pair_losses,
)
from circuitkit.nodes import NodeSet, Site

PAIRS_A_BATCH = 16
"""Larger batches are slower: they leave the cache, and pad more."""

_ACTIVATIONS_AT_ONCE = 2**26
"""Positions times channels of the widest site on a GPU: 0.3 GB, of which a few are alive."""

_GRADIENTS_AT_ONCE = 2**24
"""Nodes times positions whose activations a backward pass may hold: about 0.8 GB."""


def nodes_of(gates: Mapping[Site, Tensor]) -> NodeSet:
    """The nodes whose gate is not 0; the inverse of ``gates_of``."""
    kept = {site: gate.nonzero().flatten().tolist() for site, gate in gates.items()}
    return NodeSet(kept, {site: len(gate) for site, gate in gates.items()})


@torch.no_grad()
def tapped_differences(
    model: Transformer, pairs: EncodedPairs, tap: Tap | None
) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt under a tap, a bounded batch at a time."""

    def run(batch: EncodedPairs) -> Tensor:
        return logit_differences(model(batch.tokens, tap, batch.last)[:, 0], batch)

    return pairs.to(model.device).each(pairs_a_batch(model, pairs), run)


def pairs_a_batch(model: Transformer, pairs: EncodedPairs) -> int:
    """How many pairs to run at once: on a GPU as many as bounded memory allows."""
    if model.device.type == "cpu":
        return PAIRS_A_BATCH
    by_pair = 2 * pairs.tokens.shape[1] * max(model.arch.widths.values())
    return max(1, _ACTIVATIONS_AT_ONCE // by_pair)


def masked_differences(
    model: Transformer, pairs: EncodedPairs, nodes: NodeSet, values: Mapping[Site, Tensor]
) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt with only ``nodes`` kept."""
    return tapped_differences(model, pairs, gate_tap(gates_of(nodes, model.arch.widths), values))


def gate_gradients(
    model: Transformer,
    pairs: EncodedPairs,
    nodes: NodeSet,
    values: Mapping[Site, Tensor],
    objective: Callable[[Tensor], Tensor] = pair_losses,
    openness: float = 1.0,
) -> dict[Site, Float[Tensor, " width"]]:
    """The gradient in every gate of the mean of ``objective`` of the logit differences.

    For a node it is the sum of gradient × (activation - ablation value): to first
    order, how much the objective rises when the gate opens from where ``nodes`` put it.
    ``openness`` is how far the gates of ``nodes`` are open, from 0 to 1. Gates and gradients are
    on the CPU.
    """
    gates = {s: gate * openness for s, gate in gates_of(nodes, model.arch.widths).items()}
    for gate in gates.values():
        gate.requires_grad_()
    held = 2 * pairs.tokens.shape[1] * sum(model.arch.widths.values())  # by a pair
    step = max(1, _GRADIENTS_AT_ONCE // held)
    pairs = pairs.to(model.device)
    for start in range(0, len(pairs), step):
        batch = pairs[start : start + step]
        logits = model(batch.tokens, gate_tap(gates, values), batch.last)[:, 0]
        mean = objective(logit_differences(logits, batch)).mean()
        part = mean * (len(batch) / len(pairs))
        part.backward(inputs=list(gates.values()))  # not also in weights that want gradients
    return {site: gate.grad for site, gate in gates.items() if gate.grad is not None}
