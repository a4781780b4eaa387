"""Matrix products in bfloat16 while training, everything else in float32.

Inside ``bfloat16_matmuls`` each ``F.linear`` rounds its two operands to bfloat16
and widens its result, forward and backward; weights, gradients, sums, norms and
attention stay float32. Where we differ from autocast: results come back as
float32, so that element-wise work, which a CPU does slowly in bfloat16, is not
touched. Processors with matrix units multiply bfloat16 several times faster
than float32, others far slower: ``faster_in_bfloat16`` measures which this is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_CPU_UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""The last two are ARM's."""


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x16, w16 = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(x16, w16)
        y = (x16 @ w16.T).to(x.dtype)
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x16, w16 = ctx.saved_tensors
        (g,) = gradients
        g16 = g.to(torch.bfloat16)
        dx, dw = None, None
        if ctx.needs_input_grad[0]:
            dx = (g16 @ w16).to(g.dtype)
        if ctx.needs_input_grad[1]:
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
    """Whether this machine has units for such products: they are then 2 to 5 times as fast.

    By what it has and not by timing a product: a busy machine would choose now one and now
    the other, and two runs of one configuration end in other models.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.device(device).type == "cpu" and any(has.get(unit) for unit in _CPU_UNITS)
