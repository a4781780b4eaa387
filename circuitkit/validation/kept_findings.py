"""Findings of a thorough run stay in the verdict of a default run after it.

In: a folder with its verdict, and the pairs asked for. Out: the findings that stay, and a
verdict with them. All of one verdict rests on the same pairs, so other pairs are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.errors import CircuitError, UsageError
from circuitkit.findings import Claim, Finding, Validation, suite_order
from circuitkit.validation.claims import claims_of
from circuitkit.validation.verdict import grade_of, weakest_of


def kept_findings(
    folder: CircuitFolder, checkpoint: Checkpoint, circuit: Circuit, n_pairs: int | None
) -> tuple[Finding, ...]:
    """The findings of a thorough run in the folder's verdict on this circuit; none without one.

    Raises:
        UsageError: if that run had another number of test pairs than is asked for now.
    """
    file = folder.validation_file(circuit.sha256)
    try:
        before = Validation.load(folder.path, file.name)
    except CircuitError:  # none, or a damaged one, which is replaced
        return ()
    kept = tuple(f for f in before.tested if f.claim in claims_of("thorough"))
    if before.circuit_sha256 != circuit.sha256 or not kept:
        return ()
    was = [f.n_pairs for f in before.findings if f.claim == Claim.SUFFICIENT]
    asked = len(checkpoint.ask(folder.task, "test", n_pairs or circuit.n_pairs, circuit.seed))
    if was not in ([], [asked]):
        raise UsageError(
            f"{file} holds findings of a thorough run on {was[0]} test pairs, and all of one "
            f"verdict rests on the same pairs; got {asked}. Ask for {was[0]}, or for a thorough "
            "run again, or move that file away."
        )
    return kept


def with_kept(validation: Validation, kept: Sequence[Finding]) -> Validation:
    """A verdict with the findings that stay, and the grade that all add up to."""
    every = (*validation.findings, *kept)
    findings = tuple(sorted(every, key=lambda finding: suite_order(finding.claim)))
    changed = {
        "findings": findings, "grade": grade_of(findings), "weakest": weakest_of(findings),
    }  # fmt: skip
    return validation.model_copy(update=changed) if kept else validation
