"""Copies among pairs: by the ids that the model reads, not by the texts of the file.

In: encoded pairs. Out: those that are not a copy of an earlier one, or an error where two pairs
contradict each other. Two pairs are copies when they have the same two prompts with the same
answers, in either order: they are one piece of evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from circuitkit.errors import TaskError
from circuitkit.model.encoded_pairs import EncodedPairs
from circuitkit.task import Pair


def distinct(asked: EncodedPairs, most: int) -> EncodedPairs:
    """The first ``most`` pairs that are not copies of earlier ones; a note counts the copies."""
    sides, n = asked.sides(), len(asked)
    first: dict[frozenset, int] = {}
    seen = 0
    for i, both in enumerate(zip(sides[:n], sides[n:], strict=True)):
        if len(first) == most:
            break
        first.setdefault(frozenset(both), i)
        seen += 1
    if len(first) == n:
        return asked
    found = asked[torch.tensor(list(first.values()))]
    copies = f"{seen - len(first)} of {seen} pairs are copies or mirror images of others and "
    copies += f"count once: {len(first)} pairs of {len(set(found.templates))} templates are left"
    return replace(found, notes=(*asked.notes, *([copies] if seen > len(first) else [])))


def refuse_contradictions(asked: EncodedPairs) -> None:
    """One prompt has one right answer.

    Raises:
        TaskError: from the first prompt that has two, with both places.
    """
    sides = asked.sides()
    first: dict[tuple[int, ...], int] = {}
    for i, (prompt, answer) in enumerate(sides):
        was = first.setdefault(prompt, i)
        if sides[was][1] != answer:
            (there, meant), (here, other) = (_written(asked.pairs, j) for j in (was, i))
            raise TaskError(
                f"{here}: {other!r} is the right answer, but {meant!r} is in {there} of the same "
                "prompt; expected one right answer. Correct or remove one of them."
            )


def _written(pairs: Sequence[Pair], row: int) -> tuple[str, str | int]:
    """Where the answer of a row is written in the file, and its text there."""
    pair, name = pairs[row % len(pairs)], "ab"[row // len(pairs)]
    return pair.where(f"{name}.answer"), (pair.b if name == "b" else pair.a).answer
