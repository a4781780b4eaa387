"""Fold the attention of a layer: where its heads look, and what they write.

A head whose scores do not move attends evenly: with a sink, what it gives to positions depends on
the position alone, and what its ablated values write with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit.folded_circuit import Look, Term, variable
from circuitkit.exports.fold_sums import Input, LinearMap, fold_sums
from circuitkit.exports.folding import Folding, Rows
from circuitkit.model.transformer import Attention
from circuitkit.nodes import Node

_CELLS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A head: the kept channels that move, and what its ablated values write per unit of mass."""

    number: int
    moving: dict[str, list[int]]
    spread: Float[Tensor, " d_model"]
    sink: float | None

    @property
    def is_patterned(self) -> bool:
        """Whether its scores move."""
        return bool(self.moving["q"] or self.moving["k"])


def fold_mixes(folding: Folding, layer: int) -> None:
    """Settle what the attention of a layer writes."""
    block = folding.model.layers[layer].attn
    weight, bias = folding.folded.weight(block.sites["resid_delta"])
    weight = weight.double()
    base = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias.double()
    inputs: list[Input] = []
    for number in range(block.n_head):
        head = _head(folding, block, number, weight)
        if head.sink is None:
            base = base + head.spread
        inputs += _inputs(folding, block, head, layer, weight)
    n_kept = block.n_kept.get("resid_delta")
    fold_sums(folding, LinearMap(
        site=block.sites["resid_delta"], base=base, inputs=inputs, n_kept=n_kept
    ))  # fmt: skip


def _head(folding: Folding, block: Attention, number: int, weight: Tensor) -> _Head:
    own = range(number * block.d_head, (number + 1) * block.d_head)
    return _Head(
        number=number,
        moving={p: [c for c in folding.moving(block.sites[p]) if c in own] for p in "qkv"},
        spread=weight[:, own] @ folding.resting(block.sites["v"])[own],
        sink=float(block.attn_imp.sink_logit[number]) if hasattr(block, "attn_imp") else None,
    )


def _inputs(
    folding: Folding, block: Attention, head: _Head, layer: int, weight: Tensor
) -> list[Input]:
    """What a head gives to the write: its values as it sees them, and its mass."""
    look = _look(folding, block, head, layer)
    has_mass = head.sink is not None and bool(head.spread.any())
    inputs = []
    if has_mass and not head.is_patterned:
        inputs.append(_even_mass(folding, look, head))
    if not (head.moving["v"] or (has_mass and head.is_patterned)):
        return inputs
    folding.steps.append(look)
    nodes = [Node(block.sites["v"], c) for c in head.moving["v"]]
    mass, *mixes = _attend(folding, look, [folding.values[node] for node in nodes])
    inputs += [
        Input(values=mix, value=variable(node), look=look.name, weights=weight[:, node.channel])
        for node, mix in zip(nodes, mixes, strict=True)
    ]
    if has_mass and head.is_patterned:
        inputs.append(Input(values=mass, value=None, look=look.name, weights=head.spread))
    return inputs


def _even_mass(folding: Folding, look: Look, head: _Head) -> Input:
    """What a head that attends evenly gives to positions: a column."""
    seen = torch.arange(1, folding.n_positions + 1, dtype=torch.float64)
    mass = torch.sigmoid(look.constant / look.d_head**0.5 - (head.sink or 0.0) + seen.log())
    name = f"mass{look.layer}_{look.head}"
    folding.by_position[name] = mass
    return Input(
        values=mass[folding.position], value=name, weights=head.spread, is_by_position=True
    )


def _look(folding: Folding, block: Attention, head: _Head, layer: int) -> Look:
    """The step that computes where a head looks; without a sink, what shifts all scores is left."""
    q, k = (folding.resting(block.sites[place]) for place in "qk")
    own = slice(head.number * block.d_head, (head.number + 1) * block.d_head)
    queries, keys = (
        {c: variable(Node(block.sites[place], c)) for c in head.moving[place]} for place in "qk"
    )
    has_sink = head.sink is not None
    alone = {c: name for c, name in queries.items() if c not in keys and has_sink}
    return Look(
        name=f"look{layer}_{head.number}", layer=layer, head=head.number,
        constant=float((q * k)[own].sum()) if has_sink else 0.0,
        queries=tuple(Term(weight=float(k[c]), value=name) for c, name in alone.items() if k[c]),
        keys=tuple(
            Term(weight=float(q[c]), value=name)
            for c, name in keys.items() if c not in queries and q[c]
        ),
        products=tuple((name, keys[c]) for c, name in queries.items() if c in keys),
        d_head=block.d_head, sink=head.sink,
    )  # fmt: skip


def _attend(folding: Folding, look: Look, values: list[Rows]) -> list[Rows]:
    """The mass that a head gives to positions, then what it sees of each value."""
    grid, last = folding.prompts.prefixes.grid, folding.prompts.pairs.last
    found = [torch.zeros(len(folding.start), dtype=torch.float64) for _ in (None, *values)]
    seq = grid.shape[1]
    for some in torch.arange(len(grid)).split(max(1, _CELLS_AT_ONCE // seq**2)):
        rows = grid[some]
        weights = _softmax(folding, look, rows)
        is_read = torch.arange(seq) <= last[some, None]
        seen = [weights.sum(2), *((weights @ v[rows][:, :, None])[:, :, 0] for v in values)]
        for all_rows, part in zip(found, seen, strict=True):
            all_rows[rows[is_read]] = part[is_read]
    return found


def _softmax(folding: Folding, look: Look, rows: Tensor) -> Float[Tensor, "batch seq seq"]:
    named = {variable(node): values for node, values in folding.values.items()}
    seq = rows.shape[1]
    score = torch.full((len(rows), seq, seq), look.constant, dtype=torch.float64)
    for term in look.queries:
        score += term.weight * named[str(term.value)][rows][:, :, None]
    for term in look.keys:
        score += term.weight * named[str(term.value)][rows][:, None, :]
    for q, k in look.products:
        score += named[q][rows][:, :, None] * named[k][rows][:, None, :]
    unseen = torch.ones(seq, seq, dtype=torch.bool).triu(1)
    score = (score / look.d_head**0.5).masked_fill(unseen, -torch.inf)
    if look.sink is not None:
        score = torch.cat([score, score.new_full((len(rows), seq, 1), look.sink)], 2)
    return score.softmax(2)[:, :, :seq]
