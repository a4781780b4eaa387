"""Intervals, three-valued outcomes and p-values.

In: one value a pair and the template of each. Out: an ``Estimate``, or a p-value.
Everything is a ratio of sums over clusters (a mean is a ratio whose denominator
counts). The cluster is the template, so that pairs of one template, or the
same pair twice, do not count as independent evidence. Intervals are
two-sided 90 %: each bound is a one-sided 95 % bound.

Source: docs/validation.md#statistics; bootstrap-t after Efron and Tibshirani 1993,
chapter 12; Brown, Cai and DasGupta 2001 (Jeffreys); Benjamini and Hochberg 1995;
Phipson and Smyth 2010 (Monte-Carlo p-values).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from circuitkit.findings import Outcome

N_RESAMPLES = 4000
LEVEL = 0.90
BOOTSTRAP_T = "cluster bootstrap-t, 90 %"
FEWEST = 5
"""With fewer clusters there is no interval: too many resamples hold one cluster only.

Of a normal distribution each bound covers 93 to 98 % from five clusters up. With three the median
interval is 190,000 spreads wide, with four every tenth is more than 20 (five: 4); see
tests/benchmarks/few_templates.py."""
TOO_FEW = f"none: fewer than {FEWEST} templates bound nothing"
FEW_DIFFER = "Jeffreys over templates, 90 % (fewer than five differ from the rest)"
STUDENT = "Student's t over templates, 90 % (fewer than five)"
_RARE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An effect with its interval."""

    effect: float
    low: float
    high: float
    method: str = BOOTSTRAP_T

    @classmethod
    def unbounded(cls, effect: float) -> Estimate:
        """An effect without an interval, for too few templates."""
        return cls(effect=effect, low=-math.inf, high=math.inf, method=TOO_FEW)

    def within(self, low: float = -np.inf, high: float = np.inf) -> Outcome:
        """``pass`` if the interval lies inside [low, high], ``fail`` if wholly outside."""
        if self.low >= low and self.high <= high:
            return "pass"
        if self.high < low or self.low > high:
            return "fail"
        return "inconclusive"

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Both bounds of the interval; None for an unknown one."""
        low = self.low if math.isfinite(self.low) else None
        return low, self.high if math.isfinite(self.high) else None

    def fields(self) -> dict[str, Any]:
        """The same as fields of a finding."""
        low, high = self.bounds
        return {"effect": self.effect, "low": low, "high": high, "interval_method": self.method}

    @property
    def is_bounded(self) -> bool:
        """Whether both bounds are known."""
        return None not in self.bounds

    def __str__(self) -> str:
        interval = f"[{self.low:.3f}, {self.high:.3f}]" if self.is_bounded else "[no interval]"
        return f"{self.effect:.3f} {interval}"


_LEAST_ERROR = 0.25
"""The least standard error of a resample, as a share of the sample's.

Where one template of many is unlike the others, resamples without it have next to no spread,
and dividing by that gives bounds of thousands. In simulation (tests/benchmarks/few_templates.py)
this floor leaves the coverage as it is and shortens such intervals several times.
"""


def all_of(*outcomes: Outcome) -> Outcome:
    """A conjunction: it fails if any fails, else it is inconclusive if any is."""
    worst_first: tuple[Outcome, ...] = ("fail", "not_run", "inconclusive")
    for worst in worst_first:
        if worst in outcomes:
            return worst
    return "pass"


def cluster_mean(values: ArrayLike, clusters: Sequence[str], seed: int) -> Estimate:
    """The mean of one value a pair, with the interval over clusters."""
    values = np.asarray(values, dtype=np.float64)
    return cluster_ratio(values, np.ones_like(values), clusters, seed)


def mean_loss(losses: ArrayLike, clusters: Sequence[str], seed: int) -> Estimate:
    """The mean of one loss a pair: as ``cluster_mean``, but no loss is below 0."""
    estimate = cluster_mean(losses, clusters, seed)
    return replace(estimate, low=max(0.0, estimate.low)) if estimate.is_bounded else estimate


def proportion(
    hits: ArrayLike,
    clusters: Sequence[str],
    seed: int,
    limits: tuple[float, float] = (0.0, 1.0),
    among: ArrayLike | None = None,
) -> Estimate:
    """The mean of values that lie between two limits, with the interval over clusters.

    ``among`` is how many were tried of each pair, and ``hits`` then how many of these hit; None
    is one of each. A template of which none was tried does not count.

    Where fewer than five templates differ from the most common value (all hits, say, or one
    hit in two), many resamples hold none of these, and the bootstrap does not see their
    spread. Then Jeffreys' interval bounds how far templates deviate, up and down, as a share of
    the largest possible deviation; each template is a trial. Fewer than five templates bound
    nothing.
    """
    tried = np.asarray(np.ones(len(clusters)) if among is None else among, dtype=np.float64)
    asked = np.flatnonzero(tried)
    hits, tried = np.asarray(hits, dtype=np.float64)[asked], tried[asked]
    clusters = [clusters[int(i)] for i in asked]
    sums, counts = _sums(hits, clusters), _sums(tried, clusters)
    values, often = np.unique(sums / counts, return_counts=True)
    usual, effect = float(values[often.argmax()]), float(sums.sum() / counts.sum())
    if len(sums) < FEWEST or len(sums) - often.max() >= _RARE:
        estimate = cluster_ratio(hits, tried, clusters, seed)
        if not estimate.is_bounded:
            return estimate
        low, high = max(limits[0], estimate.low), min(limits[1], estimate.high)
        return Estimate(effect=effect, low=low, high=high)
    off = (sums - usual * counts) / counts.sum()
    down, up = usual - limits[0], limits[1] - usual
    least_down, most_down = _share(-off[off < 0].sum(), down, len(sums))
    least_up, most_up = _share(off[off > 0].sum(), up, len(sums))
    low, high = usual - most_down + least_up, usual + most_up - least_down
    return Estimate(effect=effect, low=min(low, effect), high=max(high, effect), method=FEW_DIFFER)


def _share(moved: float, most: float, n: int) -> tuple[float, float]:
    """Jeffreys' bounds of how far a mean is moved, of ``most``; nothing moved may be nothing."""
    if most == 0:
        return 0.0, 0.0
    hit = n * moved / most
    least, greatest = stats.beta.ppf(
        [(1 - LEVEL) / 2, (1 + LEVEL) / 2], hit + 0.5, max(n - hit, 0.0) + 0.5
    )
    return (most * float(least) if moved > 0 else 0.0), most * float(greatest)


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
    return _studentised([_Sample.of(numerator, denominator, clusters)], [1.0], seed)


