"""Tasks as lines of text and as JSON: what ``tasks list``, ``show`` and ``check`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from circuitkit.cli.checkpoint_text import shown_ends
from circuitkit.task import SPLITS, Leaks, Pair, Prompt, Split, Task

_MOST_ANSWERS = 4
_SHOWN_UNUSABLE = 3
_UNTOLD = "-"

_LEGEND = """\
predicted by: how often the right answer is predicted by the last token, by how often each
token occurs, or by the number of tokens, each alone; 0.50 is chance; - where the task's file
does not say"""


def listed(task: Task) -> dict[str, Any]:
    """A task as ``list --json`` prints it."""
    return {"name": task.name, "question": task.question, **_figures(task)}


def shown(task: Task, pairs: Mapping[Split, Sequence[Pair]]) -> dict[str, Any]:
    """A task as ``show --json`` prints it, with a few pairs of each split."""
    return {
        "name": task.name,
        "question": task.question,
        "source": task.source,
        "sha256": task.sha256,
        **_figures(task),
        "notes": list(task.notes),
        "pairs": {split: [_sides(pair) for pair in found] for split, found in pairs.items()},
    }


def _figures(task: Task) -> dict[str, Any]:
    return {
        "n_templates": {split: len(task.templates(split)) for split in SPLITS},
        "leaks": task.leaks and task.leaks.model_dump(),
        "breaks": list(task.shortcuts),
    }


def _sides(pair: Pair) -> dict[str, Any]:
    sides = {
        name: {"prompt": side.text or list(side.tokens or ()), "answer": side.answer}
        for name, side in (("a", pair.a), ("b", pair.b))
    }
    return {**sides, "template": pair.template}


def task_lines(tasks: Sequence[Task]) -> Iterator[str]:
    """A table of two lines a task: its figures, its question."""
    width = max(len(task.name) for task in tasks)
    yield f"{'':<{width}}   templates                    predicted by"
    yield f"{'task':<{width}}   train  select  test   ood    last token  bag of tokens  length"
    for task in tasks:
        counts = [len(task.templates(split)) for split in SPLITS]
        yield (
            f"{click.style(f'{task.name:<{width}}', bold=True)}   "
            f"{counts[0]:>5}  {counts[1]:>6}  {counts[2]:>4}  {counts[3]:>4}    "
            "{:>10}  {:>13}  {:>6}".format(*_shares(task.leaks))
        )
        yield f"  {task.question}"
    yield ""
    yield _LEGEND


def shown_lines(task: Task, pairs: Mapping[Split, Sequence[Pair]]) -> Iterator[str]:
    """Question, source, leaks, a few pairs of each split, and what the ood forms break."""
    yield f"{task.name}: {task.question}"
    yield f"source: {task.source}"
    yield f"predicted by: {_predicted_by(task.leaks, 'the file does not say')}"
    for split, found in pairs.items():
        yield f"\n{split}: {len(task.templates(split))} templates, for example"
        for pair in found:
            yield from (f"  {_prompt(side)} → {side.answer!r}" for side in (pair.a, pair.b))
    if task.shortcuts:
        yield "\nood forms break"
        yield from (f"  {i}. {text or _UNTOLD}" for i, text in enumerate(task.shortcuts, 1))


def checked_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The result of ``check_task``: every figure, then every problem."""
    loss, accuracy, tokens = result["loss_nats"], result["accuracy"], result["n_tokens"]
    yield (
        f"{result['task']} on {result['checkpoint']}: {result['n_pairs']} test pairs from "
        f"{result['n_templates']} templates"
    )
    yield f"loss        {loss['mean']:.4f} nats {shown_ends(loss['low'], loss['high'], 4)}"
    ends = shown_ends(accuracy["low"], accuracy["high"], 4)
    yield f"accuracy    {accuracy['mean']:.4f}      {ends}"
    yield f"tokens      {tokens['min']} to {tokens['max']} a prompt, median {tokens['median']}"
    yield f"answers     {_answers(result['answers'])}"
    yield f"duplicates  {result['duplicates']}"
    yield from _unusable_lines(result["unusable"])
    yield f"leaks       {_predicted_by(result['leaks'], 'not measured: no pairs of split train')}"
    yield f"declared    {_predicted_by(result['declared_leaks'], 'the file does not say')}"
    yield from (f"problem: {problem}" for problem in result["problems"])


def _unusable_lines(unusable: Mapping[str, Any]) -> Iterator[str]:
    """How many pairs of a file are left out, by reason, with the first few of each."""
    yield f"unusable    {unusable['n_pairs']}"
    for reason, n in unusable["reasons"].items():
        found = [pair["problem"] for pair in unusable["pairs"] if pair["reason"] == reason]
        yield f"  {n} with {reason}, such as"
        yield from (f"    {problem}" for problem in found[:_SHOWN_UNUSABLE])


def _predicted_by(leaks: Leaks | Mapping[str, float] | None, otherwise: str) -> str:
    if leaks is None:
        return otherwise
    return "last token {}, bag of tokens {}, length {}".format(*_shares(leaks))


def _shares(leaks: Leaks | Mapping[str, float] | None) -> tuple[str, ...]:
    if leaks is None:
        return (_UNTOLD,) * len(Leaks.model_fields)
    shares = leaks.model_dump() if isinstance(leaks, Leaks) else leaks
    return tuple(f"{share:.2f}" for share in shares.values())


def _prompt(side: Prompt) -> str:
    return repr(side.text if side.text is not None else list(side.tokens or ()))


def _answers(shares: Mapping[str, float]) -> str:
    first = [f"{answer!r} {share:.2f}" for answer, share in list(shares.items())[:_MOST_ANSWERS]]
    more = len(shares) - len(first)
    return ", ".join([*first, *([f"and {more} more"] if more else [])])
