"""The pairs that an explanation shows.

In: a checkpoint, a task, test pairs and the circuit's losses on them. Out: pairs with what each is
shown for.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit.explanation import ExampleKind
from circuitkit.errors import TaskError
from circuitkit.explaining.distractors import find_distractors
from circuitkit.model import EncodedPairs
from circuitkit.task import Task

_SHOWN_FROM = 64


class ChosenPair(NamedTuple):
    """A pair, what it is shown for, and the tokens of it that distract."""

    kind: ExampleKind
    pair: EncodedPairs
    distractors: tuple[int, ...] = ()


def choose_pairs(
    checkpoint: Checkpoint, task: Task, test: EncodedPairs, losses: Float[Tensor, " pairs"]
) -> list[ChosenPair]:
    """The pair of the report, one of median loss, a distracting one, one of ood, the worst.

    Where no test pair has a distractor, or the task no pairs out of distribution, none is shown.
    """
    order = losses.argsort(stable=True)
    chosen = [
        ChosenPair("shown", shown_pair(checkpoint, task)),
        ChosenPair("typical", test[order[len(order) // 2][None]]),
        *_distracting(test),
    ]
    if other := _out_of_distribution(checkpoint, task):
        chosen.append(ChosenPair("out_of_distribution", shortest(other)))
    return [*chosen, ChosenPair("worst", test[order[-1:]])]


def _distracting(test: EncodedPairs) -> list[ChosenPair]:
    """The shortest pair with a distractor."""
    found = find_distractors(test)
    lengths = test.last.view(2, -1).sum(0).tolist()
    first = sorted(found, key=lambda i: lengths[i])[:1]
    return [ChosenPair("distractor", test[i : i + 1], found[i]) for i in first]


def _out_of_distribution(checkpoint: Checkpoint, task: Task) -> EncodedPairs | None:
    try:
        return checkpoint.ask(task, "ood", _SHOWN_FROM)
    except TaskError:  # it has none
        return None


def shown_pair(checkpoint: Checkpoint, task: Task) -> EncodedPairs:
    """The pair that a report shows: the shortest of a few selection pairs."""
    return shortest(checkpoint.ask(task, "select", _SHOWN_FROM))


def shortest(pairs: EncodedPairs) -> EncodedPairs:
    """The pair of fewest tokens, the easiest to read."""
    lengths = pairs.last.view(2, -1).sum(0)
    return pairs[lengths.argmin()[None]]
