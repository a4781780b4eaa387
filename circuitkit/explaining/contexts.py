"""Contexts: places of the reference text where a node is highest, lowest, or at random.

In: a model and its reference sample. Out: for every kept node a few pieces of text with its
activation in the whole model. Source: docs/reports.md#contexts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.circuit.explanation import Context
from circuitkit.model import Transformer, record_tap
from circuitkit.nodes import NodeSet

N_SEQUENCES = 64
"""Sequences of the sample that are looked at."""

N_EACH = 3
_AT_ONCE = 8
_BEFORE, _AFTER = 8, 2


class Contexts(NamedTuple):
    """Of one node."""

    highest: tuple[Context, ...]
    lowest: tuple[Context, ...]
    random: tuple[Context, ...]


def find_contexts(
    model: Transformer, sample: Int[Tensor, "n length"] | None, nodes: NodeSet,
    names: Sequence[str], seed: int,
) -> dict[str, Contexts]:  # fmt: skip
    """The contexts of every node; none where there is no sample."""
    if sample is None:
        return {str(node): Contexts((), (), ()) for node in nodes}
    generator = torch.Generator().manual_seed(seed)
    chosen = sample[torch.randperm(len(sample), generator=generator)[:N_SEQUENCES]].long()
    draw = np.random.default_rng(seed)
    return {
        node: Contexts(
            _extreme(chosen, -values, values, names),
            _extreme(chosen, values, values, names),
            _at_random(chosen, values, names, draw),
        )
        for node, values in _activations(model, chosen, nodes)
    }


@torch.no_grad()
def _activations(
    model: Transformer, tokens: Int[Tensor, "n length"], nodes: NodeSet
) -> Iterator[tuple[str, Float[Tensor, "n length"]]]:
    """Every node's activation at every place, in the whole model."""
    kept = {site: list(channels) for site, channels in nodes.channels.items()}
    parts: Mapping = {site: [] for site in kept}
    for some in tokens.split(_AT_ONCE):
        seen = {}
        model.stream(some, record_tap(seen))
        for site, channels in kept.items():
            parts[site].append(seen[site][..., channels].cpu())
    activations = {site: torch.cat(found) for site, found in parts.items()}
    for node in nodes:
        at = kept[node.site].index(node.channel)
        yield str(node), activations[node.site][..., at]


def _extreme(
    tokens: Tensor, order: Tensor, values: Tensor, names: Sequence[str]
) -> tuple[Context, ...]:
    """The first places by ``order``, one a sequence: repetitions show nothing new."""
    best = order.min(1)
    rows = best.values.argsort(stable=True)[:N_EACH].tolist()
    return tuple(_context(tokens, values, row, int(best.indices[row]), names) for row in rows)


def _at_random(
    tokens: Tensor, values: Tensor, names: Sequence[str], draw: np.random.Generator
) -> tuple[Context, ...]:
    """Places where the node is not 0, if there are any."""
    alive = values.nonzero().tolist()
    if not alive:
        return ()
    picked = draw.choice(len(alive), min(N_EACH, len(alive)), replace=False)
    places = (alive[i] for i in sorted(picked.tolist()))
    return tuple(_context(tokens, values, row, at, names) for row, at in places)


def _context(tokens: Tensor, values: Tensor, row: int, at: int, names: Sequence[str]) -> Context:
    start = max(0, at - _BEFORE)
    shown: list[int] = tokens[row, start : at + _AFTER + 1].tolist()
    return Context(
        tokens=tuple(str(names[token]) for token in shown), at=at - start,
        activation=float(f"{float(values[row, at]):.4g}"),
    )  # fmt: skip
