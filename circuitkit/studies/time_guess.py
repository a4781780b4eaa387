"""A guess of how long a study takes, before anything runs.

In: a study. Out: its cells, each with seconds on one core. Source: cells of ``tinypython-nano``
(docs/studies.md#time), scaled by the model's weights. It is a guess: tasks differ by a factor of
three or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from circuitkit.checkpoints import load_checkpoint
from circuitkit.model import Architecture, Transformer
from circuitkit.studies.cells import Cell, cells_of
from circuitkit.studies.local_engine import available_cores
from circuitkit.studies.study_toml import Study, load_study
from circuitkit.training import TrainingConfig

_NANO_WEIGHTS = 790_000
SECONDS = {"pruning": 60.0, "attribution": 30.0, "random": 30.0, "paper": 150.0}
"""One extraction up to the smallest circuit."""

SECONDS_TRUSTED = 80.0
SECONDS_VALIDATE = {"none": 0.0, "default": 15.0, "thorough": 600.0}
"""One validation, of one rung."""

BY_FAMILY = 2.5
"""The searches of a task's families, against one of the whole task."""

SECONDS_A_TOKEN = 1.0e-4
"""Of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellGuess:
    """A cell, and the seconds it may take on one core."""

    sha256: str
    label: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Every cell of a study, and what they take together."""

    cells: tuple[CellGuess, ...]
    core_seconds: float
    seconds: float
    workers: int


def guess_study(
    study: str | Path | Study, device: str = "cpu", workers: int | None = None, *, yes: bool = False
) -> Guess:
    """List the cells of a study with a guess of their time; nothing is run.

    Raises:
        ConfigError, CheckpointError, TaskError, UsageError: as ``run_study`` does.
    """
    cells = tuple(
        CellGuess(sha256=cell.sha256, label=cell.label, seconds=_seconds(cell))
        for cell in cells_of(load_study(study), device, yes=yes)
    )
    n = workers or available_cores()
    total = sum(cell.seconds for cell in cells)
    longest = max((cell.seconds for cell in cells), default=0.0)
    return Guess(cells=cells, core_seconds=total, seconds=max(total / n, longest), workers=n)


def _seconds(cell: Cell) -> float:
    config = cell.model.config
    scale = _n_weights(cell) / _NANO_WEIGHTS
    if cell.kind == "training":
        assert config is not None
        return config.run.n_tokens * SECONDS_A_TOKEN * scale
    settings = cell.settings
    rungs = settings["rungs"]
    search = SECONDS[settings["method"]] + ("trusted" in rungs) * SECONDS_TRUSTED
    if cell.kind == "families":
        return scale * search * BY_FAMILY
    return scale * (search + len(rungs) * SECONDS_VALIDATE[settings["validate"]])


def _n_weights(cell: Cell) -> int:
    """Weights of the cell's model, by its shape alone."""
    config: TrainingConfig | None = cell.model.config
    if config is not None:
        return n_weights(config.architecture)
    assert cell.model.where is not None
    return n_weights(load_checkpoint(cell.model.where).architecture)


def n_weights(arch: Architecture) -> int:
    """Weights of a transformer of this shape."""
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(arch).parameters())
