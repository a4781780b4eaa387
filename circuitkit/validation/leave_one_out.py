"""Leave one out: what every node of the circuit is worth, pair by pair.

In: a trial. Out: for every node tried, how much the loss of each ask rises on each pair when this
node alone is left out. From it: whether a node matters, and on which forms of the task it does.
Source: ours, after the minimality test of Shi et al. 2024 (docs/validation.md#minimal).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from circuitkit.findings import NodeUse
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.intervals import FEWEST, benjamini_hochberg, rises
from circuitkit.validation.form_losses import by_form

if TYPE_CHECKING:
    from circuitkit.validation.trial import Trial

MOST_NODES = 200
"""In a larger circuit so many nodes, drawn at random, are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """How much the loss of one ask rises on each pair without each node, in nats."""

    nats: Float[NDArray[np.float64], "nodes pairs"]
    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The nodes tried and what leaving each out does to every ask; the target's comes first."""

    nodes: tuple[Node, ...]
    rises: tuple[Rise, ...]

    @property
    def matters(self) -> dict[Node, bool]:
        """For every node, whether the loss of any ask rises, all tested together."""
        p_values = [[rises(row, r.templates) for row in r.nats] for r in self.rises]
        found = benjamini_hochberg(p_values)
        return {node: bool(found[:, i].any()) for i, node in enumerate(self.nodes)}

    @property
    def uses(self) -> tuple[NodeUse, ...]:
        """For every node, the forms on which it matters, all tested together; none without forms.

        A form of fewer than five templates decides nothing, and is not among them.
        """
        tested = [(form, row) for rise in self.rises for form, row in _by_form(rise)]
        if not tested:
            return ()
        found = benjamini_hochberg([row for _, row in tested])
        matters = {form: np.zeros(len(self.nodes), bool) for form, _ in tested}
        for (form, _), row in zip(tested, found, strict=True):
            matters[form] |= row
        return tuple(
            NodeUse(node=str(node), forms=tuple(f for f in sorted(matters) if matters[f][i]))
            for i, node in enumerate(self.nodes)
        )


def leave_one_out(trial: Trial) -> LeftOut:
    """Leave out each of up to 200 nodes, alone."""
    nodes = trial.nodes
    tried = sorted(random.Random(trial.seed).sample(list(nodes), min(MOST_NODES, len(nodes))))
    whole = _losses(trial, nodes)
    without: list[list[NDArray[np.float64]]] = [[] for _ in whole]
    for i, node in enumerate(tried):
        for ask, (losses, _) in enumerate(_losses(trial, nodes - NodeSet.of([node]))):
            without[ask].append(losses - whole[ask][0])
        trial.progress("leave one out", i + 1, len(tried))
    return LeftOut(
        nodes=tuple(tried),
        rises=tuple(
            Rise(nats=np.array(rows), templates=templates)
            for rows, (_, templates) in zip(without, whole, strict=True)
        ),
    )


def _losses(trial: Trial, nodes: NodeSet) -> list[tuple[NDArray[np.float64], tuple[str, ...]]]:
    """The loss of every ask, one a pair, with the template of each; the target's first."""
    found = [(trial.circuit_losses(nodes, trial.few), trial.few.templates)]
    for ask in trial.asks:
        found.append((ask.losses(nodes).double().numpy(), ask.pairs.templates))
        trial.passes += 1
    return found


def _by_form(rise: Rise) -> Iterator[tuple[str, list[float]]]:
    """The p-values of all nodes on each form with enough templates."""
    for form, here in by_form(rise.templates).items():
        names: Sequence[str] = [rise.templates[i] for i in here]
        if len(set(names)) >= FEWEST:
            yield form, [rises(row[here], names) for row in rise.nats]
