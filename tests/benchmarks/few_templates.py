"""How the interval of a mean covers, and how wide it is, by the number of templates.

Values are drawn from a normal distribution of spread 1, one a template; no interval is refused,
so that it can be seen why validation gives none of fewer than five. Then losses of which few
templates are unlike the others, with several floors of a resample's standard error.

Usage: python tests/benchmarks/few_templates.py
"""

from __future__ import annotations

import sys

import numpy as np

from circuitkit.statistics import intervals

SIZES, N_SAMPLES = (2, 3, 4, 5, 6, 8, 12, 20), 400


def row(n: int, rng: np.random.Generator) -> str:
    """How often each bound holds for ``n`` templates, and the width of the interval."""
    names, low, high, width = [str(i) for i in range(n)], 0, 0, []
    for seed in range(N_SAMPLES):
        found = intervals.cluster_mean(rng.normal(size=n), names, seed)
        low, high = low + (found.low <= 0), high + (found.high >= 0)
        width.append(found.high - found.low)
    middle, wide = np.quantile(width, [0.5, 0.9])
    return f"| {n} | {low / N_SAMPLES:.3f} | {high / N_SAMPLES:.3f} | {middle:.3g} | {wide:.3g} |\n"


def skewed(share: float, floor: float, rng: np.random.Generator) -> str:
    """54 templates of a loss near 0.01, a share of which lose 1.5 nats."""
    intervals._LEAST_ERROR = floor
    names, truth, held, high = [str(i) for i in range(54)], 1.5 * share + 0.01 * (1 - share), 0, []
    for seed in range(N_SAMPLES):
        lost = rng.random(54) < share
        found = intervals.mean_loss(
            np.where(lost, 1.5, 0.01 * rng.exponential(size=54)), names, seed
        )
        held += found.high >= truth
        high.append(found.high)
    middle, wide = np.quantile(high, [0.5, 0.9])
    return f"| {share} | {floor} | {held / N_SAMPLES:.3f} | {middle:.3g} | {wide:.3g} |\n"


def main() -> None:
    """A row a number of templates."""
    intervals.FEWEST = 2
    rng = np.random.default_rng(0)
    sys.stdout.write(
        "| templates | lower bound holds | upper | width, median | 90 % |\n|---|---|---|---|---|\n"
    )
    for n in SIZES:
        sys.stdout.write(row(n, rng))
    sys.stdout.write(
        "\n| share unlike | floor | upper bound holds | upper, median | 90 % |\n"
        "|---|---|---|---|---|\n"
    )
    for share in (0.02, 0.05, 0.1):
        for floor in (1e-6, 0.1, 0.25, 0.5):
            sys.stdout.write(skewed(share, floor, np.random.default_rng(1)))


if __name__ == "__main__":
    main()
