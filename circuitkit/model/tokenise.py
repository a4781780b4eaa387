"""Texts as a tokenizer reads them: the sides of a pair in, token ids out, or one error.

An error is whatever the model would not read as it is written: a prompt that loses or changes
characters when encoded; an answer that is not one token, that the tokenizer does not know, or
that is not a token of its own after its prompt. All texts are encoded at once, which is fast.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from circuitkit.errors import PairError, TaskError
from circuitkit.task import Pair, Prompt
from circuitkit.task.pairs import EMPTY, naming_place

_SPACE = "▁"
"""How some normalisers write a space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The ids of one prompt and of its answer; ``begun``: it has a start token of its own."""

    prompt: list[int]
    answer: int
    begun: bool = False


class SideReader:
    """Reads pairs with a tokenizer, which reads all their texts at once.

    Raises:
        TaskError: if there are texts, but no tokenizer.
    """

    def __init__(self, pairs: Sequence[Pair], tokenizer: Any, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._texts = _Texts(tokenizer)
        sides = [side for pair in pairs for side in (pair.a, pair.b)]
        self._texts.read([text for side in sides for text in _texts_of(side)])

    def read(self, pair: Pair, name: str) -> Read:
        """The side ``a`` or ``b`` of one of the pairs.

        Raises:
            PairError: if it cannot be asked as it is written, with where.
        """
        side = pair.a if name == "a" else pair.b
        with naming_place(pair.where(f"{name}.prompt")):
            prompt = _prompt(side, self._texts, self._vocab_size)
        with naming_place(pair.where(f"{name}.answer")):
            read = Read(prompt=prompt, answer=_answer(side, self._texts, self._vocab_size))
        if side.text is not None:
            _check_as_written(pair, name, side, self._texts)
        return read


def special_texts(tokenizer: Any) -> list[str]:
    """The texts of the tokens that stand for no text."""
    if tokenizer is None:
        return []
    return [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special]


def _texts_of(side: Prompt) -> list[str]:
    if side.text is None:
        return []
    return [side.text, str(side.answer), f"{side.text}{side.answer}"]


@dataclass(slots=True)
class _Texts:
    """Texts as a tokenizer encodes them; ``suspects`` are decoded to another text."""

    tokenizer: Any
    encoded: dict[str, Any] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    def read(self, texts: Sequence[str]) -> None:
        """Encode them all; those that decode to another text are checked when they are used."""
        if not texts:
            return
        if self.tokenizer is None:
            raise TaskError(
                "the task is text, but the checkpoint has no tokenizer.json to read it, nor "
                "GPT-2's two files (docs/formats.md). Put them into its folder, or give the task "
                "as token ids (.jsonl)."
            )
        distinct = list(dict.fromkeys(texts))
        found = self.tokenizer.encode_batch(distinct, add_special_tokens=False)
        self.encoded = dict(zip(distinct, found, strict=True))
        back = self.tokenizer.decode_batch([e.ids for e in found], skip_special_tokens=False)
        self.suspects = {
            text for text, decoded in zip(distinct, back, strict=True) if not _alike(text, decoded)
        }

    def altered(self, text: str) -> str | None:
        """What the tokenizer does to a text other than cutting it, in words."""
        if text not in self.suspects or not self.encoded[text].ids:
            return None  # an empty text is an error of its own
        encoding, normalizer = self.encoded[text], self.tokenizer.normalizer
        normal = text if normalizer is None else normalizer.normalize_str(text)
        if not _alike(text, normal):
            return f"the tokenizer's normaliser turns it into {_short(normal)}"
        unknown = self._unknown_id()
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token == unknown and text[start:end].strip() != self.tokenizer.id_to_token(token):
                return f"the tokenizer does not know {text[start:end]!r}, which becomes its unknown"
        if lost := _lost(text, encoding.offsets):
            return f"the tokenizer drops {lost} of its characters, which it does not know"
        return None

    def _unknown_id(self) -> int | None:
        model = self.tokenizer.model
        if hasattr(model, "unk_token"):
            return None if model.unk_token is None else self.tokenizer.token_to_id(model.unk_token)
        return json.loads(self.tokenizer.to_str())["model"].get("unk_id")  # Unigram shows it so


def _alike(text: str, other: str) -> bool:
    """Whether two texts are the same but for blanks, which word tokenizers leave out."""
    return text == other or _solid(text) == _solid(other)


def _solid(text: str) -> str:
    return "".join(text.replace(_SPACE, " ").split())


def _lost(text: str, offsets: Sequence[tuple[int, int]]) -> int:
    """How many characters, blanks aside, are part of no token."""
    covered = {i for start, end in offsets for i in range(start, end)}
    return sum(1 for i, c in enumerate(text) if i not in covered and not c.isspace())


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _prompt(side: Prompt, texts: _Texts, vocab_size: int) -> list[int]:
    if side.text is None:
        return [_checked(token, vocab_size) for token in side.tokens or ()]
    ids = texts.encoded[side.text].ids
    if not ids:  # a start token before it would be all that is asked
        raise PairError(
            f"the prompt {_short(side.text)} is no token at all for this checkpoint; expected at "
            "least one. Write what its tokenizer can read.",
            EMPTY,
        )
    return ids


def _answer(side: Prompt, texts: _Texts, vocab_size: int) -> int:
    if isinstance(side.answer, int):
        return _checked(side.answer, vocab_size)
    encoded = texts.encoded[side.answer]
    if len(encoded.ids) != 1:
        raise PairError(
            f"the answer {side.answer!r} is {len(encoded.ids)} tokens for this checkpoint "
            f"({encoded.tokens}); expected exactly one. Choose another answer or checkpoint.",
            "an answer that is not one token",
        )
    return encoded.ids[0]


def _check_as_written(pair: Pair, name: str, side: Prompt, texts: _Texts) -> None:
    """Prompt and answer come through the tokenizer unchanged, alone and together."""
    for key, text in (("prompt", side.text), ("answer", side.answer)):
        if problem := texts.altered(str(text)):
            raise PairError(
                f"{pair.where(f'{name}.{key}')}: the {key} {_short(str(text))} is not read as it "
                f"is written: {problem}. Write what the checkpoint can read, or give token ids.",
                "a text that the tokenizer changes",
            )
    with naming_place(pair.where(f"{name}.answer")):
        _check_own_token(side, texts)


def _check_own_token(side: Prompt, texts: _Texts) -> None:
    """A prompt and its answer, read together, are the tokens of both."""
    prompt, answer, both = (texts.encoded[text] for text in _texts_of(side))
    if both.ids != prompt.ids + answer.ids:
        raise PairError(
            f"after its prompt the answer {side.answer!r} is no token of its own: "
            f"together they end in {both.tokens[-2:]}, expected {prompt.tokens[-1:]} and "
            f"{answer.tokens}. End the prompt where a token ends.",
            "an answer that merges with the end of its prompt",
        )


def _checked(token: int, vocab_size: int) -> int:
    if not 0 <= token < vocab_size:
        raise PairError(
            f"token id {token} lies outside the checkpoint's vocabulary of {vocab_size}; "
            "the task was written for another tokenizer.",
            "a token id outside the vocabulary",
        )
    return token
