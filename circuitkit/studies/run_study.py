"""Run a study: its cells through an engine, their rows into one table.

In: a study and a folder. Out: circuits, checkpoints, ``results.parquet``, plots and a page in
the folder. Trainings run first, the circuits of their checkpoints then. This process alone
writes results.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from circuitkit.arguments import checked_call
from circuitkit.errors import UsageError
from circuitkit.model.device import device_named
from circuitkit.progress import Progress, shown
from circuitkit.studies.cells import Cell, cells_of
from circuitkit.studies.local_engine import Done, LostError, run_local
from circuitkit.studies.results import StudyFolder, StudyResults
from circuitkit.studies.run_cell import CellResult, Work, error_rows, run_cell
from circuitkit.studies.study_page import write_page
from circuitkit.studies.study_toml import Study, load_study

Engine = Literal["local", "ray"]
Run = Callable[..., None]

MEMORY_BYTES = 2 * 2**30
"""What a cell asks a cluster for: cells of the bundled checkpoints stay below it."""


@checked_call
def run_study(
    study: str | Path | Study,
    out: str | Path,
    *,
    engine: Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    device: str = "cpu",
    resume: bool = False,
    yes: bool = False,
    progress: Progress | None = None,
) -> StudyResults:
    """Run every cell of a study that its folder lacks, and write its table, plots and page.

    Args:
        study: a shipped name, a TOML file, or a ``Study``.
        out: the folder to write.
        engine: processes of this machine, or tasks of Ray.
        workers: how many cells run at once; None is as many as there are cores.
        address: the Ray cluster to join; None starts one on this machine.
        device: where models compute: ``cpu``, ``cuda`` or ``cuda:N``.
        resume: go on with a study that was stopped: run what is missing or failed.
        yes: run more than 10,000 cells.
        progress: called after each cell; None shows a bar in a terminal or a notebook.

    Raises:
        ConfigError: if the study or a training configuration is wrong.
        CheckpointError, TaskError: if a checkpoint or a task is missing or wrong.
        UsageError: if ``out`` holds something else, the grid is too large, the engine is not
            there, or a result cannot be written.

    Examples:
        >>> import circuitkit as ck
        >>> results = ck.run_study("out/study.toml", "out/study", workers=1)
        >>> results.n_errors
        0
    """
    _check(engine, workers, address, device)
    if engine == "local":  # on a cluster, other machines compute
        device_named(device)
    loaded = load_study(study)
    cells = cells_of(loaded, device, yes=yes)
    folder = StudyFolder.claim(out, loaded, resume=resume)
    with shown(progress) as report:
        _Running(folder, cells, engine_of(engine, workers, address, device), report).run()
    results = StudyResults(folder.path, folder.write_results(cells))
    shutil.rmtree(folder.path / "work", ignore_errors=True)
    write_page(loaded, results)
    return results


def _check(engine: Engine, workers: int | None, address: str | None, device: str) -> None:
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: expected at least 1.")
    if address is not None and engine != "ray":
        raise UsageError(
            f"address {address!r} names a Ray cluster, but the engine is {engine!r}. Use engine "
            "'ray', or leave the address out."
        )
    if engine == "ray" and device.startswith("cuda:"):
        raise UsageError(
            f"device {device!r}: Ray gives every cell a GPU of its own. Use device 'cuda'."
        )


def engine_of(engine: Engine, workers: int | None, address: str | None, device: str) -> Run:
    """The function that runs cells: ``run(function, items, done)``.

    Raises:
        UsageError: if Ray is asked for and not installed.
    """
    if engine == "local":
        return lambda function, items, done: run_local(function, items, done, workers)
    return lambda _, items, done: _run_on_ray(items, done, workers, address, device)


def _run_on_ray(
    works: Sequence[Work], done: Done[Work, CellResult], workers: int | None,
    address: str | None, device: str,
) -> None:  # fmt: skip
    """Cells as Ray tasks, with their files: a machine of the cluster may not have this disk."""
    from circuitkit.studies.ray_engine import Needs, run_ray
    from circuitkit.studies.shipped_work import (
        checkpoint_files,
        largest_checkpoint_bytes,
        run_shipped,
        ship,
    )

    shipped = [ship(work) for work in works]
    memory = MEMORY_BYTES + largest_checkpoint_bytes(shipped)
    needs = Needs(memory_bytes=memory, gpus=float(device.startswith("cuda")))
    run_ray(
        run_shipped, shipped,
        lambda shipped, result: done(shipped.work, result),
        shared=checkpoint_files, workers=workers, address=address, needs=needs,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=False)
class _Running:
    folder: StudyFolder
    cells: Sequence[Cell]
    engine: Run
    progress: Progress

    def run(self) -> None:
        """Trainings, then all that needs their checkpoints; cells that are there are left."""
        missing = [cell for cell in self.cells if not self.folder.is_done(cell.sha256)]
        self.show(done := len(self.cells) - len(missing))
        trainings = [cell for cell in missing if cell.kind == "training"]
        for batch in (trainings, [cell for cell in missing if cell.kind != "training"]):
            done += self._run_batch(batch, done)

    def show(self, done: int, note: str = "") -> None:
        self.progress("cells", done, len(self.cells), note)

    def _run_batch(self, cells: Sequence[Cell], done: int) -> int:
        trained = {c.model.identity: c.sha256 for c in self.cells if c.kind == "training"}
        works, n_done = [], 0

        def keep(work: Work, result: CellResult | LostError) -> None:
            nonlocal n_done
            n_done += 1
            cell = work.cell
            if isinstance(result, LostError):
                result = CellResult(rows=error_rows(cell, str(result)), files={})
            self.folder.keep(cell.sha256, result.rows, result.files)
            self.show(done + n_done, cell.label)

        for cell in cells:
            where = cell.model.where
            if cell.kind != "training" and where is None:
                made = trained[cell.model.identity]
                if not self.folder.is_done(made):
                    lacking = "its checkpoint could not be trained; see the row of the training"
                    keep(_work(self.folder, cell, None), LostError(lacking))
                    continue
                where = str(self.folder.cell(made).resolve())
            works.append(_work(self.folder, cell, where))
        if works:
            self.engine(run_cell, works, keep)
        return len(cells)


def _work(folder: StudyFolder, cell: Cell, checkpoint: str | None) -> Work:
    return Work(cell=cell, checkpoint=checkpoint, folder=folder.work(cell.sha256).resolve())
