"""The model before its first step, and the optimiser that will change it.

Source: Gao et al. 2025, section A.2. Position embeddings are frozen: they keep their
first random values, of which the projection leaves the largest. Where we differ:
weight decay leaves vectors alone.
"""

from __future__ import annotations

import torch

from circuitkit.model import Transformer
from circuitkit.training.config import TrainingConfig
from circuitkit.training.sparsity import sparse_parameters


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
            parameter.requires_grad_(not name.endswith("wpe.weight"))
    return model


def adamw(model: Transformer, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW as the config says; the learning rate is set anew at every step."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    chosen = config.optimizer
    return torch.optim.AdamW(groups, lr=chosen.lr, betas=chosen.betas, eps=chosen.eps, fused=True)
