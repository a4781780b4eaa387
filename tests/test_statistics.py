"""Laws of the statistics: intervals that cover, outcomes of three values, level p-values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from circuitkit.statistics import intervals
from circuitkit.statistics.decision import TOO_FEW_NOTE, Requirement, decide, joined
from circuitkit.statistics.intervals import (
    FEWEST,
    TOO_FEW,
    Estimate,
    all_of,
    benjamini_hochberg,
    cluster_difference,
    cluster_mean,
    cluster_ratio,
    mean_loss,
    monte_carlo_p,
    proportion,
    rises,
)

OUTCOMES = ("pass", "fail", "inconclusive", "not_run")


def clustered(rng, n_clusters=20, size=6, mean=0.0):
    """Values that agree within a cluster: the spread is between clusters, not within."""
    names = [f"t{i}" for i in range(n_clusters) for _ in range(size)]
    shared = np.repeat(rng.normal(size=n_clusters), size)
    return mean + shared + 0.3 * rng.normal(size=len(names)), names


# Intervals


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "N_RESAMPLES", 400)


def share_covered(estimates, truth):
    return np.mean([e.low <= truth <= e.high for e in estimates])


def test_the_interval_covers_the_mean_of_clustered_values(few_resamples):
    """Nominally 90 %; the interval that takes pairs for independent covers far less."""
    rng = np.random.default_rng(0)
    drawn = [clustered(rng, mean=0.7) for _ in range(200)]
    honest = [cluster_mean(values, names, seed=i) for i, (values, names) in enumerate(drawn)]
    naive = [
        cluster_mean(values, [str(j) for j in range(len(values))], seed=i)
        for i, (values, _) in enumerate(drawn)
    ]
    assert 0.82 <= share_covered(honest, 0.7) <= 0.97
    assert share_covered(naive, 0.7) < 0.7


def test_the_interval_covers_a_ratio_of_means(few_resamples):
    """The ratio of means, not the mean of ratios, and clusters of unequal size."""
    rng = np.random.default_rng(1)
    estimates = []
    for i in range(200):
        sizes = rng.integers(2, 10, size=25)
        names = [f"t{j}" for j, size in enumerate(sizes) for _ in range(size)]
        below = 1 + rng.random(len(names))
        above = 0.8 * below + np.repeat(rng.normal(scale=0.2, size=25), sizes)
        estimates.append(cluster_ratio(above, below, names, seed=i))
    assert 0.82 <= share_covered(estimates, 0.8) <= 0.97


def test_the_interval_covers_a_difference_of_samples(few_resamples):
    """Of two sets of templates, of which one has fewer and spreads wider."""
    rng, estimates = np.random.default_rng(3), []
    for i in range(200):
        values, names = clustered(rng, n_clusters=30, mean=0.4)
        others, other_names = clustered(rng, n_clusters=14, mean=0.1)
        others = 0.1 + 2 * (others - 0.1)
        estimates.append(cluster_difference(values, names, others, other_names, seed=i))
    assert 0.82 <= share_covered(estimates, 0.3) <= 0.97


def test_a_difference_turns_with_its_samples(few_resamples):
    """The other way round it is its negative, about; of a sample with itself it is 0."""
    values, names = clustered(np.random.default_rng(4), mean=1.0)
    others, other_names = clustered(np.random.default_rng(5))
    one = cluster_difference(values, names, others, other_names, seed=0)
    other = cluster_difference(others, other_names, values, names, seed=0)
    assert one.effect == pytest.approx(-other.effect)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), rel=0.15)
    assert cluster_difference(values, names, values, names, seed=0).effect == 0


@pytest.mark.parametrize(("truth", "margin"), [(0.65, (0.35, 0.65)), (0.35, (0.35, 0.65))])
def test_equivalence_at_the_margin_passes_one_time_in_twenty(few_resamples, truth, margin):
    """Where the truth lies on the limit, a pass is false: at most 5 % of them, clustered or not."""
    rng, names = np.random.default_rng(9), [f"t{i}" for i in range(30) for _ in range(8)]
    passes = 0
    for i in range(300):
        shares = np.repeat(rng.beta(8 * truth, 8 * (1 - truth), size=30), 8)
        hits = (rng.random(240) < shares).astype(float)
        passes += proportion(hits, names, seed=i).within(*margin) == "pass"
    assert passes / 300 <= 0.08  # 5 % and two and a half standard errors


def test_a_loss_at_the_limit_passes_one_time_in_twenty(few_resamples):
    """Of skewed losses too, as those of circuits are."""
    rng, passes = np.random.default_rng(10), 0
    names = [f"t{i}" for i in range(40) for _ in range(5)]
    for i in range(300):
        losses = np.repeat(rng.gamma(1.0, 0.2, size=40), 5)
        passes += cluster_mean(losses, names, seed=i).within(high=0.2) == "pass"
    assert passes / 300 <= 0.08


@pytest.mark.parametrize("n", range(1, FEWEST))
def test_few_templates_bound_nothing(n):
    """However many pairs they have; so nothing passes on them, and nothing rises."""
    names, values = [f"t{i % n}" for i in range(50)], np.random.default_rng(0).random(50)
    estimates = (
        cluster_mean(values, names, seed=0),
        mean_loss(values, names, seed=0),
        proportion(np.ones(50), names, seed=0),
        cluster_ratio(values, np.ones(50), names, seed=0),
        cluster_difference(values, names, values, [f"o{i % 9}" for i in range(50)], seed=0),
    )
    for estimate in estimates:
        assert (estimate.low, estimate.high) == (-np.inf, np.inf)
        assert estimate.within(high=1e9) == "inconclusive"
        assert estimate.fields() == {
            "effect": estimate.effect, "low": None, "high": None, "interval_method": TOO_FEW,
        }  # fmt: skip
        assert str(estimate).endswith("[no interval]")
    assert rises(np.ones(50), names) == 1.0
    decision = decide(50, Requirement(estimate=estimates[0], high=1e9))
    assert decision == ("inconclusive", TOO_FEW_NOTE)


def test_from_the_fewest_templates_on_an_interval_is_as_wide_as_the_data():
    """Of two templates it was thousands of times as wide."""
    rng = np.random.default_rng(1)
    widths = []
    for seed in range(60):
        values = rng.normal(0.15, 0.05, size=FEWEST)
        found = cluster_mean(np.repeat(values, 4), [f"t{i // 4}" for i in range(4 * FEWEST)], seed)
        widths.append(found.high - found.low)
    assert np.median(widths) < 10 * 0.05


def test_a_loss_has_no_interval_below_0():
    """Softplus is positive, whatever a bootstrap says."""
    losses = [0.0] * 11 + [0.5]
    names = [f"t{i}" for i in range(12)]
    assert cluster_mean(losses, names, seed=0).low < 0
    found = mean_loss(losses, names, seed=0)
    assert (found.low, found.effect) == (0.0, pytest.approx(0.5 / 12))


@pytest.mark.parametrize("times", [2, 5])
def test_duplicating_every_pair_does_not_narrow_an_interval(times):
    """The same evidence twice is the same evidence."""
    values, names = clustered(np.random.default_rng(2))
    once = cluster_mean(values, names, seed=3)
    again = cluster_mean(np.tile(values, times), names * times, seed=3)
    assert (again.effect, again.low, again.high) == pytest.approx(
        (once.effect, once.low, once.high), abs=1e-6
    )


def test_more_templates_narrow_an_interval():
    """Evidence is counted in templates."""
    few, many = (
        cluster_mean(*clustered(np.random.default_rng(4), n_clusters=n), seed=0) for n in (10, 160)
    )
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_an_interval_moves_and_scales_with_its_values():
    """In other units it is the same interval."""
    values, names = clustered(np.random.default_rng(5))
    plain = cluster_mean(values, names, seed=1)
    moved = cluster_mean(3 * values + 2, names, seed=1)
    expected = (3 * plain.low + 2, 3 * plain.effect + 2, 3 * plain.high + 2)
    assert (moved.low, moved.effect, moved.high) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_effect_lies_within_its_interval(seed):
    """low ≤ effect ≤ high, and the same seed gives the same interval."""
    values, names = clustered(np.random.default_rng(seed), n_clusters=15)
    estimate = cluster_mean(values, names, seed)
    assert estimate.low < estimate.effect < estimate.high
    assert estimate == cluster_mean(values, names, seed)


def test_where_every_pair_is_right_templates_bound_the_accuracy():
    """Jeffreys' bound over templates: pairs of one template are not independent trials."""
    names = [f"t{i}" for i in range(20) for _ in range(30)]
    right, wrong = (proportion(np.full(len(names), value), names, seed=0) for value in (1.0, 0.0))
    assert (right.effect, right.high) == (1.0, 1.0)
    assert stats.beta(20.5, 0.5).cdf(right.low) == pytest.approx(0.05)
    assert right.method == intervals.FEW_DIFFER
    assert (wrong.low, wrong.high) == pytest.approx((0.0, 1 - right.low))


