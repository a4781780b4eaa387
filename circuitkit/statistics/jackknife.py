"""Jackknife intervals for statistics that are not means: leave one template out at a time.

In: a statistic of some pairs, and the template of each. Out: its value with a two-sided 90 %
interval. It is for curves, correlations and worst cases, which are no ratios of sums, so that
the bootstrap-t of ``intervals`` does not apply. Source: Tukey 1958; Efron and Tibshirani 1993,
chapter 11. The statistic has to be smooth: no median and no quantile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from scipy import stats

from circuitkit.statistics.intervals import FEWEST, LEVEL, Estimate

METHOD = "jackknife over templates, t, 90 %"

Statistic = Callable[[Int[np.ndarray, " some"]], float]
"""From the indices of some pairs to a number."""


def jackknife(statistic: Statistic, clusters: Sequence[str]) -> Estimate:
    """The statistic over all pairs, with the interval over templates."""
    names = np.unique(clusters, return_inverse=True)[1]
    everything = np.arange(len(names))
    effect, n = statistic(everything), int(names.max()) + 1
    if n < FEWEST:
        return Estimate.unbounded(effect)
    left: NDArray[np.float64] = np.array([statistic(everything[names != i]) for i in range(n)])
    error = float(np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Estimate(effect=effect, low=effect - reach, high=effect + reach, method=METHOD)
