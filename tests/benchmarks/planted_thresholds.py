"""Between which values the thresholds of interchange and of the cue lie, where the truth is known.

Every circuit of the confusion table, measured in two ways. Interchange: all but the circuit
takes its values on the other prompt of the pair; F, and the share of prompts answered rightly.
Background: all but the circuit takes its values at a reference token, the same one for both
prompts of a pair; the share of pairs whose cue, the mean of both logit differences, is above 0.
A row a kind: the range of the lower bounds, which are what a threshold is compared with.

Usage: python tests/benchmarks/planted_thresholds.py [--each] [--jobs N] [--seeds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from planted_cases import BORROWED, CASES, INSIDE, OUTWEIGHED, PERMUTED, TRUE, TWINS, Case, cases_of

from circuitkit.extraction.masked_model import PAIRS_A_BATCH, gates_of
from circuitkit.model import EncodedPairs, gate_tap, logit_differences
from circuitkit.model.per_pair import hits_of, losses_of
from circuitkit.planted import planted_names
from circuitkit.statistics.intervals import Estimate, proportion
from circuitkit.validation.trial import Trial

N_DRAWS = 4
MEASURES = ("F_x", "following", "cue")
MEANT = {
    "F_x": (TWINS, INSIDE, OUTWEIGHED),
    "following": (TWINS, INSIDE, OUTWEIGHED),
    "cue": (BORROWED,),
}
"""The kinds that a measure is there to catch."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A case with an estimate for each measure."""

    kind: str
    about: str
    estimates: dict[str, Estimate]

    @property
    def line(self) -> str:
        """All that was measured, with intervals."""
        told = "; ".join(f"{name} {estimate}" for name, estimate in self.estimates.items())
        return f"{self.kind}: {self.about}: {told}"


def measured(case: Case) -> Measured:
    """A case under interchange and under shared backgrounds."""
    trial = _trial(case)
    swapped = trial.ablated_circuit("resample_pair", trial.pairs)
    model = losses_of(trial.scored.model)
    return Measured(
        kind=case.kind,
        about=f"{case.model} seed {case.seed} ({case.what})",
        estimates={
            "F_x": trial.recovered(losses_of(swapped), model, trial.clusters),
            "following": proportion(hits_of(swapped), trial.clusters, trial.seed),
            "cue": proportion(cue_kept(trial), trial.clusters, trial.seed),
        },
    )


def _trial(case: Case) -> Trial:
    return Trial(
        checkpoint=case.checkpoint, model=case.checkpoint.load_model(), task=case.task,
        circuit=case.circuit, means=case.means, reference=case.checkpoint.load_reference(),
        pairs=case.checkpoint.encode(case.task.up_to("test", case.circuit.n_pairs)), seed=0,
    )  # fmt: skip


@torch.no_grad()
def cue_kept(trial: Trial) -> NDArray[np.float64]:
    """The share of draws, a pair, in which the cue is above 0."""
    generator = torch.Generator().manual_seed(trial.seed)
    gates = gates_of(trial.nodes, trial.model.arch.widths)

    def run(batch: EncodedPairs) -> torch.Tensor:
        n = len(batch.tokens) // 2
        values = {
            site: x[torch.randint(len(x), (n, 1), generator=generator).repeat(2, 1)]
            for site, x in trial.pool.items()
        }
        logits = trial.circuit_model(batch.tokens, gate_tap(gates, values), batch.last)
        return logit_differences(logits[:, 0], batch)

    draws = [trial.pairs.each(PAIRS_A_BATCH, run).view(2, -1).mean(0) > 0 for _ in range(N_DRAWS)]
    return torch.stack(draws).double().mean(0).numpy()


def run(name: str, seed: int) -> list[Measured]:
    """All cases of a model and a seed; with labels permuted nothing is tested but the model."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = cases_of(name, seed, Path(folder))
        return [measured(case) for case in cases if case.kind != PERMUTED]


def ranges(found: Sequence[Measured]) -> Iterator[str]:
    """A row a kind."""
    yield f"| lower bound of | n | {' | '.join(MEASURES)} |\n|" + "---|" * (2 + len(MEASURES))
    for kind in CASES:
        some = [m for m in found if m.kind == kind]
        if some:
            cells = [_range([m.estimates[name].low for m in some]) for name in MEASURES]
            yield f"| {kind} | {len(some)} | {' | '.join(cells)} |"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def gaps(found: Sequence[Measured]) -> Iterator[str]:
    """For every measure, the interval in which a threshold parts true from false."""
    for name, kinds in MEANT.items():
        true = min((m.estimates[name].low for m in found if m.kind == TRUE), default=np.nan)
        false = max((m.estimates[name].low for m in found if m.kind in kinds), default=np.nan)
        yield f"{name}: true from {true:.2f}; {', '.join(kinds)} up to {false:.2f}"


def main() -> None:
    """Measure every case, then print the ranges."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="of every model (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--each", action="store_true", help="a line a case, too")
    given = parser.parse_args()
    units = list(product(given.names or planted_names(), range(given.seeds)))
    with ProcessPoolExecutor(given.jobs) as pool:
        found = [m for some in pool.map(run, *zip(*units, strict=True)) for m in some]
    each = [m.line for m in found] if given.each else []
    sys.stdout.write("\n".join([*each, *ranges(found), "", *gaps(found)]) + "\n")


if __name__ == "__main__":
    main()
