"""One mechanism: some family's circuit does the prompts of every family.

The prompts of a task fall into families: its forms, or clusters of pairs on which the same nodes
do the work. A circuit is found for each family alone and tried on all others. The outcome is
``one`` (any circuit does every family), ``nested`` (only some do), ``either`` (all do, in ways
that share little) or ``several`` (none does: the circuit of the task is a union). The last two
fail the claim; they are true of the model, and no fault of the search.

Circuits that ``extract --by-family`` left in the folder are used, the others searched here with
one restart. Source: docs/validation.md#one_mechanism; the limits are set on planted models.

What can fool it: families that mix two mechanisms; a search that finds the same one of two ways
in every family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

from circuitkit.circuit.transfer import Cell, Transfer
from circuitkit.extraction.asks import DEFAULT_ASKS
from circuitkit.families.family_search import FamilySearch
from circuitkit.families.find_families import FoundFamilies, find_families
from circuitkit.families.name_mechanisms import F_DOES
from circuitkit.findings import Claim, Finding, Outcome
from circuitkit.statistics.decision import joined
from circuitkit.statistics.intervals import BOOTSTRAP_T, FEWEST, STUDENT
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.ONE_MECHANISM,
    suite="thorough",
    fooled_by="families that mix two mechanisms; searches that all find the same one of two ways",
    needs=("reference",),
    n_searches=6,
)

_OUTCOMES: dict[str, Outcome] = {
    "one": "pass", "nested": "pass", "either": "fail", "several": "fail",
    "undecided": "inconclusive",
}  # fmt: skip


def check_one_mechanism(trial: SearchTrial) -> Finding:
    """The lower bound of F of the best family's circuit on the family that it does worst."""
    where = {"reference": trial.reference, "device": str(trial.model.device)}
    found = find_families(
        trial.checkpoint, trial.task, by=trial.parts_by, seed=trial.seed, device=where["device"],
        progress=trial.progress,
    )  # fmt: skip
    common = {
        "claim": CLAIM.id,
        "threshold": f"lower bound ≥ {F_DOES:.2f} for some circuit, and not in two ways",
        "threshold_source": "docs/validation.md#one_mechanism",
        "fooled_by": CLAIM.fooled_by,
    }
    if len(found.families) < 2:
        return Finding(**common, **_of_one_family(found))
    transfer, cost = _compared(trial, found, where)
    note = joined(f"{transfer.outcome.upper()}: {transfer.reason}", cost, *transfer.notes)
    return Finding(
        **common,
        outcome=_OUTCOMES[transfer.outcome],
        note=note,
        n_pairs=sum(family.n_pairs for family in transfer.families),
        n_clusters=sum(family.n_templates for family in transfer.families),
        n_draws=len(transfer.families),
        seeds=(trial.search.seed,),
        **_effect(transfer),
    )


def _of_one_family(found: FoundFamilies) -> dict[str, Any]:
    """There is nothing to compare: one by effects is an answer, one that is left is none."""
    family = next(iter(found.families.families), None)
    is_one = family is not None and not found.families.left_out and found.strength is not None
    shown = ", ".join(f"{k}: {s:.2f}" for k, s in (found.strength or {}).items())
    why = f"ONE family by effects (stability by number of families: {shown})" if is_one else (
        "fewer than two families to compare"
    )  # fmt: skip
    return {
        "outcome": "pass" if is_one else "not_run",
        "note": joined(why, *found.families.notes),
        "n_pairs": len(family.pairs["test"]) if family else 0,
        "n_clusters": len(family.templates("test")) if family else 0,
    }


def _compared(
    trial: SearchTrial, found: FoundFamilies, where: Mapping[str, Any]
) -> tuple[Transfer, str]:
    """The transfer of kept circuits and, where there is none, of one found here; and the cost."""
    names = [name for name in found.families.names if name in trial.parts]
    config = replace(
        trial.search, rung="smallest", restarts=1, granularity="node", calibrate=False, tune=0,
        asks=DEFAULT_ASKS,
        pruning=None if trial.search.tune else trial.search.pruning,
    )  # fmt: skip
    search = FamilySearch(
        checkpoint=trial.checkpoint, task=trial.task, found=found, config=config,
        means=trial.means, brief=True, progress=trial.progress, skip=tuple(names), where=where,
    )  # fmt: skip
    searched = search.run()
    circuits = {name: trial.parts[name] for name in names}
    circuits |= {name: extraction.circuit for name, extraction in searched.items()}
    n = len(found.families) - len(names)
    trial.passes += n * config.learning.n_steps
    said = f"{n} searches of one restart each" if n else "circuits kept in the folder"
    return search.transfer(circuits, trial.circuit), said


def _effect(transfer: Transfer) -> dict[str, Any]:
    """F of the best family's circuit on its worst family, with its interval."""
    if not transfer.families:
        return {}
    worst = [min((transfer.cell(c, f) for f in transfer.names), key=_low) for c in transfer.names]
    cell = max(worst, key=_low)
    few = next(f for f in transfer.families if f.name == cell.family).n_templates < FEWEST
    return {
        "effect": cell.f.effect, "low": cell.f.low, "high": cell.f.high,
        "interval_method": STUDENT if few else BOOTSTRAP_T,
        "unit": f"F of {cell.circuit}'s circuit on {cell.family}, its worst family",
    }  # fmt: skip


def _low(cell: Cell) -> float:
    return -inf if cell.f.low is None else cell.f.low
