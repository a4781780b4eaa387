"""Which tasks a checkpoint does: ``competence.json`` in its folder, read strictly, written whole.

In: what ``measure_competence`` found, or the file. Out: the same, bound by hash to the
weights and to each task it was measured on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from circuitkit.errors import CheckpointError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, first_problem

FORMAT = "circuitkit.competence/1"
FILE = "competence.json"

MIN_ACCURACY = 0.90
"""A model does a task if its accuracy's lower bound is at least this."""

MAX_LOSS_NATS = 0.35
"""And its mean loss is at most this, in nats; ln 2 = 0.69 is chance."""


class Interval(BaseModel):
    """A mean with its two-sided 90 % interval; None for a bound that is unknown."""

    model_config = STRICT
    mean: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None


class TaskCompetence(BaseModel):
    """How well a checkpoint does one task, or in ``problem`` why it cannot be asked.

    ``sha256`` is the task's.
    """

    model_config = STRICT
    task: str
    sha256: str
    n_pairs: NonNegativeInt
    n_templates: NonNegativeInt
    loss_nats: Interval | None
    accuracy: Interval | None
    does: bool
    problem: str | None

    @model_validator(mode="after")
    def _consistent(self) -> TaskCompetence:
        if len({self.loss_nats is None, self.accuracy is None, self.problem is not None}) > 1:
            raise ValueError("expected loss_nats and accuracy, or a problem instead of both")
        if self.does != does_task(self.loss_nats, self.accuracy):
            raise ValueError(f"does = {self.does} contradicts loss_nats and accuracy")
        return self


def does_task(loss_nats: Interval | None, accuracy: Interval | None) -> bool:
    """Accuracy's lower bound at least 0.90, mean loss at most 0.35 nats."""
    if loss_nats is None or accuracy is None or accuracy.low is None:
        return False
    return accuracy.low >= MIN_ACCURACY and loss_nats.mean <= MAX_LOSS_NATS


class Competence(BaseModel):
    """Every built-in task put to one checkpoint; ``sha256`` is the checkpoint's.

    ``n_pairs`` is how many test pairs of each task were asked for.
    """

    model_config = STRICT
    format: Literal["circuitkit.competence/1"] = FORMAT
    checkpoint: str
    sha256: str
    n_pairs: PositiveInt
    tasks: Annotated[tuple[TaskCompetence, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Competence:
        names = [row.task for row in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"task {twice[0]} is there twice")
        return self

    @property
    def done(self) -> list[str]:
        """The tasks that the checkpoint does."""
        return [row.task for row in self.tasks if row.does]

    @property
    def not_done(self) -> list[str]:
        """The tasks that it does not do, or cannot be asked."""
        open_ = self.not_known
        return [row.task for row in self.tasks if not row.does and row.task not in open_]

    @property
    def not_known(self) -> list[str]:
        """The tasks of which too few templates were asked to say."""
        return [
            row.task for row in self.tasks if row.accuracy is not None and row.accuracy.low is None
        ]

    def to_json(self) -> str:
        """The content of ``competence.json``."""
        return self.model_dump_json(indent=1) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write ``competence.json``, whole or not at all.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        write_whole(Path(folder) / FILE, self.to_json())

    @classmethod
    def load(cls, folder: str | Path) -> Competence | None:
        """Read ``competence.json``, None when there is none.

        Raises:
            CheckpointError: if it is no JSON, or holds an unknown key or a wrong value.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return None
        text = read_text(path, CheckpointError, "a table of tasks", limit=2**20)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CheckpointError(
                f"{path}: {first_problem(error)}. Expected {FORMAT}; delete it, or measure again "
                "with circuitkit checkpoints FOLDER --save."
            ) from None
