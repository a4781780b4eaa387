"""One line of a written program for each step: sums, norms, attention, activation top-k."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isqrt

from circuitkit.circuit.folded_circuit import (
    Channel,
    Look,
    Read,
    ReadRivals,
    Row,
    Size,
    Step,
    Sum,
    SumRivals,
    Term,
)

_WIDTH = 100
_GLUE = "\N{NO-BREAK SPACE}"
_OF_ATTENTION = ("a", "q", "k", "v", "aw", "look")


ANSWER = "The answer"


def block_of(step: Step | None) -> str:
    """Which block of the model a step belongs to, in words; None is after the last block."""
    found = step and re.match(r"(?:size_|limit_)?([a-z]+)(\d+)", step.name)
    if not found:
        return ANSWER
    return f"Layer {found[2]}, {'attention' if found[1] in _OF_ATTENTION else 'MLP'}"


def wrapped(text: str, indent: int) -> str:
    """Text over several lines, broken after a comma or before a plus or minus."""
    prefix = " " * indent
    glued = re.sub(r"(?<![,]) (?![+-] )", _GLUE, text)
    glued = re.sub(r" ([+-]) | ([+-])" + _GLUE, r" \1\2" + _GLUE, glued)
    lines = textwrap.wrap(glued, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(prefix + line for line in lines).replace(_GLUE, " ")


@dataclass(frozen=True, slots=True)
class Formulas:
    """Formulas whose numbers have so many digits."""

    digits: int

    def line(self, name: str, formula: str) -> str:
        """An assignment, over several lines where it is long."""
        if len(name) + len(formula) + 7 <= _WIDTH:
            return f"    {name} = {formula}"
        if "," in name:
            return f"    (\n{wrapped(name, 8)},\n    ) = {formula}"
        opening, inside, closing = _bracketed(formula)
        return f"    {name} = {opening}\n{wrapped(inside, 8)}\n    {closing}"

    def number(self, x: float) -> str:
        """A number with as few digits as it takes."""
        return f"{x:.{self.digits}g}" if x else "0"

    def row(self, row: Row) -> str:
        """A row of a table."""
        inside = ", ".join(map(self.number, row))
        return f"({inside},)" if len(row) == 1 else f"({inside})"

    def channel(self, step: Channel) -> str:
        """A channel of the stream with what has been written to it."""
        return self._added([step.name, *step.writes], step.constant)

    def size(self, step: Size) -> str:
        """The root of the mean square, of what is left of the mean where that is taken away."""
        squares = self._added([f"{c}**2" for c in step.channels], step.squares)
        mean_square = f"({squares}) / {step.width}"
        lines = []
        if step.total is not None:
            total = self._added(step.channels, step.total)
            lines.append(self.line(str(step.mean), f"({total}) / {step.width}"))
            mean_square += f" - {step.mean}**2"
        formula = f"np.sqrt({mean_square} + {self.number(step.eps)})"
        return "\n".join([*lines, self.line(step.name, formula)])

    def read(self, step: Read) -> str:
        """A channel as a block reads it."""
        x = step.channel if step.mean is None else f"({step.channel} - {step.mean})"
        formula = x if step.gain == 1 else f"{self.number(step.gain)} * {x}"
        formula = formula if step.size is None else f"{formula} / {step.size}"
        if step.shift:
            formula = f"{formula} {self._signed(step.shift)}"
        return self._kept(formula, step.limit)

    def sum(self, step: Sum) -> str:
        """A base and weighted terms, through the activation function."""
        formula = self._terms(step.terms, step.base)
        if not step.terms and isinstance(step.base, float):
            formula = f"{formula} + np.zeros(n)"
        formula = f"{step.activation}({formula})" if step.activation else formula
        return self._kept(formula, step.limit)

    def look(self, step: Look) -> str:
        """Where a head looks, from queries (down) and keys (across)."""
        queries = [f"{self._weighted(t.weight)}{t.value}[:, None]" for t in step.queries]
        products = [f"{q}[:, None] * {k}" for q, k in step.products]
        keys = [f"{self._weighted(t.weight)}{t.value}" for t in step.keys]
        score = self._added([*queries, *keys, *products], step.constant)
        root = isqrt(step.d_head)
        scale = str(root) if root**2 == step.d_head else f"np.sqrt({step.d_head})"
        score = (
            f"({score}) / {scale}"
            if queries or keys or products
            else (self.number(step.constant / step.d_head**0.5))
        )
        sink = "" if step.sink is None else f", sink={self.number(step.sink)}"
        return f"attention({score}, n{sink})"

    def inputs(self, step: SumRivals) -> str:
        """What moves the rivals of a site."""
        return f"[{', '.join(map(_input, step.terms))}]"

    def sum_rivals(self, step: SumRivals) -> str:
        """The limit of top-k after a linear map."""
        if not step.weights:
            return f"nth_largest({step.n}, {', '.join(step.own)})"
        rivals = f"rivals({self.rivals_table(step)}, inputs)"
        rivals = f"{step.activation}({rivals})" if step.activation else rivals
        return f"nth_largest({step.n}, {', '.join([rivals, *step.own])})"

    def rivals_table(self, step: SumRivals) -> str:
        """What the table of a step is called."""
        return f"RIVALS_{step.name.removeprefix('limit_').upper()}"

    def read_rivals(self, step: ReadRivals, keys: str) -> str:
        """The limit of top-k where the stream is read."""
        over = "" if step.size is None else f" / {step.size}"
        still = f"columns({step.still.upper()}, {keys}){over}"
        moving = [f"{self._weighted(gain)}{name}{over}" for name, gain in step.moving]
        return f"nth_largest({step.n}, {', '.join([still, *moving, *step.own, *step.positions])})"

    def _kept(self, formula: str, limit: float | None) -> str:
        return formula if limit is None else f"keep({formula}, {self.number(limit)})"

    def _terms(self, terms: Sequence[Term], base: str | float) -> str:
        return self._added([self._weighted_input(t) for t in terms], base)

    def _weighted_input(self, term: Term) -> str:
        inside = f"({_input(term)})" if term.look and term.value else _input(term)
        return f"{self._weighted(term.weight)}{inside}"

    def _weighted(self, weight: float) -> str:
        return "" if self.number(weight) == "1" else f"{self.number(weight)} * "

    def _added(self, terms: Iterable[str], base: str | float) -> str:
        """Terms added up; the base comes first, unless it is 0."""
        parts = [base] if isinstance(base, str) else [self.number(base)] if base else []
        first, *rest = [*parts, *terms] or ["0"]
        return "".join([first, *(_plus(term) for term in rest)])

    def _signed(self, x: float) -> str:
        return _plus(self.number(x)).strip()


def _bracketed(formula: str) -> tuple[str, str, str]:
    """A formula that is one call or list, without its brackets; else in brackets of its own."""
    found = re.match(r"([\w.]*[(\[])(.*)([)\]])$", formula)
    return (found[1], found[2], found[3]) if found and _is_closed(found[2]) else ("(", formula, ")")


def _is_closed(text: str) -> bool:
    """Whether no bracket closes that has not been opened before."""
    depths = accumulate((c in "([") - (c in ")]") for c in text)
    return min(depths, default=0) >= 0


def _input(term: Term) -> str:
    if term.look is None:
        return str(term.value)
    return f"{term.look}.sum(1)" if term.value is None else f"{term.look} @ {term.value}"


def _plus(term: str) -> str:
    return f" - {term[1:]}" if term.startswith("-") else f" + {term}"
