"""Copies among pairs: by the ids that the model reads, not by the texts of the file.

In: encoded pairs. Out: those that are not a copy of an earlier one, or an error where two pairs
contradict each other. Two pairs are copies when they have the same two prompts with the same
answers, in either order: they are one piece of evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from circuitkit.errors import PairError
from circuitkit.model.encoded_pairs import EncodedPairs
from circuitkit.task import Pair
from circuitkit.task.contradictions import TWO_ANSWERS


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


def contradictions(
    pairs: Sequence[Pair], sides: Sequence[tuple[tuple[int, ...], int]]
) -> Iterator[tuple[int, PairError]]:
    """Pairs with a prompt that another gives another right answer: the place of each, and both.

    ``sides`` are prompts with their answers, all a-sides first.
    """
    rights: dict[tuple[int, ...], dict[int, int]] = {}
    for row, (prompt, answer) in enumerate(sides):
        rights.setdefault(prompt, {}).setdefault(answer, row)
    for row, (prompt, answer) in enumerate(sides):
        other = next((there for right, there in rights[prompt].items() if right != answer), None)
        if other is not None:
            yield row % len(pairs), _contradiction(pairs, row, other)


def refuse_contradictions(asked: EncodedPairs) -> None:
    """One prompt has one right answer.

    Raises:
        PairError: from the first prompt that has two, with both places.
    """
    for _, error in contradictions(asked.pairs, asked.sides()):
        raise error


def _contradiction(pairs: Sequence[Pair], row: int, other: int) -> PairError:
    (here, right), (there, meant) = (_written(pairs, each) for each in (row, other))
    return PairError(
        f"{here}: {right!r} is the right answer, but {meant!r} is in {there} of the same "
        "prompt; expected one right answer. Correct or remove one of them.",
        TWO_ANSWERS,
    )


def _written(pairs: Sequence[Pair], row: int) -> tuple[str, str | int]:
    """Where the answer of a row is written in the file, and its text there."""
    pair, name = pairs[row % len(pairs)], "ab"[row // len(pairs)]
    return pair.where(f"{name}.answer"), (pair.b if name == "b" else pair.a).answer
