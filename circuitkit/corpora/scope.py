"""Where a document is being written: its lines so far, the names bound here, their types.

All randomness flows through ``random``, a float in [0, 1) of one seeded
``random.Random``: the same text on every platform and in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from circuitkit.task.words import NAMES

T = TypeVar("T")

KINDS = (
    *("int", "bool", "label", "list", "rows", "words", "dict", "set", "str"),
    *("reader", "writer"),
)
"""Types a name can have; ``str`` starts empty and grows, a ``label`` keeps its words, ``words``
is a list of strings, a ``reader`` and a ``writer`` are open files."""

INDENT = tuple("    " * depth for depth in range(8))


class Scope:
    """A place to write statements, and what is known there.

    Functions get a scope of their own with ``function``, bodies of loops and
    conditions a copy with ``body``: what is bound inside is not known after.
    """

    __slots__ = ("bound", "depth", "lines", "random", "used")

    def __init__(
        self,
        random: Callable[[], float],
        lines: list[str],
        used: set[str],
        depth: int = 0,
        bound: dict[str, list[str]] | None = None,
    ) -> None:
        self.random = random
        self.lines: list[str] = lines
        self.used: set[str] = used
        self.depth: int = depth
        self.bound: dict[str, list[str]] = bound if bound is not None else {k: [] for k in KINDS}

    def function(self, depth: int) -> Scope:
        """The inside of a function: the same document, nothing bound yet."""
        return Scope(self.random, self.lines, self.used, depth)

    def body(self) -> Scope:
        """The inside of a loop or condition: all that is bound here, one level deeper."""
        bound = {kind: names[:] for kind, names in self.bound.items()}
        return Scope(self.random, self.lines, self.used, self.depth + 1, bound)

    def write(self, line: str) -> None:
        """Add a line at this depth."""
        self.lines.append(INDENT[self.depth] + line)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.random() * len(options))]

    def sample(self, options: Sequence[T], n: int) -> list[T]:
        """``n`` different ones of the options, in any order."""
        left = list(options)
        return [left.pop(int(self.random() * len(left))) for _ in range(n)]

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def fresh(self, options: Sequence[str] = NAMES) -> str:
        """A name this document has not used; when none is left, one whose type is forgotten."""
        free = [name for name in options if name not in self.used]
        name = self.pick(free or options)
        self.used.add(name)
        if not free:
            self.bound = {k: [n for n in names if n != name] for k, names in self.bound.items()}
        return name

    def bind(self, kind: str, options: Sequence[str] = NAMES) -> str:
        """A fresh name, known from here on to hold this type."""
        name = self.fresh(options)
        self.bound[kind].append(name)
        return name

    def known(self, kind: str) -> str | None:
        """A name bound to this type, if there is one."""
        names = self.bound[kind]
        return self.pick(names) if names else None
