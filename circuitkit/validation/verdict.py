"""The verdict: a grade, which is a conjunction, and the weakest finding.

- A: both suites pass, and null problems give circuits of at least 4 times the edges.
- B: the default suite passes.
- C: sufficient and necessary, the level of the paper; random circuits do not do as well.
- C-redundant: sufficient, with a backup.
- F: otherwise. If random circuits do as well, the grade is F, since the whole model is
  sufficient and necessary too.

A claim added to the documented ones has to pass for B, where it is tested; one about bridges for A,
where there are any. Source: ours
(docs/validation.md#grades).
"""

from __future__ import annotations

from collections.abc import Sequence

from circuitkit.findings import DEFAULT_CLAIMS, WHERE_BRIDGED, Claim, Finding, Grade, Outcome
from circuitkit.statistics.decision import MIN_CLUSTERS

LUCK = 0.05
"""Above this p-value random circuits do as well as the circuit."""

MIN_SIZE_RATIO = 4.0
"""For grade A, circuits of null problems have at least so many times the edges (median)."""

_WORST_FIRST: tuple[Outcome, ...] = ("fail", "inconclusive", "not_run", "pass")
_BASE = (Claim.INTEGRITY, Claim.COMPETENT, Claim.SUFFICIENT)


def grade_of(findings: Sequence[Finding]) -> Grade:
    """The grade that findings add up to; a claim that is absent counts as not run."""
    by_claim = {finding.claim: finding for finding in findings}
    outcome: dict[str, Outcome] = dict.fromkeys(Claim, "not_run")
    outcome |= {claim: finding.outcome for claim, finding in by_claim.items()}
    asked = (*DEFAULT_CLAIMS, *(claim for claim in outcome if claim not in tuple(Claim)))
    few = any(0 < by_claim[c].n_clusters < MIN_CLUSTERS for c in _BASE if c in by_claim)
    if not all(outcome[claim] == "pass" for claim in _BASE):
        return "F"
    if outcome[Claim.NECESSARY] != "pass":
        tried = by_claim.get(Claim.NECESSARY)
        redundant = tried is not None and tried.note.startswith("REDUNDANT")
        return "C-redundant" if redundant else "F"
    if _is_luck(by_claim.get(Claim.BEATS_CONTROLS)):
        return "F"
    if few or not _passes(outcome, asked, may_miss=Claim.FOLLOWS_OOD):
        return "C"
    every = [claim for claim in Claim if claim in by_claim or claim not in WHERE_BRIDGED]
    return "A" if _passes(outcome, every) and _small(by_claim[Claim.SEARCH_NULL]) else "B"


def _small(search_null: Finding) -> bool:
    return search_null.effect is not None and search_null.effect >= MIN_SIZE_RATIO


def _is_luck(controls: Finding | None) -> bool:
    """Whether random circuits do as well; a rival that does as well does not count here."""
    return controls is not None and (controls.p_value or 0.0) > LUCK


def _passes(
    outcome: dict[str, Outcome], claims: Sequence[str], may_miss: Claim | None = None
) -> bool:
    return all(outcome[c] == "pass" or (c == may_miss and outcome[c] == "not_run") for c in claims)


def weakest_of(findings: Sequence[Finding]) -> str:
    """The claim that keeps the grade from a better one: of several the worst, then the first.

    If there is none, the first finding with the worst outcome.
    """
    grade = grade_of(findings)
    short = [finding for finding in findings if _keeps_back(finding, grade)]
    return min(short or findings, key=lambda finding: _WORST_FIRST.index(finding.outcome)).claim


def _keeps_back(finding: Finding, grade: Grade) -> bool:
    """Whether this claim falls short of what the next better grade needs."""
    claim, passes = finding.claim, finding.outcome == "pass"
    if claim is Claim.BEATS_CONTROLS and grade == "F":
        return _is_luck(finding)
    if grade in ("F", "C-redundant"):
        return claim in (*_BASE, Claim.NECESSARY) and not passes
    if grade == "C":
        few = claim is Claim.COMPETENT and 0 < finding.n_clusters < MIN_CLUSTERS
        may_miss = claim is Claim.FOLLOWS_OOD and finding.outcome == "not_run"
        asked = claim in DEFAULT_CLAIMS or claim not in tuple(Claim)
        return asked and (few or not (passes or may_miss))
    return not passes or (claim is Claim.SEARCH_NULL and not _small(finding))
