"""Fold a linear map: kept inputs are summed, the rest is a number, then activation top-k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit.folded_circuit import Sum, SumRivals, Term, variable
from circuitkit.exports.folding import Folding, Rows, rows_of
from circuitkit.exports.survival import Survival, smallest_kept, survival
from circuitkit.model.transformer import ACTIVATIONS
from circuitkit.nodes import Node, Site

_ROWS_AT_ONCE = 4096
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a linear map that moves: its values, how a term names it, its weights.

    One that ``is_by_position`` is a column of the table of positions.
    """

    values: Rows
    value: str | None
    look: str | None = None
    weights: Float[Tensor, " width"]
    is_by_position: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearMap:
    """What goes into a site: ``activation(base + sum of inputs)``, of which ``n_kept`` survive."""

    site: Site
    base: Float[Tensor, " width"]
    inputs: Sequence[Input]
    n_kept: int | None
    activation: str | None = None


def fold_linear(
    folding: Folding, target: Site, source: Site, activation: str | None = None
) -> None:
    """Settle the nodes of a site that read those of another."""
    weight, bias = folding.folded.weight(target)
    weight = weight.double()
    base = weight @ folding.resting(source) + (0 if bias is None else bias)
    inputs = [
        Input(values=folding.values[node], value=variable(node), weights=weight[:, node.channel])
        for node in (Node(source, c) for c in folding.moving(source))
    ]
    n_kept = folding.folded.block(target).n_kept.get(target.place)
    fold_sums(folding, LinearMap(
        site=target, base=base, inputs=inputs, n_kept=n_kept, activation=activation
    ))  # fmt: skip


def fold_sums(folding: Folding, linear: LinearMap) -> None:
    """Settle the kept nodes that a linear map computes."""
    kept = folding.nodes[linear.site]
    if not kept:
        return
    found, smallest = _run(folding, linear)
    alive, counts = found.abs() >= smallest[:, None], folding.counts(linear.site)
    rules = [survival(found[counts, i].abs(), alive[counts, i]) for i in range(len(kept))]
    needs_rivals = any(rule.needs_rivals for rule in rules)
    nodes = [Node(linear.site, c) for c in kept]
    for i, node in enumerate(nodes):
        if needs_rivals:
            folding.steps.append(_sum(folding, linear, node, None))
        else:
            _settle(folding, linear, node, found[:, i], alive[:, i], rules[i])
    if needs_rivals and linear.n_kept is not None:
        limit = _rivals(folding, linear, linear.n_kept)
        folding.keep({node: found[:, i] * alive[:, i] for i, node in enumerate(nodes)}, limit)
    elif linear.n_kept is not None and linear.inputs:
        folding.observed += map(variable, nodes)


def _run(folding: Folding, linear: LinearMap) -> tuple[Tensor, Tensor]:
    """The kept channels before top-k, and the smallest magnitude that it keeps."""
    kept, found, smallest = list(folding.nodes[linear.site]), [], []
    for some in torch.arange(len(folding.start)).split(_ROWS_AT_ONCE):
        y = linear.base.expand(len(some), -1)
        if linear.inputs:
            x = torch.stack([moving.values[some] for moving in linear.inputs], 1)
            y = y + x @ torch.stack([moving.weights for moving in linear.inputs])
        if linear.activation is not None:
            y = ACTIVATIONS[linear.activation](y)
        found.append(y[:, kept])
        smallest.append(smallest_kept(y.abs(), linear.n_kept))
    return torch.cat(found), torch.cat(smallest)


def _settle(
    folding: Folding, linear: LinearMap, node: Node, values: Rows, alive: Tensor, rule: Survival
) -> None:
    if rule.never:
        folding.fold(node, 0.0)
        return
    step = _sum(folding, linear, node, rule.limit)
    if not step.terms and isinstance(step.base, float) and rule.limit is None:
        folding.fold(node, float(values[0]))
        return
    folding.values[node] = values * alive
    if step.terms or rule.limit is not None or step.activation:
        folding.steps.append(step)
    else:
        folding.by_position[variable(node)] = folding.by_position.pop(str(step.base))


def _sum(folding: Folding, linear: LinearMap, node: Node, limit: float | None) -> Sum:
    """The step for a node; inputs by position become one column with the base."""
    c = node.channel
    base, column = float(linear.base[c]), torch.zeros(folding.n_positions, dtype=torch.float64)
    terms = []
    for moving in linear.inputs:
        weight = float(moving.weights[c])
        if weight and moving.is_by_position:
            column += weight * folding.by_position[str(moving.value)]
        elif weight:
            terms.append(Term(weight=weight, value=moving.value, look=moving.look))
    name = variable(node)
    if is_flat := bool((column - column[0]).abs().max() < _SAME):
        base += float(column[0])
    else:
        folding.by_position[f"base_{name}"] = base + column
    return Sum(
        name=name, base=base if is_flat else f"base_{name}", terms=tuple(terms),
        activation=linear.activation, limit=limit,
    )  # fmt: skip


def _rivals(folding: Folding, linear: LinearMap, n_kept: int) -> str:
    """The step that computes the limit of top-k; of channels that rest, only those near it."""
    kept = torch.tensor(folding.nodes[linear.site])
    weights = torch.stack([moving.weights for moving in linear.inputs], 1)
    moves = (weights != 0).any(1).index_fill(0, kept, True)
    rests = linear.base[~moves]
    activation = ACTIVATIONS[linear.activation] if linear.activation else torch.abs
    rests = rests[activation(rests).abs().argsort(descending=True)]
    above = max(0, n_kept - int(moves.sum()) - 1)
    near = rests[above:n_kept]
    movers = moves.index_fill(0, kept, False)
    rows = torch.cat([linear.base[movers][:, None], weights[movers]], 1)
    still = torch.cat([near[:, None], near.new_zeros(len(near), weights.shape[1])], 1)
    step = SumRivals(
        name=f"limit_{variable(Node(linear.site, 0)).removesuffix('_0')}", n=n_kept - above,
        own=tuple(variable(Node(linear.site, int(c))) for c in kept),
        weights=rows_of(torch.cat([rows, still])),
        terms=tuple(Term(weight=1.0, value=m.value, look=m.look) for m in linear.inputs),
        activation=linear.activation,
    )  # fmt: skip
    folding.steps.append(step)
    return step.name
