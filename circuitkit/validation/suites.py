"""Run the suites: a trial in, a finding a claim out.

Where integrity or competence fails, no later claim means anything, and the rest is not run.
Thorough findings are saved as each is made, and each search of the longest one. A run that was
stopped continues with what is missing and ends with the same findings as one that was not, since
every claim draws its random numbers from its own seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from circuitkit.bridges.bridge_file import has_bridges
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.native import BRIDGES
from circuitkit.circuit import Circuit
from circuitkit.distribution import installed_version
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.files import sha256, sha256_file
from circuitkit.findings import Claim, Finding
from circuitkit.validation.claim_test import ClaimTest
from circuitkit.validation.claims import claims_of
from circuitkit.validation.saved_findings import SavedFindings
from circuitkit.validation.search_trial import SearchTrial, Sibling
from circuitkit.validation.trial import Trial

_STOPS = (Claim.INTEGRITY, Claim.COMPETENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thorough:
    """What the thorough suite needs beyond the default one.

    ``search`` holds the settings of the extraction (by default those of a plain one),
    ``siblings`` other tasks' circuits of the same checkpoint, ``parts`` the circuits of the task's
    families that are kept, sorted by ``parts_by``; in ``file`` findings are saved as they are made.
    """

    search: ExtractConfig | None = None
    siblings: tuple[Sibling, ...] = ()
    file: Path | None = None
    parts: Mapping[str, Circuit] = field(default_factory=dict)
    parts_by: str | None = None


def run_default(trial: Trial) -> tuple[Finding, ...]:
    """Test the claims of the default suite."""
    findings: list[Finding] = []
    claims = claims_of("default")
    for i, (claim, test) in enumerate(claims.items()):
        trial.progress("claims", i, len(claims))
        stopped = _stopped(findings)
        findings.append(_not_run(claim, stopped) if stopped else test(trial))
    return tuple(findings)


def run_thorough(
    trial: Trial, thorough: Thorough, default: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Test the claims of the thorough suite, except those already tested in an earlier run."""
    claims = _that_apply(trial)
    if stopped := _stopped(default):
        return tuple(_not_run(claim, stopped) for claim in claims)
    search = thorough.search or _plain_search(trial.circuit)
    long = SearchTrial.of(trial, search, thorough.siblings, thorough.parts, thorough.parts_by)
    of_others = {c for c, test in claims.items() if "other circuits" in test.declared.needs}
    saved = long.saved = SavedFindings(
        thorough.file, inputs_sha256(long), others_sha256(long), of_others
    )
    costs = {claim: max(1, test.declared.n_searches) for claim, test in claims.items()}
    total, done = sum(costs.values()), 0
    for claim, test in claims.items():
        trial.progress("thorough suite", done, total)
        if claim not in saved.findings:
            saved.add(test(long))
        done += costs[claim]
    return tuple(saved.findings[claim] for claim in claims)


def _plain_search(circuit: Circuit) -> ExtractConfig:
    return ExtractConfig(seed=circuit.seed, ablation=circuit.ablation)


def _that_apply(trial: Trial) -> dict[str, ClaimTest]:
    """The thorough claims, without those about bridges where the checkpoint has none."""
    bridged = has_bridges(trial.checkpoint)
    claims = claims_of("thorough")
    return {c: t for c, t in claims.items() if bridged or "bridges" not in t.declared.needs}


def _stopped(findings: Sequence[Finding]) -> str:
    """Why no more is tested; empty if there is no reason."""
    failed = [f.claim for f in findings if f.claim in _STOPS and f.outcome == "fail"]
    return f"{failed[0]} fails, so that nothing after it would mean anything" if failed else ""


def _not_run(claim: str, note: str) -> Finding:
    return Finding(claim=claim, outcome="not_run", note=note)


def _bridges(checkpoint: Checkpoint) -> dict[str, str]:
    """The hash of the checkpoint's bridges, which its own does not cover; nothing without any."""
    found = has_bridges(checkpoint)
    return {"bridges": sha256_file(checkpoint.path / BRIDGES)} if found else {}


def inputs_sha256(trial: SearchTrial) -> str:
    """A hash over all that the findings depend on, but for the other circuits that some need."""
    inputs = {
        "circuit": trial.circuit.sha256,
        "parts": [[name, part.sha256] for name, part in trial.parts.items()],
        "reference": sha256(trial.reference.cpu().numpy().tobytes()),
        "n_pairs": len(trial.pairs),
        "search": trial.search.to_dict(),
        "versions": [installed_version(), version("torch")],
        **_bridges(trial.checkpoint),
    }
    return sha256(json.dumps(inputs, sort_keys=True).encode())


def others_sha256(trial: SearchTrial) -> str:
    """A hash over the other tasks' circuits, on which few findings depend."""
    others = [[s.task.sha256, s.circuit.sha256] for s in trial.siblings]
    return sha256(json.dumps(others).encode())
