"""Matrix products in bfloat16 while training, everything else in float32.

Inside ``bfloat16_matmuls`` each ``F.linear`` rounds its two operands to bfloat16
and widens its result, forward and backward; weights, gradients, sums, norms and
attention stay float32. Where we differ from autocast: results come back as
float32, so that element-wise work, which a CPU does slowly in bfloat16, is not
touched. Processors with matrix units multiply bfloat16 several times faster
than float32, others far slower: ``faster_in_bfloat16`` measures it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_PROBE = 512
_WORTH = 1.5


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x16, w16 = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(x16, w16)
        y = (x16 @ w16.T).to(x.dtype)
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x16, w16 = ctx.saved_tensors
        (g,) = gradients
        g16 = g.to(torch.bfloat16)
        dx = (g16 @ w16).to(g.dtype)
        dw = (g16.flatten(0, -2).T @ x16.flatten(0, -2)).to(g.dtype)
        return dx, dw, g.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None


class bfloat16_matmuls(TorchFunctionMode):  # noqa: N801 - a context manager
    """``with bfloat16_matmuls():`` every linear map multiplies in bfloat16."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs:
            return _Linear.apply(*args, *[None] * (3 - len(args)))
        return func(*args, **(kwargs or {}))


def faster_in_bfloat16(device: str) -> bool:
    """Whether a matrix product is worth rounding for on this machine, by timing one."""
    a = torch.ones(_PROBE, _PROBE, device=device)
    return _seconds(a) > _WORTH * _seconds(a.to(torch.bfloat16))


def _seconds(a: Tensor) -> float:
    def once() -> float:
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        return time.perf_counter() - began

    once()
    return median(once() for _ in range(5))
