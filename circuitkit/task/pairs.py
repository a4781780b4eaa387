"""Pairs of prompts that differ in one cue, and with it in the right answer.

Source: Gao et al. 2025, Table 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal, get_args

from circuitkit.errors import PairError, TaskError

Split = Literal["train", "select", "test", "ood"]
SPLITS: tuple[Split, ...] = get_args(Split)
MAX_LENGTH = 100_000
"""Characters or token ids of a prompt: more than any context holds, and soon read."""

EMPTY = "an empty prompt or answer"
TOO_LONG = "a prompt or answer that is too long"
SAME_ANSWER = "the same answer on both sides"
SAME_PROMPT = "the same prompt on both sides"


def forms_in(templates: Sequence[str]) -> list[str]:
    """The form of each template, its part before ``/``; none where one has no form."""
    has_forms = all("/" in template for template in templates)
    return [template.partition("/")[0] for template in templates] if has_forms else []


@contextmanager
def naming_place(where: str) -> Iterator[None]:
    """A TaskError from within gets its place in front, and stays of its kind."""
    try:
        yield
    except PairError as error:
        raise PairError(f"{where}: {error}", error.reason) from None
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One side: a text and the text that should follow, or token ids and an id.

    Raises:
        TaskError: unless there is exactly one of text and tokens, with its kind of answer.

    Examples:
        >>> import circuitkit as ck
        >>> ck.Prompt(text="for key", answer=" in").answer
        ' in'
        >>> ck.Prompt(tokens=(4, 17), answer=9).tokens
        (4, 17)
    """

    text: str | None = None
    tokens: tuple[int, ...] | None = None
    answer: str | int

    def __post_init__(self) -> None:
        if (self.text is None) == (self.tokens is None):
            raise TaskError("a prompt needs either text or tokens, one of the two")
        if self.tokens is None:
            if not isinstance(self.answer, str):
                raise TaskError(f"answer {self.answer!r}: expected str, as the prompt is")
        elif not _is_id(self.answer):
            raise TaskError(f"answer {self.answer!r}: expected int, as the prompt is")
        elif not isinstance(self.tokens, tuple | list) or not all(map(_is_id, self.tokens)):
            raise TaskError(f"tokens {self.tokens!s:.60}: expected a tuple of ids, whole numbers")
        else:
            object.__setattr__(self, "tokens", tuple(map(int, self.tokens)))
            object.__setattr__(self, "answer", int(self.answer))
        if self.answer == "":
            raise PairError("the answer is empty; expected one token of text", EMPTY)
        if not self.text and not self.tokens:
            raise PairError("the prompt is empty; expected something to answer", EMPTY)
        if self.tokens and len(self.tokens) > MAX_LENGTH:
            raise _too_long(len(self.tokens), "tokens")
        for text in (self.text, self.answer):
            if isinstance(text, str) and len(text) > MAX_LENGTH:
                raise _too_long(len(text), "characters")
            if isinstance(text, str) and not text.isascii():
                check_encodable(text)


def _is_id(value: object) -> bool:
    """A whole number, also one of NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _too_long(size: int, parts: str) -> PairError:
    return PairError(f"a prompt or answer has {size:,} {parts}; at most {MAX_LENGTH:,}", TOO_LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two prompts; the right answer of each is the foil of the other.

    ``written`` is its place in a file, up to the key, ``line`` its line in a file of pairs: for
    messages, not part of the pair. Nor are its ``families``, by the column that names them.

    Raises:
        TaskError: if the prompts or the answers are the same, or of two kinds.

    Examples:
        >>> import circuitkit as ck
        >>> pair = ck.load_task("for_while").pairs("test", 1)[0]
        >>> pair.a.answer, pair.b.answer
        (' in', ':')
    """

    a: Prompt
    b: Prompt
    template: str
    families: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    written: str = field(default="", compare=False, repr=False)
    line: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.a.text is None) != (self.b.text is None):
            raise TaskError("one side is text, the other tokens; expected the same kind")
        if self.a.answer == self.b.answer:
            raise PairError(
                f"both sides answer {self.a.answer!r}; expected two answers", SAME_ANSWER
            )
        if (self.a.text, self.a.tokens) == (self.b.text, self.b.tokens):
            raise PairError(
                f"both sides ask {self.a.text or self.a.tokens!r}; expected two", SAME_PROMPT
            )

    def __repr__(self) -> str:
        sides = (f"{(s.text or s.tokens)!r:.40} -> {s.answer!r}" for s in (self.a, self.b))
        return f"Pair({' | '.join(sides)}, {self.template!r})"

    def where(self, key: str) -> str:
        """File, key and template of a part such as ``a.answer``."""
        return f"{self.written}{key} (template {self.template})"


def check_encodable(text: str) -> None:
    """Refuse half of a character, which some programs cut texts to and no encoding has.

    Raises:
        PairError: if the text holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PairError(
            f"{text!r}: half a character at {error.start}; expected text", "half a character"
        ) from None
