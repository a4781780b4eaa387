"""Which of the built-in tasks a checkpoint does: its loss and accuracy on each one's test split.

In: a checkpoint. Out: a ``Competence``. Leaks are left out: they do not depend on the weights.
A task that cannot be asked of the checkpoint is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.competence_json import Competence, Interval, TaskCompetence, does_task
from circuitkit.competence.ability import measure_ability
from circuitkit.errors import TaskError, UsageError
from circuitkit.files import shipped_folder
from circuitkit.model import Transformer
from circuitkit.progress import Progress, silent
from circuitkit.statistics.intervals import Estimate
from circuitkit.task import Task, builtin_tasks, load_task


@checked_call
def measure_competence(
    checkpoint: Checkpoint,
    n_pairs: int = 512,
    *,
    tasks: Sequence[str | Path] | None = None,
    progress: Progress = silent,
) -> Competence:
    """Run a checkpoint on tasks, ``n_pairs`` test pairs of each, or all that a task has.

    Args:
        checkpoint: whose model answers.
        n_pairs: the same pairs as those of ``tasks check``.
        tasks: names or files; None is every built-in task.
        progress: called after each task.

    Raises:
        CheckpointError: if the weights are wrong.
        TaskError: if a task's file is wrong.
        UsageError: if there is no task, no pair, or two tasks have one name.
    """
    asked = [load_task(name) for name in (builtin_tasks() if tasks is None else tasks)]
    names = [task.name for task in asked]
    if n_pairs < 1 or not asked or len(set(names)) < len(names):
        raise UsageError(
            f"measure_competence: got n_pairs={n_pairs} and tasks {', '.join(names) or 'none'}; "
            "expected at least one pair, and tasks of different names."
        )
    model, rows = checkpoint.load_model(), []
    for task in asked:
        progress("tasks", len(rows), len(asked))
        rows.append(_put(task, checkpoint, model, n_pairs))
    progress("tasks", len(rows), len(asked))
    return Competence(
        checkpoint=checkpoint.name, sha256=checkpoint.sha256, n_pairs=n_pairs, tasks=tuple(rows)
    )


def _put(task: Task, checkpoint: Checkpoint, model: Transformer, n_pairs: int) -> TaskCompetence:
    try:
        return _asked(task, checkpoint, model, n_pairs)
    except TaskError as error:
        return TaskCompetence(
            task=task.name,
            sha256=task.sha256,
            n_pairs=0,
            n_templates=0,
            loss_nats=None,
            accuracy=None,
            does=False,
            problem=str(error).replace(f"{shipped_folder('tasks')}/", ""),
        )


def _asked(task: Task, checkpoint: Checkpoint, model: Transformer, n_pairs: int) -> TaskCompetence:
    encoded = checkpoint.ask(task, "test", n_pairs)
    loss, accuracy = map(interval_of, measure_ability(model, encoded))
    return TaskCompetence(
        task=task.name,
        sha256=task.sha256,
        n_pairs=len(encoded),
        n_templates=len(set(encoded.templates)),
        loss_nats=loss,
        accuracy=accuracy,
        does=does_task(loss, accuracy),
        problem=None,
    )


def interval_of(estimate: Estimate) -> Interval:
    """An estimate as a file holds it."""
    low, high = estimate.bounds
    return Interval(mean=estimate.effect, low=low, high=high)