def test_a_proportion_stays_between_0_and_1():
    """However few the misses."""
    names = [f"t{i}" for i in range(30) for _ in range(4)]
    hits = np.ones(len(names))
    hits[0] = 0
    for values in (hits, 1 - hits):
        estimate = proportion(values, names, seed=0)
        assert 0 <= estimate.low < estimate.effect < estimate.high <= 1


def test_a_share_of_those_tried():
    """What was not tried is as if it were not there, and one try less leaves no bound at 1."""
    names = [f"t{i}" for i in range(30) for _ in range(4)]
    twice = np.full(len(names), 2.0)
    assert proportion(twice, names, seed=0, among=twice) == proportion(twice / 2, names, seed=0)
    tried = twice.copy()
    tried[0] = 1
    assert proportion(tried, names, seed=0, among=tried).low == proportion(twice / 2, names, 0).low
    tried[:4] = 0
    rest = proportion(twice[4:] / 2, names[4:], seed=0)
    assert proportion(tried, names, seed=0, among=tried) == rest
    many = np.where(np.arange(len(names)) % 8 == 0, 0, tried)
    found = proportion(many, names, seed=0, among=tried)
    assert (found.effect, found.method) == (many.sum() / tried.sum(), intervals.BOOTSTRAP_T)


@pytest.mark.parametrize("n_missed", [1, 4])
def test_a_few_templates_with_a_miss_do_not_void_the_bound(n_missed):
    """Resamples without any miss have no spread: their t is no reason for a bound of 0."""
    names = [f"t{i}" for i in range(54) for _ in range(20)]
    hits = np.ones(len(names))
    hits[[20 * i for i in range(n_missed)]] = 0
    estimate = proportion(hits, names, seed=0)
    assert 0.95 < estimate.low < estimate.effect < estimate.high
    assert estimate.method == intervals.FEW_DIFFER


