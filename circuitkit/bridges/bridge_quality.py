"""How well bridges do on held-out text: every crossing, both ways.

In: a bridged pair and text. Out: a ``BridgeQuality``; sums run in float64, over all of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from circuitkit.bridges.bridge_losses import divergence, hybrid_to_dense, hybrid_to_sparse
from circuitkit.bridges.bridge_maps import Bridges
from circuitkit.bridges.bridge_record import BridgeQuality, CrossingQuality
from circuitkit.bridges.crossings import crossing_names, streams
from circuitkit.model import Transformer

_ROWS_A_BATCH = 64
_LEAST = 1e-12


@dataclass(slots=True)
class _Error:
    """A squared error and the spread of its target, summed over batches."""

    error: float = 0.0
    squares: float = 0.0
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    n: int = 0

    def add(self, found: Tensor, target: Tensor) -> None:
        found, target = found.double().flatten(0, 1), target.double().flatten(0, 1)
        self.error += float((found - target).square().sum())
        self.squares += float(target.square().sum())
        self.total = self.total.to(target.device) + target.sum(0)
        self.n += len(target)

    @property
    def share(self) -> float:
        spread = self.squares - float(self.total.square().sum()) / self.n
        return self.error / max(spread, _LEAST)


@dataclass(slots=True)
class _Crossing:
    """The sums of one crossing."""

    to_sparse: _Error = field(default_factory=_Error)
    to_dense: _Error = field(default_factory=_Error)
    losses: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    divergences: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))


@torch.no_grad()
def measure_bridges(
    sparse: Transformer,
    dense: Transformer,
    bridges: Bridges,
    rows: Int[Tensor, "n length"],
) -> BridgeQuality:
    """Both maps and both hybrid passes at every crossing, on rows one token longer than is read."""
    sums = [_Crossing() for _ in range(len(bridges))]
    own = torch.zeros(2, dtype=torch.float64)
    for batch in rows.split(_ROWS_A_BATCH):
        own += _add_batch(sums, sparse, dense, bridges, batch.to(sparse.device))
    n = len(rows)
    return BridgeQuality(
        n_tokens=n * (rows.shape[1] - 1),
        dense_loss_nats=float(own[0]) / n,
        sparse_loss_nats=float(own[1]) / n,
        crossings=tuple(
            CrossingQuality(
                crossing=name,
                nmse_to_sparse=each.to_sparse.share,
                nmse_to_dense=each.to_dense.share,
                loss_to_sparse_nats=float(each.losses[0]) / n,
                loss_to_dense_nats=float(each.losses[1]) / n,
                kl_to_sparse_nats=float(each.divergences[0]) / n,
                kl_to_dense_nats=float(each.divergences[1]) / n,
            )
            for name, each in zip(crossing_names(bridges.n_layer), sums, strict=True)
        ),
    )


def _add_batch(
    sums: list[_Crossing], sparse: Transformer, dense: Transformer, bridges: Bridges, rows: Tensor
) -> Tensor:
    """Add a batch to the sums; the losses of the dense and of the sparse model, times its rows."""
    tokens, targets = rows[:, :-1], rows[:, 1:]
    of_dense, of_sparse = streams(dense, tokens), streams(sparse, tokens)
    dense_logits = dense.unembed(of_dense[-1], tokens)

    def loss(logits: Tensor) -> float:
        return cross_entropy(logits.flatten(0, 1), targets.flatten()).item() * len(rows)

    for i, (each, d, s) in enumerate(zip(sums, of_dense, of_sparse, strict=True)):
        each.to_sparse.add(bridges[i].encode(d), s)
        each.to_dense.add(bridges[i].decode(s), d)
        into = (
            hybrid_to_sparse(sparse, bridges, d, tokens, i),
            hybrid_to_dense(dense, bridges, s, tokens, i),
        )
        for way, logits in enumerate(into):
            each.losses[way] += loss(logits)
            each.divergences[way] += divergence(dense_logits, logits).item() * len(rows)
    alone = loss(dense_logits), loss(sparse.unembed(of_sparse[-1], tokens))
    return torch.tensor(alone, dtype=torch.float64)
