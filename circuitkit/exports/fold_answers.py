"""Fold the end of a circuit: the final norm, and of the unembedding the rows of the answers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit.folded_circuit import Answers, Size
from circuitkit.exports.fold_reads import eps_of, normed
from circuitkit.exports.folding import Folding, rows_of
from circuitkit.nodes import FINAL_RESID


def fold_answers(folding: Folding) -> Answers:
    """The rows of every answer, and what is added to them after each last token."""
    names = tuple(folding.channel(c) for c in folding.nodes[FINAL_RESID])
    norm = folding.folded.norm(FINAL_RESID)
    size = None
    if norm.kind != "none":
        fixed, has_mean = _fixed(folding), norm.kind == "layernorm"
        size = Size(
            name="size", channels=names, squares=float(fixed.square().sum()),
            total=float(fixed.sum()) if has_mean else None, width=len(fixed), eps=eps_of(norm),
        )  # fmt: skip
        folding.steps.append(size)
    pairs = folding.prompts.pairs
    ids = sorted({*pairs.answers.tolist(), *pairs.foils.tolist()})
    return Answers(
        channels=names, size=size.name if size else None, mean=size.mean if size else None,
        rows=dict(zip(ids, rows_of(_rows(folding, ids)), strict=True)),
        bigrams=_bigrams(folding, ids),
    )  # fmt: skip


def _fixed(folding: Folding) -> Float[Tensor, " d_model"]:
    kept = torch.tensor(folding.nodes[FINAL_RESID], dtype=torch.long)
    return folding.fixed[FINAL_RESID].index_fill(0, kept, 0.0)


def _rows(folding: Folding, ids: list[int]) -> Float[Tensor, "answers columns"]:
    model, norm = folding.model, folding.folded.norm(FINAL_RESID)
    row = model.lm_head.weight.double()[ids]
    added = model.final_logits_bias.double()[ids]
    if norm.kind == "layernorm":
        added = added + row @ norm.bias.double()
    if norm.kind != "none":
        row = row * norm.weight
    columns = [row[:, list(folding.nodes[FINAL_RESID])], (row @ _fixed(folding))[:, None]]
    if norm.kind == "layernorm":
        columns.append(-row.sum(1, keepdim=True))
    return torch.cat([*columns, added[:, None]], 1)


def _bigrams(folding: Folding, ids: list[int]) -> dict[int, tuple[float, ...]]:
    """The bigram table from every last token; nothing where it prefers none of the answers."""
    if not folding.arch.bigram_table:
        return {}
    pairs = folding.prompts.pairs
    last = sorted({tokens[-1] for tokens, _ in pairs.sides()})
    table = folding.model.bigram_table.double()[last][:, ids]
    if bool((table == table[:, :1]).all()):
        return {}
    return dict(zip(last, rows_of(table), strict=True))


def folded_differences(folding: Folding) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt, from the whole stream and not from the rows."""
    pairs, model = folding.prompts.pairs, folding.model
    kept = list(folding.nodes[FINAL_RESID])
    x = folding.fixed[FINAL_RESID].expand(len(folding.lasts), -1).clone()
    x[:, kept] = folding.channel_values(folding.lasts)[:, kept]
    row = model.lm_head.weight.double()
    row = row[pairs.answers] - row[pairs.foils]
    bias = model.final_logits_bias.double()
    d = (normed(folding, FINAL_RESID, x) * row).sum(1) + bias[pairs.answers] - bias[pairs.foils]
    if folding.arch.bigram_table:
        token = pairs.tokens[torch.arange(len(d)), pairs.last]
        d = d + model.bigram_table[token, pairs.answers] - model.bigram_table[token, pairs.foils]
    return d
