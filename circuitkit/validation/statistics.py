"""Intervals, three-valued outcomes and p-values.

Everything is a ratio of sums over clusters (a mean is a ratio whose denominator
counts), with the template as the cluster, so that pairs of one template, or the
same pair twice, are not mistaken for independent evidence. Intervals are
two-sided 90 %: each bound is a one-sided 95 % bound.

Source: VALIDATION section 2; bootstrap-t after Efron and Tibshirani 1993, chapter
12; Brown, Cai and DasGupta 2001 (Jeffreys); Benjamini and Hochberg 1995; Phipson
and Smyth 2010 (Monte-Carlo p-values).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from circuitkit.evidence import Outcome

N_RESAMPLES = 4000
LEVEL = 0.90
BOOTSTRAP_T = "cluster bootstrap-t, 90 %"
FEW_DIFFER = "Jeffreys over templates, 90 % (fewer than five of them differ)"
_FEW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An effect with its interval."""

    effect: float
    low: float
    high: float
    method: str = BOOTSTRAP_T

    def within(self, low: float = -np.inf, high: float = np.inf) -> Outcome:
        """``pass`` if the interval lies inside [low, high], ``fail`` if wholly outside."""
        if self.low >= low and self.high <= high:
            return "pass"
        if self.high < low or self.low > high:
            return "fail"
        return "inconclusive"


def all_of(*outcomes: Outcome) -> Outcome:
    """A conjunction: any failure fails it, else any doubt leaves it open."""
    worst_first: tuple[Outcome, ...] = ("fail", "not_run", "inconclusive")
    for worst in worst_first:
        if worst in outcomes:
            return worst
    return "pass"


def cluster_mean(values: ArrayLike, clusters: Sequence[str], seed: int) -> Estimate:
    """The mean of one value a pair, with the interval over clusters."""
    values = np.asarray(values, dtype=np.float64)
    return cluster_ratio(values, np.ones_like(values), clusters, seed)


def proportion(hits: ArrayLike, clusters: Sequence[str], seed: int) -> Estimate:
    """The mean of values in [0, 1], with the interval over clusters.

    Where fewer than five templates are not all hits, or fewer than five not all misses,
    many resamples hold none of these and the bootstrap's lower bound falls to nothing; the
    interval is then Jeffreys', of as many trials as there are templates.
    """
    sums, counts = _sums(hits, clusters), _sums(np.ones(len(clusters)), clusters)
    n, effect = len(sums), float(sums.sum() / counts.sum())
    if min((sums < counts).sum(), (sums > 0).sum()) >= _FEW:
        estimate = cluster_mean(hits, clusters, seed)
        low, high = max(0.0, estimate.low), min(1.0, estimate.high)
        return Estimate(effect=effect, low=low, high=high)
    hit = effect * n
    bounds = stats.beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], hit + 0.5, n - hit + 0.5)
    low = 0.0 if effect == 0 else float(bounds[0])
    high = 1.0 if effect == 1 else float(bounds[1])
    return Estimate(effect=effect, low=low, high=high, method=FEW_DIFFER)


def cluster_ratio(
    numerator: ArrayLike, denominator: ArrayLike, clusters: Sequence[str], seed: int
) -> Estimate:
    """sum(numerator) / sum(denominator), studentised bootstrap over clusters.

    Args:
        numerator: one value a pair.
        denominator: one value a pair, with a positive sum.
        clusters: the template of each pair.
        seed: of the resampling.
    """
    u, w = _sums(numerator, clusters), _sums(denominator, clusters)
    ratio = float(u.sum() / w.sum())
    error = float(_standard_error(u[None], w[None])[0])
    if error == 0 or len(u) < 2:
        return Estimate(effect=ratio, low=ratio, high=ratio)
    drawn = np.random.default_rng(seed).integers(len(u), size=(N_RESAMPLES, len(u)))
    ratios = u[drawn].sum(1) / w[drawn].sum(1)
    errors = _standard_error(u[drawn], w[drawn])
    floor = error * 1e-6
    t = (ratios - ratio) / np.maximum(errors, floor)
    tail = (1 - LEVEL) / 2
    upper, lower = np.quantile(t, [tail, 1 - tail])
    return Estimate(
        effect=ratio, low=float(ratio - lower * error), high=float(ratio - upper * error)
    )


def _sums(values: ArrayLike, clusters: Sequence[str]) -> NDArray[np.float64]:
    names = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    weights = np.asarray(values, dtype=np.float64)
    return np.bincount([names[c] for c in clusters], weights).astype(np.float64)


def _standard_error(u: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linearised, over the last axis of cluster sums ``(draws, clusters)``."""
    n, total = u.shape[-1], w.sum(-1, keepdims=True)
    residuals = (u - u.sum(-1, keepdims=True) / total * w) / total
    return np.sqrt(np.square(residuals).sum(-1) * n / max(1, n - 1))


def rises(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """The one-sided p-value that a mean is positive: a t-test over cluster sums."""
    sums, counts = _sums(differences, clusters), _sums(np.ones(len(clusters)), clusters)
    error = float(_standard_error(sums[None], counts[None])[0])
    mean = float(sums.sum() / counts.sum())
    if error == 0 or len(sums) < 2:
        return 0.0 if mean > 0 else 1.0
    return float(stats.t.sf(mean / error, df=len(sums) - 1))


def benjamini_hochberg(p_values: Sequence[float], rate: float = 0.05) -> NDArray[np.bool_]:
    """Which of several hypotheses are rejected with false discoveries kept to ``rate``."""
    return stats.false_discovery_control(p_values, method="bh") <= rate


def monte_carlo_p(n_as_extreme: int, n_draws: int) -> float:
    """(b + 1) / (B + 1): never 0."""
    return (n_as_extreme + 1) / (n_draws + 1)