@pytest.mark.parametrize("n_off", [0, 1, 4])
def test_a_few_templates_off_chance_do_not_void_the_bounds(n_off):
    """One prompt in two is right in all but a few: equivalent to chance, and not surely so."""
    names = [f"t{i}" for i in range(40) for _ in range(10)]
    hits = np.tile([0.0, 1.0], 200)
    hits[[10 * i for i in range(n_off)]] = 1
    estimate = proportion(hits, names, seed=0)
    assert 0.40 < estimate.low <= estimate.effect <= estimate.high < 0.60
    assert estimate.low < 0.5 < estimate.high
    assert estimate.method == intervals.FEW_DIFFER


def test_a_difference_of_accuracies_stays_between_its_ends():
    """Where a single template differs, the bootstrap's bound would be thousands."""
    names = [f"t{i}" for i in range(40) for _ in range(10)]
    apart = np.zeros(len(names))
    apart[:2] = -1
    estimate = proportion(apart, names, seed=0, limits=(-1.0, 1.0))
    assert estimate.effect == pytest.approx(-0.005)
    assert -0.1 < estimate.low < estimate.effect < 0 < estimate.high < 0.1
    mirrored = proportion(-apart, names, seed=0, limits=(-1.0, 1.0))
    assert (-mirrored.high, -mirrored.low) == pytest.approx((estimate.low, estimate.high))


