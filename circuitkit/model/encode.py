"""Encode the pairs of a task as the model reads them, with every check of what it can read.

In: pairs and a tokenizer. Out: ``EncodedPairs``. What cannot be asked as the task means it is
an error here, by the ids that the model reads and not by the texts of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from circuitkit.errors import TaskError
from circuitkit.model.encoded_pairs import EncodedPairs
from circuitkit.model.repeated_pairs import refuse_contradictions
from circuitkit.model.tokenise import Read, read_sides, special_texts
from circuitkit.task import Pair, Prompt
from circuitkit.task.pairs import naming_place


def encode_pairs(
    pairs: Sequence[Pair], tokenizer, *, start_token: int | None, vocab_size: int, n_ctx: int
) -> EncodedPairs:
    """Read pairs and pad them to a rectangle; a start token is added unless there is one.

    ``tokenizer`` is a ``tokenizers.Tokenizer``, or None when prompts are token ids.

    Raises:
        TaskError: if a prompt does not fit the context, an answer is not one token of its
            own, a text is not read as it is written, a token id lies outside the vocabulary,
            the sides of a pair are the same to the model, or two pairs contradict each other.
    """
    read = read_sides(pairs, tokenizer, vocab_size)
    start = [] if start_token is None else [start_token]
    rows = [side.prompt if start and side.prompt[:1] == start else start + side.prompt
            for side in read]  # fmt: skip
    for i, row in enumerate(rows):
        pair, name = pairs[i % len(pairs)], "ab"[i // len(pairs)]
        with naming_place(pair.where(f"{name}.prompt")):
            _check_length(row, pair.b if name == "b" else pair.a, n_ctx)
    answers = torch.tensor([side.answer for side in read])
    last = torch.tensor([len(row) - 1 for row in rows])
    tokens = torch.zeros(len(rows), int(last.max()) + 1, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    encoded = EncodedPairs(
        tokens=tokens,
        last=last,
        answers=answers,
        foils=torch.cat([answers[len(pairs) :], answers[: len(pairs)]]),
        templates=tuple(pair.template for pair in pairs),
        pairs=tuple(pairs),
    )
    _refuse_equal_sides(encoded)
    refuse_contradictions(encoded)
    return replace(encoded, notes=tuple(_notes(read, pairs, tokenizer, start)))


def _notes(
    read: Sequence[Read], pairs: Sequence[Pair], tokenizer, start: list[int]
) -> Iterator[str]:
    """Notes on how the prompts were read, where nothing is wrong."""
    begun = sum(1 for side in read if start and side.prompt[:1] == start)
    if begun:
        yield f"{begun} prompts begin with the start token already; it is not put there again"
    specials = special_texts(tokenizer)
    texts = [side.text for pair in pairs for side in (pair.a, pair.b) if side.text is not None]
    shown = [special for special in specials if any(special in text for text in texts)]
    if shown:
        n = sum(1 for text in texts if any(special in text for special in shown))
        yield (
            f"{n} prompts hold {shown[0]!r}, the name of a special token: it is read as text, not "
            "as that token; give token ids if the token is meant"
        )


def _refuse_equal_sides(encoded: EncodedPairs) -> None:
    """Two texts may be the same ids: then the model cannot distinguish them."""
    sides, n = encoded.sides(), len(encoded)
    for pair, (prompt, answer), (other, foil) in zip(
        encoded.pairs, sides[:n], sides[n:], strict=True
    ):
        for key, same, written in (
            ("b.prompt", prompt == other, (pair.a.text, pair.b.text)),
            ("b.answer", answer == foil, (pair.a.answer, pair.b.answer)),
        ):
            if same:
                raise TaskError(
                    f"{pair.where(key)}: {written[0]!r} and {written[1]!r} are the same tokens "
                    "for this checkpoint; expected two that differ."
                )


def _check_length(row: Sequence[int], side: Prompt, n_ctx: int) -> None:
    if len(row) > n_ctx:
        shown = side.text or " ".join(map(str, side.tokens or ()))
        raise TaskError(
            f"a prompt is {len(row)} tokens, but the checkpoint reads at most {n_ctx}: "
            f"{shown[:60]!r}… Shorten the template or its draws."
        )
    if not row:
        raise TaskError(
            "a prompt is empty; expected at least one token. Add text before the answer."
        )
