"""Where pairs come from: drawn from forms in frames, or fixed in a file.

A form (a way of asking) in a frame (the code before it) is a template; templates are split
between train, select and test, so that what is learned on one is never tested on it.
Source: splitting by template is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random
from time import monotonic
from typing import Protocol

from circuitkit.errors import PairError, TaskError
from circuitkit.task.pairs import SPLITS, Pair, Prompt, Split, naming_place
from circuitkit.task.templates import CheckedTemplate, Draw
from circuitkit.task.unusable import UnusablePair, left_out_in_words

DEAL: tuple[Split, ...] = (
    "train", "select", "test", "train", "select", "test", "train", "select", "test", "train",
)  # fmt: skip
"""How templates are dealt to the splits, in turn."""

PATIENCE_SECONDS = 20
"""No honest file needs a hundredth of it."""

TRIES = 50
"""Draws in a row that bring nothing new before a template counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Templates of a prompt and of its answer."""

    prompt: CheckedTemplate
    answer: CheckedTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A way of asking: templates of both sides; ``where`` names it in errors."""

    where: str
    a: Side
    b: Side

    @property
    def sources(self) -> tuple[str, ...]:
        """The four templates, as they are written."""
        sides = (self.a, self.b)
        return tuple(t.source for side in sides for t in (side.prompt, side.answer))


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

    def merged(self, split: Split) -> str:
        """How many parts of the file say what another says, and count once; "" for none."""
        ...

    def left_out(self, split: Split, *, example: bool = False) -> str:
        """How many pairs of the file a checkpoint cannot be asked, and why; "" for none."""
        ...

    def asks(self) -> str:
        """All that is asked, as text: not its order, not the names of template and task."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPairs:
    """Pairs as a file lists them, each once, under the first template that has it.

    ``repeated`` counts the lines that say what another says, either way round, ``unusable`` are
    the pairs that ask nothing, ``not_asked`` those that a checkpoint cannot be asked.
    """

    listed: Mapping[Split, tuple[Pair, ...]]
    repeated: Mapping[Split, int] = field(default_factory=dict)
    unusable: tuple[UnusablePair, ...] = ()
    not_asked: tuple[UnusablePair, ...] = ()

    def without(self, faults: Mapping[Split, Mapping[int, PairError]]) -> FixedPairs:
        """The other pairs; ``faults`` are those to leave out, by their place in a split."""
        kept: dict[Split, tuple[Pair, ...]] = {
            split: tuple(p for i, p in enumerate(pairs) if i not in faults.get(split, {}))
            for split, pairs in self.listed.items()
        }
        left_out = [
            UnusablePair.of(error, self.listed[split][i].line, split)
            for split, found in faults.items()
            for i, error in found.items()
        ]
        return replace(self, listed=kept, not_asked=tuple(left_out))

    def templates(self, split: Split) -> tuple[str, ...]:
        """The templates that the file names, as they first come."""
        return tuple(dict.fromkeys(pair.template for pair in self.listed.get(split, ())))

    def pairs(self, split: Split, n: int, seed: int) -> list[Pair]:
        """The first ``n`` in an order drawn from the seed."""
        pairs = list(self.listed.get(split, ()))
        Random(f"{split}:{seed}").shuffle(pairs)
        return pairs[:n]

    def merged(self, split: Split) -> str:
        """Lines that say what another says."""
        return f"{n} lines" if (n := self.repeated.get(split, 0)) else ""

    def left_out(self, split: Split, *, example: bool = False) -> str:
        """Pairs of the split that a checkpoint cannot be asked."""
        left_out = [pair for pair in self.not_asked if pair.split == split]
        n_pairs = len(self.listed.get(split, ())) + len(left_out)
        return left_out_in_words(left_out, n_pairs, example=example)

    def asks(self) -> str:
        """Every split with its pairs, whatever their templates are called."""
        found = {(s, repr((p.a, p.b))) for s, pairs in self.listed.items() for p in pairs}
        return repr(sorted(found))


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
            TaskError: from the first that fails, or once it takes too long.
        """
        begun = monotonic()
        for template in (template for split in SPLITS for template in self.templates(split)):
            pair = self.draw_pair(template, f"{self.task}:{template}:check")
            if monotonic() - begun > PATIENCE_SECONDS:
                raise TaskError(
                    f"{pair.where('a.prompt')}: drawing one pair of every template takes more "
                    f"than {PATIENCE_SECONDS} s; expected milliseconds. Simplify the templates."
                )

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

    def merged(self, split: Split) -> str:
        """Forms that ask what another asks."""
        forms = self.ood if split == "ood" else self.forms
        n = len(forms) - len(_first_of_each(forms))
        return f"{n} forms" if n else ""

    def left_out(self, split: Split, *, example: bool = False) -> str:
        """None: a template that a checkpoint cannot be asked is an error."""
        return ""

    @staticmethod
    def _ids(kind: str, forms: tuple[Form, ...], frame: str) -> list[str]:
        return [f"{kind}{i + 1}/{frame}" for i in _first_of_each(forms)]

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

    def asks(self) -> str:
        """What is drawn, the forms of asking and the frames."""
        draw = {name: template.source for name, template in self.draw.items()}
        kinds = [sorted(form.sources for form in forms) for forms in (self.forms, self.ood)]
        return repr((sorted(draw.items()), kinds, [frame.name for frame in self.frames]))

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
        sides: dict[str, Prompt] = {}
        for name, side in (("a", form.a), ("b", form.b)):
            known = values | draw.fork(Random(f"{seed}:sides")).functions()
            prompt, answer = side.prompt.render(known), side.answer.render(known)
            with naming_place(f"{form.where}.{name}, in frame {frame.name}"):
                sides[name] = Prompt(
                    text=before + _indent(prompt, frame.margin),
                    answer=_begin(answer, prompt, frame.margin),
                )
        with naming_place(f"{form.where}, in frame {frame.name}"):
            return Pair(a=sides["a"], b=sides["b"], template=template, written=f"{form.where}.")

    def _parts(self, template: str) -> tuple[Form, Frame]:
        form, _, frame = template.partition("/")
        forms = self.ood if form.startswith("ood") else self.forms
        number = int(form.removeprefix("ood").removeprefix("form"))
        return forms[number - 1], next(f for f in self.frames if f.name == frame)


def _first_of_each(forms: tuple[Form, ...]) -> list[int]:
    """The places of forms that ask what none before asks, either way round."""
    first: dict[frozenset[tuple[str, ...]], int] = {}
    for i, form in enumerate(forms):
        first.setdefault(frozenset([form.sources[:2], form.sources[2:]]), i)
    return list(first.values())


def _indent(prompt: str, margin: str) -> str:
    """Indent all lines but the first; empty ones stay empty, an open last one too."""
    first, *rest = prompt.split("\n")
    return "\n".join([first, *(margin + line if line else line for line in rest)])


def _begin(answer: str, prompt: str, margin: str) -> str:
    """An answer that begins a line brings the margin that the prompt left out."""
    return margin + answer if prompt.endswith("\n") else answer
