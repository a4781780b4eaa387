"""The ladder: what each rung does under every ask, on test pairs, and the price of trust.

In: the circuits of the rungs. Out: a row for each, as ``ladder.csv`` holds them. Source: ours
(docs/extraction.md#ladder).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from circuitkit.circuit import Circuit
from circuitkit.circuit.folder import LADDER
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.asks import AskName
from circuitkit.files import write_whole
from circuitkit.model import LN2

N_PAIRS = 128

_LEAST_NATS = 0.01
"""A model that is no further below a guess, in nats, has no share of its performance to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rung: its size, and on test pairs F under every ask and what else is asked.

    ``follows`` is the share of prompts whose answer follows the circuit in the run on the other
    prompt, ``cue_kept`` the share of pairs whose cue keeps its sign under a random background,
    ``gain`` what the final norm amplifies by. ``failed`` names the asks that were not met, with
    how far they went, as a share of their limit. F is None where the model itself is no better
    than a guess.
    """

    rung: str
    outcome: str
    n_nodes: int
    n_edges: int
    f_mean: float | None
    f_interchange: float | None
    follows: float
    f_norms: float | None
    gain: float
    cue_kept: float | None
    failed: str = ""


def measure_step(
    circuit: Circuit, maker: AskMaker, rung: str, excesses: Mapping[AskName, float] | None = None
) -> Step:
    """Measure a circuit on the pairs of ``maker``; ``excesses`` is how near its asks were."""
    names: list[AskName] = ["interchange", "norms"]
    if maker.sample is not None:
        names.append("background")
    own, scored = float(maker.own_losses.mean()), circuit.loss_nats
    found: dict[tuple[str, str], float] = {}
    for ask in maker.criteria(names):
        for measure, values in zip(ask.measures, ask.values(circuit.nodes), strict=True):
            found[ask.name, measure.name] = float(values.double().mean())
    missed = {name: x for name, x in (excesses or {}).items() if x > 1}

    def f(loss_nats: float, of_model: float = own) -> float | None:
        better = LN2 - of_model
        return round((LN2 - loss_nats) / better, 4) if better > _LEAST_NATS else None

    cue = found.get(("background", "share_cue_lost"))
    return Step(
        rung=rung,
        outcome="not_reached" if missed else circuit.outcome,
        n_nodes=circuit.n_nodes,
        n_edges=circuit.n_edges,
        f_mean=f(scored.circuit, scored.model),
        f_interchange=f(found["interchange", "loss_nats"]),
        follows=round(1 - found["interchange", "share_wrong"], 4),
        f_norms=f(found["norms", "loss_nats"]),
        gain=round(found["norms", "gain"], 4),
        cue_kept=None if cue is None else round(1 - cue, 4),
        failed=", ".join(f"{name} at {x:.2f} of its limit" for name, x in missed.items()),
    )


def save_ladder(steps: Sequence[Step], folder: Path) -> None:
    """Write ``ladder.csv``."""
    frame = pd.DataFrame([asdict(step) for step in steps])
    write_whole(folder / LADDER, frame.to_csv(index=False, lineterminator="\n"))


def read_ladder(folder: Path) -> tuple[Step, ...]:
    """The rungs in ``ladder.csv``; none if it is not there."""
    path = folder / LADDER
    if not path.exists():
        return ()
    frame = pd.read_csv(path, dtype={"failed": str}, keep_default_na=False, na_values={})
    return tuple(Step(**_typed(row)) for row in frame.to_dict("records"))


def _typed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with its empty cells as None."""
    names = ("cue_kept", "f_mean", "f_interchange", "f_norms")
    return {**row, **{name: None if row[name] == "" else float(row[name]) for name in names}}


def price_in_words(steps: Sequence[Step]) -> str:
    """What trust costs, in a line; why it was not reached; or nothing."""
    if len(steps) < 2:
        return ""
    smallest, trusted = steps
    if trusted.failed:
        return f"no trusted circuit: {trusted.failed}; this is the smallest one"
    times = f"{trusted.n_edges / max(1, smallest.n_edges):.1f} times"
    price = times if smallest.n_edges else f"{trusted.n_edges} edges in place of"
    return (
        f"price of trust: {price} the edges of the smallest circuit "
        f"({smallest.n_nodes} nodes, {smallest.n_edges} edges), whose answer in the run on the "
        f"other prompt follows in {smallest.follows:.2f} of prompts; here in {trusted.follows:.2f}"
    )
