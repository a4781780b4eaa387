"""Whether two tasks ask the same: by what their pairs turn on, not by the bytes of a file.

A checkpoint and two tasks go in, yes or no comes out. A pair turns on its cue, the tokens
that one of its prompts has more of than the other, and on the two right answers. Two prompts
of the same tokens differ in their order: then the stretch in which they differ is the cue.
Two tasks ask the same when at least half of the test pairs of one turn on what some pair of
the other turns on.

Set on the 190 pairs of built-in tasks, tinypython-sparse, 64 test pairs each: 0.94 for
set_or_string and set_or_string_fixedvarname, 0.00 for all others. (The stretch alone tells
them apart as well, but where names lie within it a task hardly resembles itself.)
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from circuitkit.checkpoints import Checkpoint
from circuitkit.task import Task

SAME = 0.5
_PAIRS = 64
_FEW = 8
"""Of a task that shares half of its cues, none of so many is shared but once in 256."""

Tokens = tuple[int, ...]


class Question:
    """A task as one checkpoint is asked it, to hold other tasks against."""

    def __init__(self, checkpoint: Checkpoint, task: Task) -> None:
        self._checkpoint, self._task = checkpoint, task

    def is_asked_by(self, other: Task) -> bool:
        """Whether the other task is this one under another name, or a near twin of it.

        Raises:
            TaskError: if one of the two cannot be asked of the checkpoint.
        """
        if self._task.asks_sha256 == other.asks_sha256:
            return True
        return self.shared_by(other) >= SAME

    def shared_by(self, other: Task) -> float:
        """The share of one task's test pairs whose cue is one of the other's, the larger of two."""
        if set(_cues(self._checkpoint, other, _FEW)).isdisjoint(self._cues):
            return 0.0
        theirs = _cues(self._checkpoint, other, _PAIRS)
        return max(_share(self._cues, set(theirs)), _share(theirs, set(self._cues)))

    @cached_property
    def _cues(self) -> list[frozenset]:
        return _cues(self._checkpoint, self._task, _PAIRS)


def _share(cues: list[frozenset], among: set[frozenset]) -> float:
    return sum(cue in among for cue in cues) / len(cues)


def _cues(checkpoint: Checkpoint, task: Task, n_pairs: int) -> list[frozenset]:
    """What each pair turns on: for either side its own tokens, and its answer."""
    asked = checkpoint.ask(task, "test", n_pairs)
    sides, n = asked.sides(), len(asked)
    return [
        frozenset([(_cue(a, b), answer), (_cue(b, a), foil)])
        for (a, answer), (b, foil) in zip(sides[:n], sides[n:], strict=True)
    ]


def _cue(prompt: Tokens, twin: Tokens) -> Tokens:
    """What a prompt has more of than its twin; where it has as much of all, in what order."""
    if Counter(prompt) == Counter(twin):
        return _stretch(prompt, twin)
    return tuple(sorted((Counter(prompt) - Counter(twin)).elements()))


def _stretch(prompt: Tokens, twin: Tokens) -> Tokens:
    """From the first position at which two prompts of one length differ to the last."""
    differ = [i for i, (one, other) in enumerate(zip(prompt, twin, strict=True)) if one != other]
    return prompt[differ[0] : differ[-1] + 1]
