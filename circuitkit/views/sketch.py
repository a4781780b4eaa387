"""What the stripped diagram shows, before it is drawn: boxes in frames, and links.

A ``Sketch`` is made node by node (``node_sketch``) or, for large circuits, part by part
(``part_sketch``); ``paths_diagram`` draws either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from circuitkit.circuit.explanation import Adds, Example, TokenSource
from circuitkit.views.answer_colours import Prompt, only, push, size, total
from circuitkit.views.flows import ANSWER
from circuitkit.views.token_row import TokenBox, token_boxes

ANSWERS: dict[Prompt, str] = {"a": "answer a", "b": "answer b"}
_OTHER: dict[Prompt, Prompt] = {"a": "b", "b": "a"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A link of the picture: from which box to which, what it adds, a label.

    Without ``adds`` it carries nothing to the answer: it decides where a head looks.
    """

    tail: str
    head: str
    adds: Adds | None
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A link from a token in one prompt, before the token has a box."""

    source: TokenSource
    prompt: Prompt
    link: Link


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box: its id, label, kind (a key of ``palette.FILLS``) and tool tip."""

    name: str
    label: str
    kind: str
    tip: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch:
    """Everything that the picture shows; ``frames`` has boxes by the label of their frame."""

    tokens: list[TokenBox]
    frames: dict[str, list[Box]]
    links: list[Link]
    caption: str
    pairings: tuple[tuple[str, str], ...] = ()

    @property
    def n_boxes(self) -> int:
        """How many boxes it has, without tokens and answers."""
        return sum(len(boxes) for boxes in self.frames.values())


def starts(source: TokenSource, link: Link) -> Iterator[Start]:
    """A link from a source, as one link a prompt in which it adds something."""
    for prompt in ANSWERS:
        if link.adds and getattr(link.adds, prompt):
            own = replace(link, adds=only(prompt, link.adds))
            yield Start(source=source, prompt=prompt, link=own)


def begin(example: Example, found: list[Start]) -> tuple[list[TokenBox], list[Link]]:
    """The token boxes that these links need, and the links from them."""
    boxes = token_boxes(example, [start.source for start in found])
    links = []
    for start in found:
        own = [box for box in boxes if box.source == start.source]
        right = [box for box in own if box.prompt in (None, start.prompt)]
        links.append(replace(start.link, tail=(right or own)[0].name))
    return boxes, merged(links)


def merged(links: Iterable[Link]) -> list[Link]:
    """Links between the same two boxes as one, with the sum of what they add."""
    found: dict[tuple[str, str], Link] = {}
    for link in links:
        before = found.get((link.tail, link.head))
        if before and before.adds and link.adds:
            both = total([before.adds, link.adds])
            link = replace(link, adds=both, label=before.label or link.label)  # noqa: PLW2901
        found[link.tail, link.head] = link
    return list(found.values())


def to_answers(link: Link) -> Iterator[Link]:
    """A link into the answer, as links into the one or two answers that it pushes for."""
    if link.head != ANSWER or link.adds is None:
        yield link
        return
    which = push(link.adds)
    if which in ANSWERS:
        yield _into(ANSWERS[which], link, link.adds)
        return
    for prompt, other in _OTHER.items():
        target = ANSWERS[prompt if which == "right" else other]
        yield _into(target, link, only(prompt, link.adds))


def _into(answer: str, link: Link, adds: Adds) -> Link:
    return replace(link, head=answer, adds=adds, label=f" +{size(adds):.1f}")
