"""Which circuits are rivals of one: those of other tasks, of the same checkpoint.

In: circuits, and the tasks that are known. Out: the rivals, with notes on which
were left out because they ask the same, and which could only be compared by their files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from circuitkit.circuit import Circuit
from circuitkit.errors import TaskError
from circuitkit.task import Task, builtin_tasks, load_task
from circuitkit.validation.controls.same_question import Question


class Rivals(NamedTuple):
    """Circuits of other tasks, and notes on the choice."""

    circuits: tuple[Circuit, ...]
    notes: tuple[str, ...]


def rivals_among(
    others: Sequence[Circuit], circuit: Circuit, question: Question, tasks: Sequence[Task]
) -> Rivals:
    """Of these circuits, those whose task asks something else.

    A circuit whose task is neither given nor built in, or cannot be asked of the checkpoint,
    counts as a rival if its task's file is another.
    """
    at_hand = {task.sha256: task for task in tasks}
    rivals, same, by_file = [], [], []
    for other in others:
        if other.task.sha256 == circuit.task.sha256:
            continue
        task = at_hand.get(other.task.sha256) or _built_in(other)
        is_same = None if task is None else _is_same(question, task)
        if is_same:
            same.append(other.task.name)
            continue
        rivals.append(other)
        if is_same is None:
            by_file.append(other.task.name)
    notes = (
        *([f"asks the same: {', '.join(same)}, not counted as a rival"] if same else []),
        *([f"tasks known by their files alone: {', '.join(by_file)}"] if by_file else []),
    )
    return Rivals(tuple(rivals), notes)


def _built_in(circuit: Circuit) -> Task | None:
    """The built-in task of a circuit, if it is still the one that it was extracted for."""
    if circuit.task.name not in builtin_tasks():
        return None
    task = load_task(circuit.task.name)
    return task if task.sha256 == circuit.task.sha256 else None


def _is_same(question: Question, task: Task) -> bool | None:
    """None where the task cannot be asked of the checkpoint."""
    try:
        return question.is_asked_by(task)
    except TaskError:
        return None