def test_rare_deviations_from_chance_are_covered(few_resamples):
    """Whole templates off by half, up or down, one in fifty."""
    rng, covered = np.random.default_rng(0), []
    names = [f"t{i}" for i in range(40) for _ in range(10)]
    for share_up in (0.0, 0.02):
        for _ in range(100):
            dice = rng.random(40)
            level = np.where(dice < 0.02, 0.0, np.where(dice > 1 - share_up, 1.0, 0.5))
            estimate = proportion(np.repeat(level, 10), names, seed=0)
            covered.append(estimate.low <= 0.5 - 0.01 + share_up / 2 <= estimate.high)
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize("truth", [0.9, 0.99])
@pytest.mark.parametrize("alike", [False, True])
def test_accuracies_near_1_are_covered(few_resamples, truth, alike):
    """Whether misses come one by one or a whole template at a time, bounds hold 9 times in 10."""
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(40) for _ in range(10)]
    low, high = [], []
    for _ in range(200):
        size = 40 if alike else 400
        hits = np.repeat(rng.random(size) < truth, 400 // size).astype(float)
        estimate = proportion(hits, names, seed=0)
        low.append(estimate.low <= truth)
        high.append(truth <= estimate.high)
    assert min(np.mean(low), np.mean(high)) > 0.85


# Outcomes


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.4, 0.6, "pass"),
        (0.35, 0.65, "pass"),
        (0.1, 0.34, "fail"),
        (0.66, 0.9, "fail"),
        (0.3, 0.6, "inconclusive"),
        (0.4, 0.7, "inconclusive"),
        (0.0, 1.0, "inconclusive"),
        (0.65, 0.8, "inconclusive"),
    ],
)
def test_an_outcome_is_where_the_interval_lies(low, high, outcome):
    """Wholly inside passes, wholly outside fails, anything else is open."""
    assert Estimate(effect=(low + high) / 2, low=low, high=high).within(0.35, 0.65) == outcome


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=2).map(sorted), st.floats(-5, 5))
def test_a_bound_and_its_opposite_never_both_pass(interval, limit):
    """What lies below a limit does not lie above it, unless it is the limit itself."""
    estimate = Estimate(effect=interval[0], low=interval[0], high=interval[1])
    below, above = estimate.within(high=limit), estimate.within(low=limit)
    assert {below, above} != {"pass"} or interval == [limit, limit]
    assert (below == "fail") <= (above == "pass")
    assert estimate.within() == "pass"


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1))
def test_a_conjunction_is_its_worst_part(outcomes):
    """One failure fails it; it passes only if every part does; order does not matter."""
    found = all_of(*outcomes)
    assert (found == "fail") == ("fail" in outcomes)
    assert (found == "pass") == (set(outcomes) == {"pass"})
    assert found in outcomes
    assert all_of(*reversed(outcomes)) == found


# What would settle it


@given(
    st.floats(-2, 2), st.floats(0.01, 2), st.floats(0.01, 2), st.floats(-2, 0), st.floats(0, 2),
    st.integers(1, 5000),
)  # fmt: skip
def test_as_many_pairs_as_told_settle_it(effect, below, above, low, high, n_pairs):
    """An interval narrowed by the root of their share is on one side; by fewer, it is not."""

    def after(share):
        width = share**-0.5
        narrowed = Estimate(effect=effect, low=effect - width * below, high=effect + width * above)
        return Requirement(estimate=narrowed, low=low, high=high)

    now = after(1.0)
    if now.outcome != "inconclusive":
        return
    needed = now.pairs_to_settle(n_pairs) / n_pairs
    if np.isfinite(needed):
        assert after(needed * 1.001).outcome != "inconclusive"
        assert after(needed * 0.999).outcome == "inconclusive"
    else:
        assert min(abs(effect - low), abs(effect - high)) < 1e-5


