"""One pair as the model reads it, or the reason why it cannot be asked.

In: pairs and a tokenizer. Out: for each pair the ids of both sides, or an error; ``unusable``
collects the errors of many. What cannot be asked as the task means it is an error, by the ids
that the model reads and not by the texts of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitkit.errors import PairError
from circuitkit.model.repeated_pairs import contradictions
from circuitkit.model.tokenise import Read, SideReader
from circuitkit.task import Pair, Prompt
from circuitkit.task.pairs import EMPTY, SAME_ANSWER, SAME_PROMPT, naming_place

_AT_ONCE = 2048
"""So many pairs are encoded at once: what a tokenizer returns is large."""


class PairReader:
    """Reads pairs: both sides of each, a start token in front unless there is one.

    ``tokenizer`` is a ``tokenizers.Tokenizer``, or None when prompts are token ids.

    Raises:
        TaskError: if there are texts, but no tokenizer.
    """

    def __init__(
        self, pairs: Sequence[Pair], tokenizer: Any, *, start_token: int | None, vocab_size: int,
        n_ctx: int,
    ) -> None:  # fmt: skip
        self.start: list[int] = [] if start_token is None else [start_token]
        self._n_ctx = n_ctx
        self._sides = SideReader(pairs, tokenizer, vocab_size)

    def read(self, pair: Pair) -> tuple[Read, Read]:
        """Both sides of one of the pairs.

        Raises:
            PairError: if a prompt does not fit the context, an answer is not one token of its
                own, a text is not read as it is written, a token id lies outside the
                vocabulary, or both sides are the same to the model.
        """
        a, b = self._side(pair, "a"), self._side(pair, "b")
        _refuse_equal(pair, "prompt", SAME_PROMPT, a.prompt == b.prompt)
        _refuse_equal(pair, "answer", SAME_ANSWER, a.answer == b.answer)
        return a, b

    def _side(self, pair: Pair, name: str) -> Read:
        read = self._sides.read(pair, name)
        begun = bool(self.start) and read.prompt[:1] == self.start
        row = read.prompt if begun else self.start + read.prompt
        with naming_place(pair.where(f"{name}.prompt")):
            _check_length(row, pair.b if name == "b" else pair.a, self._n_ctx)
        return Read(prompt=row, answer=read.answer, begun=begun)


def unusable(pairs: Sequence[Pair], tokenizer: Any, **reading: Any) -> dict[int, PairError]:
    """The pairs that cannot be asked, by their place, each with the reason.

    One prompt has one right answer: where it has two, every pair that holds it is among them.
    ``reading`` is that of ``PairReader``.
    """
    found: dict[int, PairError] = {}
    read: dict[int, tuple[Read, Read]] = {}
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        reader = PairReader(some, tokenizer, **reading)
        for i, pair in enumerate(some, first):
            try:
                read[i] = reader.read(pair)
            except PairError as error:
                found[i] = error
    left = list(read)
    sides = [(tuple(read[i][side].prompt), read[i][side].answer) for side in (0, 1) for i in left]
    for place, error in contradictions([pairs[i] for i in left], sides):
        found.setdefault(left[place], error)
    return found


def _refuse_equal(pair: Pair, key: str, reason: str, same: bool) -> None:
    """Two texts may be the same ids: then the model cannot distinguish them."""
    if same:
        a, b = ((side.text if key == "prompt" else side.answer) for side in (pair.a, pair.b))
        raise PairError(
            f"{pair.where(f'b.{key}')}: {a!r} and {b!r} are the same tokens "
            "for this checkpoint; expected two that differ.",
            reason,
        )


def _check_length(row: Sequence[int], side: Prompt, n_ctx: int) -> None:
    if len(row) > n_ctx:
        shown = side.text or " ".join(map(str, side.tokens or ()))
        raise PairError(
            f"a prompt is {len(row)} tokens, but the checkpoint reads at most {n_ctx}: "
            f"{shown[:60]!r}… Shorten it, or the template that it is drawn from.",
            "a prompt that is too long",
        )
    if not row:
        raise PairError(
            "a prompt is empty; expected at least one token. Add text before the answer.", EMPTY
        )
