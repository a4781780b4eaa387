"""The end of a circuit: the final read and the difference of two answer rows.

In: the tracked channels of the stream at the last position of every prompt. Out: its
logit difference. Of the unembedding only the difference of the two answers' rows is
needed, once for each distinct pair of answers. Source: ours
(docs/extraction.md#compiled-circuits).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.compiled.distinct_prompts import Prompts
from circuitkit.compiled.folded_model import FoldedModel
from circuitkit.compiled.residual_read import norm_scale
from circuitkit.model import EncodedPairs, Tap
from circuitkit.nodes import FINAL_RESID


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """How a pair of answers reads the stream: a direction, with the norm's weights, and offsets.

    ``pair`` is the index of each prompt's distinct pair of answers; ``offset`` is the share of
    its logit difference that comes from the biases and the bigram table.
    """

    pair: Int[Tensor, " batch"]
    direction: Float[Tensor, "answers d_model"]
    offset: Float[Tensor, " batch"]


class KeptAnswerRows:
    """Reads the kept channels of ``final_resid`` and compares the two answers."""

    def __init__(self, folded: FoldedModel, tracked: Tensor, kept: Tensor) -> None:
        self.folded, self.kept = folded, kept
        self.kept_at = torch.searchsorted(tracked, kept)
        self.fixed = folded.values[FINAL_RESID].double().index_fill(0, kept, 0.0)

    def __call__(
        self, x: Float[Tensor, "batch tracked"], prompts: Prompts, tap: Tap | None
    ) -> Float[Tensor, " batch"]:
        answers = prompts.recent.get("answers", lambda: self._compare(prompts.pairs))
        x = x.index_select(1, self.kept_at)
        x = x if tap is None else tap(FINAL_RESID, x)
        norm = self.folded.norm(FINAL_RESID)
        scale = norm_scale(norm, x, self.fixed.sum(), self.fixed.square().sum(), len(self.fixed))
        constant = answers.direction.double() @ self.fixed
        read = (x * answers.direction[:, self.kept][answers.pair]).sum(1)
        read = read + constant.to(x.dtype)[answers.pair]
        if scale.mean is not None:
            read = read - scale.mean[:, 0] * answers.direction.sum(1)[answers.pair]
        return read * scale.factor[:, 0] + answers.offset

    def _compare(self, pairs: EncodedPairs) -> _Answers:
        model, norm = self.folded.model, self.folded.norm(FINAL_RESID)
        both = torch.stack([pairs.answers, pairs.foils], 1)
        (answer, foil), pair = _unzip(both.unique(dim=0, return_inverse=True))
        row = model.lm_head.weight[answer] - model.lm_head.weight[foil]
        bias = model.final_logits_bias
        offset = bias[pairs.answers] - bias[pairs.foils]
        if norm.kind == "layernorm":
            offset = offset + (row @ norm.bias)[pair]
        if model.arch.bigram_table:
            token = pairs.tokens[torch.arange(len(pair), device=pair.device), pairs.last]
            table = model.bigram_table
            offset = offset + table[token, pairs.answers] - table[token, pairs.foils]
        direction = row if norm.kind == "none" else row * norm.weight
        return _Answers(pair=pair, direction=direction, offset=offset)


def _unzip(found: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
    distinct, index = found
    return (distinct[:, 0], distinct[:, 1]), index
