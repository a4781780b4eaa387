"""Competence: whether a checkpoint does a task, and whether a task can be asked of it."""
