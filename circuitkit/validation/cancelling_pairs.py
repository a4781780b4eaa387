"""Cancelling pairs outside a circuit: two halves that move the answer and undo each other.

A head that votes for the right answer and one that votes as much against it leave the model as
it is. Half of such a pair, given back alone, breaks any circuit, the true one too. So the halves
are found, and what is given back is given back with its other half.

The halves are the nodes outside the circuit that raise and that lower the logit difference: one
backward pass gives this for every node, to first order. They are a pair if, the circuit's nodes
ablated, each half alone moves the mean logit difference and both together do not. A half that
would cancel the circuit itself makes no pair: then the circuit may be the half of another one.

In: a trial. Out: the nodes of the pair, none if there is no pair. Source: ours
(docs/validation.md#stochastic_restore).
"""

from __future__ import annotations

from circuitkit.extraction.masked_model import gate_gradients, masked_differences
from circuitkit.model import Transformer
from circuitkit.nodes import Node, NodeSet
from circuitkit.validation.trial import Trial

_RANKED_ON = 16
_SHARE = 0.05
"""A node is of a half if it moves the answer by at least this share of the model's."""

_CANCELS = 0.10
"""Two halves cancel if together they leave at most this share of the smaller one."""

_AMBIGUOUS = 0.5
"""A half cancels the circuit if it leaves less than this share of the circuit's own."""


def cancelling_pair(trial: Trial) -> NodeSet:
    """The nodes of both halves, or an empty set."""
    outside = ~trial.nodes
    halves = [outside & half for half in _halves(trial)]
    neither = outside - halves[0] - halves[1]
    up, down, both = (_moves(trial, neither | half) for half in (*halves, halves[0] | halves[1]))
    own, beside = (
        _moves(trial, trial.nodes | more, trial.circuit_model)
        for more in (NodeSet(), neither | halves[1])
    )
    cancels = abs(both) <= _CANCELS * min(up, -down)
    is_clear = abs(beside) >= _AMBIGUOUS * abs(own)
    return halves[0] | halves[1] if up > 0 > down and cancels and is_clear else NodeSet()


def _halves(trial: Trial) -> tuple[NodeSet, NodeSet]:
    """The nodes of the model that raise the logit difference, and those that lower it."""
    pairs, whole = trial.few[:_RANKED_ON], NodeSet.full(trial.model.arch.widths)
    trial.passes += 1
    moved = gate_gradients(trial.model, pairs, whole, trial.values, objective=lambda d: d)
    least = _SHARE * _moves(trial, whole)
    signed = [
        (float(moves), Node(site, channel))
        for site, by_channel in moved.items()
        for channel, moves in enumerate(by_channel)
    ]
    return (
        NodeSet.of((node for moves, node in signed if moves >= least), whole.widths),
        NodeSet.of((node for moves, node in signed if moves <= -least), whole.widths),
    )


def _moves(trial: Trial, nodes: NodeSet, model: Transformer | None = None) -> float:
    """The mean logit difference, towards the right answer, with only these nodes kept."""
    trial.passes += 1
    pairs = trial.few[:_RANKED_ON]
    return float(masked_differences(model or trial.model, pairs, nodes, trial.values).mean())
