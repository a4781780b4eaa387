"""Tasks: questions with two answers, their files and the pairs that ask them; no torch."""

from circuitkit.task.formats import Leaks
from circuitkit.task.pairs import SPLITS, Pair, Prompt, Split
from circuitkit.task.tasks import Task, builtin_tasks, load_task

__all__ = ["SPLITS", "Leaks", "Pair", "Prompt", "Split", "Task", "builtin_tasks", "load_task"]
