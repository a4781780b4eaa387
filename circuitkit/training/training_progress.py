"""How far a training run is: the numbers of a step, and what a person sees of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from circuitkit.progress import Progress
from circuitkit.training.train_config import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Where a run is after a step.

    The validation loss and the L0 fraction are those measured last, NaN before that.
    """

    stage: str
    done: int
    total: int
    loss_nats: float = math.nan
    validation_loss_nats: float = math.nan
    l0_fraction: float = math.nan


Report = Callable[[TrainingStep], None]


def shown_by(progress: Progress, config: TrainingConfig) -> Report:
    """Show each step by a bar or lines, counted in tokens, with the numbers beside it."""

    def report(step: TrainingStep) -> None:
        per_step = config.tokens_per_step if step.stage == "steps" else 1
        stage = "training (tokens)" if step.stage == "steps" else "tokens laid down"
        progress(stage, step.done * per_step, step.total * per_step, **numbers(step))

    return report


def numbers(step: TrainingStep) -> dict[str, str]:
    """The note beside the bar: loss, validation loss and L0, as far as they are measured."""
    if step.stage != "steps":
        return {}
    measured = {"validation": step.validation_loss_nats, "L0": step.l0_fraction}
    known = [f"{name} {value:.3f}" for name, value in measured.items() if not math.isnan(value)]
    return {"note": "  ".join([f"loss {step.loss_nats:.3f}", *known])}
