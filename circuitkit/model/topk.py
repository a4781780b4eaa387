"""Activation top-k: keep the largest magnitudes of a vector, zero the rest.

Source: Gao et al. 2025, section A.1 (AbsTopK); ties are kept as ``torch.topk``
orders them, so that exactly ``n_kept`` channels survive.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def keep_largest(x: Float[Tensor, "*batch width"], n_kept: int) -> Float[Tensor, "*batch width"]:
    """The ``n_kept`` channels of largest magnitude along the last axis; others are zero.

    The gradient flows through the kept channels alone.
    """
    if n_kept >= x.shape[-1]:
        return x
    chosen = x.detach().abs().topk(n_kept, dim=-1, sorted=False).indices
    mask = torch.zeros_like(x).scatter_(-1, chosen, 1.0)
    return x * mask
