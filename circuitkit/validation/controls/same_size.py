"""Controls: other circuits of the same size, drawn at random or ranked by attribution.

In: a trial. Out: node sets. Location-matched: as many nodes at each site, any of them.
Activity-matched: for each node one of those at its site that vary about as much over the
task, since most nodes of a sparse model never do anything.
Source: docs/validation.md#beats_controls.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.model import EncodedPairs, record_tap
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.validation.trial import Trial

NEAREST = 16
"""From how many of the nodes nearest in activity a control's node is drawn."""

_TRAIN_PAIRS = 64


def location_matched(
    nodes: NodeSet, n: int, seed: int, among: NodeSet | None = None
) -> Iterator[NodeSet]:
    """Random circuits with as many nodes at each site as ``nodes``, which knows its widths.

    ``among`` are the nodes to draw from, all unless given; a site may run short of them.
    """
    draw = random.Random(seed)
    among = NodeSet.full(nodes.widths or {}) if among is None else among
    for _ in range(n):
        yield NodeSet(
            {
                site: draw.sample(among[site], min(len(among[site]), len(nodes[site])))
                for site in nodes.channels
            },
            nodes.widths,
        )


def activity_matched(
    nodes: NodeSet, n: int, seed: int, activity: Mapping[Site, Tensor], among: NodeSet | None = None
) -> Iterator[NodeSet]:
    """Random circuits whose nodes each vary about as much as one of ``nodes`` at its site."""
    draw = random.Random(seed)
    among = NodeSet.full(nodes.widths or {}) if among is None else among
    near = {node: _nearest(node, among[node.site], activity[node.site]) for node in nodes}
    for _ in range(n):
        chosen: dict[Site, set[int]] = {site: set() for site in nodes.channels}
        for node in draw.sample(list(near), len(near)):
            taken = chosen[node.site]
            left = list(islice((c for c in near[node] if c not in taken), NEAREST))
            if left:
                taken.add(draw.choice(left))
        yield NodeSet(chosen, nodes.widths)


def _nearest(node: Node, channels: Sequence[int], activity: Tensor) -> list[int]:
    """The channels by how little their activity differs from a node's; ties in no fixed order."""
    order = random.Random(str(node)).sample(channels, len(channels))
    at = float(activity[node.channel])
    return sorted(order, key=lambda channel: abs(float(activity[channel]) - at))


def activity_of(trial: Trial, pairs: EncodedPairs) -> dict[Site, Float[Tensor, " width"]]:
    """How much every node varies over the positions of some prompts: its standard deviation."""
    seen: dict[Site, Tensor] = {}
    trial.passes += 1
    with torch.no_grad():
        trial.model.stream(pairs.tokens, record_tap(seen))
    is_read = torch.arange(pairs.tokens.shape[1]) <= pairs.last[:, None]
    return {site: x[is_read].std(0).cpu() for site, x in seen.items()}


def attribution_circuit(trial: Trial, size: int) -> NodeSet:
    """The ``size`` nodes whose gates move the model's logit difference most, to first order.

    By |gradient x (activation - ablation value)| over training pairs.
    """
    everything = NodeSet.full(trial.model.arch.widths)
    pairs = trial.split("train", _TRAIN_PAIRS)
    trial.passes += 1
    moved = gate_gradients(trial.model, pairs, everything, trial.values, objective=lambda d: d)
    ranked = sorted(
        (-abs(float(g)), site, channel)
        for site, gradient in moved.items()
        for channel, g in enumerate(gradient)
    )
    top = (Node(site, channel) for _, site, channel in ranked[:size])
    return NodeSet.of(top, trial.model.arch.widths)
