"""The sizes that a study compares: medians over seeds, geometric means of tasks, their intervals.

In: the results. Out: tables, numbers and words for the plots and the printed tables. No torch. A
circuit may have no edge: its size counts, but no geometric mean and no ratio takes 0, so that a
task with such a circuit is left out of them, and counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from circuitkit.errors import ReportError
from circuitkit.statistics.intervals import FEWEST

_N_DRAWS = 2000
_GRID = ("checkpoint", "task", "method", "rung", "target_loss_nats")


class NothingToDrawError(ReportError):
    """No cell has what the plot shows."""


def sizes(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The median edges over seeds of circuits that meet their target, by these columns."""
    met: Any = frame[frame["outcome"] == "target_met"]
    if not (met["n_edges"] > 0).any():
        raise NothingToDrawError("no circuit with an edge meets its target")
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


def in_brackets(ratios: np.ndarray) -> str:
    """The interval behind a geometric mean; nothing where tasks are too few to bound anything."""
    if len(ratios) < FEWEST:
        return ""
    low, high = ratio_interval(ratios)
    return f" [{low:.1f}, {high:.1f}]"


def n_tasks(n: int, n_with_any: int) -> str:
    """How many tasks a mean is over, and how many with a circuit without edges it leaves out."""
    left_out = f"; left out: {n_with_any - n} with a circuit of 0 edges" if n < n_with_any else ""
    return f"{n} task{'s' * (n != 1)}{left_out}"
