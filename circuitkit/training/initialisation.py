"""The model before its first step, and the optimiser that will change it.

Source: Gao et al. 2025, section A.2. Position embeddings are frozen and dense, for they are
no weights that training finds: concatenated ones are sinusoids, added ones keep their first
random values. Where we differ: weight decay leaves vectors alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.model import Transformer
from circuitkit.training.train_config import OptimizerConfig, TrainingConfig
from circuitkit.training.weight_sparsity import sparse_parameters


def initial_model(config: TrainingConfig) -> Transformer:
    """The model before its first step, a function of the config's seed alone."""
    model = Transformer(config.architecture)
    generator = torch.Generator().manual_seed(config.seed)
    residual = (2 * config.architecture.n_layer) ** -0.5
    with torch.no_grad():
        for name, parameter in sparse_parameters(model):
            if parameter.ndim < 2:
                parameter.zero_()
                continue
            scale = parameter.shape[1] ** -0.5 if ".c_" in name else 0.02
            scale *= residual if "c_proj" in name else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        if config.architecture.positions != "none":
            positions = model.transformer.wpe.weight.requires_grad_(False)
            if config.architecture.positions == "concatenated":
                positions.copy_(sinusoids(*positions.shape))
            else:
                positions.copy_(torch.randn(positions.shape, generator=generator) * 0.02)
    return model


def sinusoids(n_ctx: int, width: int) -> Float[Tensor, "n_ctx width"]:
    """Cosines, then sines, of the position at ⌈width / 2⌉ frequencies from 1 down to 1/n_ctx.

    A step back in position is then a rotation of channel pairs: two weights a channel.
    """
    n_pairs = (width + 1) // 2
    frequency = n_ctx ** -(torch.arange(n_pairs) / max(1, n_pairs - 1))
    angle = torch.arange(n_ctx)[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)[:, :width]


def adamw(
    model: Transformer, config: TrainingConfig, bridges: Iterable[tuple[Tensor, float]] = ()
) -> torch.optim.AdamW:
    """AdamW as the config says; the learning rates are set anew at every step.

    A group's ``schedule`` and ``times`` say how. ``bridges`` are parameters with what their own
    rate is multiplied by; it has no sharkfin.
    """
    chosen = config.optimizer
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        _group([p for p in trained if p.ndim > 1], chosen),
        _group([p for p in trained if p.ndim <= 1], chosen),
    ]
    if config.bridge is not None:
        own = {"lr": config.bridge.lr, "eps": config.bridge.eps, "sharkfin": False}
        schedule = chosen.model_copy(update=own)
        groups += [_group([parameter], schedule, times) for parameter, times in bridges]
    return torch.optim.AdamW(groups, lr=chosen.lr, betas=chosen.betas, eps=chosen.eps, fused=True)


def _group(
    parameters: list[Tensor], schedule: OptimizerConfig, times: float = 1.0
) -> dict[str, Any]:
    decays = any(p.ndim > 1 for p in parameters)
    return {
        "params": parameters,
        "weight_decay": schedule.weight_decay if decays else 0.0,
        "eps": schedule.eps,
        "schedule": schedule,
        "times": times,
    }
