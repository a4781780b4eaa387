"""Fold a circuit into the numbers that a small program of it needs.

In: a model, the kept nodes, the ablation values, the pairs of the task. Out: a ``FoldedCircuit``.
What is ablated is a number, what depends on the token or the position alone a column of a table; a
node that never moves is folded away, one that moves nothing is left out. It is folded in float64,
independent of ``compiled``, and checked against that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit.folded_circuit import (
    Answers,
    FoldedCircuit,
    Key,
    Row,
    Tried,
    needed,
)
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.exports.fold_answers import fold_answers, folded_differences
from circuitkit.exports.fold_attention import fold_mixes
from circuitkit.exports.fold_reads import fold_read
from circuitkit.exports.fold_sums import fold_linear
from circuitkit.exports.folding import Folding, rows_of
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet, Site


def fold_circuit(
    model: Transformer, nodes: NodeSet, values: Mapping[Site, Tensor], pairs: EncodedPairs,
    texts: Sequence[str], example: int = 0,
) -> FoldedCircuit:  # fmt: skip
    """Fold the circuit of ``nodes`` over the prompts of ``pairs``, both sides.

    Args:
        model: the model; where edges are dropped, one with their weights cut.
        nodes: the nodes kept.
        values: what the other nodes are replaced by.
        pairs: prompts of the task; no other tokens are known to the program.
        texts: a text for each token id.
        example: which pair to show.

    Raises:
        CircuitError: if its activation top-k cannot be computed from the kept nodes.
    """
    shared = FoldedModel(model, values)
    folding = Folding(shared, nodes, shared.prepare(pairs))
    for layer in range(model.arch.n_layer):
        _fold_attention(folding, layer)
        _fold_mlp(folding, layer)
    answers = fold_answers(folding)
    compiled = CompiledCircuit(shared, nodes).differences(folding.prompts)
    return _folded(folding, answers, folded_differences(folding), compiled, texts, example)


def _fold_attention(folding: Folding, layer: int) -> None:
    sites = folding.model.layers[layer].attn.sites
    if folding.nodes[sites["resid_delta"]]:
        fold_read(folding, sites["act_in"])
        for place in "qkv":
            fold_linear(folding, sites[place], sites["act_in"])
        fold_mixes(folding, layer)
    folding.write(sites["resid_delta"])


def _fold_mlp(folding: Folding, layer: int) -> None:
    sites = folding.model.layers[layer].mlp.sites
    if folding.nodes[sites["resid_delta"]]:
        if folding.nodes[sites["post_act"]]:
            fold_read(folding, sites["act_in"])
            fold_linear(folding, sites["post_act"], sites["act_in"], folding.arch.activation)
        fold_linear(folding, sites["resid_delta"], sites["post_act"])
    folding.write(sites["resid_delta"])


def _folded(
    folding: Folding, answers: Answers, differences: Float[Tensor, " rows"], compiled: Tensor,
    texts: Sequence[str], example: int,
) -> FoldedCircuit:  # fmt: skip
    wanted = (*answers.channels, *(name for name in (answers.size, answers.mean) if name))
    steps, names = needed(folding.steps, wanted)
    token_columns = tuple(name for name in folding.by_token if name in names)
    position_columns = tuple(name for name in folding.by_position if name in names)
    keys = _keys(folding)
    tried, pairs = _tried(folding, differences), folding.prompts.pairs
    used = {t for prompt in tried for t in (*prompt.tokens, prompt.answer, prompt.foil)}
    return FoldedCircuit(
        token_columns=token_columns,
        tokens=_table(keys, [folding.by_token[name] for name in token_columns]),
        position_columns=position_columns,
        positions=_rows([folding.by_position[name] for name in position_columns]),
        still={
            name: dict(zip(keys, rows_of(table), strict=True))
            for name, table in folding.still.items() if name in names
        },
        steps=steps, answers=answers, texts={t: texts[t] for t in sorted(used)}, tried=tried,
        examples=(example, example + len(pairs)), constant=tuple(folding.constant),
        observed=tuple(name for name in folding.observed if name in names),
        compared=tuple(name for name in folding.compared if name in names),
        float32_error=float((differences - compiled).abs().max()),
    )  # fmt: skip


def _keys(folding: Folding) -> list[Key]:
    """What names a row of a table by token: the token, with its position where that is learned."""
    starts = folding.prompts.starts
    if folding.arch.positions == "learned":
        return list(zip(starts.token.tolist(), starts.position.tolist(), strict=True))
    return [(token,) for token in starts.token.tolist()]


def _table(keys: list[Key], columns: list[Tensor]) -> dict[Key, Row]:
    return dict(zip(keys, _rows(columns) or [()] * len(keys), strict=True))


def _rows(columns: list[Tensor]) -> tuple[Row, ...]:
    return tuple(zip(*(column.tolist() for column in columns), strict=True))


def _tried(folding: Folding, differences: Tensor) -> tuple[Tried, ...]:
    pairs = folding.prompts.pairs
    return tuple(
        Tried(tokens=tokens, answer=answer, foil=foil, difference=d)
        for (tokens, answer), foil, d in zip(
            pairs.sides(), pairs.foils.tolist(), differences.tolist(), strict=True
        )
    )
