"""Redundant inside: others do what a part of the circuit does, between the same reads and writes.

Of two equal heads with the same reads and writes a search finds one. Knocking the circuit out
removes the shared reads and writes too and leaves the model at chance, so ``necessary`` passes.
Under interchange the other head has the other prompt's values, and the two cancel. So here one
head of the circuit, or its neurons of one layer, give place to others of that layer: the first
n of a ranking, n doubling. If the circuit does the task with these instead, they are named.

The ranking is by attribution in the model, |gradient × (activation - ablation value)| of the
logit difference, and not by interchange: nodes that find the cue, such as k channels, may have
the same values on both prompts.

In: a trial. Out: words, or none. Source: ours (docs/validation.md#interchange).
"""

from __future__ import annotations

from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.nodes import Node, NodeSet
from circuitkit.validation.claims.sufficient import ABOVE_TARGET_NATS
from circuitkit.validation.trial import Trial

_PLACES = ("q", "k", "v", "post_act")
_PAIRS = 16
_NAMED = 6
_MOST = 64
_MOST_PARTS = 12

Part = tuple[int, str, int]
"""A layer, its block, and the head; 0 for the neurons of an MLP."""


def redundant_inside(trial: Trial) -> str:
    """A part of the note of ``interchange``; nothing where no part of the circuit is replaced."""
    parts: dict[Part, list[Node]] = {}
    for node in trial.nodes:
        if node.site.place in _PLACES:
            parts.setdefault(_part_of(trial, node), []).append(node)
    ranked = _others_inside(trial) if parts else []
    found = (
        _replaced(trial, parts[part], [n for n in ranked if _block(n) == part[:2]])
        for part in list(parts)[:_MOST_PARTS]
    )
    return next(filter(None, found), "")


def _part_of(trial: Trial, node: Node) -> Part:
    head = node.channel // trial.model.arch.d_head if node.site.block == "attn" else 0
    return (*_block(node), head)


def _block(node: Node) -> tuple[int, str]:
    return node.site.layer or 0, node.site.block or ""


def _replaced(trial: Trial, own: list[Node], others: list[Node]) -> str:
    """Which of the first others do what ``own`` does, in words; none if it is not needed."""
    without = trial.nodes - NodeSet.of(own)
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    if _loss(trial, without) <= limit:
        return ""
    n = 1
    while n <= min(_MOST, 2 * len(others) - 1):
        loss = _loss(trial, without | NodeSet.of(others[:n], trial.nodes.widths))
        if loss <= limit:
            return _in_words(own, others[:n], loss)
        n *= 2
    return ""


def _loss(trial: Trial, nodes: NodeSet) -> float:
    return float(trial.circuit_losses(nodes, trial.few).mean())


def _in_words(own: list[Node], others: list[Node], loss: float) -> str:
    return (
        f"REDUNDANT INSIDE: between the same reads and writes, in place of {named(own)}, others "
        f"do the task too ({loss:.3f} nats): {named(others)}"
    )


def named(nodes: list[Node]) -> str:
    """The first nodes by name, and how many more there are."""
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(map(str, nodes[:_NAMED])) + more


def _others_inside(trial: Trial) -> list[Node]:
    """q, k, v channels and neurons outside the circuit, by how much they move the answer."""
    whole = NodeSet.full(trial.model.arch.widths)
    trial.passes += 1
    moved = gate_gradients(
        trial.model, trial.few[:_PAIRS], whole, trial.values, objective=lambda d: d
    )
    ranked = sorted(
        (-abs(float(g)), site, channel)
        for site, gradient in moved.items()
        if site.place in _PLACES
        for channel, g in enumerate(gradient)
        if g != 0
    )
    others = (Node(site, channel) for _, site, channel in ranked)
    return [node for node in others if node not in trial.nodes]
