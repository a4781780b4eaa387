"""Pairs as the model reads them, and the one definition of the task loss.

In: padded tokens, with the two answers of every prompt. Out: per pair a loss in
nats, which is at least ln 2 for anything that cannot distinguish the two
prompts. Source: Gao et al. 2025, section 2.2; the two-sided form is ours
(docs/extraction.md#task-loss).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.task import Pair

LN2 = log(2)
"""The pair loss, in nats, of any predictor that does not distinguish the two prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPairs:
    """The prompts of n pairs, all a-sides first: row i and row n + i are a pair.

    Prompts are padded on the right, which a causal model cannot see from ``last``. ``pairs``
    are their source, ``notes`` remarks on how they were read.
    """

    tokens: Int[Tensor, "rows seq"]
    last: Int[Tensor, " rows"]
    answers: Int[Tensor, " rows"]
    foils: Int[Tensor, " rows"]
    templates: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        length = self.tokens.shape[1]
        n_templates = len(set(self.templates))
        return f"EncodedPairs({len(self)} pairs of {n_templates} templates, up to {length} tokens)"

    def __len__(self) -> int:
        return len(self.templates)

    def to(self, device: torch.device) -> EncodedPairs:
        """The same pairs with their tokens on a device; themselves if they are there."""
        if self.tokens.device == device:
            return self
        names = ("tokens", "last", "answers", "foils")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def __getitem__(self, chosen: slice | Int[Tensor, " some"]) -> EncodedPairs:
        """The chosen pairs, both sides."""
        pairs = torch.arange(len(self), device=self.tokens.device)[chosen]
        rows = torch.cat([pairs, pairs + len(self)])
        last = self.last[rows]
        return EncodedPairs(
            tokens=self.tokens[rows, : int(last.max()) + 1],
            last=last,
            answers=self.answers[rows],
            foils=self.foils[rows],
            templates=tuple(self.templates[i] for i in pairs.tolist()),
            pairs=tuple(self.pairs[i] for i in pairs.tolist()) if self.pairs else (),
        )

    def __add__(self, other: EncodedPairs) -> EncodedPairs:
        """The pairs of both."""
        seq = max(self.tokens.shape[1], other.tokens.shape[1])
        parts = (self, other)
        tokens = [F.pad(p.tokens, (0, seq - p.tokens.shape[1])).chunk(2) for p in parts]

        def sides(name: str) -> Tensor:
            halves = [getattr(p, name).chunk(2) for p in parts]
            return torch.cat([half[side] for side in (0, 1) for half in halves])

        return EncodedPairs(
            tokens=torch.cat([half[side] for side in (0, 1) for half in tokens]),
            last=sides("last"),
            answers=sides("answers"),
            foils=sides("foils"),
            templates=self.templates + other.templates,
            pairs=self.pairs + other.pairs,
        )

    def sides(self) -> list[tuple[tuple[int, ...], int]]:
        """The prompt and the right answer of every row, as ids."""
        rows = zip(self.tokens.tolist(), self.last.tolist(), self.answers.tolist(), strict=True)
        return [(tuple(row[: last + 1]), answer) for row, last, answer in rows]

    def by_length(self) -> Int[Tensor, " pairs"]:
        """The pairs' order by the longer prompt, shortest first: batches of it pad little."""
        return self.last.view(2, -1).amax(0).argsort(stable=True)

    def each(
        self, n_pairs: int, run: Callable[[EncodedPairs], Float[Tensor, "*kinds rows"]]
    ) -> Float[Tensor, "*kinds all_rows"]:
        """The result of ``run`` for every prompt, some pairs of similar length at a time.

        It is on the CPU, wherever the model is.
        Prompts of a task vary in length by a factor of two: in a batch padded to the longest,
        most tokens are padding.
        """
        order = self.by_length()
        parts = [run(self[some]).unflatten(-1, (2, -1)) for some in order.split(n_pairs)]
        return torch.cat(parts, dim=-1)[..., order.argsort()].flatten(-2).cpu()


def logit_differences(
    logits: Float[Tensor, "rows vocab"], pairs: EncodedPairs
) -> Float[Tensor, " rows"]:
    """The difference d = logit[answer] - logit[foil] at the last position, one a prompt."""
    pairs = pairs.to(logits.device)
    right = logits.gather(1, pairs.answers[:, None])
    return (right - logits.gather(1, pairs.foils[:, None]))[:, 0]


def hits(differences: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """1 for each prompt whose answer is preferred, 0 where the foil is.

    A tie is ½: a model that cannot distinguish two prompts has accuracy 0.5, not 0.
    """
    return (differences.sign() + 1) / 2


def agreement(
    differences: Float[Tensor, " rows"], others: Float[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """1 where both prefer the same answer, 0 where not, ½ where only one of them is a tie."""
    return 1 - (differences.sign() - others.sign()).abs() / 2


def pair_losses(differences: Float[Tensor, " rows"]) -> Float[Tensor, " pairs"]:
    """½ [softplus(-d_a) + softplus(-d_b)] in nats, one a pair."""
    return F.softplus(-differences).view(2, -1).mean(0)
