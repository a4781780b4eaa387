"""The maps between two residual streams: an encoder and a decoder at every crossing.

In: streams of the dense model. Out: streams of the sparse one, and back. The encoder is linear
with a bias, then AbsTopK; the decoder is linear with a bias. No weight is made sparse.

Source: Gao et al. 2025, section 2.3 and its footnote 6. Where the paper is silent (biases, how
many channels AbsTopK keeps, the first values) the choices are ours: docs/bridges.md#choices.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitkit.bridges.crossings import crossing_names
from circuitkit.model.activation_topk import keep_largest


class Bridge(nn.Module):
    """The two maps of one crossing; the encoder keeps the ``n_kept`` largest magnitudes."""

    def __init__(self, d_dense: int, d_sparse: int, n_kept: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(d_dense, d_sparse)
        self.decoder = nn.Linear(d_sparse, d_dense)
        self.n_kept = n_kept

    def encode(self, x: Float[Tensor, "*batch d_dense"]) -> Float[Tensor, "*batch d_sparse"]:
        """A stream of the dense model as one of the sparse model."""
        return keep_largest(self.encoder(x), self.n_kept)

    def decode(self, x: Float[Tensor, "*batch d_sparse"]) -> Float[Tensor, "*batch d_dense"]:
        """A stream of the sparse model as one of the dense model."""
        return self.decoder(x)

    def carry(self, change: Float[Tensor, "*batch d_sparse"]) -> Float[Tensor, "*batch d_dense"]:
        """A change of the sparse stream as a change of the dense one: the bias drops out."""
        return change @ self.decoder.weight.T


class Bridges(nn.Module):
    """A bridge at every crossing, in the order of the forward pass.

    ``topk`` is the fraction of the sparse channels that an encoder keeps.
    """

    def __init__(self, n_layer: int, d_dense: int, d_sparse: int, topk: float) -> None:
        super().__init__()
        self.n_layer, self.d_dense, self.d_sparse, self.topk = n_layer, d_dense, d_sparse, topk
        n_kept = max(1, int(topk * d_sparse))
        names = crossing_names(n_layer)
        self.at = nn.ModuleList(Bridge(d_dense, d_sparse, n_kept) for _ in names)

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[Bridge]:
        return iter(self.at)  # pyright: ignore[reportReturnType]

    def __getitem__(self, crossing: int) -> Bridge:
        return self.at[crossing]  # pyright: ignore[reportReturnType]


def initial_bridges(n_layer: int, d_dense: int, d_sparse: int, topk: float) -> Bridges:
    """The bridges before their first step: zeros, since each map is one linear layer."""
    bridges = Bridges(n_layer, d_dense, d_sparse, topk)
    with torch.no_grad():
        for parameter in bridges.parameters():
            parameter.zero_()
    return bridges


def identity_bridges(n_layer: int, d_model: int) -> Bridges:
    """Maps that change nothing, between models of one width: what the laws are stated on."""
    bridges = Bridges(n_layer, d_model, d_model, topk=1.0)
    with torch.no_grad():
        for bridge in bridges:
            for linear in (bridge.encoder, bridge.decoder):
                linear.weight.copy_(torch.eye(d_model))
                linear.bias.zero_()
    return bridges