def test_where_nothing_deviates_fewer_pairs_settle_it():
    """A bound on an accuracy of 1 narrows with their number, and not with its root."""
    pairs = 10
    found = proportion(np.ones(pairs), [str(i) for i in range(pairs)], seed=0)
    needed = math.ceil(Requirement(estimate=found, low=0.9).pairs_to_settle(pairs))
    after = proportion(np.ones(needed), [str(i) for i in range(needed)], seed=0)
    assert after.low == pytest.approx(0.9, abs=0.01)


def test_what_would_settle_it_is_told_in_words():
    """Rounded up to two digits, of the requirement that needs most; only where it is open."""
    half = Estimate(effect=0.5, low=0.39, high=0.61)
    tight, clear = Requirement(estimate=half, high=0.55), Requirement(estimate=half, high=0.9)
    assert decide(512, tight, clear) == (
        "inconclusive", "about 2,500 pairs, of as many more templates, would settle it",
    )  # fmt: skip
    assert decide(512, clear) == ("pass", "")
    assert decide(512, tight, Requirement(estimate=half, low=0.7)) == ("fail", "")
    never = Requirement(estimate=half, high=0.5)
    assert decide(512, never).note == "more than 1,000,000 pairs would be needed to settle it"


def test_notes_are_joined_where_there_are_any():
    """Nothing stands for nothing."""
    assert joined("a", "", "b") == "a; b"
    assert joined("", "") == ""


# p-values


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_monte_carlo_p_is_never_0(extreme, others):
    """(b + 1) / (B + 1): the circuit itself counts as one of the draws."""
    assert 0 < monte_carlo_p(extreme, extreme + others) <= 1
    assert monte_carlo_p(0, others) == 1 / (others + 1)


def test_a_clear_rise_has_a_small_p_and_a_fall_a_large_one():
    """One-sided: only a rise counts."""
    values, names = clustered(np.random.default_rng(6), mean=2.0)
    assert rises(values, names) < 1e-4
    assert rises(-values, names) > 0.999


def test_without_a_rise_p_is_uniform():
    """As often below 0.1 as one time in ten, though pairs of a template agree."""
    rng = np.random.default_rng(7)
    p_values = [rises(*clustered(rng, n_clusters=12)) for _ in range(400)]
    shares = [np.mean(np.less(p_values, level)) for level in (0.1, 0.5, 0.9)]
    assert shares == pytest.approx([0.1, 0.5, 0.9], abs=0.07)


def test_duplicates_do_not_make_a_rise_clearer():
    """Ten copies of every pair leave p where it was."""
    values, names = clustered(np.random.default_rng(8), mean=0.2)
    assert rises(np.tile(values, 10), names * 10) == pytest.approx(rises(values, names))


@pytest.mark.parametrize(("value", "p"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)])
def test_a_rise_without_spread_is_certain(value, p):
    """Where every template moves alike there is no error to divide by."""
    assert rises([value] * 10, list("aabbccddee")) == p


def test_benjamini_hochberg_by_hand():
    """m = 10 at 0.05: the fourth p, 0.02, is the last at or below 0.05 k / 10; the third is not.

    p₃ = 0.016 > 0.015, yet it goes with p₄ = 0.020 ≤ 0.020: the step-up rule.
    """
    p_values = [0.5, 0.001, 0.016, 0.9, 0.008, 0.02, 0.04, 0.3, 0.7, 0.6]
    expected = [False, True, True, False, True, True, False, False, False, False]
    assert benjamini_hochberg(p_values).tolist() == expected


def test_benjamini_hochberg_rejects_less_as_the_list_grows():
    """A p that stands alone is drowned among many that mean nothing."""
    assert benjamini_hochberg([0.04]).tolist() == [True]
    assert not benjamini_hochberg([0.04, *[0.8] * 20]).any()


def test_one_template_unlike_the_others_does_not_blow_up_the_interval():
    """Resamples without it have next to no spread; the bound stays below what two of it give."""
    losses = np.r_[1.5, 0.01 + 0.001 * np.arange(53) / 53]
    found = mean_loss(losses, [str(i) for i in range(54)], seed=0)
    assert found.effect < found.high < 0.3
