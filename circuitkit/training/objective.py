"""What training lowers: the loss of the next token, and the gradient's size beside it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from circuitkit.model import Transformer


def next_token_loss(model: Transformer, rows: Int[Tensor, "batch seq"]) -> Float[Tensor, ""]:
    """Mean cross entropy in nats of every token but the first."""
    logits = model(rows[:, :-1])
    return cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model: Transformer, tokens: NDArray[np.uint16]) -> float:
    """Mean cross entropy in nats over all of a shard, in windows of n_ctx."""
    rows = windows_of(tokens, model.arch.n_ctx)
    batches = rows.split(64)
    losses = [
        next_token_loss(model, batch.to(model.device)).item() * len(batch) for batch in batches
    ]
    return sum(losses) / len(rows)


def windows_of(tokens: NDArray[np.uint16], n_ctx: int) -> Int[Tensor, "windows length"]:
    """A shard as rows of n_ctx tokens and the one after, each begun where the last one ended."""
    n = (len(tokens) - 1) // n_ctx
    rows = np.stack([tokens[i * n_ctx : (i + 1) * n_ctx + 1] for i in range(n)])
    return torch.from_numpy(rows.astype(np.int64))


def limit_rms(model: nn.Module, most: float) -> float:
    """Scale all gradients together so that their root mean square is at most ``most``.

    Returns the root mean square that they had.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    square = torch.stack([g.square().sum() for g in gradients]).sum()
    rms = (square / sum(g.numel() for g in gradients)).sqrt()
    scale = (most / rms.clamp(min=1e-30)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
    return rms.item()
