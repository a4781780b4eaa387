"""The study: a TOML file that asks one question of many circuits, read strictly.

In: a shipped name or a file of format ``circuitkit.study/1``. Out: a ``Study``. No torch.
Source: ours (docs/studies.md#the-file).
"""

from __future__ import annotations

import difflib
import tomllib
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from circuitkit.errors import ConfigError
from circuitkit.files import read_bounded
from circuitkit.provenance import MAX_SEED, STRICT, first_problem
from circuitkit.task import builtin_tasks

FORMAT = "circuitkit.study/1"
MAX_BYTES = 2**20

_FINITE = STRICT | ConfigDict(allow_inf_nan=False)

Method = Literal["pruning", "attribution", "random", "paper"]
RungName = Literal["smallest", "trusted"]
PlotName = Literal[
    "size_by_target", "sparse_by_dense", "size_by_method", "size_by_rung", "frontier", "mechanisms"
]
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Nats = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Overrides = dict[str, bool | int | float | str]


class TrainAxis(BaseModel):
    """What varies along one axis: each value sets some keys of the training configuration."""

    model_config = _FINITE
    values: Annotated[tuple[Overrides, ...], Field(min_length=1)]


class TrainGrid(BaseModel):
    """Models that the study trains: a configuration, keys set for all, and axes to cross."""

    model_config = _FINITE
    config: Text
    set: Overrides = {}
    axis: tuple[TrainAxis, ...] = ()

    @property
    def points(self) -> list[Overrides]:
        """The keys that each model sets, beside ``set``."""
        crossed = product(*(axis.values for axis in self.axis))
        return [{key: x for part in point for key, x in part.items()} for point in crossed]


class ExtractSettings(BaseModel):
    """Settings of every extraction and validation; what is left out is as ``extract`` has it."""

    model_config = _FINITE
    ablation: Literal["mean", "zero"] = "mean"
    restarts: Count = 4
    n_gradient_points: Count = 1
    n_train: Count = 1024
    n_select: Count = 192
    n_test: Count = 512
    reference_tokens: Count | None = None


