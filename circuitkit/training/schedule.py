"""The two schedules: the L0 fraction and the learning rate, as functions of the step.

Source: Gao et al. 2025, section A.2.
"""

from __future__ import annotations

from circuitkit.training.train_config import OptimizerConfig, SparsityConfig


def l0_fraction_at(step: int, n_steps: int, config: SparsityConfig) -> float:
    """The fraction of weights that may be nonzero after ``step`` steps: linear from 1."""
    progress = min(1.0, step / max(1.0, config.anneal_until * n_steps))
    return 1.0 + progress * (config.l0_fraction - 1.0)


def lr_at(step: int, n_steps: int, optimizer: OptimizerConfig, l0_fraction: float) -> float:
    """Warm-up, then linear decay to zero, times 1/√(L0 fraction) ("sharkfin")."""
    warmup = optimizer.warmup * n_steps
    rise = (step + 1) / warmup if step + 1 < warmup else 1.0
    fall = (n_steps - step) / n_steps
    fin = l0_fraction**-0.5 if optimizer.sharkfin else 1.0
    return optimizer.lr * rise * fall * fin
