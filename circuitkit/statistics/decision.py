"""From estimates to an outcome, and to the number of pairs that would settle an open one.

In: requirements, each an estimate and the region in which it passes. Out: their
conjunction, an intersection-union test, which needs no correction for their number.
Source: docs/validation.md#statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from circuitkit.findings import Outcome
from circuitkit.statistics.intervals import FEWEST, TOO_FEW, Estimate, all_of

TOO_FEW_NOTE = f"fewer than {FEWEST} templates decide nothing: ask for more pairs, or add templates"

MIN_CLUSTERS = 12
"""With fewer templates no grade is better than C."""

_MOST_PAIRS = 10**6
_TOO_NEAR = 1e-6
"""An effect whose distance to the limit is a smaller share of its bound lies on the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """An estimate and the region in which it passes, bounds included."""

    estimate: Estimate
    low: float = -math.inf
    high: float = math.inf

    @property
    def outcome(self) -> Outcome:
        """Where the interval lies."""
        return self.estimate.within(self.low, self.high)

    def pairs_to_settle(self, n_pairs: int) -> float:
        """About how many pairs bring the interval to one side, if the effect stays the same.

        An interval narrows with the square root of their number, as long as templates grow with
        them; where nothing deviates, so that the effect is an end of it, with the number itself.
        Infinite where the effect lies on a limit, or the interval is unknown.
        """
        effect = self.estimate.effect
        limits = sorted(filter(math.isfinite, (self.low, self.high)), key=lambda x: abs(x - effect))
        inside = self.low <= effect <= self.high
        return n_pairs * max(map(self._widening, limits if inside else limits[:1]))

    def _widening(self, limit: float) -> float:
        """The factor by which the number of pairs must grow to clear a limit."""
        e = self.estimate
        reach = e.high - e.effect if limit > e.effect else e.effect - e.low
        room = abs(limit - e.effect)
        power = 1 if e.effect in (e.low, e.high) else 2
        return (reach / room) ** power if room > _TOO_NEAR * reach else math.inf


class Decision(NamedTuple):
    """A conjunction of requirements: its outcome and, if inconclusive, what would settle it."""

    outcome: Outcome
    note: str


def decide(n_pairs: int, *requirements: Requirement) -> Decision:
    """All requirements at once, estimated on ``n_pairs`` pairs."""
    outcomes: list[Outcome] = [requirement.outcome for requirement in requirements]
    outcome = all_of(*outcomes)
    if outcome != "inconclusive":
        return Decision(outcome, "")
    if any(r.estimate.method == TOO_FEW for r in requirements):
        return Decision(outcome, TOO_FEW_NOTE)
    needed = max(r.pairs_to_settle(n_pairs) for r in requirements if r.outcome == outcome)
    if needed > _MOST_PAIRS:
        return Decision(outcome, f"more than {_MOST_PAIRS:,} pairs would be needed to settle it")
    step = 10 ** max(0, len(str(int(needed))) - 2)
    pairs = math.ceil(needed / step) * step
    return Decision(outcome, f"about {pairs:,} pairs, of as many more templates, would settle it")


def joined(*notes: str) -> str:
    """The notes that say something, as one."""
    return "; ".join(filter(None, notes))
