"""How well scores or a chosen set name the true parts, and which circuits a score refuses.

In: what a peer wrote of a folder, and the folder's truth.json. Out: numbers. Needs no peer.

Only the size of a score counts, not its sign. Ties are neither for nor against: of equal scores
at the border, each is as likely to be in. Scores that differ by rounding are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

ACCEPTED = (0.8, 1.2)
"""A circuit is accepted when its logit difference is within a fifth of the model's."""


ROUNDING = 1e-5
"""Of the largest score: nearer scores are equal."""


class Found(NamedTuple):
    """Precision and recall, and the rank of the last true part (None for a set)."""

    precision: float
    recall: float
    last_rank: int | None


def of_scores(scores: Mapping[str, float], true: Collection[str]) -> Found:
    """The strongest parts, as many as are true: there precision is recall.

    The rank of the last true part counts all that score as much as it does.
    """
    assert true
    sizes = {name: abs(score) for name, score in scores.items()}
    border = sorted(sizes.values(), reverse=True)[min(len(true), len(sizes)) - 1]
    near = ROUNDING * max(sizes.values())
    above = {name for name, size in sizes.items() if size > border + near}
    tied = {name for name, size in sizes.items() if abs(size - border) <= near}
    free = len(true) - len(above)
    hits = len(above & set(true)) + len(tied & set(true)) * min(1.0, free / len(tied))
    weakest = min(sizes.get(name, -1.0) for name in true)
    last = sum(size >= weakest - near for size in sizes.values())
    return Found(hits / len(true), hits / len(true), last)


def of_set(chosen: Collection[str], true: Collection[str]) -> Found:
    """A set as it was chosen, of whatever size."""
    hits = len(set(chosen) & set(true))
    return Found(hits / len(chosen) if chosen else 0.0, hits / len(true), None)


def parts(circuit: Mapping, *, neurons: bool) -> set[str]:
    """The heads of a circuit with its neurons, or with its MLPs."""
    found = {f"a{layer}.h{head}" for layer, head in circuit["heads"]}
    if neurons:
        return found | {f"m{layer}.n{neuron}" for layer, neuron in circuit["neurons"]}
    return found | {f"m{layer}" for layer in circuit["mlps"]}


def edges(circuit: Mapping) -> set[str]:
    """The edges between parts; what positions write counts with the embedding."""
    return {f"{source}>{target}".replace("positions>", "embed>")
            for source, target in circuit["part_edges"]}  # fmt: skip


def is_expressible(circuit: Mapping, mechanism: Mapping, *, by_edges: bool) -> bool:
    """Whether a wrong circuit is another than the mechanism in the parts that a tool has."""
    if by_edges:
        return edges(circuit) != edges(mechanism)
    return parts(circuit, neurons=True) != parts(mechanism, neurons=True)


def is_refused(faithfulness: float) -> bool:
    """Whether a logit difference is too small or too large for the whole mechanism."""
    low, high = ACCEPTED
    return not low <= faithfulness <= high


def discovery(method: Mapping, circuit: Mapping, *, by_edges: bool) -> Found | None:
    """One method against one true circuit; None where it has no such scores."""
    kind = "edges" if by_edges else "parts"
    if (chosen := method.get(f"chosen_{kind}")) is not None:
        true = edges(circuit) if by_edges else parts(circuit, neurons=True)
        return of_set(chosen, true)
    if (scores := method.get(kind)) is None:
        return None
    neurons = any(".n" in name for name in scores)
    return of_scores(scores, edges(circuit) if by_edges else parts(circuit, neurons=neurons))
