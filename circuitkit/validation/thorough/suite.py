"""Run the thorough suite: a trial and the default findings in, eleven more findings out.

Each finding is saved as it ends. A run that was stopped goes on with the claims that are
missing and ends with the findings of one that was not: every claim draws its random numbers
from seeds of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from circuitkit.evidence import Claim, Finding
from circuitkit.extraction import ExtractConfig
from circuitkit.files import sha256
from circuitkit.provenance import circuitkit_version
from circuitkit.validation.cost import timed
from circuitkit.validation.thorough import THOROUGH_CHECKS
from circuitkit.validation.thorough.saved import SavedFindings
from circuitkit.validation.thorough.trial import Sibling, ThoroughTrial
from circuitkit.validation.trial import Trial

COSTS = {Claim.SEARCH_NULL: 20, Claim.STABLE: 10}
"""Searches a claim makes; the others cost about as much as one."""

_STOPS = (Claim.INTEGRITY, Claim.COMPETENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thorough:
    """What the thorough suite needs beyond the default one.

    ``search`` holds the settings of the extraction (by default those of a plain one),
    ``siblings`` other tasks' circuits of the same checkpoint; in ``folder`` findings are
    kept as they end.
    """

    search: ExtractConfig | None = None
    siblings: tuple[Sibling, ...] = ()
    folder: Path | None = None


def run_thorough(
    trial: Trial, thorough: Thorough, default: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Put the thorough claims to the test, those of an earlier run aside."""
    search = thorough.search or ExtractConfig(seed=trial.circuit.seed)
    failed = [f.claim for f in default if f.claim in _STOPS and f.outcome == "fail"]
    if failed:
        note = f"{failed[0]} fails, so that nothing after it would mean anything"
        return tuple(Finding(claim=c, outcome="not_run", note=note) for c in THOROUGH_CHECKS)
    long = ThoroughTrial.of(trial, search, thorough.siblings)
    saved = SavedFindings(thorough.folder, inputs_sha256(long))
    total, done = sum(COSTS.get(claim, 1) for claim in THOROUGH_CHECKS), 0
    for claim, check in THOROUGH_CHECKS.items():
        trial.progress("thorough suite", done, total)
        if claim not in saved.findings:
            saved.add(timed(check, long))
        done += COSTS.get(claim, 1)
    return tuple(saved.findings[claim] for claim in THOROUGH_CHECKS)


def inputs_sha256(trial: ThoroughTrial) -> str:
    """A hash over all that the findings depend on."""
    told = {
        "circuit": trial.circuit.sha256,
        "siblings": [[s.task.sha256, s.circuit.sha256] for s in trial.siblings],
        "reference": sha256(trial.reference.numpy().tobytes()),
        "n_pairs": len(trial.pairs),
        "search": trial.search.to_dict(),
        "versions": [circuitkit_version(), version("torch")],
    }
    return sha256(json.dumps(told, sort_keys=True).encode())
