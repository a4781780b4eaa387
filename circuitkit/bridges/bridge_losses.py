"""The four losses of a bridged pair: what training lowers, and what is measured afterwards.

In: the two models, the bridges, a batch of text. Out: the sparse model's own loss; the normalised
squared error of both maps at every crossing; the KL divergence from the dense model's output to
that of a hybrid pass, which goes through one model up to a crossing and through the other from
there, in both directions. Source: Gao et al. 2025, section A.3. Where we differ: means over
crossings in place of sums, and a squared error is divided by the variance of its target, so that
1 is what a constant achieves (docs/bridges.md#choices).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.bridges.bridge_maps import Bridges
from circuitkit.bridges.crossings import logits_from, streams
from circuitkit.model import Transformer

_LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLosses:
    """The terms of one batch: losses and divergences in nats a token, errors as shares.

    ``nmse_to_sparse`` and ``nmse_to_dense`` are means over all crossings, the divergences are of
    one crossing.
    """

    own_nats: Float[Tensor, ""]
    nmse_to_sparse: Float[Tensor, ""]
    nmse_to_dense: Float[Tensor, ""]
    kl_to_sparse_nats: Float[Tensor, ""]
    kl_to_dense_nats: Float[Tensor, ""]


def normalised_error(
    found: Float[Tensor, "batch seq width"], target: Float[Tensor, "batch seq width"]
) -> Float[Tensor, ""]:
    """The squared error over the squared distance of the target from its mean over tokens."""
    error = (found - target).square().sum()
    return error / (target - target.mean((0, 1))).square().sum().clamp(min=_LEAST)


def divergence(
    dense: Float[Tensor, "batch seq vocab"], hybrid: Float[Tensor, "batch seq vocab"]
) -> Float[Tensor, ""]:
    """KL(dense ‖ hybrid) of the next token, the mean over tokens, in nats."""
    log_p, log_q = dense.log_softmax(-1).flatten(0, 1), hybrid.log_softmax(-1).flatten(0, 1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def hybrid_to_sparse(
    sparse: Transformer, bridges: Bridges, dense_stream: Tensor, tokens: Tensor, crossing: int
) -> Float[Tensor, "batch seq vocab"]:
    """The logits of a pass that is the dense model's up to a crossing, then the sparse one's."""
    return logits_from(sparse, bridges[crossing].encode(dense_stream), tokens, crossing)


def hybrid_to_dense(
    dense: Transformer, bridges: Bridges, sparse_stream: Tensor, tokens: Tensor, crossing: int
) -> Float[Tensor, "batch seq vocab"]:
    """The logits of a pass that is the sparse model's up to a crossing, then the dense one's."""
    return logits_from(dense, bridges[crossing].decode(sparse_stream), tokens, crossing)


def bridge_losses(
    sparse: Transformer,
    dense: Transformer,
    bridges: Bridges,
    rows: Int[Tensor, "batch seq"],
    crossing: int,
) -> BridgeLosses:
    """The terms of a batch, hybrid passes through one crossing; gradients reach all but ``dense``.

    ``rows`` are one token longer than what is read. Each direction's hybrid pass runs half of
    them, which costs half and is an estimate of the same mean.
    """
    tokens, targets = rows[:, :-1], rows[:, 1:]
    with torch.no_grad():
        of_dense = streams(dense, tokens)
        dense_logits = dense.unembed(of_dense[-1], tokens)
    of_sparse = streams(sparse, tokens)
    own = sparse.unembed(of_sparse[-1], tokens)
    pairs = list(zip(bridges, of_dense, of_sparse, strict=True))
    to_sparse = torch.stack([normalised_error(b.encode(d), s) for b, d, s in pairs])
    to_dense = torch.stack([normalised_error(b.decode(s), d) for b, d, s in pairs])
    half = len(tokens) // 2 or 1
    first, rest = slice(half), slice(len(tokens) - half, None)
    into_sparse = hybrid_to_sparse(
        sparse, bridges, of_dense[crossing][first], tokens[first], crossing
    )
    into_dense = hybrid_to_dense(dense, bridges, of_sparse[crossing][rest], tokens[rest], crossing)
    return BridgeLosses(
        own_nats=F.cross_entropy(own.flatten(0, 1), targets.flatten()),
        nmse_to_sparse=to_sparse.mean(),
        nmse_to_dense=to_dense.mean(),
        kl_to_sparse_nats=divergence(dense_logits[first], into_sparse),
        kl_to_dense_nats=divergence(dense_logits[rest], into_dense),
    )
