"""Other changes of the same size: random directions, and the dense model's difference of means.

In: changes of the dense stream. Out: changes that are as large at every position and crossing.
Source: Gao et al. 2025, Figure 9 (random directions). That they are the same change turned, so that
sizes and signs over positions stay, is ours; so is the difference of means as a rival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.bridges.carry import Changes
from circuitkit.bridges.crossings import streams
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.model.other_prompt import shared_prefix, swapped
from circuitkit.nodes import FINAL_RESID

_PAIRS_A_BATCH = 16
_LEAST = 1e-30

Rotation = Mapping[int, Float[Tensor, "d_dense d_dense"]]
"""A rotation of the stream for every crossing."""


def rotations(crossings: Iterable[int], d_dense: int, n: int, seed: int) -> Iterator[Rotation]:
    """``n`` random rotations for each crossing; the same seed gives the same.

    All are equally likely: Q alone leans against what it turns, until the signs of R's diagonal
    are taken out of it (Mezzadri 2007).
    """
    generator, where = torch.Generator().manual_seed(seed), tuple(crossings)
    for _ in range(n):
        q, r = torch.linalg.qr(torch.randn(len(where), d_dense, d_dense, generator=generator))
        signs = r.diagonal(dim1=-2, dim2=-1).sign()
        yield dict(zip(where, q * signs[:, None], strict=True))


def rotated(changes: Changes, rotation: Rotation) -> dict[int, Tensor]:
    """Changes turned: a channel's direction becomes a random one, sizes and signs stay."""
    return {i: change @ rotation[i].to(change.device) for i, change in changes.items()}


@torch.no_grad()
def mean_differences(dense: Transformer, pairs: EncodedPairs) -> list[Float[Tensor, " d_dense"]]:
    """At every crossing, the stream on the b-side less that on the a-side, as a unit vector.

    The mean over pairs and over the positions from the first at which the two prompts differ.
    """
    pairs = pairs.to(dense.device)
    total = [torch.zeros(dense.arch.d_model, dtype=torch.float64)] * (2 * dense.arch.n_layer + 1)
    for some in pairs.by_length().split(_PAIRS_A_BATCH):
        batch = pairs[some]
        places = torch.arange(batch.tokens.shape[1], device=dense.device)
        after = (places >= shared_prefix(batch)[:, None]) & (places <= batch.last[:, None])
        after[len(batch) :] = False
        for i, stream in enumerate(streams(dense, batch.tokens)):
            other = swapped(batch, {FINAL_RESID: stream})[FINAL_RESID]
            total[i] = total[i] + (other - stream)[after].double().sum(0).cpu()
    return [(x / x.norm().clamp(min=_LEAST)).float() for x in total]


def along_means(changes: Changes, directions: list[Float[Tensor, " d_dense"]]) -> dict[int, Tensor]:
    """Changes of the same size along a direction for a-sides, against it for b-sides."""
    found = {}
    for i, change in changes.items():
        sizes = change.norm(dim=-1, keepdim=True)
        sign = torch.ones(len(change), 1, 1, device=change.device)
        sign[len(change) // 2 :] = -1.0
        found[i] = sign * sizes * directions[i].to(change.device)
    return found
