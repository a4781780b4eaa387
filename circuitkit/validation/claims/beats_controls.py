"""Beats controls: no random circuit, plain ranking or other task's circuit does as well.

Against random circuits there are four Monte-Carlo tests, of which the largest p counts:
controls matched by location or by activity, either kept or knocked out. Kept, they are compared
by loss. Knocked out, they are compared by the cue that is left, |d_a + d_b| / 2, which is 0 for
a model that cannot tell the two prompts apart, whichever answer it prefers. (The loss cannot
measure this: it also rises when a knockout makes the model confident and wrong.)

Controls to knock out are drawn from outside the circuit, to test whether nodes of the same kind
elsewhere matter as much. One that includes nodes of the circuit would itself be a knockout of
the circuit: in a serial circuit removing any one node harms as much as removing all.

Then two comparisons. The loss must be lower by 0.10 nats than that of as many nodes ranked
best by attribution, unless these are the same nodes, and than that of other tasks' circuits,
where they are given. Source: docs/validation.md#beats_controls.

What can fool it: location-matched controls alone are weak, since most nodes never carry the
task; a wrong circuit of nodes that matter beats all random ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from circuitkit.extraction.masked_model import gates_of, tapped_differences
from circuitkit.findings import Claim, Finding, Outcome
from circuitkit.model import EncodedPairs, gate_tap
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import NodeSet
from circuitkit.statistics.decision import TOO_FEW_NOTE, Requirement, decide, joined
from circuitkit.statistics.intervals import FEWEST, all_of, cluster_mean, monte_carlo_p
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.controls.same_size import (
    activity_matched,
    activity_of,
    attribution_circuit,
    location_matched,
)
from circuitkit.validation.trial import Trial
from circuitkit.validation.verdict import LUCK

CLAIM = Declared(
    id=Claim.BEATS_CONTROLS,
    suite="default",
    fooled_by="controls of nodes that never carry the task, which wrong circuits beat too",
    needs=("train pairs", "reference", "other circuits"),
)

P = 0.01
BETTER_NATS = 0.10
N_DRAWS = 119
ENOUGH = 0.8
"""A control with a smaller share of the circuit's size counts as doing as well.

Such a control occurs where too few nodes are outside the circuit."""

_SHOWN = 3
"""The note names so many rivals, the closest, and how far away the others are at least."""

_PAIRS = 32
_ROUNDING = 1e-6

Score = Callable[[NodeSet, EncodedPairs], NDArray]
"""One number a pair, never negative, of the model with some nodes kept."""


class Tally(NamedTuple):
    """Controls as extreme as the circuit, of those drawn."""

    name: str
    n_extreme: int
    n_draws: int

    @property
    def p(self) -> float:
        """The Monte-Carlo p-value."""
        return monte_carlo_p(self.n_extreme, self.n_draws)


class Rival(NamedTuple):
    """Another circuit: how many nodes are in one of both only, and its loss above the circuit's."""

    name: str
    n_apart: int
    above: Requirement


