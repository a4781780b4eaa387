"""Validation in words: the verdict, the findings, what can fool them."""

from __future__ import annotations

from circuitkit.findings import Finding, Validation
from circuitkit.views.safe_text import number, prose

GRADES = {
    "A": "the default and the thorough suite pass",
    "B": "the default suite passes",
    "C": "sufficient and necessary, the level of the source paper",
    "C-redundant": "sufficient, but the model holds a backup",
    "F": "the evidence does not support this circuit",
}

MAX_NOTE = 4000
"""A note is shown whole; longer ones are in ``findings.csv``."""


def words(identifier: str) -> str:
    """Spell an identifier as words."""
    return identifier.replace("_", " ")


def effect_words(finding: Finding) -> str:
    """The effect of a finding with its interval and unit."""
    if finding.effect is None:
        return "–"
    interval = f" [{number(finding.low)}, {number(finding.high)}]"
    unit = f" {prose(finding.unit, 100)}" if finding.unit else ""
    return number(finding.effect) + (interval if finding.low is not None else "") + unit


def finding_row(finding: Finding) -> dict[str, str]:
    """Say one finding as the cells of a table."""
    counts = f"{finding.n_pairs:,} / {finding.n_clusters:,}"
    return {
        "claim": words(finding.claim),
        "outcome": finding.outcome,
        "effect": effect_words(finding),
        "threshold": prose(finding.threshold, 200) or "–",
        "p": "" if finding.p_value is None else f"p = {finding.p_value:.3g}",
        "note": prose(finding.note, MAX_NOTE),
        "counts": counts if finding.n_pairs else "",
    }


def fooled(validation: Validation) -> list[list[str]]:
    """List what can fool the tests that were run, each with the claims that it can fool."""
    claims: dict[str, list[str]] = {}
    for finding in validation.findings:
        if finding.fooled_by and finding.outcome != "not_run":
            claims.setdefault(prose(finding.fooled_by), []).append(words(finding.claim))
    return [[", ".join(names), trick] for trick, names in claims.items()]


def methods(validation: Validation) -> str:
    """Say where the intervals and thresholds of the findings come from."""
    intervals = dict.fromkeys(each.interval_method or "" for each in validation.findings)
    sources = dict.fromkeys(each.threshold_source.partition("#")[0] for each in validation.findings)
    parts = {"Intervals": intervals, "Thresholds": sources}
    shown = {name: "; ".join(filter(None, found)) for name, found in parts.items()}
    return prose(" ".join(f"{name}: {found}." for name, found in shown.items() if found))
