"""Problems that the model does not do, on which a search may still find something.

In: a problem and a seed. Out: the same prompts with other labels, or the same labels with
another model. Source: docs/validation.md#search_null; the four kinds are those of the controls
that the published critique of pruned circuits asks for.

Our choices: the key token of a permutation occurs in a quarter to three quarters of the pairs,
so that the rule can be learned; tokens matched in frequency are drawn from the eight nearest,
again until the model itself is at chance on them.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.extraction.means import measure_means
from circuitkit.model import EncodedPairs
from circuitkit.model.per_pair import hits_of
from circuitkit.validation.controls.repeated_search import Problem, own_problem
from circuitkit.validation.search_trial import SearchTrial

_NEAREST = 8
_TRIES = 20
_CHANCE = (0.35, 0.65)
_SHARE = (0.25, 0.75)


def null_problem(trial: SearchTrial, i: int) -> Problem:
    """The ``i``-th problem, from 0; the four kinds in turn."""
    generator = torch.Generator().manual_seed(7919 * (trial.seed + 1) + i)
    return KINDS[i % len(KINDS)](trial, generator)


def unrelated_answers(trial: SearchTrial, generator: torch.Generator) -> Problem:
    """Each answer becomes a token about as frequent that has nothing to do with the task."""
    for _ in range(_TRIES):
        tokens = _matched_tokens(trial, generator)
        if tokens is None:
            return inverted_labels(trial, generator)
        train, select = (_mapped(pairs, tokens) for pairs in (trial.train, trial.select))
        few = select[: trial.search.learning.batch_pairs]
        accuracy = float(hits_of(tapped_differences(trial.model, few, None)).mean())
        if _CHANCE[0] <= accuracy <= _CHANCE[1]:
            break
    return replace(own_problem(trial), kind="unrelated answers", train=train, select=select)


def permuted_labels(trial: SearchTrial, generator: torch.Generator) -> Problem:
    """Answers are swapped in the pairs that hold a token drawn at random."""
    keys = _key_tokens(trial)
    if not len(keys):
        return inverted_labels(trial, generator)
    key = int(keys[torch.randint(len(keys), (1,), generator=generator)])
    train, select = (_swapped(pairs, _stands(pairs, key)) for pairs in (trial.train, trial.select))
    return replace(own_problem(trial), kind="permuted labels", train=train, select=select)


def inverted_labels(trial: SearchTrial, generator: torch.Generator) -> Problem:
    """Every wrong answer is right; the draws differ in the seed of the search alone."""
    train, select = (
        _swapped(pairs, torch.ones(len(pairs), dtype=torch.bool))
        for pairs in (trial.train, trial.select)
    )
    return replace(own_problem(trial), kind="inverted labels", train=train, select=select)


def permuted_weights(trial: SearchTrial, generator: torch.Generator) -> Problem:
    """The entries of every matrix are permuted within it; means are measured again."""
    model = deepcopy(trial.model)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    means = measure_means(model, trial.reference) if trial.means.ablation == "mean" else trial.means
    return replace(own_problem(trial), kind="permuted weights", model=model, means=means)


KINDS: tuple[Callable[[SearchTrial, torch.Generator], Problem], ...] = (
    unrelated_answers, permuted_labels, inverted_labels, permuted_weights,
)  # fmt: skip


def _matched_tokens(trial: SearchTrial, generator: torch.Generator) -> Tensor | None:
    """A map from every token to itself, but from each answer to one as frequent; None if short."""
    vocab = trial.model.arch.vocab_size
    counts = torch.bincount(trial.reference.flatten().long(), minlength=vocab).float()
    answers = torch.cat([trial.train.answers, trial.select.answers]).unique()
    tokens, free = torch.arange(vocab), torch.ones(vocab, dtype=torch.bool)
    free[answers] = False
    if int(free.sum()) < len(answers):
        return None
    for answer in answers.tolist():
        distance = (counts.log1p() - counts[answer].log1p()).abs()
        near = distance.masked_fill(~free, torch.inf).argsort(stable=True)
        near = near[: min(_NEAREST, int(free.sum()))]
        tokens[answer] = near[torch.randint(len(near), (1,), generator=generator)]
        free[tokens[answer]] = False
    return tokens


def _mapped(pairs: EncodedPairs, tokens: Int[Tensor, " vocab"]) -> EncodedPairs:
    return replace(pairs, answers=tokens[pairs.answers], foils=tokens[pairs.foils])


def _swapped(pairs: EncodedPairs, where: Bool[Tensor, " pairs"]) -> EncodedPairs:
    """Answer and foil change places in the pairs where it is so."""
    rows = where.repeat(2)
    return replace(
        pairs,
        answers=torch.where(rows, pairs.foils, pairs.answers),
        foils=torch.where(rows, pairs.answers, pairs.foils),
    )


def _key_tokens(trial: SearchTrial) -> Int[Tensor, " keys"]:
    """Tokens that occur in some pairs of both splits and not in others."""
    shares = [
        torch.stack([_stands(pairs, token) for token in range(trial.model.arch.vocab_size)])
        .double()
        .mean(1)
        for pairs in (trial.train, trial.select)
    ]
    fits = [(share >= _SHARE[0]) & (share <= _SHARE[1]) for share in shares]
    return (fits[0] & fits[1]).nonzero().flatten()


def _stands(pairs: EncodedPairs, token: int) -> Bool[Tensor, " pairs"]:
    """Whether a token occurs in either prompt of each pair; padding does not count."""
    read = torch.arange(pairs.tokens.shape[1]) <= pairs.last[:, None]
    return ((pairs.tokens == token) & read).any(1).view(2, -1).any(0)
