"""Asking a checkpoint a task: every split that will be used is read before anything runs.

In: a checkpoint, a task, how many pairs of which split. Out: what the model is asked, and
in words what a reader should know of it. It is the same for every verb.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from circuitkit.checkpoints.checkpoint import Checkpoint
from circuitkit.model import EncodedPairs
from circuitkit.task import Split, Task

Asked = Mapping[Split, EncodedPairs]


def ask_splits(
    checkpoint: Checkpoint, task: Task, n_pairs: Mapping[Split, int], seed: int = 0
) -> dict[Split, EncodedPairs]:
    """Up to so many pairs of each split; splits for which the task has no template are left out.

    Raises:
        TaskError: if a prompt or an answer of any of them cannot be asked, with where.
    """
    return {
        split: checkpoint.ask(task, split, n, seed)
        for split, n in n_pairs.items()
        if task.templates(split)
    }


def remarks(asked: Asked) -> tuple[str, ...]:
    """What is to be said of these pairs though they can be asked."""
    return tuple(_remarks(asked))


def _remarks(asked: Asked) -> Iterator[str]:
    for split, pairs in asked.items():
        yield from (f"{split}: {note}" for note in pairs.notes)
    if repeated := repeated_prompts(asked):
        yield (
            f"duplicates: {len(repeated)} prompts come in two splits, such as {repeated[0]}: "
            "let forms differ, or draw from more"
        )


def repeated_prompts(asked: Asked) -> list[str]:
    """The prompts that come in two splits, whatever their answer, as they are written."""
    shown: dict[tuple[int, ...], str] = {}
    times: Counter[tuple[int, ...]] = Counter()
    for pairs in asked.values():
        prompts = [prompt for prompt, _ in pairs.sides()]
        written = [pair.a for pair in pairs.pairs] + [pair.b for pair in pairs.pairs]
        shown |= {
            prompt: repr(side.text if side.text is not None else list(side.tokens or ()))
            for prompt, side in zip(prompts, written, strict=True)
        }
        times.update(set(prompts))
    return sorted(shown[prompt] for prompt, n in times.items() if n > 1)
