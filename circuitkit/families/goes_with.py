"""What families go with: whether form, cue, length or distance say the family of a pair.

In: pairs and the family of each. Out: for every property, how often the family of a pair is known
from it: the most frequent family of the pairs with that value, in the other half of the pairs.
Source: ours; as a share of what guessing the largest family leaves open it is the lambda of
Goodman and Kruskal 1954, tested on other pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from circuitkit.model import EncodedPairs
from circuitkit.model.other_prompt import shared_prefix
from circuitkit.task.pairs import forms_in

_N_BINS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GoesWith:
    """How often a property says the family of a pair, of other pairs; ``by_chance`` without it."""

    name: str
    share: float
    by_chance: float

    @property
    def explained(self) -> float:
        """1: it says the family of every pair; 0: no better than the largest family."""
        open_share = 1 - self.by_chance
        return max(0.0, (self.share - self.by_chance) / open_share) if open_share else 0.0


def goes_with(
    pairs: EncodedPairs, labels: Sequence[str], names: Sequence[str]
) -> tuple[GoesWith, ...]:
    """For every property of the pairs; ``names`` are those of tokens. The first says most."""
    by_chance = max(Counter(labels).values()) / len(labels)
    found = [
        GoesWith(name=name, share=_known(values, labels), by_chance=by_chance)
        for name, values in properties(pairs, names).items()
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


def properties(pairs: EncodedPairs, names: Sequence[str]) -> Mapping[str, list[str]]:
    """The properties of every pair: form, answers, cue word, length, distance from cue to end."""
    length = pairs.last.view(2, -1).double().mean(0).numpy()
    prefix = shared_prefix(pairs).view(2, -1).double().mean(0).numpy()
    forms = forms_in(pairs.templates)
    sides = [[names[i] for i in side.tolist()] for side in pairs.answers.chunk(2)]
    answers = [" or ".join(sorted(both)) for both in zip(*sides, strict=True)]
    found = {"answers": answers, "cue": _cues(pairs, names), "length": _binned(length),
             "distance": _binned(length - prefix)}  # fmt: skip
    return {"form": forms, **found} if forms else found


def _cues(pairs: EncodedPairs, names: Sequence[str]) -> list[str]:
    """The tokens that one prompt of a pair has more of than the other."""
    sides = [prompt for prompt, _ in pairs.sides()]
    n = len(pairs)
    return [
        " or ".join(sorted(_more(*way, names) for way in ((a, b), (b, a))))
        for a, b in zip(sides[:n], sides[n:], strict=True)
    ]


def _more(prompt: Sequence[int], other: Sequence[int], names: Sequence[str]) -> str:
    return " ".join(names[i] for i in sorted((Counter(prompt) - Counter(other)).elements()))


def _binned(values: np.ndarray) -> list[str]:
    """The quarter of the pairs that each value falls into."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
    return [str(i) for i in np.searchsorted(edges, values, side="right")]


def _known(values: Sequence[str], labels: Sequence[str]) -> float:
    """The share of pairs whose family the other half of the pairs knows by their value."""
    hits = 0
    for parity in (0, 1):
        by_value: dict[str, Counter[str]] = {}
        seen: Counter[str] = Counter()
        for value, label in zip(values[parity::2], labels[parity::2], strict=True):
            by_value.setdefault(value, Counter())[label] += 1
            seen[label] += 1
        for value, label in zip(values[1 - parity :: 2], labels[1 - parity :: 2], strict=True):
            hits += by_value.get(value, seen).most_common(1)[0][0] == label
    return hits / len(labels)
