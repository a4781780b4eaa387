"""What a search found, as ``circuit.json`` and ``pruning.json`` hold it.

In: the inputs of an extraction and the circuits found. Out: a ``Circuit``, scored once on
the test split, and the record of the search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import Asked, Circuit, CircuitFolder, Minimality, SearchSettings
from circuitkit.circuit.circuit_json import SMALLEST
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.folder import PRUNING
from circuitkit.extraction.asks import ASKS
from circuitkit.extraction.calibration import calibrated_loss, fit_calibration
from circuitkit.extraction.climb import Climbed
from circuitkit.extraction.criterion import DRIFT_NATS, Criterion
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.extraction.extract_config import DEFAULT, ExtractConfig
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.ladder import Step, save_ladder
from circuitkit.extraction.mask_learning import PruningConfig
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.extraction.means import Means
from circuitkit.extraction.measured_surroundings import describe_surroundings
from circuitkit.extraction.scoring import FourDifferences, four_differences
from circuitkit.extraction.search import Found, Restart
from circuitkit.extraction.target_loss import Target
from circuitkit.extraction.upper_bound import upper_bound
from circuitkit.files import write_whole
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.provenance import Named, record
from circuitkit.task import Task

FORMAT = "circuitkit.pruning/1"
MOST_ALTERNATIVES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A circuit with everything else that its folder holds.

    ``remarks`` say in words what is unusual about the pairs; ``pruning`` holds them too.
    ``circuit`` is that of the highest rung reached; ``smallest`` is the first rung's where it is
    another one, and ``ladder`` has a step a rung that was tried. ``explanation`` is None for a
    circuit of more nodes than a person can follow. ``restarts`` are not saved.
    """

    circuit: Circuit
    means: Means
    pruning: Mapping[str, Any]
    remarks: tuple[str, ...] = ()
    smallest: Circuit | None = None
    ladder: tuple[Step, ...] = ()
    explanation: Explanation | None = None
    restarts: tuple[Restart, ...] = ()

    def save(self, folder: str | Path) -> None:
        """Write means, search record, ladder, smallest circuit and last ``circuit.json``.

        Files of another circuit in the folder are removed.
        """
        CircuitFolder(Path(folder)).forget_other(self.circuit)
        self.means.save(folder)
        write_whole(Path(folder) / PRUNING, json.dumps(self.pruning) + "\n")
        if self.ladder:
            save_ladder(self.ladder, Path(folder))
        if self.smallest is not None:
            self.smallest.save(folder, SMALLEST)
        if self.explanation is not None:
            self.explanation.save(folder)
        self.circuit.save(folder)

    def __repr__(self) -> str:
        return f"Extraction({self.circuit!r})"


def describe(
    checkpoint: Checkpoint, task: Task, config: ExtractConfig, criterion: Criterion, means: Means,
    test: EncodedPairs, found: Found, target: Target, split: str,
) -> Circuit:  # fmt: skip
    """Score the circuit on the test split and record everything about it.

    ``split`` names the pairs that it was found on.
    """
    model, nodes, edges = criterion.model, found.kept.nodes, found.kept.edges
    cut = cut_model(model, nodes, edges, criterion.values)
    scored = four_differences(model, test, nodes, criterion.values, circuit_model=cut)
    refined = found.is_minimal and config.refine
    return Circuit(
        task=Named(name=task.name, sha256=task.sha256),
        checkpoint=Named(name=checkpoint.name, sha256=checkpoint.sha256),
        means_sha256=means.sha256,
        ablation=config.ablation,
        target_loss_nats=criterion.target_loss_nats,
        requested_target_loss_nats=target.requested_nats,
        granularity=config.granularity,
        method=_method(config),
        seed=config.seed,
        outcome=found.restart.outcome,
        nodes=nodes,
        edges=edges,
        n_nodes=len(nodes),
        n_edges=len(edges),
        n_edges_induced=len(edges_between(model, nodes)),
        alternatives=found.alternatives[:MOST_ALTERNATIVES],
        loss_nats=scored.losses(),
        accuracy=scored.accuracies(),
        n_pairs=len(test),
        minimality=Minimality(
            nodes_1_minimal=refined, edges_1_minimal=refined and config.granularity == "edge",
            split=split,
            n_pairs=len(criterion.pairs), n_templates=criterion.n_templates,
            max_drift_nats=DRIFT_NATS if criterion.is_strict and criterion.pushed else None,
        ),
        calibration=_calibrate(config, criterion, nodes, cut, scored, test),
        surroundings=describe_surroundings(
            checkpoint, model, task, nodes, criterion.values, circuit_model=cut
        ),
        provenance=record("circuitkit extract", config.to_dict(), config.seed),
    )  # fmt: skip


