"""Whether two tasks ask the same: by the cues and answers of their pairs, not by file bytes.

A checkpoint and two tasks go in, yes or no comes out. The cue of a pair is the tokens that one
of its prompts has more of than the other. Two prompts of the same tokens differ in their order:
then the cue is the stretch in which they differ. Two tasks ask the same when at least half of
the test pairs of one have the cue and the answers of some pair of the other.

Set on the 190 pairs of built-in tasks, tinypython-sparse, 64 test pairs each: 0.94 for
set_or_string and set_or_string_fixedvarname, 0.00 for all others. (The stretch alone separates
them as well, but where it holds names a task hardly resembles itself.)
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
    """A task as one checkpoint reads it, to compare other tasks with."""

    def __init__(self, checkpoint: Checkpoint, task: Task) -> None:
        self._checkpoint, self._task = checkpoint, task

    def is_asked_by(self, other: Task) -> bool:
        """Whether the other task is this one under another name, or nearly so.

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
    """The cues of each pair: for either side its own tokens, and its answer."""
    asked = checkpoint.ask(task, "test", n_pairs)
    sides, n = asked.sides(), len(asked)
    return [
        frozenset([(_cue(a, b), answer), (_cue(b, a), foil)])
        for (a, answer), (b, foil) in zip(sides[:n], sides[n:], strict=True)
    ]


def _cue(prompt: Tokens, other: Tokens) -> Tokens:
    """The tokens a prompt has more of than the other; if none, the stretch where they differ."""
    if Counter(prompt) == Counter(other):
        return _stretch(prompt, other)
    return tuple(sorted((Counter(prompt) - Counter(other)).elements()))


def _stretch(prompt: Tokens, other: Tokens) -> Tokens:
    """From the first position at which two prompts of one length differ to the last."""
    differ = [i for i, (a, b) in enumerate(zip(prompt, other, strict=True)) if a != b]
    return prompt[differ[0] : differ[-1] + 1]
