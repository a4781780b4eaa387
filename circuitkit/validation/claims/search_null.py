"""Search null: the same search finds no circuit as small for problems the model does not do.

One restart of the extraction runs again on null problems: unrelated answers of similar
frequency, labels permuted by a key token, labels inverted, weights permuted within each matrix.
Each has as many steps of mask learning as the real search, and may try as many sets of nodes,
at least one for each step: the learned sets of null problems are large, and with the few tries
that a real circuit needs nothing could be eliminated from them. A null problem that uses all its
tries counts with the nodes that are left, so the reported ratio is an upper bound. One that
misses the target counts as the whole model. The real size is the larger of the circuit's and
of what one restart finds for the real problem. p = (b + 1) / (B + 1), for b of B problems with
a circuit as small; drawing stops once b is 1, since p then stays above 0.05.

Source: docs/validation.md#search_null; not in Gao et al. 2025, but in the published critique.

What can fool it: problems so unlike the task that no search could succeed; a search that
is too short for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from circuitkit.extraction.induced_edges import n_edges
from circuitkit.findings import Claim, Finding
from circuitkit.statistics.intervals import monte_carlo_p
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.controls.null_problems import null_problem
from circuitkit.validation.controls.repeated_search import Size, own_problem, search, within
from circuitkit.validation.saved_findings import Searched
from circuitkit.validation.search_trial import SearchTrial
from circuitkit.validation.verdict import MIN_SIZE_RATIO

CLAIM = Declared(
    id=Claim.SEARCH_NULL,
    suite="thorough",
    fooled_by="null problems on which no search could succeed; too short a search",
    needs=("train pairs", "select pairs", "reference"),
    n_searches=20,
)

P = 0.05
N_DRAWS = 19
_STAGE = "search null"


def check_search_null(trial: SearchTrial) -> Finding:
    """No null problem has a circuit as small as the real one: p ≤ 0.05."""
    again = _searched(trial, 0)
    real = max((trial.circuit.n_edges_induced, len(trial.nodes)), _size(trial, again))
    budget = max(again.n_questions, trial.search.learning.n_steps)
    draws: list[Searched] = []
    sizes: list[Size] = []
    while len(draws) < N_DRAWS and not (sizes and sizes[-1] <= real):
        draws.append(_searched(trial, len(draws) + 1, budget))
        sizes.append(_size(trial, draws[-1]))
    p = monte_carlo_p(sum(size <= real for size in sizes), len(sizes))
    return Finding(
        claim=CLAIM.id,
        outcome="pass" if p <= P else "fail",
        note=_note(again, real, draws, budget),
        effect=median(edges for edges, _ in sizes) / max(1, real[0]),
        unit="times the circuit's edges, median of the nulls",
        p_value=p,
        threshold=f"p ≤ {P}; grade A needs a ratio of at least {MIN_SIZE_RATIO:.0f}",
        threshold_source="docs/validation.md#search_null",
        null="the same search on problems that the model does not do",
        n_pairs=len(trial.select),
        n_clusters=len(set(trial.select.templates)),
        n_draws=len(draws),
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _searched(trial: SearchTrial, i: int, budget: int | None = None) -> Searched:
    """What the ``i``-th search finds, 0 for the real problem; what an earlier run found is kept."""
    saved, passes = trial.saved, trial.passes
    if i < len(saved.searches):
        trial.passes += saved.searches[i].forward_passes
        return saved.searches[i]
    problem = null_problem(trial, i - 1) if i else own_problem(trial)
    progress = within(trial.progress, _STAGE, i, N_DRAWS + 1)
    found = search(trial, problem, i, progress, budget)
    searched = Searched(
        kind=problem.kind,
        size=found.size,
        n_questions=found.n_questions,
        forward_passes=trial.passes - passes,
    )
    saved.add_search(searched)
    return searched


def _size(trial: SearchTrial, found: Searched) -> Size:
    """The edges and nodes found, or the whole model's."""
    return found.size or (n_edges(trial.model), sum(trial.model.arch.widths.values()))


def _note(again: Searched, real: Size, draws: Sequence[Searched], budget: int) -> str:
    kinds: dict[str, list[str]] = {}
    for draw in draws:
        spent = "+" if draw.n_questions > budget else ""
        size = f"{draw.size[0]}{spent}" if draw.size else "none"
        kinds.setdefault(draw.kind, []).append(size)
    missed = "" if again.size else "the search does not find a circuit again; "
    stopped = ""
    if len(draws) < N_DRAWS:
        stopped = f"; stopped after {len(draws)} of {N_DRAWS} draws, p can no longer be ≤ {P}"
    return (
        f"{missed}real: {real[0]} edges, {again.n_questions} sets of nodes tried; nulls with at "
        f"most {budget} (+: all spent): "
        + "; ".join(f"{kind}: {', '.join(sizes)}" for kind, sizes in kinds.items())
        + stopped
    )
