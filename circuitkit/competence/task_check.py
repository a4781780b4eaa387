"""Check a task against a checkpoint: can it be asked, does it leak, does the model do it.

In: a task and a checkpoint. Out: counts, measurements, and problems in words, each with what to
do. A task that cannot be asked is an error. Each answer is right on one side of a pair and
wrong on the other: no answer is right in more than half of the prompts, so always giving one of
them is chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.pair_remarks import remarks, repeated_prompts
from circuitkit.competence.ability import ability_of, accuracy_of_sides, differences_of
from circuitkit.competence.task_problems import (
    ability_problems,
    file_problems,
    leak_problems,
    side_problems,
    unusable_pairs,
)
from circuitkit.errors import UsageError
from circuitkit.model import EncodedPairs
from circuitkit.statistics.intervals import Estimate
from circuitkit.task import SPLITS, Leaks, Pair, Split, Task
from circuitkit.task.leaks import measure_leaks
from circuitkit.task.unusable import by_reason


@checked_call
def check_task(checkpoint: Checkpoint, task: Task, n_pairs: int = 512) -> dict[str, Any]:
    """Properties of the task for this checkpoint, and its problems in words.

    Pairs of a file that cannot be asked are left out and listed under ``unusable``. Loss and
    accuracy are on the test split, with 90 % intervals; lengths and duplicates on ``n_pairs`` of
    every split; leaks as ``measure_leaks`` has them, None without pairs to fit them on.

    Raises:
        TaskError: if a template of any split cannot be asked (a prompt does not fit, an answer
            is not one token of its own after its prompt), or no test pair of a file can; with
            file, key and value.
        UsageError: if no pair is asked for.
    """
    if n_pairs < 1:
        raise UsageError(f"check_task: got n_pairs={n_pairs}, expected at least one.")
    task = checkpoint.usable(task)
    every = _ask(checkpoint, task, n_pairs)
    leaks = _leaks(checkpoint, task)
    asked = every["test"][:n_pairs]
    differences = differences_of(checkpoint.load_model(), asked)
    ability = ability_of(differences, asked.templates)
    done = {"loss_nats": _plain(ability.loss_nats), "accuracy": _plain(ability.accuracy)}
    problems = [
        *leak_problems(task, leaks),
        *file_problems(task),
        *remarks(every),
        *ability_problems(
            done["accuracy"], len(set(asked.templates)), len(set(every["test"].templates))
        ),
        *side_problems(task, accuracy_of_sides(differences)),
    ]
    return {
        "task": task.name,
        "checkpoint": checkpoint.name,
        "n_pairs": len(asked),
        "n_templates": len(set(asked.templates)),
        **done,
        "n_tokens": _lengths(every.values()),
        "answers": _answers(asked.pairs),
        "duplicates": len(repeated_prompts(every)),
        "unusable": _unusable(task),
        "leaks": leaks and leaks.model_dump(),
        "declared_leaks": task.leaks and task.leaks.model_dump(),
        "notes": list(task.notes),
        "problems": problems,
    }


def _ask(checkpoint: Checkpoint, task: Task, n_pairs: int) -> dict[Split, EncodedPairs]:
    """Pairs of every split that has some, every template among them."""
    filled: list[Split] = [split for split in SPLITS if task.templates(split) or split == "test"]
    return {
        split: checkpoint.ask(task, split, max(n_pairs, len(task.templates(split))))
        for split in filled
    }


def _unusable(task: Task) -> dict[str, Any]:
    """The pairs of a file that are left out: how many, by reason, and each with its line."""
    pairs = unusable_pairs(task)
    reasons = by_reason(pairs)
    return {
        "n_pairs": len(pairs),
        "reasons": {reason: len(found) for reason, found in reasons.items()},
        "pairs": [asdict(pair) for found in reasons.values() for pair in found],
    }


def _leaks(checkpoint: Checkpoint, task: Task) -> Leaks | None:
    if not task.templates("train"):
        return None
    return measure_leaks(
        lambda text: checkpoint.tokenizer.encode(text, add_special_tokens=False).ids,  # type: ignore
        task,
    )


def _lengths(encoded: Iterable[EncodedPairs]) -> dict[str, int]:
    """Tokens of the prompts as the model reads them, a start token included."""
    lengths = np.concatenate([pairs.last.numpy() + 1 for pairs in encoded])
    return {
        "min": int(lengths.min()),
        "median": int(np.median(lengths)),
        "max": int(lengths.max()),
    }


def _answers(pairs: Sequence[Pair]) -> dict[str, float]:
    """How often each answer is the right one, the most frequent first."""
    times = Counter(str(side.answer) for pair in pairs for side in (pair.a, pair.b))
    return {answer: n / times.total() for answer, n in times.most_common()}


def _plain(estimate: Estimate) -> dict[str, float | None]:
    low, high = estimate.bounds
    return {"mean": estimate.effect, "low": low, "high": high}
