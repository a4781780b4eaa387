"""Redundant inside: other heads and neurons do the same between the circuit's reads and writes.

Of two equal heads with the same reads and writes a search finds one. Knocking the circuit out
removes the shared reads and writes too and leaves the model at chance, so ``necessary`` passes.
Under interchange the other head has the other prompt's values and the two cancel. So here the
circuit's reads and writes are kept, its q, k, v channels and neurons are not, and others take
their place: the first n of a ranking, n doubling. If one such circuit does the task, it is
named.

The ranking is by attribution, |gradient × (activation - ablation value)| of the logit
difference, in the model without the circuit's own q, k, v channels and neurons, and not by
interchange: nodes that find the cue, such as k channels, may have the same values on both
prompts.

In: a trial. Out: words, or none. Source: ours (docs/validation.md#interchange).
"""

from __future__ import annotations

from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.nodes import Node, NodeSet
from circuitkit.validation.claims.sufficient import ABOVE_TARGET_NATS
from circuitkit.validation.trial import Trial

_PLACES = ("q", "k", "v", "post_act")
_RANKED_ON = 16
_NAMED = 6
_MOST = 256


def redundant_inside(trial: Trial) -> str:
    """A part of the note of ``interchange``; nothing where reads and writes are enough alone."""
    inner = NodeSet.of((n for n in trial.nodes if n.site.place in _PLACES), trial.nodes.widths)
    outer = trial.nodes - inner
    if not len(inner) or _loss(trial, outer) <= _limit(trial):
        return ""
    others = _others_inside(trial, inner)
    n = 1
    while n <= min(_MOST, 2 * len(others)):
        loss = _loss(trial, outer | NodeSet.of(others[:n], trial.nodes.widths))
        if loss <= _limit(trial):
            return _in_words(others[:n], loss)
        n *= 2
    return ""


def _limit(trial: Trial) -> float:
    return trial.circuit.target_loss_nats + ABOVE_TARGET_NATS


def _loss(trial: Trial, nodes: NodeSet) -> float:
    return float(trial.circuit_losses(nodes, trial.few).mean())


def _in_words(others: list[Node], loss: float) -> str:
    named = ", ".join(map(str, others[:_NAMED]))
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return (
        f"REDUNDANT INSIDE: with the circuit's reads and writes, {len(others)} other heads' "
        f"channels or neurons do the task too ({loss:.3f} nats): {named}{more}"
    )


def _others_inside(trial: Trial, inner: NodeSet) -> list[Node]:
    """q, k, v channels and neurons outside the circuit, by how much they move the answer."""
    rest = NodeSet.full(trial.model.arch.widths) - inner
    trial.passes += 1
    moved = gate_gradients(
        trial.model, trial.few[:_RANKED_ON], rest, trial.values, objective=lambda d: d
    )
    ranked = sorted(
        (-abs(float(g)), site, channel)
        for site, gradient in moved.items()
        if site.place in _PLACES
        for channel, g in enumerate(gradient)
        if g != 0
    )
    others = (Node(site, channel) for _, site, channel in ranked)
    return [node for node in others if node in rest and node not in trial.nodes]
