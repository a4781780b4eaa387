"""Run one cell: a training, or an extraction with its validation.

In: a cell, its checkpoint and a folder to work in. Out: its rows, and the files to keep, as
bytes: whoever runs the study writes them, whichever engine this runs in. What a user can cause
is a row with its error. Nothing of an earlier cell counts: threads are set, seeds are explicit,
and no circuit of another cell lies beside this one.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.native import CONFIG, REFERENCE, TOKENIZER, TRAINING, WEIGHTS
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.competence.measure import measure_competence
from circuitkit.distribution import installed_version
from circuitkit.errors import CircuitkitError, UsageError
from circuitkit.extraction import ExtractConfig, run_extraction
from circuitkit.extraction.circuit_record import Extraction
from circuitkit.extraction.ladder import Step
from circuitkit.files import MAX_TENSORS_BYTES, read_bounded
from circuitkit.findings import Validation
from circuitkit.progress import silent
from circuitkit.studies.cells import Cell
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
    run = _train if work.cell.kind == "training" else _extract
    try:
        result = run(work)
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


def error_rows(cell: Cell, message: str, outcome: str = "error") -> list[Row]:
    """The rows of a cell without a result, one for every rung that it was to give."""
    common = _common(cell) | {"outcome": outcome, "error": message}
    rungs = cell.settings.get("rungs", [None])
    return [row_of(**common, rung=rung) for rung in rungs]


def _common(cell: Cell) -> dict[str, Any]:
    settings = cell.settings
    is_training = cell.kind == "training"
    return {
        "cell": cell.sha256,
        "kind": cell.kind,
        "checkpoint": cell.model.label,
        "checkpoint_sha256": None if cell.model.config else cell.model.identity,
        "task": cell.task_name,
        "task_sha256": cell.task_sha256,
        "method": settings.get("method"),
        "seed": settings["seed"],
        "target_loss_nats": settings.get("target_loss_nats"),
        "device": settings["run"]["device"] if is_training else settings["device"],
        "circuitkit_version": installed_version(),
        "torch_version": torch.__version__,
    }


def _train(work: Work) -> CellResult:
    assert work.cell.model.config is not None
    folder = work.folder / "checkpoint"
    checkpoint = train(work.cell.model.config, folder, resume=True, report=_quiet)
    row = row_of(**_common(work.cell) | _of_model(checkpoint), outcome="trained")
    files = {name: folder / name for name in _KEPT_OF_A_TRAINING}
    return CellResult(rows=[row], files={name: _read(f) for name, f in files.items() if f.exists()})


def _quiet(step: object) -> None:
    """Training reports to nobody here: progress is over cells."""


def _of_model(checkpoint: Checkpoint) -> dict[str, Any]:
    model, record = checkpoint.load_model(), checkpoint.training or {}
    parameters = list(model.parameters())
    return {
        "checkpoint_sha256": checkpoint.sha256,
        "n_layer": checkpoint.architecture.n_layer,
        "d_model": checkpoint.architecture.d_model,
        "n_parameters": sum(p.numel() for p in parameters),
        "n_nonzero": sum(int(p.count_nonzero()) for p in parameters),
        "validation_loss_nats": record.get("validation_loss_nats"),
        "n_tokens": record.get("n_tokens"),
    }


def _extract(work: Work) -> CellResult:
    cell = work.cell
    assert work.checkpoint is not None
    assert cell.task is not None
    checkpoint = load_checkpoint(work.checkpoint)
    about = _of_model(checkpoint)
    if problem := _not_done(checkpoint, cell):
        rows = error_rows(cell, problem, "task_not_done")
        return CellResult(rows=[row | about for row in rows], files={})
    folder, settings = work.folder / "circuit", cell.settings
    extraction = run_extraction(
        checkpoint, cell.task, config_of(settings), out=folder, resume=True, progress=silent,
        reference_tokens=settings["reference_tokens"], device=settings["device"],
    )  # fmt: skip
    rows = [_row(cell, about, rung, extraction, folder) for rung in settings["rungs"]]
    return CellResult(rows=rows, files={f.name: _read(f) for f in _files(folder)})


def _read(path: Path) -> bytes:
    return read_bounded(path, UsageError, "a file that the cell wrote", MAX_TENSORS_BYTES)


def _not_done(checkpoint: Checkpoint, cell: Cell) -> str:
    """Why the checkpoint does not do the task, by the rule of ``competence``; or nothing."""
    assert cell.task is not None
    found = measure_competence(
        checkpoint, cell.settings["n_test"], tasks=[cell.task]
    ).tasks[0]  # fmt: skip
    if found.does or found.problem or found.accuracy is None or found.loss_nats is None:
        return found.problem or ""
    return (
        f"the checkpoint does not do the task: accuracy {found.accuracy.mean:.3f}, loss "
        f"{found.loss_nats.mean:.3f} nats."
    )


def config_of(settings: dict[str, Any]) -> ExtractConfig:
    """The settings of an extraction as the verb takes them."""
    names = ("ablation", "restarts", "n_gradient_points", "n_train", "n_select", "n_test")
    method = settings["method"]
    is_papers = method == "paper"
    return ExtractConfig(
        method="pruning" if is_papers else method,
        schedule="paper" if is_papers else "dual",
        refine=not is_papers,
        on_average=is_papers,
        rung="trusted" if "trusted" in settings["rungs"] else "smallest",
        seed=settings["seed"],
        target_loss_nats=settings["target_loss_nats"],
        **{name: settings[name] for name in names},
    )


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def _row(
    cell: Cell, about: dict[str, Any], rung: str, extraction: Extraction, folder: Path
) -> Row:  # fmt: skip
    common = row_of(**_common(cell) | about | {"rung": rung})
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
    return step.failed if step else "the search did not try: the circuit is not 1-minimal"


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

    return {
        "grade": validation.grade, "weakest": str(validation.weakest),
        "passed": claims("pass"), "failed": claims("fail"),
    }  # fmt: skip
