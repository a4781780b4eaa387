"""Check a task against a checkpoint: can it be asked, does less than the prompt tell, is it done.

A task and a checkpoint go in; out comes what was counted and measured, and what is
wrong in words, each with what to do. What makes a task impossible to ask is an error.
Each answer is right on one side of a pair and wrong on the other: no answer is right
in more than half of the prompts, so preferring one of them is chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitkit.checkpoints import Checkpoint
from circuitkit.errors import TaskError
from circuitkit.model import EncodedPairs
from circuitkit.task import SPLITS, Leaks, Pair, Prompt, Split, Task
from circuitkit.validation.competent import measure_ability
from circuitkit.validation.leaks import measure_leaks
from circuitkit.validation.statistics import Estimate
from circuitkit.validation.task_problems import ability_problems, leak_problems, repeat_problems

Drawn = Mapping[Split, list[Pair]]


def check_task(checkpoint: Checkpoint, task: Task, n_pairs: int = 512) -> dict[str, Any]:
    """What the task is like for this checkpoint, and what is wrong with it in words.

    Loss and accuracy are on the test split, with 90 % intervals; lengths and duplicates
    on ``n_pairs`` of every split; leaks as ``measure_leaks`` has them, None without
    pairs to fit them on.

    Raises:
        TaskError: if a prompt of any split does not fit, or an answer is not one token
            of its own after its prompt; with file, key and value.
    """
    drawn = _draw(task, n_pairs)
    encoded = {split: checkpoint.encode(pairs) for split, pairs in drawn.items()}
    refuse_joined(checkpoint, drawn)
    leaks = _leaks(checkpoint, task)
    repeated = _repeated(drawn)
    asked = encoded["test"][:n_pairs]
    ability = measure_ability(checkpoint.load_model(), asked)
    done = {"loss_nats": _plain(ability.loss_nats), "accuracy": _plain(ability.accuracy)}
    problems = [
        *leak_problems(task, leaks),
        *repeat_problems(repeated),
        *ability_problems(done["accuracy"], len(set(asked.templates))),
    ]
    return {
        "task": task.name,
        "checkpoint": checkpoint.name,
        "n_pairs": len(asked),
        "n_templates": len(set(asked.templates)),
        **done,
        "n_tokens": _lengths(encoded.values()),
        "answers": _answers(drawn["test"][:n_pairs]),
        "duplicates": len(repeated),
        "leaks": leaks and leaks.model_dump(),
        "declared_leaks": task.leaks and task.leaks.model_dump(),
        "problems": problems,
    }


def _draw(task: Task, n_pairs: int) -> Drawn:
    """Pairs of every split that has some, every template among them."""
    filled: list[Split] = [split for split in SPLITS if task.templates(split) or split == "test"]
    return {split: task.up_to(split, max(n_pairs, len(task.templates(split)))) for split in filled}


def refuse_joined(checkpoint: Checkpoint, drawn: Drawn) -> None:
    """A prompt and its answer, read together, are the tokens of both."""
    for pair in (pair for pairs in drawn.values() for pair in pairs):
        for name, side in (("a", pair.a), ("b", pair.b)):
            if side.text is not None:
                _check_joined(checkpoint.tokenizer, side, pair.where(f"{name}.answer"))


def _check_joined(tokenizer, side: Prompt, where: str) -> None:
    prompt, answer, both = (
        tokenizer.encode(text, add_special_tokens=False)
        for text in (side.text, side.answer, f"{side.text}{side.answer}")
    )
    if both.ids != prompt.ids + answer.ids:
        raise TaskError(
            f"{where}: after its prompt the answer {side.answer!r} is no token of its own: "
            f"together they end in {both.tokens[-2:]}, expected {prompt.tokens[-1:]} and "
            f"{answer.tokens}. End the prompt where a token ends."
        )


def _leaks(checkpoint: Checkpoint, task: Task) -> Leaks | None:
    if not task.templates("train"):
        return None
    return measure_leaks(
        lambda text: checkpoint.tokenizer.encode(text, add_special_tokens=False).ids,  # type: ignore
        task,
    )


def _repeated(drawn: Drawn) -> list[str]:
    """The prompts that come in two splits, whatever their answer, as text."""
    seen = [{_shown(s) for pair in pairs for s in (pair.a, pair.b)} for pairs in drawn.values()]
    times = Counter(shown for split in seen for shown in split)
    return sorted(shown for shown, n in times.items() if n > 1)


def _shown(side: Prompt) -> str:
    return repr(side.text if side.text is not None else list(side.tokens or ()))


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
