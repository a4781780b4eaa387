"""Encode the pairs of a task as the model reads them, with every check of what it can read.

In: pairs and a tokenizer. Out: ``EncodedPairs``, or an error for what cannot be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from circuitkit.errors import TaskError
from circuitkit.model.encoded_pairs import EncodedPairs
from circuitkit.model.pair_reader import PairReader
from circuitkit.model.repeated_pairs import refuse_contradictions
from circuitkit.model.tokenise import Read, special_texts
from circuitkit.task import Pair


def encode_pairs(
    pairs: Sequence[Pair], tokenizer, *, start_token: int | None, vocab_size: int, n_ctx: int
) -> EncodedPairs:
    """Read pairs and pad them to a rectangle; a start token is added unless there is one.

    ``tokenizer`` is a ``tokenizers.Tokenizer``, or None when prompts are token ids.

    Raises:
        TaskError: from the first pair that cannot be asked, as ``PairReader`` has it, or if two
            pairs contradict each other, or there is none.
    """
    if not pairs:
        raise TaskError("no pairs to ask; expected at least one.")
    reader = PairReader(
        pairs, tokenizer, start_token=start_token, vocab_size=vocab_size, n_ctx=n_ctx
    )
    both = [reader.read(pair) for pair in pairs]
    read = [sides[side] for side in (0, 1) for sides in both]
    answers = torch.tensor([side.answer for side in read])
    last = torch.tensor([len(side.prompt) - 1 for side in read])
    tokens = torch.zeros(len(read), int(last.max()) + 1, dtype=torch.long)
    for i, side in enumerate(read):
        tokens[i, : len(side.prompt)] = torch.tensor(side.prompt)
    encoded = EncodedPairs(
        tokens=tokens,
        last=last,
        answers=answers,
        foils=torch.cat([answers[len(pairs) :], answers[: len(pairs)]]),
        templates=tuple(pair.template for pair in pairs),
        pairs=tuple(pairs),
    )
    refuse_contradictions(encoded)
    return replace(encoded, notes=tuple(_notes(read, pairs, tokenizer)))


def _notes(read: Sequence[Read], pairs: Sequence[Pair], tokenizer) -> Iterator[str]:
    """Notes on how the prompts were read, where nothing is wrong."""
    begun = sum(side.begun for side in read)
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
