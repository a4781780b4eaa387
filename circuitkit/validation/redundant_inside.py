"""Redundant inside: other heads and neurons do the same between the circuit's reads and writes.

Of two equal heads with the same reads and writes a search finds one. Knocking the circuit out
removes the shared reads and writes too and leaves the model at chance, so ``necessary`` passes
and no claim shows that there are two. Here only the circuit's q, k, v channels and neurons are
knocked out. If the model still does the task, other nodes do it too. They are named by
attribution in that model, |gradient × (activation - ablation value)| of the logit difference.

In: a trial. Out: words, or none. Source: ours.
"""

from __future__ import annotations

from circuitkit.extraction.masked_model import gate_gradients, masked_differences
from circuitkit.model.per_pair import hits_of
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.intervals import proportion
from circuitkit.validation.trial import Trial

_PLACES = ("q", "k", "v", "post_act")
_RANKED_ON = 32
_NAMED = 6


def redundant_inside(trial: Trial, chance: float) -> str:
    """A part of the note of ``necessary``; nothing where accuracy may be at chance."""
    inner = NodeSet.of(n for n in trial.nodes if n.site.place in _PLACES)
    if not len(inner):
        return ""
    rest = NodeSet.full(trial.model.arch.widths) - inner
    trial.passes += 1
    differences = masked_differences(trial.model, trial.few, rest, trial.values)
    accuracy = proportion(hits_of(differences), trial.few.templates, trial.seed)
    if accuracy.low <= chance:
        return ""
    named = ", ".join(map(str, _standing_in(trial, rest)[:_NAMED]))
    return (
        "REDUNDANT INSIDE: without its heads' channels and neurons, its reads and writes kept, the "
        f"model still does the task (accuracy {accuracy}); others do it too, most of all {named}"
    )


def _standing_in(trial: Trial, rest: NodeSet) -> list[Node]:
    """q, k, v channels and neurons outside the circuit, by how much they move the answer."""
    pairs = trial.few[:_RANKED_ON]
    trial.passes += 1
    moved = gate_gradients(trial.model, pairs, rest, trial.values, objective=lambda d: d)
    ranked = sorted(
        (-abs(float(g)), site, channel)
        for site, gradient in moved.items()
        if site.place in _PLACES
        for channel, g in enumerate(gradient)
        if g != 0
    )
    others = (Node(site, channel) for _, site, channel in ranked)
    return [node for node in others if node in rest]
