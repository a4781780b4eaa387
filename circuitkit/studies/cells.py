"""The cells of a study: each one training, or one extraction with its validation or by family.

In: a study. Out: its cells in a fixed order, each named by the SHA-256 of everything that goes
in: the checkpoint's hash with its reference and its training record, the task's, the settings, the
versions. Paths and names of files do not count. Every input is read here, so that what is missing
is one message before anything runs. The text that a training reads is not: of a folder or the
standard library its name counts alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from circuitkit.checkpoints import Checkpoint, bundled_checkpoints, load_checkpoint
from circuitkit.checkpoints.native import REFERENCE, TRAINING
from circuitkit.distribution import installed_version
from circuitkit.errors import CheckpointError, UsageError
from circuitkit.files import regular_file, sha256, sha256_file
from circuitkit.studies.study_toml import Method, Study, is_config
from circuitkit.task import builtin_tasks, load_task
from circuitkit.training import TrainingConfig, load_config

MOST_CELLS = 10_000
"""More need ``--yes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A checkpoint of a study: one that is there, or one that a cell of the study trains.

    ``identity`` is the SHA-256 of all that a cell reads of it, or of the training that makes it;
    ``sha256`` is the checkpoint's. ``where`` is its name or folder. Both are None until it is
    trained.
    """

    label: str
    identity: str
    sha256: str | None = None
    where: str | None
    config: TrainingConfig | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One independent piece of work.

    ``settings`` are what the extraction or the training is asked for, as plain values;
    ``task_name`` is the task as a table names it: a built-in name, or the name of its file.
    """

    kind: Literal["training", "extraction", "families"]
    model: Model
    task: str | None = None
    task_name: str | None = None
    task_sha256: str | None = None
    settings: dict[str, Any]

    @cached_property
    def sha256(self) -> str:
        """The hash of all that goes in."""
        inputs = {
            "versions": [installed_version(), version("torch")],
            "kind": self.kind,
            "model": self.model.identity,
            "task": self.task_sha256,
            "settings": self.settings,
        }
        return sha256(json.dumps(inputs, sort_keys=True).encode())

    @property
    def names(self) -> dict[str, str | None]:
        """What a table calls its checkpoint and its task; the hash does not hold them."""
        return {"checkpoint": self.model.label, "task": self.task_name}

    @property
    def label(self) -> str:
        """The cell in words, for progress and lists."""
        if self.kind == "training":
            return f"train {self.model.label}"
        s = self.settings
        by = " by family" if self.kind == "families" else ""
        return (
            f"{self.model.label}, {self.task_name}{by}, {s['method']}, {' and '.join(s['rungs'])}, "
            f"{s['target_loss_nats']} nats, seed {s['seed']}"
        )


def cells_of(study: Study, device: str = "cpu", *, yes: bool = False) -> list[Cell]:
    """Every cell of a study: trainings first, then extractions in the order of its file.

    Raises:
        UsageError: if there are more than 10,000 and ``yes`` is off.
        CheckpointError, ConfigError, TaskError: if a checkpoint, a training configuration or a
            task is missing or wrong.
    """
    n_cells = study.n_cells(len(builtin_tasks()))
    if n_cells > MOST_CELLS and not yes:
        raise UsageError(
            f"study {study.name} has {n_cells:,} cells, more than {MOST_CELLS:,}. Make the grid "
            "smaller, or add --yes to run them all."
        )
    models = [*_given(study, device), *_crossed(study, device)]
    labels = _told_apart([(model.label, model.identity) for model in models])
    models = [replace(model, label=label) for model, label in zip(models, labels, strict=True)]
    trainings = [_training(model) for model in models if model.config is not None]
    cells = [*trainings, *_extractions(study, models, device)]
    by_hash = {cell.sha256: cell for cell in reversed(cells)}  # two names may mean the same files
    return [*reversed(by_hash.values())]


