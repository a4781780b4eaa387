"""How far to trust a circuit: two lines, a row a finding with its interval, and the ladder.

In: a circuit and its validation. Out: strings and numbers for the page's template.
"""

from __future__ import annotations

from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.findings import Finding, Validation
from circuitkit.views.findings_section import finding_row, words
from circuitkit.views.safe_text import number, prose
from circuitkit.views.trust_section import trust as trust_in_words


def trust(validation: Validation | None) -> list[str]:
    """Two lines: the grade in words, and the weakest finding."""
    if validation is None:
        return ["Not validated: nothing is known of this circuit but its losses."]
    said = trust_in_words(validation)
    return [said["grade_words"], said["weakest_words"]]


def evidence(validation: Validation | None) -> list[dict[str, Any]]:
    """A row a finding; ``plot`` places its interval on a line of a hundred units."""
    findings = validation.findings if validation else ()
    return [{**finding_row(finding), "plot": _plot(finding)} for finding in findings]


def _plot(finding: Finding) -> dict[str, Any] | None:
    if finding.effect is None:
        return None
    low = finding.effect if finding.low is None else finding.low
    high = finding.effect if finding.high is None else finding.high
    start, end = min(0.0, low, finding.effect), max(1.0, high, finding.effect)

    def place(value: float) -> float:
        return round(100 * (value - start) / (end - start), 2)

    return {
        "low": place(low), "high": place(high), "effect": place(finding.effect),
        "start": number(start, 2), "end": number(end, 2),
    }  # fmt: skip


def asked(circuit: Circuit) -> list[list[str]]:
    """What the search asked of the circuit, and how near it is to the limit."""
    return [
        [words(ask.ask), prose(words(ask.measure), 80), number(ask.bound), number(ask.limit)]
        for ask in circuit.asks
    ]
