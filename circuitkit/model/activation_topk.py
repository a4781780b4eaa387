"""Activation top-k: keep the largest magnitudes of a vector, zero the rest.

Source: Gao et al. 2025, section A.1 (AbsTopK). Where we differ: on a CPU the
smallest kept magnitude is found by numpy's vectorised sort, in blocks that stay
in cache, which is several times faster than ``torch.topk``; nonzero magnitudes
that tie with it are all kept. Numpy's partition is faster on thousands of
distinct values only, and many times slower where most are 0
(findings/partition-of-equal-values.sh).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

_BLOCK = 2**17
"""Elements worked on at a time: they stay in a core's cache."""

_WORTH_THREADS = 2**18


def keep_largest(x: Float[Tensor, "*batch width"], n_kept: int) -> Float[Tensor, "*batch width"]:
    """The ``n_kept`` channels of largest magnitude along the last axis; others are zero.

    The gradient flows through the kept channels alone.
    """
    return x if n_kept >= x.shape[-1] else _KeepLargest.apply(x, n_kept)


class _KeepLargest(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, n_kept: int) -> Tensor:
        on_cpu = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
        kept, mask = _by_sort(x, n_kept) if on_cpu else _by_topk(x, n_kept)
        ctx.save_for_backward(mask)
        return kept

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None


def _by_topk(x: Tensor, n_kept: int) -> tuple[Tensor, Tensor]:
    magnitude = x.abs()
    smallest = magnitude.topk(n_kept, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    mask = magnitude >= smallest
    return x * mask, mask


def _by_sort(x: Tensor, n_kept: int) -> tuple[Tensor, Tensor]:
    rows = x.detach().reshape(-1, x.shape[-1]).numpy()
    kept, mask = np.empty_like(rows), np.empty(rows.shape, dtype=np.bool_)
    n_threads = torch.get_num_threads() if rows.size >= _WORTH_THREADS else 1
    step = -(-len(rows) // n_threads) or 1
    parts = [slice(i, i + step) for i in range(0, len(rows), step)]

    def fill(part: slice) -> None:
        _fill(rows[part], kept[part], mask[part], n_kept)

    if n_threads == 1:
        for part in parts:
            fill(part)
    else:
        list(_pool(n_threads).map(fill, parts))
    return torch.from_numpy(kept).view(x.shape), torch.from_numpy(mask).view(x.shape)


def _fill(rows: NDArray, kept: NDArray, mask: NDArray[np.bool_], n_kept: int) -> None:
    """Write the kept values of ``rows`` to ``kept``, their places to ``mask``, by blocks."""
    width = rows.shape[1]
    step, place = max(1, _BLOCK // width), width - n_kept
    work = np.empty((min(step, len(rows)), width), rows.dtype)
    for i in range(0, len(rows), step):
        block, inside = rows[i : i + step], mask[i : i + step]
        magnitude = np.abs(block, out=work[: len(block)])
        magnitude.sort(axis=-1)
        smallest = magnitude[:, place : place + 1].copy()
        np.greater_equal(np.abs(block, out=magnitude), smallest, out=inside)
        np.multiply(block, inside, out=kept[i : i + step])


def smallest_kept(magnitude: Float[Tensor, "rows width"], n_kept: int) -> Float[Tensor, "rows 1"]:
    """The ``n_kept``-th largest of each row; the rows are reordered in place."""
    if magnitude.device.type != "cpu":
        return magnitude.topk(n_kept, dim=1, sorted=False).values.amin(1, keepdim=True)
    magnitude.numpy().sort(axis=1)
    place = magnitude.shape[1] - n_kept
    return magnitude[:, place : place + 1]


def ascending(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Sorted along the last axis. On a CPU numpy is tens of times faster than torch."""
    if x.device.type != "cpu":
        return x.sort(-1).values
    return torch.from_numpy(np.sort(x.detach().numpy(), axis=-1))


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads)
