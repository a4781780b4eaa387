"""How far to trust a circuit, in two sentences made from its findings."""

from __future__ import annotations

import re
from typing import Any

from circuitkit.findings import Claim, Finding, Validation
from circuitkit.views.findings_section import GRADES, effect_words, words
from circuitkit.views.intervals_section import pass_region
from circuitkit.views.safe_text import prose

CLAIMS: dict[str, tuple[str, str]] = {
    "sufficient": ("it does the task alone", "it does not do the task alone"),
    "necessary": ("the model needs it", "the model does the task without it"),
    "interchange": ("it outweighs the rest of the model", "the rest of the model outweighs it"),
    "faithful": ("it answers as the model does", "it does not answer as the model does"),
    "follows_ood": ("it follows the model out of distribution",
                    "it does not follow the model out of distribution"),
    "generalises": ("it holds on new templates", "it does not hold on new templates"),
    "robust_to_ablation": ("it holds whatever the rest of the model says",
                           "it fails where the rest of the model says other things"),
    "beats_controls": ("other sets of nodes do worse", "other sets of nodes do as well, or nearly"),
    "minimal": ("every node matters", "some nodes do not matter"),
    "stochastic_restore": ("it holds when parts of the rest return",
                           "it fails when parts of the rest return"),
    "no_norm_leak": ("it does not depend on a stream that ablation made small",
                     "it depends on a stream that ablation made small"),
    "competent": ("the model does the task", "the model itself does not do the task"),
    "integrity": ("its files and numbers agree", "its files and numbers do not agree"),
    "stands_alone": ("it outweighs a random background", "a random background outweighs it"),
    "one_mechanism": ("one mechanism does all its prompts",
                      "its prompts have more than one mechanism"),
    "search_null": ("the search finds less where there is nothing",
                    "the search finds as much where there is nothing"),
    "complete": ("the model has no other way of doing it", "a part of the mechanism is missing"),
    "roles": ("its nodes do in it what they do in the model",
              "its nodes do in it other things than in the model"),
    "specific": ("other tasks do not need it", "other tasks need it too"),
    "stable": ("other searches find circuits that answer alike",
               "other searches find circuits that answer differently"),
    "worst_case": ("it is right where the model is", "it is wrong where the model is right"),
    "adversarial_restore": ("no part of the rest breaks it when it returns",
                            "a part of the rest breaks it when it returns"),
    "edge_sufficient": ("its edges are all that it needs", "it needs more than its edges"),
    "resample_independent": ("it works among random values", "it fails among random values"),
    "independence": ("it differs from the model in nothing that can be measured",
                     "it differs measurably from the model"),
    "size_curve": ("larger circuits do as it does", "larger circuits do not do as it does"),
    "explains_dense": ("it turns the answer of the dense model too",
                       "it does not turn the answer of the dense model"),
}  # fmt: skip
"""What each claim says when it passes and when it fails, the most important first."""

_F = re.compile(r"F = (-?[\d.]+) ")
"""How the note of ``sufficient`` begins where no form of the task misses the target."""

MAX_PHRASES = 2
SCALE = "best first: A, B, C, C-redundant, F"
_IN_THE_GRADE = ("sufficient", "necessary", "integrity", "competent")


def trust(validation: Validation) -> dict[str, Any]:
    """The grade in words and the weakest finding in words."""
    grade = validation.grade
    return {
        "passes": validation.passes,
        "grade_words": f"Grade {grade} ({SCALE}): {GRADES[grade]}. {_found(validation)}".strip(),
        "weakest_words": _weakest(validation),
    }


def claim_words(finding: Finding) -> str:
    """What a finding says of its claim, as a clause."""
    passed, failed = CLAIMS.get(finding.claim, (words(finding.claim),) * 2)
    return (_other_failure(finding) or failed) if finding.outcome == "fail" else passed


def _other_failure(finding: Finding) -> str:
    """How a claim that asks for several things fails, where it is not as usual; else empty."""
    match finding.claim:
        case Claim.NECESSARY if finding.note.startswith("ANTI-CHANCE"):
            return "without it the model prefers the wrong answer"
        case Claim.NECESSARY if not finding.note.startswith("REDUNDANT"):
            return "without it the model keeps part of its ability"
        case Claim.SUFFICIENT if not _is_above(finding) and _beats_its_model(finding):
            return "it does better than its model"
        case Claim.SPECIFIC if not _is_above(finding):
            return "its own task needs it too little"
    return ""


def _is_above(finding: Finding) -> bool:
    """Whether the interval lies above the first limit; where there is no limit, it does."""
    _, limit = pass_region(finding.threshold)
    return limit is None or (finding.low is not None and finding.low > limit)


def _beats_its_model(finding: Finding) -> bool:
    found = _F.match(finding.note)
    return found is not None and float(found[1]) > 1


def _found(validation: Validation) -> str:
    """What else is shown, what is not so and what is open, the most important claims first."""
    by_claim = {str(finding.claim): finding for finding in validation.findings}
    known = [by_claim[claim] for claim in CLAIMS if claim in by_claim]
    passed = [f for f in known if f.outcome == "pass" and f.claim not in _IN_THE_GRADE]
    failed = [f for f in known if f.outcome == "fail"]
    left = [f for f in known if f.outcome in ("inconclusive", "not_run")]
    titled = (("Also shown", passed), ("But", failed), ("Not shown", left))
    return " ".join(f"{title}: {_listed(found)}." for title, found in titled if found)


def _listed(found: list[Finding]) -> str:
    more = len(found) - MAX_PHRASES
    also = [f"{more} more claim{'s' * (more > 1)}"] if more > 0 else []
    return "; ".join([*(claim_words(finding) for finding in found[:MAX_PHRASES]), *also])


def _weakest(validation: Validation) -> str:
    weakest = validation[validation.weakest]
    if validation.short_of != weakest.claim:
        return f"No finding speaks against it; {prose(validation.short_of)}."
    name, clause = words(weakest.claim), claim_words(weakest)
    if weakest.outcome == "not_run":
        return f"Weakest finding, {name}: not tested; {prose(weakest.note, 160)}."
    settled = "it is not settled that " if weakest.outcome == "inconclusive" else ""
    limit = f"; passes when {prose(weakest.threshold, 120)}" if weakest.threshold else ""
    measured = "; ".join(filter(None, (effect_words(weakest), prose(_first_clause(weakest), 120))))
    return f"Weakest finding, {name}: {settled}{clause} ({measured}{limit})."


def _first_clause(finding: Finding) -> str:
    return finding.note.partition(";")[0].partition(". ")[0]