def check_beats_controls(trial: Trial) -> Finding:
    """All four p-values at most 0.01, and 0.10 nats better than every rival."""
    pairs = trial.few[:_PAIRS]
    tallies = [_tally(trial, pairs, family) for family in _families(trial, pairs)]
    rivals = list(_rivals(trial))
    decision = decide(len(trial.few), *(rival.above for rival in rivals if rival.n_apart))
    p = max(tally.p for tally in tallies)
    is_few = len(set(pairs.templates)) < FEWEST
    luck: Outcome = "pass" if p <= P else "inconclusive" if p <= LUCK else "fail"
    as_good = "; ".join(f"{t.name}: {t.n_extreme} of {t.n_draws} as good" for t in tallies)
    return Finding(
        claim=CLAIM.id,
        outcome="inconclusive" if is_few else all_of(luck, decision.outcome),
        note=joined(
            *_rivals_in_words(trial, rivals), as_good, TOO_FEW_NOTE if is_few else decision.note
        ),
        effect=p,
        unit="largest of four p-values",
        p_value=p,
        threshold=f"p ≤ {P}, and {BETTER_NATS:.2f} nats better than every rival",
        threshold_source="docs/validation.md#beats_controls",
        null="random circuits with the same number of nodes at each site",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        n_draws=sum(tally.n_draws for tally in tallies),
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


class Family(NamedTuple):
    """Controls of one kind, what they are scored by, and the circuit's own score."""

    name: str
    controls: Iterable[NodeSet]
    score: Score
    own: float


def _families(trial: Trial, pairs: EncodedPairs) -> Iterator[Family]:
    nodes, rest, active = trial.nodes, ~trial.nodes, activity_of(trial, pairs)

    def cue_left(gone: NodeSet, some: EncodedPairs) -> NDArray:
        trial.passes += 1
        kept = {site: 1 - gate for site, gate in gates_of(gone, trial.model.arch.widths).items()}
        d = tapped_differences(trial.model, some, gate_tap(kept, trial.values))
        return d.view(2, -1).mean(0).abs().double().numpy()

    def losses(kept: NodeSet, some: EncodedPairs) -> NDArray:
        return losses_of(trial.other_differences(kept, some))

    alone, gone = trial.circuit_losses(nodes, pairs), cue_left(nodes, pairs)
    for out, among, score, scored in (
        ("", None, losses, alone),
        (", knocked out", rest, cue_left, gone),
    ):
        own = float(scored.sum())
        location = location_matched(nodes, N_DRAWS, trial.seed, among)
        activity = activity_matched(nodes, N_DRAWS, trial.seed, active, among)
        yield Family(f"location-matched{out}", location, score, own)
        yield Family(f"activity-matched{out}", activity, score, own)


def _tally(trial: Trial, pairs: EncodedPairs, family: Family) -> Tally:
    """Count the controls that score as low; stop once p must exceed 0.05."""
    extreme = draws = 0
    for control in family.controls:
        short = len(control) < ENOUGH * len(trial.nodes)
        extreme += short or _as_low(control, pairs, family.score, family.own)
        draws += 1
        trial.progress(family.name, draws, N_DRAWS)
        if monte_carlo_p(extreme, N_DRAWS) > LUCK:
            break
    return Tally(family.name, extreme, draws)


def _as_low(control: NodeSet, pairs: EncodedPairs, score: Score, limit: float) -> bool:
    """Whether the sum over pairs is at most the limit; stops as soon as it is more.

    The first pair usually decides; each batch is as large as all before it. A sum that is
    larger only by rounding, as of the same circuit in other batches, counts as low.
    """
    total, start = 0.0, 0
    limit += _ROUNDING * len(pairs)
    while start < len(pairs):
        end = max(1, 2 * start)
        total += float(score(control, pairs[start:end]).sum())
        if total > limit:
            return False
        start = end
    return True


def _rivals(trial: Trial) -> Iterator[Rival]:
    """The attribution circuit, and the circuits of other tasks."""
    own = _worst(trial, trial.nodes, trial.circuit_losses(trial.nodes, trial.few))
    ranked = attribution_circuit(trial, len(trial.nodes))
    top = _worst(trial, ranked, losses_of(trial.other_differences(ranked, trial.few)))
    yield Rival(
        "the top of the attribution ranking", len(ranked ^ trial.nodes), _higher(trial, top - own)
    )
    for other in trial.others:
        nodes = NodeSet(other.nodes.channels, trial.model.arch.widths)
        alone = losses_of(trial.other_differences(nodes, trial.few, other.edges))
        above = _worst(trial, nodes, alone) - own
        yield Rival(f"{other.task.name}'s circuit", len(nodes ^ trial.nodes), _higher(trial, above))


def _worst(trial: Trial, nodes: NodeSet, losses: NDArray) -> NDArray:
    """The losses under the ablation, or under an interchange where that is worse and was asked.

    A rival has to do what the circuit was searched for, and not only the task alone.
    """
    ask = next((ask for ask in trial.asks if ask.name == "interchange"), None)
    if ask is None:
        return losses
    trial.passes += 1
    swapped = ask.losses(nodes)[trial.few.by_length().argsort()]
    return np.maximum(losses, swapped.double().numpy())


def _higher(trial: Trial, above: NDArray) -> Requirement:
    estimate = cluster_mean(above, trial.few.templates, trial.seed)
    return Requirement(estimate=estimate, low=BETTER_NATS)


def _rivals_in_words(trial: Trial, rivals: Sequence[Rival]) -> Iterator[str]:
    """Notes on the rivals, the closest first."""
    closest = sorted(rivals, key=lambda rival: rival.above.estimate.low)
    for rival in closest[:_SHOWN]:
        if rival.n_apart:
            yield f"{rival.name}, {rival.n_apart} nodes apart: {rival.above.estimate} nats above"
        else:
            yield f"{rival.name} is the same circuit"
    if further := closest[_SHOWN:]:
        yield f"{len(further)} more rivals, {further[0].above.estimate.low:.3f} nats above or more"
    yield from trial.rival_notes
    if not trial.others:
        yield "no circuits of other tasks were given to compare with"
