"""The plot of the evidence: every finding's interval beside the region in which it passes.

In: findings. Out: rows of positions between 0 and 1, each on a scale of its own, for the
template to draw. A threshold is written in words; its first number or range is drawn.
"""

from __future__ import annotations

import re
from typing import Any

from circuitkit.findings import Finding, Validation
from circuitkit.views.findings_section import words
from circuitkit.views.safe_text import number, prose

_NUMBER = r"([-\N{MINUS SIGN}]?\d+(?:\.\d+)?)"
_LIMIT = re.compile(rf"\[{_NUMBER}, ?{_NUMBER}\]|([≥≤]) ?{_NUMBER}")
_MARGIN = 0.12


def intervals(validation: Validation) -> list[dict[str, Any]]:
    """One row for every finding that has an effect."""
    return [_row(finding) for finding in validation.findings if finding.effect is not None]


def pass_region(threshold: str) -> tuple[float | None, float | None]:
    """The region that a threshold names first; None is no bound, two of them no region.

    >>> pass_region("upper bound ≤ 0.200 nats, F in [0.70, 1.10]")
    (None, 0.2)
    >>> pass_region("interval inside [0.35, 0.65], Nec ≥ 0.8")
    (0.35, 0.65)
    """
    if not (found := _LIMIT.search(threshold)):
        return None, None
    low, high, sign, one = found.groups()
    if sign:
        return (_value(one), None) if sign == "≥" else (None, _value(one))
    return _value(low), _value(high)


def _value(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def _row(finding: Finding) -> dict[str, Any]:
    effect = finding.effect or 0.0
    low = effect if finding.low is None else finding.low
    high = effect if finding.high is None else finding.high
    bounds = _region(finding)
    place = _scale([effect, low, high, *(bound for bound in bounds if bound is not None)])
    limits = [None if bound is None else place(bound) for bound in bounds]
    return {
        "claim": words(finding.claim),
        "outcome": finding.outcome,
        "effect": place(effect),
        "low": place(low),
        "high": place(high),
        "passes": None if bounds == (None, None) else [limits[0] or 0.0, limits[1] or 1.0],
        "limits": [limit for limit in limits if limit is not None],
        "said": _said(finding),
        "region": _region_words(*bounds),
        "unit": prose(finding.unit, 90),
    }


def _region(finding: Finding) -> tuple[float | None, float | None]:
    """The region of the effect; none where the threshold speaks of something else first."""
    if finding.threshold.startswith("p ") and finding.effect != finding.p_value:
        return None, None
    return pass_region(finding.threshold)


def _region_words(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{_short(low)} to {_short(high)}"
    if low is None and high is None:
        return ""
    return f"≥ {_short(low)}" if low is not None else f"≤ {_short(high)}"


def _short(value: float | None) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _said(finding: Finding) -> str:
    interval = f" [{number(finding.low)}, {number(finding.high)}]"
    return number(finding.effect) + (interval if finding.low is not None else "")


def _scale(values: list[float]) -> Any:
    """A function from a value to its place on a line that has room for all of these."""
    lowest, highest = min(values), max(values)
    width = highest - lowest or abs(highest) or 1.0
    start, length = lowest - _MARGIN * width, width * (1 + 2 * _MARGIN)
    if highest == lowest:
        start, length = lowest - width / 2, width
    return lambda value: round((value - start) / length, 4)
