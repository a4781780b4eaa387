"""Independence and equivalence: the tests of Shi et al. 2024, from their definitions.

Independence: the cue of a pair in M without C does not depend on its cue in M. The cue is
(d_a + d_b) / 2, in which a constant preference for one answer cancels. The statistic is their
HSIC with the distance kernel, bias-corrected and scaled: 0 when independent, 1 when one
follows from the other. Equivalence: C does better than M on half of the pairs. Losses that
differ by no more than the target are a tie, which counts half for either.

Source: Shi et al. 2024, section 3; HSIC with the distance kernel is distance covariance
(Sejdinovic et al. 2013), corrected for bias after Szekely and Rizzo 2013. Where we differ:
they pass what they cannot reject; here an interval has to lie inside a region (ours; theirs
for equivalence, ε = 0.1). Their code counts ties as losses and divides by a spread that is
0 for a perfect circuit, so that one fails; here a constant is independent of everything.

What can fool it: a model that has the same cue on every pair. A complement that follows it
exactly then looks independent; ``necessary`` tests whether the complement does the task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.intervals import Estimate, all_of, monte_carlo_p, proportion
from circuitkit.statistics.jackknife import jackknife
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.INDEPENDENCE,
    suite="thorough",
    fooled_by="a model that has the same cue on every pair",
)

DEPENDENCE = 0.10
EPSILON = 0.1
N_PERMUTATIONS = 199
_ROUNDING = 1e-4
"""Cues that lie no further apart are equal: compiled and masked logits differ by as much."""

Values = NDArray[np.float64]


def check_independence(trial: SearchTrial) -> Finding:
    """Complement and model are independent, circuit and model equivalent."""
    model, rest = _cues(trial.scored.model), _cues(trial.scored.complement)
    of_model, of_rest = _distances(model), _distances(rest)
    dependence = jackknife(
        lambda some: distance_correlation(
            of_model[np.ix_(some, some)], of_rest[np.ix_(some, some)]
        ),
        trial.clusters,
    )
    equal = _equivalence(trial)
    low, high = 0.5 - EPSILON, 0.5 + EPSILON
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(dependence.within(high=DEPENDENCE), equal.within(low, high)),
        note=f"equivalence: the circuit does better than the model on {equal.effect:.3f} "
        f"[{equal.low:.3f}, {equal.high:.3f}] of the pairs, ties as halves",
        **dependence.fields(),
        unit="distance correlation² of model and complement",
        p_value=_permuted(of_model, of_rest, trial.seed),
        threshold=f"upper bound ≤ {DEPENDENCE}; better on [{low}, {high}] of the pairs",
        threshold_source="ours; Shi et al. 2024 for ε",
        null="pairs permuted: independent",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        n_draws=N_PERMUTATIONS,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _cues(differences: Tensor) -> Values:
    """The cue of each pair: (d_a + d_b) / 2, in logits."""
    return differences.double().view(2, -1).mean(0).numpy()


def _distances(cues: Values) -> NDArray[np.float64]:
    """All distances; all 0 where the cues differ by rounding only."""
    if np.ptp(cues) <= _ROUNDING:
        return np.zeros((len(cues), len(cues)))
    return np.abs(cues[:, None] - cues[None])


def distance_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The bias-corrected squared distance correlation of two distance matrices, ``(n, n)``."""
    a, b = _centred(one), _centred(other)
    scale = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def _centred(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """U-centred: rows sum to 0 but for the diagonal, which is 0."""
    n = len(distances)
    if n < 4:
        return np.zeros_like(distances)
    rows = distances.sum(0) / (n - 2)
    centred = distances - rows - rows[:, None] + distances.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred


def _permuted(one: NDArray[np.float64], other: NDArray[np.float64], seed: int) -> float:
    """The p-value: how often a random pairing is as dependent; the unit is the pair."""
    a, b, draw = _centred(one), _centred(other), np.random.default_rng(seed)
    own = float((a * b).sum())
    orders = (draw.permutation(len(a)) for _ in range(N_PERMUTATIONS))
    as_much = sum(float((a * b[np.ix_(order, order)]).sum()) >= own for order in orders)
    return monte_carlo_p(as_much, N_PERMUTATIONS)


def _equivalence(trial: SearchTrial) -> Estimate:
    """The share of pairs on which the circuit does better than the model, ties as half."""
    gap = losses_of(trial.scored.model) - losses_of(trial.scored.circuit)
    tie = np.abs(gap) <= trial.circuit.target_loss_nats
    return share_better((gap > 0) & ~tie, (gap < 0) & ~tie, trial.clusters, trial.seed)


def share_better(
    better: ArrayLike, worse: ArrayLike, clusters: Sequence[str], seed: int
) -> Estimate:
    """Wins and half of the ties, as 1/2 + (wins - losses) / 2, bounded by the bounds of both.

    Wins and losses may be rare: ``proportion`` allows for that, a mean with ties would not.
    """
    wins, losses = (proportion(np.asarray(hits), clusters, seed) for hits in (better, worse))
    return Estimate(
        effect=0.5 + (wins.effect - losses.effect) / 2,
        low=0.5 + (wins.low - losses.high) / 2,
        high=0.5 + (wins.high - losses.low) / 2,
        method=wins.method,
    )
