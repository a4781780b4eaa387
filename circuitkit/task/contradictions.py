"""Pairs of a file that contradict each other, and those that share a prompt.

In: pairs, as they are written. Out: which of them give one prompt two right answers, wherever in
the file they stand; and groups of pairs that hang together by prompts, which splits must not part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from circuitkit.errors import PairError
from circuitkit.task.pairs import Pair, Prompt

TWO_ANSWERS = "a prompt with two right answers"


def contradictory(pairs: Sequence[Pair]) -> dict[int, PairError]:
    """The pairs that have a prompt which another pair answers otherwise, by their place."""
    answers: dict[Hashable, set[Hashable]] = defaultdict(set)
    for side in (side for pair in pairs for side in (pair.a, pair.b)):
        answers[_asked(side)].add(side.answer)
    found = {}
    for i, pair in enumerate(pairs):
        several = [side for side in (pair.a, pair.b) if len(answers[_asked(side)]) > 1]
        if several:
            shown = " and ".join(sorted(map(repr, answers[_asked(several[0])]))[:3])
            found[i] = PairError(
                f"{pair.written}the file gives {shown} as right answers of one prompt; expected "
                "one. Correct or remove the others.",
                TWO_ANSWERS,
            )
    return found


def together(pairs: Sequence[Pair], labels: Iterable[str]) -> list[str]:
    """For each pair the first label of its group: labels whose pairs share a prompt are one group.

    A function of the pairs and labels, not of their order.
    """
    import networkx as nx  # not at the top: the command line's help imports tasks

    graph = nx.Graph()
    every = list(labels)
    for pair, label in zip(pairs, every, strict=True):
        for side in (pair.a, pair.b):
            graph.add_edge(("label", label), ("prompt", _asked(side)))
    first = {}
    for group in nx.connected_components(graph):
        members = sorted(name for kind, name in group if kind == "label")
        first |= dict.fromkeys(members, members[0])
    return [first[label] for label in every]


def _asked(side: Prompt) -> Hashable:
    return side.text if side.text is not None else side.tokens