def _told_apart(named: Sequence[tuple[str, str]]) -> list[str]:
    """The name of each hash; where two share one, with the first digits of the hash."""
    shared = Counter(name for name, _ in set(named))
    return [f"{name}-{sha[:8]}" if shared[name] > 1 else name for name, sha in named]


def _given(study: Study, device: str) -> Iterator[Model]:
    for name in study.checkpoints:
        if is_config(name):
            yield _to_train(load_config(name, [f"run.device={device}"]), None)
        else:
            found = load_checkpoint(name)
            yield Model(
                label=found.name, identity=_identity(found), sha256=found.sha256, where=found.where
            )


def _identity(checkpoint: Checkpoint) -> str:
    """The hash of a checkpoint with what lies beside its model; a bundled one comes with both."""
    beside = [checkpoint.path / name for name in (REFERENCE, TRAINING)]
    there = [regular_file(path, CheckpointError, "a file") for path in beside if path.exists()]
    if checkpoint.where in bundled_checkpoints() or not there:
        return checkpoint.sha256
    files = "".join(f"{path.name} {sha256_file(path)} " for path in there)
    return sha256(f"{checkpoint.sha256} {files}".encode())


def _crossed(study: Study, device: str) -> Iterator[Model]:
    """The models of every ``[[train]]``, each named after the keys that it sets."""
    for grid in study.train:
        for point in grid.points:
            keys = {"run.device": device, **grid.set, **point}
            config = load_config(grid.config, [f"{k}={json.dumps(v)}" for k, v in keys.items()])
            yield _to_train(config, _name(config.name, grid.axis, point))


def _name(base: str, axes: Sequence[Any], point: dict[str, Any]) -> str | None:
    """A name from the first key of every axis; None without axes."""
    first = dict.fromkeys(next(iter(axis.values[0]), "") for axis in axes)
    parts = [f"{key.rpartition('.')[2]}-{point[key]}" for key in first if key in point]
    return "-".join([base, *parts])[:64] if parts else None


def _to_train(config: TrainingConfig, name: str | None) -> Model:
    """``run.matmul`` "auto" depends on the machine: in a study it is float32."""
    run = config.run
    if run.matmul == "auto":
        run = run.model_copy(update={"matmul": "float32"})
    config = config.model_copy(update={"run": run, "name": name or config.name})
    return Model(
        label=config.name, where=None, config=config,
        identity=sha256(config.model_dump_json().encode()),
    )  # fmt: skip


def _training(model: Model) -> Cell:
    assert model.config is not None
    return Cell(kind="training", model=model, settings=model.config.model_dump(mode="json"))


def _extractions(study: Study, models: Sequence[Model], device: str) -> Iterator[Cell]:
    names = builtin_tasks() if study.tasks == "all" else study.tasks
    hashes = [load_task(name).sha256 for name in names]
    labels = _told_apart([(Path(n).name, sha) for n, sha in zip(names, hashes, strict=True)])
    tasks = list(zip(names, labels, hashes, strict=True))
    kind = "families" if study.by_family else "extraction"
    for model in models:
        for name, label, task_sha256 in tasks:
            for settings in _settings(study, device):
                yield Cell(
                    kind=kind, model=model, task=name, task_name=label,
                    task_sha256=task_sha256, settings=settings,
                )  # fmt: skip


def _settings(study: Study, device: str) -> Iterator[dict[str, Any]]:
    """The settings of every extraction of one task on one model."""
    for method in study.methods:
        for target in study.target_losses:
            for seed in study.seeds:
                yield {
                    "method": method, "target_loss_nats": target, "seed": seed,
                    "rungs": rungs_of(study, method), "validate": study.validate_,
                    "device": device, **study.extract.model_dump(),
                }  # fmt: skip


def rungs_of(study: Study, method: Method) -> list[str]:
    """The rungs that a method can reach, of those that the study asks for."""
    return [r for r in ("smallest", "trusted") if r in study.rungs
            and (r == "smallest" or method == "pruning")]  # fmt: skip
