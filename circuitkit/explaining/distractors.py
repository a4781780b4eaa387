"""Distractors: tokens that stand in both prompts of a pair and are the cue of other pairs.

In: encoded pairs. Out: for each pair that has some, which tokens. The cue of a pair is what one
prompt has and the other lacks, between their shared beginning and their shared end. A token is the
cue of an answer if it is so in at least ``LEAST`` of the pairs and always with that answer; one
that most pairs share distracts nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from circuitkit.model import EncodedPairs
from circuitkit.model.other_prompt import shared_prefix

LEAST, MOST = 1 / 32, 1 / 2
"""Of the pairs: in how many at least a token is the cue, and in how many at most it is shared."""


class _Split(NamedTuple):
    """The tokens of a pair: what only one prompt has, with its answer, and what both share."""

    only: tuple[tuple[set[int], int], ...]
    shared: set[int]


def find_distractors(pairs: EncodedPairs) -> dict[int, tuple[int, ...]]:
    """The distractors of every pair that has some, by the number of the pair."""
    n, starts = len(pairs), shared_prefix(pairs).tolist()
    prompts = [
        tokens[: last + 1].tolist() for tokens, last in zip(pairs.tokens, pairs.last, strict=True)
    ]
    answers_of = pairs.answers.tolist()
    split = [
        _split(prompts[i], prompts[i + n], starts[i], (answers_of[i], answers_of[i + n]))
        for i in range(n)
    ]
    answers, times = defaultdict(set), Counter[int]()
    for only, _ in split:
        for tokens, answer in only:
            times.update(tokens)
            for token in tokens:
                answers[token].add(answer)
    shared = Counter(token for each in split for token in each.shared)
    cues = {
        token
        for token, spoken in answers.items()
        if len(spoken) == 1 and times[token] >= LEAST * n and shared[token] <= MOST * n
    }
    found = ((i, tuple(sorted(cues & each.shared))) for i, each in enumerate(split))
    return {i: tokens for i, tokens in found if tokens}


def _split(a: list[int], b: list[int], n_start: int, answers: tuple[int, int]) -> _Split:
    n_end = _n_alike(a[n_start:][::-1], b[n_start:][::-1])
    in_a, in_b = set(a[n_start : len(a) - n_end]), set(b[n_start : len(b) - n_end])
    beside = {*a[:n_start], *a[len(a) - n_end :]}
    only = (in_a - in_b, answers[0]), (in_b - in_a, answers[1])
    return _Split(only, beside)


def _n_alike(x: Sequence[int], y: Sequence[int]) -> int:
    """How many elements two sequences have in common at the start."""
    agree = [s == t for s, t in zip(x, y, strict=False)]
    return agree.index(False) if False in agree else len(agree)