class Study(BaseModel):
    """One question, and the grid of cells that answers it.

    ``checkpoints`` are bundled names, folders, or training configurations (``.toml``) that the
    study trains first; ``train`` crosses more of these. ``tasks`` is ``"all"`` for every
    built-in task. A study without tasks only trains. ``by_family`` asks for a circuit of every
    family of a task, and how they transfer; none of them is validated.

    Examples:
        >>> import circuitkit as ck
        >>> study = ck.load_study("trust")
        >>> study.checkpoints, study.rungs
        (('tinypython-nano',), ('smallest', 'trusted'))
    """

    model_config = _FINITE
    format: Literal["circuitkit.study/1"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    question: Text
    checkpoints: tuple[Text, ...] = ()
    train: tuple[TrainGrid, ...] = ()
    tasks: Literal["all"] | tuple[Text, ...] = "all"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    target_losses: Annotated[tuple[Nats, ...], Field(min_length=1)] = (0.15,)
    rungs: Annotated[tuple[RungName, ...], Field(min_length=1)] = ("smallest", "trusted")
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("pruning",)
    validate_: Annotated[Literal["none", "default", "thorough"], Field(alias="validate")] = (
        "default"
    )
    by_family: bool = False
    extract: ExtractSettings = ExtractSettings()
    plots: tuple[PlotName, ...] = ()

    @model_validator(mode="after")
    def _has_a_model(self) -> Study:
        if not self.checkpoints and not self.train:
            raise ValueError("neither checkpoints nor train names a model; give at least one")
        return self

    @model_validator(mode="after")
    def _each_value_once(self) -> Study:
        for name in ("checkpoints", "tasks", "seeds", "target_losses", "rungs", "methods", "plots"):
            values = getattr(self, name)
            twice = [] if values == "all" else [v for v in values if values.count(v) > 1]
            if twice:
                raise ValueError(f"{name} names {twice[0]!r} twice; name it once")
        return self

    @model_validator(mode="after")
    def _rungs_are_reached(self) -> Study:
        lower = [method for method in self.methods if method != "pruning"]
        if lower and "smallest" not in self.rungs:
            raise ValueError(
                f"method {lower[0]!r} reaches the rung 'smallest' alone, which rungs leaves out; "
                "add it to rungs"
            )
        return self

    @model_validator(mode="after")
    def _families_are_not_validated(self) -> Study:
        if self.by_family and self.validate_ != "none":
            raise ValueError(
                'a study by family compares circuits and validates none; set validate = "none"'
            )
        return self

    def n_cells(self, n_builtin_tasks: int) -> int:
        """How many cells there are, without making them."""
        trained = sum(prod(len(axis.values) for axis in grid.axis) for grid in self.train)
        configs = sum(is_config(name) for name in self.checkpoints)
        tasks = n_builtin_tasks if self.tasks == "all" else len(self.tasks)
        axes = (tasks, len(self.seeds), len(self.target_losses), len(self.methods))
        return trained + configs + (trained + len(self.checkpoints)) * prod(axes)


def is_config(checkpoint: str) -> bool:
    """Whether a checkpoint of a study is a training configuration, by its name."""
    return checkpoint.endswith(".toml")


def shipped_studies() -> dict[str, Path]:
    """The studies that ship, by name."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "shipped").glob("*.toml"))}


def load_study(study: str | Path | Study) -> Study:
    """Read a shipped study by its name, or a TOML file; a ``Study`` is returned as it is.

    Paths in a file are relative to its folder.

    Raises:
        ConfigError: if the file is missing or wrong, or a key unknown; the message names the
            key, the value and the nearest right key.

    Examples:
        >>> import circuitkit as ck
        >>> ck.load_study("trust").name
        'trust'
    """
    if isinstance(study, Study):
        return study
    shipped = shipped_studies()
    file = shipped.get(str(study), Path(study))
    if str(study) not in shipped and not file.exists():
        raise ConfigError(_no_such_study(study, list(shipped)))
    data = read_bounded(file, ConfigError, "a study (.toml)", limit=MAX_BYTES)
    try:
        raw = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not TOML: {error}. Fix the line it names.") from None
    try:
        read = Study.model_validate(_tuples(raw))
    except ValidationError as error:
        raise ConfigError(f"{file}: {first_problem(error)}{_hint(error)}") from None
    return _with_paths(read, file.resolve().parent)


def _no_such_study(study: str | Path, shipped: list[str]) -> str:
    near = difflib.get_close_matches(str(study), shipped, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"no such study: {study}; expected a .toml or one of {', '.join(shipped)}.{meant}"


def _with_paths(study: Study, folder: Path) -> Study:
    """Files and folders beside the study's file, as absolute paths; names that ship as they are."""

    def placed(name: str) -> str:
        is_file = (folder / name).exists() and not _ships(name)
        return str(folder / name) if is_file else name

    checkpoints = tuple(map(placed, study.checkpoints))
    tasks = "all" if study.tasks == "all" else tuple(map(placed, study.tasks))
    train = tuple(g.model_copy(update={"config": placed(g.config)}) for g in study.train)
    return study.model_copy(update={"checkpoints": checkpoints, "tasks": tasks, "train": train})


def _ships(name: str) -> bool:
    """Whether a checkpoint, a task or a configuration of this name comes with circuitkit."""
    from circuitkit.checkpoints import bundled_checkpoints  # needs torch, which a study does not
    from circuitkit.training import shipped_configs

    return name in {*bundled_checkpoints(), *builtin_tasks(), *shipped_configs()}


def _tuples(value: Any) -> Any:
    """TOML has lists only; strict tuples want tuples."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


_TABLES = {"train": TrainGrid, "axis": TrainAxis, "extract": ExtractSettings}


def _hint(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    if problem["type"] != "extra_forbidden":
        return ""
    tables = [_TABLES[part] for part in problem["loc"][:-1] if part in _TABLES]
    model = tables[-1] if tables else Study
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.3)
    return f". Did you mean {near[0]}?" if near else f". Known: {', '.join(known)}."