def asked_of(criterion: Criterion, nodes: NodeSet) -> tuple[Asked, ...]:
    """What the search asked, and how near the circuit is to each limit."""
    bound = criterion.bound(nodes)
    mean = ("mean", "loss_nats", criterion.target_loss_nats, bound, len(criterion.pairs))
    more = [
        (ask.name, m.name, m.limits.mean, upper_bound(v, ask.units.clusters), len(ask.units))
        for ask in criterion.asks
        for m, v in zip(ask.measures, ask.values(nodes), strict=True)
    ]
    return tuple(
        Asked(ask=ask, measure=measure, limit=limit, bound=bound, n_pairs=n)
        for ask, measure, limit, bound, n in sorted([mean, *more], key=lambda x: ASKS.index(x[0]))
    )


def climb_record(climbed: Climbed) -> dict[str, Any]:
    """What ``pruning.json`` says of the climb."""
    return {
        "excesses": {name: round(x, 4) for name, x in climbed.excesses.items()},
        "restarts": [
            {"outcome": r.outcome, "n_nodes": len(r.nodes), "n_edges": r.n_edges,
             "n_judged": r.n_judged}
            for r in climbed.restarts
        ],
    }  # fmt: skip


def settings_of(config: ExtractConfig, n_within: int | None) -> SearchSettings | None:
    """Settings that are not the default and that nothing else in ``circuit.json`` holds."""
    plain, usual = asdict(config), asdict(DEFAULT)
    said = (
        "restarts",
        "tune",
        "on_average",
        "n_gradient_points",
        "n_train",
        "n_select",
        "n_test",
        "rung",
        "asks",
    )
    found = {name: plain[name] for name in said if plain[name] != usual[name]}
    if config.pruning not in (None, replace(config, pruning=None).learning):
        learning = asdict(PruningConfig())
        found["pruning"] = {k: v for k, v in plain["pruning"].items() if v != learning[k]}
    if n_within is not None:
        found["n_within"] = n_within
    return SearchSettings(**found) if found else None


def _method(config: ExtractConfig) -> str | None:
    """How the circuit was found, where that is not the default way."""
    usual = ExtractConfig()
    named = [
        value
        for value in (config.method, config.schedule)
        if value not in (usual.method, usual.schedule)
    ]
    return " ".join([*named, *([] if config.refine else ["unrefined"])]) or None


def _calibrate(
    config: ExtractConfig, criterion: Criterion, nodes: NodeSet, cut: Any, scored: FourDifferences,
    test: EncodedPairs,
):  # fmt: skip
    if not config.calibrate:
        return None
    fitted = fit_calibration(
        masked_differences(cut, criterion.pairs, nodes, criterion.values), criterion.pairs
    )
    return fitted.model_copy(update={"loss_nats": calibrated_loss(scored.circuit, test, fitted)})


def search_record(
    config: ExtractConfig, restarts: Sequence[Restart], found: Found, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """``pruning.json``: the settings, every restart's history and size, the scores of the best.

    ``remarks`` on the pairs is absent if there are none.
    """
    best = found.restart
    return {
        "format": FORMAT,
        "config": config.to_dict(),
        "outcome": best.outcome,
        **({"remarks": list(remarks)} if remarks else {}),
        "chosen_restart": restarts.index(best),
        "restarts": [
            {
                "outcome": restart.outcome,
                "n_nodes_learned": len(restart.scores.learned),
                "n_nodes": len(restart.nodes),
                "n_edges": restart.n_edges,
                "n_judged": restart.n_judged,
                "pruning": asdict(restart.learning),
            }
            for restart in restarts
        ],
        "history": [list(row) for row in best.scores.history],
        "scores": {str(s): [round(x, 4) for x in r.tolist()] for s, r in best.scores.ranks.items()},
    }
