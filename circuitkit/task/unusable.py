"""Pairs of a file that cannot be used: where they are and why, counted by reason.

In: the errors of single pairs. Out: records, and a sentence for a note or a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from circuitkit.errors import PairError
from circuitkit.task.pairs import Split

_SHOWN_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusablePair:
    """A pair that is left out: its line, its split if known, why in a phrase and in full."""

    line: int
    split: Split | None
    reason: str
    problem: str

    @classmethod
    def of(cls, error: PairError, line: int, split: Split | None) -> UnusablePair:
        """The record of an error."""
        return cls(line=line, split=split, reason=error.reason, problem=str(error))


def by_reason(unusable: Sequence[UnusablePair]) -> dict[str, list[UnusablePair]]:
    """The pairs of each reason, the most frequent first."""
    found: dict[str, list[UnusablePair]] = {}
    for pair in sorted(unusable, key=lambda pair: pair.line):
        found.setdefault(pair.reason, []).append(pair)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def reasons_in_words(unusable: Sequence[UnusablePair]) -> str:
    """``3 with a prompt that is too long (lines 2, 5, 9)``, for every reason."""
    return ", ".join(
        f"{len(pairs)} with {reason} ({_lines(pairs)})"
        for reason, pairs in by_reason(unusable).items()
    )


def left_out_in_words(
    unusable: Sequence[UnusablePair], n_pairs: int, *, example: bool = False
) -> str:
    """A note on the pairs that are left out of ``n_pairs``; "" for none."""
    if not unusable:
        return ""
    first = min(unusable, key=lambda pair: pair.line)
    return (
        f"{len(unusable)} of {n_pairs} pairs of the file cannot be used and are left out: "
        f"{reasons_in_words(unusable)}{f'. The first: {first.problem}' if example else ''}"
    )


def _lines(pairs: Sequence[UnusablePair]) -> str:
    shown = [str(pair.line) for pair in pairs[:_SHOWN_LINES]]
    more = ["…"] if len(pairs) > _SHOWN_LINES else []
    return f"{'line' if len(pairs) == 1 else 'lines'} {', '.join([*shown, *more])}"
