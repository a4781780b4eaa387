"""Both rungs of a task's folder, read: size, F under interchange, verdict, and the price of trust.

In: folders of the gallery. Out: cells of a table, and the line that sums a table up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from gallery_folders import SMALLEST, SMALLEST_VALIDATION, VALIDATION, json_of, numbers

from circuitkit import Validation
from circuitkit.extraction.ladder import Step, read_ladder

NONE = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class RungRead:
    """A circuit of the ladder: the numbers of its file, its verdict, its row in ``ladder.csv``."""

    numbers: dict[str, Any]
    validation: Validation | None
    step: Step | None

    @property
    def n_nodes(self) -> int:
        """Of the circuit."""
        return self.numbers["n_nodes"]

    @property
    def n_edges(self) -> int:
        """Of the circuit."""
        return self.numbers["n_edges"]

    @property
    def grade(self) -> str:
        """The grade of the circuit, or a dash before there is one."""
        return self.validation.grade if self.validation else NONE

    @property
    def size(self) -> str:
        """Nodes and edges."""
        return f"{self.n_nodes:,} / {self.n_edges:,}"

    @property
    def f_x(self) -> str:
        """F under interchange; a dash for circuits of earlier versions."""
        return f"{self.step.f_interchange:.2f}" if self.step else NONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """What a folder holds: ``trusted`` None where it was not reached, ``failed`` says why not."""

    folder: Path
    smallest: RungRead
    trusted: RungRead | None = None
    failed: str = ""

    @classmethod
    def read(cls, folder: Path) -> Ladder:
        """Read a folder; a circuit that names no rung is the smallest."""
        steps = {step.rung: step for step in read_ladder(folder)}
        own = numbers(folder)
        rung = own.get("rung") or "smallest"
        top = RungRead(
            numbers=own, validation=_validation(folder, VALIDATION), step=steps.get(rung)
        )
        if rung == "smallest":
            tried = steps.get("trusted")
            return cls(folder=folder, smallest=top, failed=tried.failed if tried else "")
        first = RungRead(
            numbers=json_of(folder / SMALLEST),
            validation=_validation(folder, SMALLEST_VALIDATION), step=steps.get("smallest"),
        )  # fmt: skip
        return cls(folder=folder, smallest=first, trusted=top)

    @property
    def price(self) -> float | None:
        """Edges of the trusted circuit over those of the smallest."""
        return self.trusted and self.trusted.n_edges / max(1, self.smallest.n_edges)


def _validation(folder: Path, name: str) -> Validation | None:
    return Validation.load(folder, name) if (folder / name).exists() else None


def failed(validation: Validation) -> str:
    """All claims that are not met, or the same as ``weakest`` if there is none."""
    claims = [f.claim for f in validation.findings if f.outcome in ("fail", "inconclusive")]
    return ", ".join(claims) or validation.short_of


def climbed(ladders: Iterable[Ladder]) -> bool:
    """Whether a trusted circuit was searched for."""
    return any(ladder.trusted or ladder.failed for ladder in ladders)


def columns(ladders: Iterable[Ladder], why: str) -> tuple[str, ...]:
    """The titles of ``cells``."""
    if not climbed(ladders):
        return ("nodes / edges", "F_x", "grade", why)
    smallest = ("smallest: nodes / edges", "F_x", "grade")
    return ("trusted: nodes / edges", "F_x", "grade", why, *smallest, "price")


def cells(ladder: Ladder, why: Callable[[Validation], str], *, two: bool) -> tuple[str, ...]:
    """Size, F under interchange and grade of each rung; what keeps the first from a better one."""
    trusted, smallest = ladder.trusted, ladder.smallest
    few = (smallest.size, smallest.f_x, smallest.grade)
    if not two:
        return (*few, _why(smallest, why))
    if trusted is None:
        return ("not reached", NONE, NONE, ladder.failed or NONE, *few, NONE)
    size = (trusted.size, trusted.f_x, trusted.grade, _why(trusted, why))
    return (*size, *few, f"{ladder.price:.1f} ×")


def _why(rung: RungRead, why: Callable[[Validation], str]) -> str:
    return why(rung.validation) if rung.validation else "not validated"


def summary(ladders: Sequence[Ladder]) -> str:
    """Grades by rung and the price of trust, in a line."""
    smallest = grades(ladder.smallest for ladder in ladders)
    if not climbed(ladders):
        return f"{len(ladders)} circuits: {smallest}."
    reached = [ladder for ladder in ladders if ladder.trusted]
    trusted = grades(ladder.trusted for ladder in reached if ladder.trusted)
    said = (
        f"Trusted circuits on {len(reached)} of {len(ladders)} tasks: {trusted or 'none'}. "
        f"Smallest circuits: {smallest}."
    )
    prices = [ladder.price for ladder in reached if ladder.price]
    if prices:
        said += (
            f" Price of trust, in edges: geometric mean {geometric_mean(prices):.1f} × "
            f"({min(prices):.1f} to {max(prices):.1f})."
        )
    if missed := len(ladders) - len(reached):
        said += f" Not in this mean: {missed} without a trusted circuit, whose price is unknown."
    return said


def grades(rungs: Iterable[RungRead]) -> str:
    counts = Counter(rung.grade for rung in rungs)
    return ", ".join(f"{grade} {counts[grade]}" for grade in sorted(counts))
