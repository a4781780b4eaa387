"""Run one cell: a training, or an extraction with its validation, or one by family.

In: a cell, its checkpoint and a folder to work in. Out: its rows, and the files to keep, as
bytes: whoever runs the study writes them, whichever engine this runs in. What a user can cause
is a row with its error. Nothing of an earlier cell counts: threads are set, seeds are explicit,
and no circuit of another cell lies beside this one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.native import CONFIG, REFERENCE, TOKENIZER, TRAINING, WEIGHTS
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.errors import CircuitkitError, UsageError
from circuitkit.extraction import run_extraction
from circuitkit.extraction.circuit_record import Extraction
from circuitkit.extraction.ladder import Step
from circuitkit.files import MAX_TENSORS_BYTES, read_bounded
from circuitkit.findings import Validation
from circuitkit.progress import silent
from circuitkit.studies.cell_rows import (
    about_model,
    asked_of,
    config_of,
    error_rows,
    why_not_done,
)
from circuitkit.studies.cells import Cell
from circuitkit.studies.family_cell import file_of, row_of_transfer, transfers_of
from circuitkit.studies.peak_memory import peak_bytes, start_counting
from circuitkit.studies.result_columns import Row, row_of
from circuitkit.training import train
from circuitkit.validation import validate_folder

_KEPT_OF_A_TRAINING = (CONFIG, WEIGHTS, TOKENIZER, REFERENCE, TRAINING, "metrics.jsonl")
_N_THREADS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A cell with what it needs here: where its checkpoint is, and a folder of its own."""

    cell: Cell
    checkpoint: str | None
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """The rows of a cell, and its files by name."""

    rows: list[Row]
    files: dict[str, bytes]


def run_cell(work: Work) -> CellResult:
    """Run one cell; its folder is removed once its files are read."""
    torch.set_num_threads(_N_THREADS)
    start_counting()
    began = time.monotonic()
    try:
        result = _RUN[work.cell.kind](work)
    except CircuitkitError as error:
        result = CellResult(rows=error_rows(work.cell, str(error)), files={})
    except Exception as error:  # whatever is wrong with one cell does not end the study
        result = CellResult(
            rows=error_rows(work.cell, f"{type(error).__name__}: {error}"), files={}
        )
    shutil.rmtree(work.folder, ignore_errors=True)
    measured = {
        "seconds": round(time.monotonic() - began, 3),
        "peak_memory_bytes": peak_bytes(),
        "n_threads": torch.get_num_threads(),
    }
    return CellResult(rows=[row | measured for row in result.rows], files=result.files)


def _train(work: Work) -> CellResult:
    assert work.cell.model.config is not None
    folder = work.folder / "checkpoint"
    checkpoint = train(work.cell.model.config, folder, resume=True, report=_quiet)
    row = row_of(**asked_of(work.cell) | about_model(checkpoint), outcome="trained")
    files = {name: folder / name for name in _KEPT_OF_A_TRAINING}
    return CellResult(rows=[row], files={name: _read(f) for name, f in files.items() if f.exists()})


def _quiet(step: object) -> None:
    """Training reports to nobody here: progress is over cells."""


def _extract(work: Work) -> CellResult:
    cell, settings = work.cell, work.cell.settings
    checkpoint, about, not_done = _asked(work)
    if not_done is not None:
        return not_done
    assert cell.task is not None
    folder = work.folder / "circuit"
    extraction = run_extraction(
        checkpoint, cell.task, config_of(settings), out=folder, resume="or_replace",
        reference_tokens=settings["reference_tokens"], device=settings["device"], progress=silent,
    )  # fmt: skip
    rows = [_row(cell, about, rung, extraction, folder) for rung in settings["rungs"]]
    return CellResult(rows=rows, files={f.name: _read(f) for f in _files(folder)})


