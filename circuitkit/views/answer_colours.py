"""Which answer a contribution pushes for, and how such a line looks: colour, and style for grey.

In: what something adds to the logit differences of a pair. Out: one of four pushes. Positive in
prompt a speaks for a's answer, positive in b for b's; nobody has to multiply signs.
"""

from __future__ import annotations

from typing import Literal

from circuitkit.circuit.explanation import Adds
from circuitkit.views.palette import INK, NEGATIVE, POSITIVE

Prompt = Literal["a", "b"]
Push = Literal["a", "b", "right", "wrong"]
"""``a``, ``b``: for that answer. ``right``, ``wrong``: for that answer of each prompt."""

LINES: dict[Push, dict[str, str]] = {
    "a": {"color": POSITIVE},
    "b": {"color": NEGATIVE, "style": "dashed"},
    "right": {"color": f"{POSITIVE}:{NEGATIVE}"},
    "wrong": {"color": INK, "style": "dotted"},
}
"""How Graphviz draws each: a solid, a dashed, a double and a dotted line."""

TURNS = 0.25
"""Both prompts count where the weaker effect is at least this share of the stronger."""


def push(adds: Adds) -> Push:
    """The answer that something pushes for, by the prompt in which it adds more.

    >>> push(Adds(a=3, b=-1)), push(Adds(a=1, b=-3)), push(Adds(a=3, b=2)), push(Adds(a=-3, b=-2))
    ('a', 'a', 'right', 'wrong')
    """
    less, more = sorted((adds.a, adds.b), key=abs)
    if less * more > 0 and abs(less) >= TURNS * abs(more):
        return "right" if more > 0 else "wrong"
    return "a" if (more > 0) == (more == adds.a) else "b"


def size(adds: Adds) -> float:
    """How much something adds, in the prompt where it adds more."""
    return max(abs(adds.a), abs(adds.b))


def only(prompt: Prompt, adds: Adds) -> Adds:
    """What something adds in one prompt alone."""
    return Adds(a=adds.a, b=0.0) if prompt == "a" else Adds(a=0.0, b=adds.b)


def total(parts: list[Adds]) -> Adds:
    """The sum of several contributions."""
    return Adds(a=sum(part.a for part in parts), b=sum(part.b for part in parts))
