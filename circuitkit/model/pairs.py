"""Pairs as the model reads them, and the one definition of the task loss.

In: a task's pairs and a tokenizer. Out: padded tokens, and per pair a loss in
nats of which ln 2 is an exact floor for anything that cannot tell the two
prompts apart. Source: Gao et al. 2025, section 2.2; the two-sided form is ours
(EXTRACTION section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.errors import TaskError
from circuitkit.pairs import told_at
from circuitkit.task import Pair, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPairs:
    """The prompts of n pairs, all a-sides first: row i and row n + i are a pair.

    Prompts are padded on the right, which a causal model cannot see from ``last``.
    """

    tokens: Int[Tensor, "rows seq"]
    last: Int[Tensor, " rows"]
    answers: Int[Tensor, " rows"]
    foils: Int[Tensor, " rows"]
    templates: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.templates)

    def __getitem__(self, chosen: slice | Int[Tensor, " some"]) -> EncodedPairs:
        """The chosen pairs, both sides."""
        pairs = torch.arange(len(self))[chosen]
        rows = torch.cat([pairs, pairs + len(self)])
        last = self.last[rows]
        return EncodedPairs(
            tokens=self.tokens[rows, : int(last.max()) + 1],
            last=last,
            answers=self.answers[rows],
            foils=self.foils[rows],
            templates=tuple(self.templates[i] for i in pairs.tolist()),
        )

    def by_length(self) -> Int[Tensor, " pairs"]:
        """The pairs' order by the longer prompt, shortest first: batches of it pad little."""
        return self.last.view(2, -1).amax(0).argsort(stable=True)

    def each(
        self, n_pairs: int, run: Callable[[EncodedPairs], Float[Tensor, "*kinds rows"]]
    ) -> Float[Tensor, "*kinds all_rows"]:
        """What ``run`` tells of every prompt, some pairs of like length at a time.

        Prompts of a task differ in length by half: padded to the longest, most of a batch is
        padding.
        """
        order = self.by_length()
        parts = [run(self[some]).unflatten(-1, (2, -1)) for some in order.split(n_pairs)]
        return torch.cat(parts, dim=-1)[..., order.argsort()].flatten(-2)


def logit_differences(
    logits: Float[Tensor, "rows vocab"], pairs: EncodedPairs
) -> Float[Tensor, " rows"]:
    """The difference d = logit[answer] - logit[foil] at the last position, one a prompt."""
    right = logits.gather(1, pairs.answers[:, None])
    return (right - logits.gather(1, pairs.foils[:, None]))[:, 0]


def hits(differences: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """How right each prompt's answer is: 1, or 0 where the foil is preferred.

    A tie is ½: a model that cannot tell two prompts apart has accuracy 0.5, not 0.
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


def encode_pairs(
    pairs: Sequence[Pair], tokenizer, *, start_token: int | None, vocab_size: int, n_ctx: int
) -> EncodedPairs:
    """Tokenise pairs and pad them to a rectangle.

    ``tokenizer`` is a ``tokenizers.Tokenizer``, or None when prompts are token ids.

    Raises:
        TaskError: if a prompt does not fit the context, an answer is not one token,
            or a token id lies outside the vocabulary.
    """
    start = [] if start_token is None else [start_token]
    rows, right = [], []
    for pair, name in [*((pair, "a") for pair in pairs), *((pair, "b") for pair in pairs)]:
        side = pair.a if name == "a" else pair.b
        with told_at(pair.where(f"{name}.prompt")):
            row = start + encode_prompt(side, tokenizer, vocab_size)
            _check_length(row, side, n_ctx)
        with told_at(pair.where(f"{name}.answer")):
            right.append(encode_answer(side, tokenizer, vocab_size))
        rows.append(row)
    answers = torch.tensor(right)
    last = torch.tensor([len(row) - 1 for row in rows])
    tokens = torch.zeros(len(rows), int(last.max()) + 1, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return EncodedPairs(
        tokens=tokens,
        last=last,
        answers=answers,
        foils=torch.cat([answers[len(pairs) :], answers[: len(pairs)]]),
        templates=tuple(pair.template for pair in pairs),
    )


def encode_prompt(side: Prompt, tokenizer, vocab_size: int) -> list[int]:
    """The token ids of one prompt, without a start token."""
    if side.text is None:
        return [_checked(token, vocab_size) for token in side.tokens or ()]
    if tokenizer is None:
        raise TaskError("the task is text, but the checkpoint has no tokenizer.json to read it.")
    return tokenizer.encode(side.text, add_special_tokens=False).ids


def encode_answer(side: Prompt, tokenizer, vocab_size: int) -> int:
    """The token id of one answer."""
    if isinstance(side.answer, int):
        return _checked(side.answer, vocab_size)
    if tokenizer is None:
        raise TaskError("the task is text, but the checkpoint has no tokenizer.json to read it.")
    encoded = tokenizer.encode(side.answer, add_special_tokens=False)
    if len(encoded.ids) != 1:
        raise TaskError(
            f"the answer {side.answer!r} is {len(encoded.ids)} tokens for this checkpoint "
            f"({encoded.tokens}); expected exactly one. Choose another answer or checkpoint."
        )
    return encoded.ids[0]


def _check_length(row: Sequence[int], side: Prompt, n_ctx: int) -> None:
    if len(row) > n_ctx:
        shown = side.text or " ".join(map(str, side.tokens or ()))
        raise TaskError(
            f"a prompt is {len(row)} tokens, but the checkpoint reads at most {n_ctx}: "
            f"{shown[:60]!r}… Shorten the template or its draws."
        )
    if not row:
        raise TaskError(
            "a prompt is empty; expected at least one token. Add text before the answer."
        )


def _checked(token: int, vocab_size: int) -> int:
    if not 0 <= token < vocab_size:
        raise TaskError(
            f"token id {token} lies outside the checkpoint's vocabulary of {vocab_size}; "
            "the task was written for another tokenizer."
        )
    return token