def _compare_families(work: Work) -> CellResult:
    checkpoint, about, not_done = _asked(work)
    if not_done is not None:
        return not_done
    cell = work.cell
    transfers = transfers_of(cell, checkpoint, config_of(cell.settings), work.folder)
    rows = [
        row_of(**asked_of(cell) | about | {"rung": rung} | row_of_transfer(transfer))
        for rung, transfer in transfers.items()
    ]
    files = {file_of(rung): transfer.to_bytes() for rung, transfer in transfers.items()}
    return CellResult(rows=rows, files=files)


def _asked(work: Work) -> tuple[Checkpoint, dict[str, Any], CellResult | None]:
    """The cell's checkpoint, columns about it, and the result if it does not do the task."""
    assert work.checkpoint is not None
    checkpoint = load_checkpoint(work.checkpoint)
    about = about_model(checkpoint)
    if problem := why_not_done(checkpoint, work.cell):
        rows = error_rows(work.cell, problem, "task_not_done")
        return checkpoint, about, CellResult(rows=[row | about for row in rows], files={})
    return checkpoint, about, None


_RUN: Mapping[str, Callable[[Work], CellResult]] = {
    "training": _train, "extraction": _extract, "families": _compare_families,
}  # fmt: skip


def _read(path: Path) -> bytes:
    return read_bounded(path, UsageError, "a file that the cell wrote", MAX_TENSORS_BYTES)


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def _row(
    cell: Cell, about: dict[str, Any], rung: str, extraction: Extraction, folder: Path
) -> Row:  # fmt: skip
    common = row_of(**asked_of(cell) | about | {"rung": rung})
    circuit = _at(rung, extraction)
    if circuit is None:
        return common | {"outcome": "rung_not_reached", "error": _why(rung, extraction)}
    step = next((step for step in extraction.ladder if step.rung == rung), None)
    validation = _validate(cell, rung, folder)
    return common | _of_circuit(circuit) | _of_step(step) | _of_validation(validation)


def _at(rung: str, extraction: Extraction) -> Circuit | None:
    found = [extraction.circuit, extraction.smallest]
    return next((c for c in found if c is not None and (c.rung or "smallest") == rung), None)


def _why(rung: str, extraction: Extraction) -> str:
    step = next((step for step in extraction.ladder if step.rung == rung), None)
    if step is not None:
        return step.failed
    outcome = extraction.circuit.outcome
    return f"the search did not try: the smallest circuit missed its target ({outcome})"


def _validate(cell: Cell, rung: Any, folder: Path) -> Validation | None:
    how = cell.settings["validate"]
    if how == "none":
        return None
    highest = CircuitFolder.open(folder).circuit.rung or "smallest"
    return validate_folder(
        folder, rung=rung if rung != highest else None, thorough=how == "thorough",
        device=cell.settings["device"], progress=silent,
    )  # fmt: skip


def _of_circuit(circuit: Circuit) -> dict[str, Any]:
    return {
        "outcome": circuit.outcome,
        "n_nodes": circuit.n_nodes,
        "n_edges": circuit.n_edges,
        "loss_model_nats": circuit.loss_nats.model,
        "loss_circuit_nats": circuit.loss_nats.circuit,
        "loss_complement_nats": circuit.loss_nats.complement,
        "loss_empty_nats": circuit.loss_nats.empty,
        "accuracy_model": circuit.accuracy.model,
        "accuracy_circuit": circuit.accuracy.circuit,
        "n_pairs": circuit.n_pairs,
        "circuit_sha256": circuit.sha256,
    }


def _of_step(step: Step | None) -> dict[str, Any]:
    names = ("f_mean", "f_interchange", "f_norms", "follows", "cue_kept")
    return {} if step is None else {name: getattr(step, name) for name in names}


def _of_validation(validation: Validation | None) -> dict[str, Any]:
    if validation is None:
        return {}

    def claims(outcome: str) -> str:
        return " ".join(str(f.claim) for f in validation.findings if f.outcome == outcome)

    is_short = validation.short_of == validation.weakest
    return {
        "grade": validation.grade, "weakest": str(validation.weakest) if is_short else None,
        "passed": claims("pass"), "failed": claims("fail"),
    }  # fmt: skip
