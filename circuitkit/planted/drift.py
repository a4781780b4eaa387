"""What LayerNorm's statistics carry beyond the weights, measured.

In: a model, pairs, ablation values and sets of nodes. Out: the most that keeping nodes which
reach no answer changes the loss of such a set. Their writes move the mean and the variance
of a norm, and with them everything that is read through it. Constants hold both, so that this
is small; that it is, is checked here for every model that is planted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from circuitkit.nodes import NodeSet

_SHARES = (0.5, 1.0)


def measure_drift(
    loss: Callable[[NodeSet], float], bases: Iterable[NodeSet], dead: NodeSet, seed: int
) -> float:
    """The largest change of a base's loss, in nats, with half or all of the ``dead`` nodes kept."""
    draw = Random(f"drift:{seed}")
    most = 0.0
    for nodes in bases:
        alone = loss(nodes)
        for share in _SHARES:
            some = NodeSet.of((n for n in dead if draw.random() < share), dead.widths)
            most = max(most, abs(loss(nodes | some) - alone))
    return most
