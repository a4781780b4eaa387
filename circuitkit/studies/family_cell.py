"""A cell by family: a circuit of every family of a task, and what each does on every other.

In: a cell and its checkpoint, a folder to work in. Out: a row a rung, and the transfer of each.
Source: ours (docs/families.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import Circuit
from circuitkit.circuit.transfer import FILE, Transfer
from circuitkit.extraction import ExtractConfig, Extraction, Means
from circuitkit.extraction.means import means_of, zero_means
from circuitkit.families.family_search import FamilySearch
from circuitkit.families.find_families import find_families
from circuitkit.model.device import device_named
from circuitkit.progress import silent
from circuitkit.studies.cells import Cell
from circuitkit.studies.result_columns import Row
from circuitkit.task import load_task


def transfers_of(
    cell: Cell, checkpoint: Checkpoint, config: ExtractConfig, folder: Path
) -> dict[str, Transfer]:
    """What the families' circuits of each rung do on every family; their folders are not kept.

    The search for trusted circuits finds the smallest ones on its way.
    """
    assert cell.task is not None
    task, settings, device = load_task(cell.task), cell.settings, cell.settings["device"]
    found = find_families(checkpoint, task, seed=config.seed, device=device, progress=silent)
    search = FamilySearch(
        checkpoint=checkpoint, task=task, found=found, config=config,
        means=_means(checkpoint, settings), out=folder, resume=True, brief=True, progress=silent,
        where={"reference_tokens": settings["reference_tokens"], "device": device},
    )  # fmt: skip
    parts = search.run()
    return {
        rung: _without_folders(search.transfer(circuits_at(rung, parts), None))
        for rung in settings["rungs"]
    }


def _without_folders(transfer: Transfer) -> Transfer:
    families = [family.model_copy(update={"folder": None}) for family in transfer.families]
    return transfer.model_copy(update={"families": tuple(families)})


def _means(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Means:
    if settings["ablation"] == "zero":
        return zero_means(checkpoint.architecture.widths, checkpoint.sha256)
    sample = load_reference(checkpoint, None, settings["reference_tokens"])
    model = checkpoint.load_model(device_named(settings["device"]))
    return means_of(checkpoint, model, sample, silent)


def circuits_at(rung: str, parts: Mapping[str, Extraction]) -> dict[str, Circuit]:
    """The circuit of every family at a rung, or at the one below where it was not reached."""
    return {
        name: part.smallest if rung == "smallest" and part.smallest is not None else part.circuit
        for name, part in parts.items()
    }


def row_of_transfer(transfer: Transfer) -> Row:
    """The columns that a transfer fills."""
    names = transfer.names
    others = [transfer.cell(a, b) for a in names for b in names if a != b]
    return {
        "outcome": "compared",
        "n_families": len(names),
        "mechanisms": transfer.outcome,
        "reason": transfer.reason,
        "overlap_min": min((o.jaccard for o in transfer.overlaps), default=None),
        "f_transfer_min": min((c.f.effect for c in others), default=None),
        "f_x_transfer_min": min((c.f_x.effect for c in others), default=None),
    }


def file_of(rung: str) -> str:
    """The name under which a rung's transfer is kept."""
    return f"{rung}.{FILE}"
