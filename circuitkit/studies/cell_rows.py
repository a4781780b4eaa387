"""What the rows of a cell say of its inputs, and of a cell without a result.

In: a cell, its checkpoint. Out: columns by name (``result_columns``).
"""

from __future__ import annotations

from typing import Any

import torch

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.competence_json import MAX_LOSS_NATS, MIN_ACCURACY
from circuitkit.competence.measure import measure_competence
from circuitkit.distribution import installed_version
from circuitkit.extraction import ExtractConfig
from circuitkit.studies.cells import Cell
from circuitkit.studies.result_columns import Row, row_of

_LARGEST = 2**53
"""Up to here a float holds every whole number."""


def error_rows(cell: Cell, message: str, outcome: str = "error") -> list[Row]:
    """The rows of a cell without a result, one for every rung that it was to give."""
    common = asked_of(cell) | {"outcome": outcome, "error": message}
    rungs = cell.settings.get("rungs", [None])
    return [row_of(**common, rung=rung) for rung in rungs]


def asked_of(cell: Cell) -> dict[str, Any]:
    """What the cell was asked, and of whom."""
    settings = cell.settings
    is_training = cell.kind == "training"
    return {
        "cell": cell.sha256,
        "kind": cell.kind,
        **cell.names,
        "checkpoint_sha256": cell.model.sha256,
        "task_sha256": cell.task_sha256,
        "method": settings.get("method"),
        "seed": settings["seed"],
        "target_loss_nats": settings.get("target_loss_nats"),
        "device": settings["run"]["device"] if is_training else settings["device"],
        "circuitkit_version": installed_version(),
        "torch_version": torch.__version__,
    }


def about_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """The shape and the training of a checkpoint."""
    model, record = checkpoint.load_model(), checkpoint.training or {}
    parameters = list(model.parameters())
    loss, n_tokens = (_number(record.get(name)) for name in ("validation_loss_nats", "n_tokens"))
    return {
        "checkpoint_sha256": checkpoint.sha256,
        "n_layer": checkpoint.architecture.n_layer,
        "d_model": checkpoint.architecture.d_model,
        "n_parameters": sum(p.numel() for p in parameters),
        "n_nonzero": sum(int(p.count_nonzero()) for p in parameters),
        "validation_loss_nats": loss,
        "n_tokens": None if n_tokens is None else round(n_tokens),
    }


def _number(found: object) -> float | None:
    """A number of a record that anything may have written; None for whatever else is there."""
    return float(found) if isinstance(found, int | float) and abs(found) < _LARGEST else None


def why_not_done(checkpoint: Checkpoint, cell: Cell) -> str:
    """Why it is not said to do the task, by the rule of ``competence``; nothing if it does it."""
    assert cell.task is not None
    found = measure_competence(
        checkpoint, cell.settings["n_test"], tasks=[cell.task]
    ).tasks[0]  # fmt: skip
    if found.does or found.problem or found.accuracy is None or found.loss_nats is None:
        return found.problem or ""
    if found.accuracy.low is None:
        return (
            f"whether the checkpoint does the task is not known: its {found.n_pairs} test pairs "
            f"are of {found.n_templates} templates, too few for a lower bound of the accuracy. "
            "Raise n_test, or give a task with more templates."
        )
    return (
        f"the checkpoint does not do the task: lower bound of the accuracy "
        f"{found.accuracy.low:.3f}, expected at least {MIN_ACCURACY:.2f}; loss "
        f"{found.loss_nats.mean:.3f} nats, expected at most {MAX_LOSS_NATS}."
    )


def config_of(settings: dict[str, Any]) -> ExtractConfig:
    """The settings of an extraction as the verb takes them."""
    names = ("ablation", "restarts", "n_train", "n_select", "n_test")
    method = settings["method"]
    is_papers = method == "paper"
    n_points = settings["n_gradient_points"] if method in ("attribution", "random") else 1
    return ExtractConfig(
        method="pruning" if is_papers else method,
        schedule="paper" if is_papers else "dual",
        refine=not is_papers,
        on_average=is_papers,
        rung="trusted" if "trusted" in settings["rungs"] else "smallest",
        seed=settings["seed"],
        target_loss_nats=settings["target_loss_nats"],
        n_gradient_points=n_points,
        **{name: settings[name] for name in names},
    )