def ratio_of_few(numerator: ArrayLike, denominator: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """As ``cluster_ratio``, by Student's t over two templates or more: too few to resample."""
    sample = _Sample.of(numerator, denominator, clusters)
    effect, n = float(sample.ratio()), len(sample.u)
    if n < 2:
        return Estimate.unbounded(effect)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * float(_standard_error(sample.u, sample.w))
    return Estimate(effect=effect, low=effect - reach, high=effect + reach, method=STUDENT)


def cluster_difference(
    values: ArrayLike,
    clusters: Sequence[str],
    others: ArrayLike,
    other_clusters: Sequence[str],
    seed: int,
) -> Estimate:
    """The mean of one sample less that of another; they have no cluster in common."""
    samples = [
        _Sample.of(x, np.ones(len(names)), names)
        for x, names in ((values, clusters), (others, other_clusters))
    ]
    return _studentised(samples, [1.0, -1.0], seed)


class _Sample(NamedTuple):
    """Sums over each cluster: of a numerator and of its denominator."""

    u: NDArray[np.float64]
    w: NDArray[np.float64]

    @classmethod
    def of(cls, above: ArrayLike, below: ArrayLike, clusters: Sequence[str]) -> _Sample:
        return cls(_sums(above, clusters), _sums(below, clusters))

    def drawn(self, rng: np.random.Generator) -> _Sample:
        """Resampled clusters ``(draws, clusters)``."""
        chosen = rng.integers(len(self.u), size=(N_RESAMPLES, len(self.u)))
        return _Sample(self.u[chosen], self.w[chosen])

    def ratio(self) -> NDArray[np.float64]:
        return self.u.sum(-1) / self.w.sum(-1)


def _studentised(samples: Sequence[_Sample], signs: Sequence[float], seed: int) -> Estimate:
    """The signed sum of the samples' ratios; unbounded where a sample has too few clusters."""

    def measured(some: Sequence[_Sample]) -> tuple[Any, Any]:
        effects = [sign * s.ratio() for sign, s in zip(signs, some, strict=True)]
        errors = [np.square(_standard_error(s.u, s.w)) for s in some]
        return sum(effects), np.sqrt(sum(errors))

    effect, error = map(float, measured(samples))
    if min(len(s.u) for s in samples) < FEWEST:
        return Estimate.unbounded(effect)
    if error == 0:
        return Estimate(effect=effect, low=effect, high=effect)
    rng = np.random.default_rng(seed)
    effects, errors = measured([s.drawn(rng) for s in samples])
    t = (effects - effect) / np.maximum(errors, error * _LEAST_ERROR)
    tail = (1 - LEVEL) / 2
    upper, lower = np.quantile(t, [tail, 1 - tail])
    return Estimate(
        effect=effect, low=float(effect - lower * error), high=float(effect - upper * error)
    )


def _sums(values: ArrayLike, clusters: Sequence[str]) -> NDArray[np.float64]:
    names = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    weights = np.asarray(values, dtype=np.float64)
    return np.bincount([names[c] for c in clusters], weights).astype(np.float64)


def _standard_error(u: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """The linearised standard error, over the last axis of cluster sums ``(draws, clusters)``."""
    n, total = u.shape[-1], w.sum(-1, keepdims=True)
    residuals = (u - u.sum(-1, keepdims=True) / total * w) / total
    return np.sqrt(np.square(residuals).sum(-1) * n / max(1, n - 1))


def rises(differences: ArrayLike, clusters: Sequence[str]) -> float:
    """The one-sided p-value that a mean is positive: a t-test over cluster sums.

    With too few clusters p is 1.
    """
    sums, counts = _sums(differences, clusters), _sums(np.ones(len(clusters)), clusters)
    error = float(_standard_error(sums, counts))
    mean = float(sums.sum() / counts.sum())
    if len(sums) < FEWEST:
        return 1.0
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(stats.t.sf(mean / error, df=len(sums) - 1))


def benjamini_hochberg(p_values: ArrayLike, rate: float = 0.05) -> NDArray[np.bool_]:
    """Which of several hypotheses are rejected with false discoveries kept to ``rate``.

    All are tested together, whatever the shape of the array.
    """
    p = np.asarray(p_values)
    return (stats.false_discovery_control(p.ravel(), method="bh") <= rate).reshape(p.shape)


def monte_carlo_p(n_as_extreme: int, n_draws: int) -> float:
    """(b + 1) / (B + 1): never 0."""
    return (n_as_extreme + 1) / (n_draws + 1)
