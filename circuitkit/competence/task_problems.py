"""Problems of a task, in words: the figures of a check go in, sentences come out.

Each says what to do. The limits are ours. A file whose answer can be predicted from less than
the prompt has to say so, since its circuit may do just that.
"""

from __future__ import annotations

from collections.abc import Mapping

from circuitkit.checkpoints.competence_json import MIN_ACCURACY as ACCURACY
from circuitkit.statistics.decision import MIN_CLUSTERS
from circuitkit.task import SPLITS, Leaks, Split, Task
from circuitkit.task.pair_sources import FixedPairs
from circuitkit.task.unusable import UnusablePair

MOST_LEAKS = {"last_token": 0.60, "bag_of_tokens": 0.90, "length": 0.75}
"""Such a share has to be declared in the file."""

DECLARED_WITHIN = 0.05

SECOND_RARELY = 0.6
"""A second answer that is preferred no more often is hardly the right one."""

_MEND = {
    "last_token": "end both prompts in the same token",
    "bag_of_tokens": "add forms in which both sides hold the same tokens",
    "length": "vary the lengths of both prompts",
}


def leak_problems(task: Task, measured: Leaks | None) -> list[str]:
    """Shares that the file does not declare, or declares wrongly; fixed pairs declare none."""
    if measured is None or isinstance(task.origin, FixedPairs):
        return []
    declared = task.leaks
    shares = measured.model_dump()
    if declared is None:
        said = ", ".join(f"{name} = {share:.2f}" for name, share in shares.items())
        return [
            f"{name} predicts the answer in {share:.2f} of prompts: {_MEND[name]}, "
            f"or let the file say so in [leaks]: {said}"
            for name, share in shares.items()
            if share >= MOST_LEAKS[name]
        ]
    return [
        f"[leaks] {name} = {said:.2f} in the file, but {shares[name]:.2f} measured: correct it"
        for name, said in declared.model_dump().items()
        if abs(said - shares[name]) > DECLARED_WITHIN
    ]


def unusable_pairs(task: Task) -> tuple[UnusablePair, ...]:
    """The pairs of a file that ask nothing, then those that a checkpoint cannot be asked."""
    pairs = task.origin
    return (*pairs.unusable, *pairs.not_asked) if isinstance(pairs, FixedPairs) else ()


def file_problems(task: Task) -> list[str]:
    """Rows of a file that ask nothing, and splits of which nothing is left to ask."""
    if not isinstance(task.origin, FixedPairs):
        return []
    empty: list[Split] = [split for split in SPLITS if not task.templates(split)]
    lost = {split: left_out for split in empty if (left_out := task.origin.left_out(split))}
    return [
        *(task.notes[:1] if task.origin.unusable else ()),  # the first note is of these rows
        *(f"{split}: no pair is left: {left_out}" for split, left_out in lost.items()),
    ]


def ability_problems(
    accuracy: Mapping[str, float | None], n_templates: int, n_there: int
) -> list[str]:
    """A model that does not do the task, or too few of the templates that are there to know."""
    low = accuracy["low"]
    bound = "of too few templates is not known" if low is None else f"{low:.3f} is below {ACCURACY}"
    weak = f"accuracy lower bound {bound}: no circuit of it is to be trusted"
    few = f"{n_templates} test templates; fewer than {MIN_CLUSTERS} cap the grade: add forms"
    if n_templates < n_there:
        few = f"{n_templates} of {n_there} test templates asked: ask for more pairs"
    return [
        *([] if low is not None and low >= ACCURACY else [weak]),
        *([] if n_templates >= MIN_CLUSTERS else [few]),
    ]


def side_problems(task: Task, sides: tuple[float, float]) -> list[str]:
    """A file whose second answers are wrong ones, but not those that its second prompts ask for."""
    first, second = sides
    if not isinstance(task.origin, FixedPairs) or first < ACCURACY or second > SECOND_RARELY:
        return []
    return [
        f"the first answer is preferred after the first prompt in {first:.2f} of pairs, the second "
        f"after the second in {second:.2f} only: the second answer (foil) has to be the right one "
        "after the second prompt"
    ]
