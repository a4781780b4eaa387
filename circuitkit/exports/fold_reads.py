"""Fold a read of the residual stream: norm, activation top-k, the kept channels.

Where no kept node has written yet, a read depends on the token alone: it is a column of a table,
norm and top-k included. Position channels are a column by position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.circuit.folded_circuit import Read, ReadRivals, Size, variable
from circuitkit.errors import CircuitError
from circuitkit.exports.folding import Folding, Rows
from circuitkit.exports.survival import Survival, alive_by_kind, smallest_kept, survival
from circuitkit.nodes import Node, Site

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """A kept channel before activation top-k, and which rows survive it.

    ``column`` holds it where it is one of a table, ``alive_kinds`` which rows of the table survive,
    where that is all it depends on.
    """

    node: Node
    values: Rows
    alive: Bool[Tensor, " rows"]
    rule: Survival
    column: Float[Tensor, " kinds"] | None = None
    alive_kinds: Bool[Tensor, " kinds"] | None = None


def fold_read(folding: Folding, site: Site) -> None:
    """Settle every kept channel that a block reads."""
    if not folding.nodes[site]:
        return
    n_kept = folding.folded.block(site).n_kept.get("act_in")
    read, smallest = _run(folding, site, n_kept)
    alive = read.abs() >= smallest[:, None]
    raws = [
        _raw(folding, Node(site, c), read[:, i], alive[:, i])
        for i, c in enumerate(folding.nodes[site])
    ]
    needs_rivals = any(raw.rule.needs_rivals for raw in raws)
    is_sized = folding.moved and (needs_rivals or any(raw.column is None for raw in raws))
    size = _size(folding, site) if is_sized else None
    for raw in raws:
        _name(folding, raw, size) if needs_rivals else _settle(folding, raw, size)
    if needs_rivals and n_kept is not None:
        limit = _rivals(folding, site, n_kept, size)
        folding.keep({raw.node: raw.values * raw.alive for raw in raws}, limit)
    elif n_kept is not None and (folding.arch.d_position or folding.moved):
        folding.observed += [variable(raw.node) for raw in raws]


def _run(folding: Folding, site: Site, n_kept: int | None) -> tuple[Tensor, Tensor]:
    """The kept channels as read, and the smallest magnitude that top-k keeps."""
    kept, read, smallest = list(folding.nodes[site]), [], []
    positions = position_reads(folding, site)
    for some in torch.arange(len(folding.start)).split(_ROWS_AT_ONCE):
        x = normed(folding, site, folding.channel_values(some))
        x = torch.cat([x, positions[folding.position[some]]], 1)
        read.append(x[:, kept])
        smallest.append(smallest_kept(x.abs(), n_kept))
    return torch.cat(read), torch.cat(smallest)


def normed(folding: Folding, site: Site, x: Float[Tensor, "n d_model"]) -> Tensor:
    """The stream through the norm of a site."""
    return _through(folding.folded.norm(site), x)


def _through(norm, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """A norm in float64, with the epsilon of float32."""
    if norm.kind == "none":
        return x
    if norm.kind == "layernorm":
        x = x - x.mean(1, keepdim=True)
    x = x / (x.square().mean(1, keepdim=True) + eps_of(norm)).sqrt() * norm.weight
    return x + norm.bias if norm.kind == "layernorm" else x


def eps_of(norm) -> float:
    """What a norm adds to the mean square."""
    return torch.finfo(torch.float32).eps if norm.eps is None else norm.eps


def position_reads(folding: Folding, site: Site) -> Float[Tensor, "positions d_position"]:
    """The position channels as read at a site; none where they are not concatenated."""
    if not folding.arch.d_position:
        return torch.zeros(folding.n_positions, 0, dtype=torch.float64)
    layer = folding.model.layers[site.layer]
    norm = layer.ln_p1 if site.block == "attn" else layer.ln_p2
    return _through(norm, folding.model.transformer.wpe.weight.double()[: folding.n_positions])


def _raw(folding: Folding, node: Node, values: Rows, alive: Tensor) -> _Raw:
    counts = folding.counts(node.site)
    rule = survival(values[counts].abs(), alive[counts])
    kind = _kind(folding, node)
    if kind is None:
        return _Raw(node=node, values=values, alive=alive, rule=rule)
    n = int(kind.max()) + 1
    alive_kinds = alive_by_kind(kind[counts], alive[counts], n)
    return _Raw(
        node=node, values=values, alive=alive,
        rule=rule if alive_kinds is None else Survival(),
        column=torch.zeros(n, dtype=torch.float64).index_put((kind,), values),
        alive_kinds=alive_kinds,
    )  # fmt: skip


def _kind(folding: Folding, node: Node) -> Int[Tensor, " rows"] | None:
    """What decides the value in each row: its position, its token, or more than that (None)."""
    if node.channel >= folding.arch.d_model:
        return folding.position
    return None if folding.moved else folding.start


def _settle(folding: Folding, raw: _Raw, size: Size | None) -> None:
    """A node that needs no computed limit: a number, a column, or a step."""
    column = raw.column
    if column is not None and raw.alive_kinds is not None:
        column = column * raw.alive_kinds
    if raw.rule.never or (column is not None and bool((column == column[0]).all())):
        folding.fold(raw.node, 0.0 if raw.rule.never or column is None else float(column[0]))
        return
    folding.values[raw.node] = raw.values * raw.alive
    _name(folding, replace(raw, column=column), size, raw.rule.limit)


def _name(folding: Folding, raw: _Raw, size: Size | None, limit: float | None = None) -> None:
    """Give a node its name: a step where the stream moves, else a column."""
    name = variable(raw.node)
    if raw.column is None:
        folding.steps.append(_read_step(folding, raw.node, size, limit))
        return
    is_token = raw.node.channel < folding.arch.d_model
    (folding.by_token if is_token else folding.by_position)[name] = raw.column
    if limit is not None:
        folding.steps.append(Read(name=name, channel=name, limit=limit))


def _read_step(folding: Folding, node: Node, size: Size | None, limit: float | None) -> Read:
    norm, c = folding.folded.norm(node.site), node.channel
    return Read(
        name=variable(node), channel=folding.channel(c), gain=gain_of(norm, c),
        shift=float(norm.bias[c]) if norm.kind == "layernorm" else 0.0,
        size=size.name if size else None, mean=size.mean if size else None, limit=limit,
    )  # fmt: skip


def gain_of(norm, c: int) -> float:
    """The weight of a norm for a channel."""
    return 1.0 if norm.kind == "none" else float(norm.weight[c])


def _label(site: Site) -> str:
    return f"{'a' if site.block == 'attn' else 'm'}{site.layer}"


def _size(folding: Folding, site: Site) -> Size | None:
    """The step that computes the size of the stream, with a column for what nothing has moved."""
    norm, label = folding.folded.norm(site), _label(site)
    if norm.kind == "none":
        return None
    still = folding.stream.index_fill(1, torch.tensor(list(folding.moved)), 0.0)
    folding.by_token[f"squares_{label}"] = still.square().sum(1)
    has_mean = norm.kind == "layernorm"
    if has_mean:
        folding.by_token[f"total_{label}"] = still.sum(1)
    step = Size(
        name=f"size_{label}", channels=tuple(folding.channel(c) for c in sorted(folding.moved)),
        squares=f"squares_{label}", total=f"total_{label}" if has_mean else None,
        width=folding.arch.d_model, eps=eps_of(norm),
    )  # fmt: skip
    folding.steps.append(step)
    return step


def _rivals(folding: Folding, site: Site, n_kept: int, size: Size | None) -> str:
    """The step that computes the limit of top-k; of channels that rest, only those near it."""
    norm, arch, label = folding.folded.norm(site), folding.arch, _label(site)
    if norm.kind == "layernorm" and folding.moved:
        raise CircuitError(
            f"which channels survive activation top-k at {site} depends, under LayerNorm, on all "
            f"{arch.d_model} channels; a program of the kept nodes cannot compute it. Export the "
            "circuit as graphml or node-link instead."
        )
    own = list(folding.nodes[site])
    movers = [c for c in folding.moved if c not in own]
    others = [c for c in range(arch.d_model) if c not in {*own, *folding.moved}]
    still = folding.stream if folding.moved else normed(folding, site, folding.stream)
    if folding.moved and norm.kind != "none":
        still = still * norm.weight
    places = [p for p in range(arch.d_position) if arch.d_model + p not in own]
    positions = position_reads(folding, site)
    for p in places:
        folding.by_position[f"p_{label}_{p}"] = positions[:, p]
    n_more = len(own) + len(movers) + len(places)
    above = max(0, n_kept - n_more - 1)
    ranked = still[:, others].abs().sort(dim=1, descending=True).values
    folding.still[f"still_{label}"] = ranked[:, above:n_kept]
    step = ReadRivals(
        name=f"limit_{label}", n=n_kept - above,
        own=tuple(variable(Node(site, c)) for c in own), still=f"still_{label}",
        moving=tuple((folding.channel(c), gain_of(norm, c)) for c in movers),
        positions=tuple(f"p_{label}_{p}" for p in places),
        size=size.name if size else None,
    )  # fmt: skip
    folding.steps.append(step)
    return step.name
