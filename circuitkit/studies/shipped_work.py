"""A cell that travels: its task and its checkpoint as bytes, for a machine without this disk.

In: the work as the driver knows it. Out: the same rows and files as ``run_cell`` gives.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from circuitkit.checkpoints import bundled_checkpoints
from circuitkit.distribution import installed_version
from circuitkit.errors import UsageError
from circuitkit.files import MAX_TENSORS_BYTES, read_bounded
from circuitkit.studies.run_cell import CellResult, Work, error_rows, run_cell

Files = Mapping[str, NDArray[np.uint8]]
"""Files by name, as arrays: every process of a machine reads those from one memory of Ray's, and
has a copy of its own of ``bytes``.
"""

_SOURCES = "sources.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedWork:
    """A cell to run anywhere; ``task_file`` is the bytes of its task's file, if it has one."""

    work: Work
    task_file: bytes | None


def ship(work: Work) -> ShippedWork:
    """Read what a cell's task needs from this disk."""
    path = None if work.cell.task is None else Path(work.cell.task)
    is_file = path is not None and path.suffix and path.is_file()
    return ShippedWork(work=work, task_file=_file(path) if path and is_file else None)


def checkpoint_files(shipped: ShippedWork) -> tuple[str, Callable[[], Files]]:
    """The checkpoint of a cell by name, and how to read its files; a bundled one has none."""
    where = shipped.work.checkpoint
    if where is None or where in bundled_checkpoints():
        return "", dict
    return where, partial(_read, Path(where))


def _read(folder: Path) -> Files:
    return {file.name: np.frombuffer(_file(file), np.uint8) for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def largest_checkpoint_bytes(works: Iterable[ShippedWork]) -> int:
    """The size of the largest checkpoint that cells bring along."""
    brought = {name for name, _ in map(checkpoint_files, works) if name}
    sizes = (sum(file.stat().st_size for file in _files(Path(name))) for name in brought)
    return max(sizes, default=0)


def _file(path: Path) -> bytes:
    return read_bounded(path, UsageError, "a file that the cell needs", MAX_TENSORS_BYTES)


def run_shipped(shipped: ShippedWork, checkpoint: Files) -> CellResult:
    """Run a cell where its files were not: they are laid down for it, and removed behind it."""
    work, cell = shipped.work, shipped.work.cell
    if replace(cell).sha256 != cell.sha256:  # of the versions that are here
        return CellResult(rows=error_rows(cell, _other_versions()), files={})
    with tempfile.TemporaryDirectory(prefix="circuitkit-") as name:
        try:
            there = _laid_down(shipped, checkpoint, Path(name))
        except OSError as error:
            message = f"its files could not be written to {tempfile.gettempdir()}: {error.strerror}"
            return CellResult(rows=error_rows(cell, message), files={})
        result = run_cell(there)
    return _as_here(_with_sources(result, work.checkpoint), there, work)


def _laid_down(shipped: ShippedWork, checkpoint: Files, folder: Path) -> Work:
    """The same work on the files of this folder; the checkpoint's is called as it was."""
    work, cell = shipped.work, shipped.work.cell
    where = work.checkpoint
    if checkpoint:
        assert where is not None
        model = folder / "model" / Path(where).name
        model.mkdir(parents=True)
        for file, data in checkpoint.items():
            (model / file).write_bytes(data.data)
        where = str(model)
    if shipped.task_file is not None:
        assert cell.task is not None
        task = folder / Path(cell.task).name
        task.write_bytes(shipped.task_file)
        cell = replace(cell, task=str(task))
    return Work(cell=cell, checkpoint=where, folder=folder / "work")


def _as_here(result: CellResult, there: Work, here: Work) -> CellResult:
    """Errors name the task's file and the checkpoint on the driver's disk."""

    def named(error: str) -> str:
        for gone, kept in ((there.cell.task, here.cell.task), (there.checkpoint, here.checkpoint)):
            error = error.replace(gone, kept) if gone and kept else error
        return error

    rows = [row | {"error": named(row["error"])} if row["error"] else row for row in result.rows]
    return CellResult(rows=rows, files=result.files)


def _with_sources(result: CellResult, checkpoint: str | None) -> CellResult:
    """The folder of the circuit says where the checkpoint is on the driver's disk."""
    if _SOURCES not in result.files:
        return result
    sources = json.loads(result.files[_SOURCES]) | {"checkpoint": checkpoint}
    text = json.dumps(sources, indent=1) + "\n"
    return CellResult(rows=result.rows, files={**result.files, _SOURCES: text.encode()})


def _other_versions() -> str:
    return (
        f"the machine that ran it has circuitkit {installed_version()} and torch "
        f"{torch.__version__}, the study was started with others. Install the same everywhere."
    )
