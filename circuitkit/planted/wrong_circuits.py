"""Circuits that are wrong, each with what makes it wrong: what a validator should refuse.

In: a planted model whose smallest circuits are known. Out: its wrong circuits, the same for the
same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from circuitkit.nodes import NodeSet

if TYPE_CHECKING:
    from circuitkit.planted.planted_model import Planted

WHY = {
    "one of several equals": "The model adds up several equal paths. Each meets the target alone "
    "(of six votes, three); in the run on the other prompt of a pair the others outvote it.",
    "outweighed": "It meets the target alone. In the model stronger heads decide, by another way.",
    "half of a cancelling pair": "It meets the target only while the other half is ablated, which "
    "cancels it in the model.",
    "lives on an ablation value": "It leaves out what opens a gate, which its mean over the "
    "reference opens too. With most other values the gate is shut.",
    "amplified by a norm": "It does the task only because a loud bystander is ablated.",
    "the decoy": "It agrees with the answer in three templates of four.",
    "one family only": "It does one of two families of prompts, and guesses on the other.",
    "random of the same size": "Drawn at random, as many nodes at each site as the mechanism has.",
    "less one part": "The mechanism without one node, which misses the target.",
    "plus idle nodes": "The mechanism and 20 nodes that do nothing for the task.",
}
"""Every kind of wrong circuit with what makes it wrong."""

N_IDLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A wrong circuit; ``kind`` is one of ``WHY``."""

    kind: str
    nodes: NodeSet


def wrong_circuits(planted: Planted, meets_target: Callable[[NodeSet], bool]) -> Iterator[Wrong]:
    """Every wrong circuit of a model. ``meets_target`` is asked of the mechanism less one node."""
    true, draw = planted.mechanism, Random(f"wrong:{planted.name}:{planted.variation.seed}")
    if planted.smallest_is:
        yield from (Wrong(kind=planted.smallest_is, nodes=nodes) for nodes in planted.wired[:2])
    yield from (Wrong(kind=kind, nodes=nodes) for kind, nodes in planted.wrong.items())
    widths = planted.model.arch.widths
    rest = NodeSet.full(widths) - true
    drawn = {site: draw.sample(rest[site], len(true[site])) for site in true.channels}
    yield Wrong(kind="random of the same size", nodes=NodeSet(drawn, widths))
    less_one = (true - NodeSet.of([node]) for node in draw.sample(list(true), len(true)))
    if missing := next((nodes for nodes in less_one if not meets_target(nodes)), None):
        yield Wrong(kind="less one part", nodes=missing)
    idle = NodeSet.of(draw.sample(list(planted.inert), N_IDLE), widths)
    yield Wrong(kind="plus idle nodes", nodes=true | idle)
