"""The sizes that a study compares: medians over seeds, geometric means of tasks, their intervals.

In: the results. Out: tables and numbers, for the plots and the printed tables. No torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from circuitkit.errors import ReportError

_N_DRAWS = 2000
_GRID = ("checkpoint", "task", "method", "rung", "target_loss_nats")


class NothingToDrawError(ReportError):
    """No cell has what the plot shows."""


def sizes(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The median edges over seeds of circuits that meet their target, by these columns."""
    met: Any = frame[(frame["outcome"] == "target_met") & (frame["n_edges"] > 0)]
    if met.empty:
        raise NothingToDrawError("no circuit meets its target")
    mixed = [column for column in _GRID if column not in by and met[column].nunique() > 1]
    assert not mixed, f"a size is a median over seeds alone, not over {mixed}"
    return met.groupby(by, sort=True)["n_edges"].median().astype(float).reset_index()


def geometric_mean(values: Any) -> float:
    """The geometric mean of positive values, to nine places: that of 100 alone is 100.

    matplotlib 3.11 finds no limits for a logarithmic axis around 100.00000000000004 alone.
    """
    return round(float(np.exp(np.log(np.asarray(values, float)).mean())), 9)


def ratio_interval(ratios: np.ndarray) -> tuple[float, float]:
    """The 90 % bootstrap interval of a geometric mean over tasks (percentiles, seed 0)."""
    draws = np.random.default_rng(0).choice(np.log(ratios), (_N_DRAWS, len(ratios)))
    low, high = np.exp(np.quantile(draws.mean(axis=1), [0.05, 0.95]))
    return float(low), float(high)
