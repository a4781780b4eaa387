"""Leaks: how often less than the prompt predicts the right answer. No model is run.

In: a tokenizer and a task. Out: three shares: how often a classifier that sees only the last
token, only the count of each token, or only the number of tokens prefers the right answer to
its foil. It is fitted on pairs of the train split and tested on pairs of the test split, which
has other templates. Prompts are classified one by one, without the other prompt of the pair,
which a model does not see either.

The classifier is a logistic regression of right answer against foil, with one weight for each
feature and answer: score(answer) = W[:, answer] . features, loss
softplus(score(foil) - score(right)), a small ridge, W = 0 to begin with. Features without
information leave W at 0, where every prompt is a tie; a tie counts half.

What it cannot see: anything that is not a sum over tokens, such as two tokens having the same
count. A share near 0.5 means that no such sum predicts the answer, not that there is no
shortcut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit

from circuitkit.task.formats import Leaks
from circuitkit.task.pairs import Pair, Prompt
from circuitkit.task.tasks import Task

Encode = Callable[[str], Sequence[int]]
"""Text to token ids."""

RIDGE = 1e-3
MAX_STEPS = 300
TIE = 1e-9

_EVERY = "every prompt"
"""A feature that all bags share, so that a count can be compared with a threshold."""

Features = Mapping[Hashable, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One prompt as its tokens, with the two answers."""

    tokens: tuple[int, ...]
    right: tuple[int, ...]
    foil: tuple[int, ...]


def measure_leaks(encode: Encode, task: Task, n_pairs: int = 512) -> Leaks:
    """How often the last token, the bag of tokens or the length alone predicts the answer.

    Args:
        encode: a tokenizer's text to ids; prompts given as ids are taken as they are.
        task: the task; it needs pairs to fit on (train) and to test on (test).
        n_pairs: at most so many pairs of either split.

    Raises:
        TaskError: if one of the two splits is empty.
    """
    train = _asked(encode, task.up_to("train", n_pairs))
    test = _asked(encode, task.up_to("test", n_pairs))
    nearest = _Nearest({len(asked.tokens) for asked in train})
    return Leaks(
        last_token=_share(lambda tokens: {tokens[-1]: 1}, train, test),
        bag_of_tokens=_share(lambda tokens: {**Counter(tokens), _EVERY: 1}, train, test),
        length=_share(lambda tokens: {nearest(len(tokens)): 1}, train, test),
    )


def _asked(encode: Encode, pairs: Sequence[Pair]) -> list[_Asked]:
    sides = [side for pair in pairs for side in ((pair.a, pair.b), (pair.b, pair.a))]
    return [
        _Asked(
            tokens=prompt_tokens(encode, prompt),
            right=_answer_tokens(encode, prompt.answer),
            foil=_answer_tokens(encode, other.answer),
        )
        for prompt, other in sides
    ]


def _answer_tokens(encode: Encode, answer: str | int) -> tuple[int, ...]:
    """An answer is what the model reads: two texts of one token are one answer."""
    return (answer,) if isinstance(answer, int) else tuple(encode(answer))


def prompt_tokens(encode: Encode, prompt: Prompt) -> tuple[int, ...]:
    """A prompt's token ids, encoded unless it is ids already."""
    return tuple(encode(prompt.text)) if prompt.text is not None else prompt.tokens or ()


class _Nearest:
    """The nearest of some lengths, the shorter of two."""

    def __init__(self, lengths: set[int]) -> None:
        self._lengths = sorted(lengths)

    def __call__(self, length: int) -> int:
        return min(self._lengths, key=lambda seen: abs(seen - length))


def _share(
    view: Callable[[tuple[int, ...]], Features], train: list[_Asked], test: list[_Asked]
) -> float:
    """How often the right answer of ``test`` is preferred, given what ``view`` shows."""
    shown = [view(asked.tokens) for asked in train]
    columns = {f: i for i, f in enumerate(dict.fromkeys(f for row in shown for f in row))}
    answers = {a: i for i, a in enumerate(dict.fromkeys(asked.right for asked in train))}
    weights = _fit(_matrix(shown, columns), _signs(train, answers))
    asked = _matrix([view(asked.tokens) for asked in test], columns)
    differences = ((asked @ weights) * _signs(test, answers)).sum(1)
    wins, ties = differences > TIE, np.abs(differences) <= TIE
    return float((wins + 0.5 * ties).mean())


def _matrix(rows: Sequence[Features], columns: Mapping[Hashable, int]) -> csr_array:
    """One row a prompt, one column a known feature; the others are left out."""
    known = [{columns[f]: x for f, x in row.items() if f in columns} for row in rows]
    at = [i for i, row in enumerate(known) for _ in row]
    feature = [f for row in known for f in row]
    value = [x for row in known for x in row.values()]
    return csr_array((value, (at, feature)), shape=(len(rows), len(columns)), dtype=np.float64)


def _signs(asked: Sequence[_Asked], answers: Mapping[tuple[int, ...], int]) -> NDArray[np.float64]:
    """+1 at the right answer, -1 at the foil, one row a prompt; unknown answers have no column."""
    signs = np.zeros((len(asked), len(answers)))
    for i, prompt in enumerate(asked):
        if prompt.right in answers:
            signs[i, answers[prompt.right]] += 1
        if prompt.foil in answers:
            signs[i, answers[prompt.foil]] -= 1
    return signs


def _fit(features: csr_array, signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights, features by answers, of the smallest mean loss plus ridge."""
    transposed, n = features.T.tocsr(), len(signs)
    shape = transposed.shape[0], signs.shape[1]

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        differences = ((features @ flat.reshape(shape)) * signs).sum(1)
        loss = np.logaddexp(0, -differences).mean() + RIDGE / 2 * flat @ flat
        pull = -expit(-differences)[:, None] * signs / n
        return loss, (transposed @ pull).ravel() + RIDGE * flat

    start = np.zeros(shape[0] * shape[1])
    options = {"maxiter": MAX_STEPS}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(shape)
