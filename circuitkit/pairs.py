"""Pairs of prompts that differ in one cue, and with it in the right answer.

Forms and frames go in, or fixed pairs; distinct pairs come out. A form (a way
of asking) in a frame (the code before it) is a template; templates are split
between train, select and test, so that what is learned on one is never tested
on it. Source: Gao et al. 2025, Table 1; splitting by template is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Literal, Protocol, get_args

from circuitkit.errors import TaskError
from circuitkit.templates import CheckedTemplate, Draw

Split = Literal["train", "select", "test", "ood"]
SPLITS: tuple[Split, ...] = get_args(Split)

DEAL: tuple[Split, ...] = (
    "train", "select", "test", "train", "select", "test", "train", "select", "test", "train",
)  # fmt: skip
"""How templates are dealt to the splits, in turn."""

TRIES = 50
"""Draws in a row that bring nothing new before a template counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One side: a text and the text that should follow, or token ids and an id.

    Raises:
        TaskError: unless there is exactly one of text and tokens, with its kind of answer.
    """

    text: str | None = None
    tokens: tuple[int, ...] | None = None
    answer: str | int

    def __post_init__(self) -> None:
        if (self.text is None) == (self.tokens is None):
            raise TaskError("a prompt needs either text or tokens, one of the two")
        kind = str if self.tokens is None else int
        if not isinstance(self.answer, kind):
            raise TaskError(f"answer {self.answer!r}: expected {kind.__name__}, as the prompt is")
        if self.answer == "":
            raise TaskError("the answer is empty; expected one token of text")
        if not self.text and not self.tokens:
            raise TaskError("the prompt is empty; expected something to answer")
        for text in (self.text, self.answer):
            if isinstance(text, str) and not text.isascii():
                _check_encodable(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two prompts; the right answer of each is the foil of the other.

    Raises:
        TaskError: if the prompts or the answers are the same, or of two kinds.
    """

    a: Prompt
    b: Prompt
    template: str

    def __post_init__(self) -> None:
        if (self.a.text is None) != (self.b.text is None):
            raise TaskError("one side is text, the other tokens; expected the same kind")
        if self.a.answer == self.b.answer:
            raise TaskError(f"both sides answer {self.a.answer!r}; expected two answers")
        if (self.a.text, self.a.tokens) == (self.b.text, self.b.tokens):
            raise TaskError(f"both sides ask {self.a.text or self.a.tokens!r}; expected two")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A way of asking: templates of both prompts and both answers."""

    where: str
    prompt_a: CheckedTemplate
    answer_a: CheckedTemplate
    prompt_b: CheckedTemplate
    answer_b: CheckedTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Code before a prompt, and the margin of the prompt in it."""

    name: str
    before: CheckedTemplate
    margin: str


class PairSource(Protocol):
    """Where a task's pairs come from."""

    def templates(self, split: Split) -> tuple[str, ...]:
        """Ids of the templates of a split."""
        ...

    def pairs(self, split: Split, n: int, seed: int) -> list[Pair]:
        """Up to ``n`` distinct pairs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPairs:
    """Pairs as a file lists them."""

    listed: Mapping[Split, tuple[Pair, ...]]

    def templates(self, split: Split) -> tuple[str, ...]:
        """The templates that the file names, as they first come."""
        return tuple(dict.fromkeys(pair.template for pair in self.listed.get(split, ())))

    def pairs(self, split: Split, n: int, seed: int) -> list[Pair]:
        """The first ``n`` in an order drawn from the seed."""
        pairs = list(self.listed.get(split, ()))
        Random(f"{split}:{seed}").shuffle(pairs)
        return pairs[:n]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPairs:
    """Pairs drawn from forms in frames."""

    task: str
    draw: Mapping[str, CheckedTemplate]
    forms: tuple[Form, ...]
    ood: tuple[Form, ...]
    frames: tuple[Frame, ...]

    def check(self) -> None:
        """Draw one pair from every template.

        Raises:
            TaskError: from the first that fails.
        """
        for split in SPLITS:
            for template in self.templates(split):
                self.draw_pair(template, f"{self.task}:{template}:check")

    def templates(self, split: Split) -> tuple[str, ...]:
        """The templates of a split, in an order drawn from the task's name.

        Frame by frame, its forms shuffled, templates are dealt 4 to train, 3 to select
        and 3 to test: every split sees every frame, in forms of its own.
        """
        if split == "ood":
            return self._shuffled(self._ids("ood", self.ood, frame.name) for frame in self.frames)
        dealt = [
            template
            for frame in self.frames
            for template in self._shuffled([self._ids("form", self.forms, frame.name)])
        ]
        hand = [template for i, template in enumerate(dealt) if DEAL[i % len(DEAL)] == split]
        return self._shuffled([hand])

    @staticmethod
    def _ids(kind: str, forms: tuple[Form, ...], frame: str) -> list[str]:
        return [f"{kind}{i + 1}/{frame}" for i in range(len(forms))]

    def _shuffled(self, groups: Iterable[list[str]]) -> tuple[str, ...]:
        """All templates of some groups, by the hash of their name."""
        ids = [template for group in groups for template in group]
        return tuple(sorted(ids, key=lambda t: sha256(f"{self.task}:{t}".encode()).digest()))

    def pairs(self, split: Split, n: int, seed: int) -> list[Pair]:
        """Distinct pairs, the templates in turn; one that brings nothing new drops out."""
        found: dict[Pair, None] = {}
        turn = list(self.templates(split))
        while turn and len(found) < n:
            for template in list(turn):
                pair = self._draw_new(template, found, f"{split}:{seed}:{len(found)}")
                if pair is None:
                    turn.remove(template)
                else:
                    found[pair] = None
        return list(found)[:n]

    def _draw_new(self, template: str, found: Mapping[Pair, None], seed: str) -> Pair | None:
        for attempt in range(TRIES):
            pair = self.draw_pair(template, f"{self.task}:{template}:{seed}:{attempt}")
            if pair not in found:
                return pair
        return None

    def draw_pair(self, template: str, seed: str) -> Pair:
        """One pair of a template: draws, frame and sides, in this order, from one seed.

        Raises:
            TaskError: if a template fails, or its two sides come out the same.
        """
        form, frame = self._parts(template)
        draw = Draw(Random(seed))
        values = draw.functions()
        for name, source in self.draw.items():
            values[name] = source.render(values)
        before = frame.before.render(values) + frame.margin
        sides = []
        for prompt, answer in ((form.prompt_a, form.answer_a), (form.prompt_b, form.answer_b)):
            side = values | draw.fork(Random(f"{seed}:sides")).functions()
            text = before + _indent(prompt.render(side), frame.margin)
            sides.append((text, _indent(answer.render(side), frame.margin)))
        try:
            a, b = (Prompt(text=text, answer=answer) for text, answer in sides)
            return Pair(a=a, b=b, template=template)
        except TaskError as error:
            raise TaskError(f"{form.where}, in frame {frame.name}: {error}") from None

    def _parts(self, template: str) -> tuple[Form, Frame]:
        form, _, frame = template.partition("/")
        forms = self.ood if form.startswith("ood") else self.forms
        number = int(form.removeprefix("ood").removeprefix("form"))
        return forms[number - 1], next(f for f in self.frames if f.name == frame)


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaskError(f"{text!r}: half a character at {error.start}; expected text") from None


def _indent(text: str, margin: str) -> str:
    """Indent all lines but the first; empty lines stay empty, an open last one does not."""
    first, *rest = text.split("\n")
    inner = [margin + line if line else line for line in rest[:-1]]
    return "\n".join([first, *inner, *(margin + line for line in rest[-1:])])
