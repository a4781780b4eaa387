"""Find a circuit: the steps of the search in their order, from inputs to an ``Extraction``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import describe_reference
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.candidates import find_candidates
from circuitkit.extraction.circuit_record import (
    Extraction,
    Found,
    asked_of,
    climb_record,
    describe,
    search_record,
    settings_of,
)
from circuitkit.extraction.climb import Climb, pairs_to_decide
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edge_pruning import Kept, drop_edges
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.extraction_inputs import ExtractionInputs, Splits
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.ladder import N_PAIRS, measure_step
from circuitkit.extraction.local_search import explore
from circuitkit.extraction.means import Means, halves_differ, means_of, zero_means
from circuitkit.extraction.restarts import run_restarts, single_threaded
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.search import Restart
from circuitkit.extraction.target_loss import Target, choose_target
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress


def find_circuit(inputs: ExtractionInputs, saved: SavedSearch, progress: Progress) -> Extraction:
    """The steps of the search, one call each.

    Raises:
        TaskError: if the checkpoint does not do the task and no target was asked for.
        CheckpointError: if its weights are wrong.
    """
    checkpoint, task, config = inputs.checkpoint, inputs.task, inputs.config
    sample, splits, within = inputs.sample, inputs.splits, inputs.within
    model = checkpoint.load_model()
    about = f"{task.name} on {checkpoint.name}"
    target = choose_target(model, splits.select, config.target_loss_nats, about)
    means = saved.means(model.arch.widths)
    if means is None:
        means = _means(checkpoint, model, config, sample, progress)
        saved.keep_means(means)
    is_pushed = config.ablation == "mean" and sample is not None and halves_differ(sample)
    criterion = _criterion(model, means, splits, target, config, is_pushed=is_pushed)
    train, n_within = splits.train, None if within is None else len(within)
    if within is None:
        within = find_candidates(train, criterion, progress=progress)
    with single_threaded() as n_workers:
        restarts = run_restarts(train, criterion, config, within, saved, progress, n_workers)
        found = _settle(restarts, criterion, train, config, within, progress)
        known = [found.kept.nodes, *found.alternatives]
        climbed = None
        if config.climbs and found.is_minimal:
            climb = _climb(inputs, criterion, known, within, saved, progress)
            climbed = climb.run(n_workers)
    maker = _maker(inputs, criterion, splits.test[:N_PAIRS])
    smallest = describe(checkpoint, task, config, criterion, means, splits.test, found, target)
    common = {
        "search": settings_of(config, n_within),
        "reference": None if sample is None else describe_reference(checkpoint, sample),
    }
    smallest = smallest.model_copy(update={**common, "rung": "smallest"})
    pruning = search_record(config, restarts, found, splits.remarks)
    steps = (measure_step(smallest, maker, "smallest"),)
    if climbed is None:
        return Extraction(
            circuit=smallest, means=means, pruning=pruning, remarks=splits.remarks, ladder=steps
        )
    pruning["climb"] = climb_record(climbed)
    reached = Found(
        restart=climbed.restarts[0],
        kept=Kept(nodes=climbed.nodes, edges=edges_between(model, climbed.nodes)),
    )
    trusted = describe(
        checkpoint, task, config, climb.criterion, means, splits.test, reached, target,
        outcome="target_met" if climbed.is_met else "target_missed",
    ).model_copy(
        update={**common, "rung": "trusted", "asks": asked_of(climb.criterion, climbed.nodes)}
    )  # fmt: skip
    steps = (*steps, measure_step(trusted, maker, "trusted", climbed.excesses))
    return Extraction(
        circuit=trusted if climbed.is_met else smallest,
        smallest=smallest if climbed.is_met else None,
        means=means, pruning=pruning, remarks=splits.remarks, ladder=steps,
    )  # fmt: skip


def _maker(inputs: ExtractionInputs, criterion: Criterion, pairs: EncodedPairs) -> AskMaker:
    return AskMaker(
        model=criterion.model, values=criterion.values, sample=inputs.sample, pairs=pairs,
        seed=inputs.config.seed,
    )  # fmt: skip


def _climb(
    inputs: ExtractionInputs, criterion: Criterion, known: Sequence[NodeSet],
    within: NodeSet | None, saved: SavedSearch, progress: Progress,
) -> Climb:  # fmt: skip
    """The climb from these circuits; it is decided on selection and training pairs."""
    train, config = inputs.splits.train, inputs.config
    maker = _maker(inputs, criterion, pairs_to_decide(train, inputs.splits.select))
    names = [name for name in config.asks if name != "background" or inputs.sample is not None]
    asked = replace(
        criterion, pairs=maker.pairs, asks=maker.criteria(names),
        limits=maker.mean_limits(criterion.target_loss_nats),
    )  # fmt: skip
    return Climb(
        known=known, train=train, criterion=asked, maker=maker, config=config, within=within,
        saved=saved, progress=progress,
    )  # fmt: skip


def _means(
    checkpoint: Checkpoint, model: Transformer, config: ExtractConfig,
    sample: Tensor | None, progress: Progress,
) -> Means:  # fmt: skip
    if config.ablation == "zero" or sample is None:
        return zero_means(model.arch.widths, checkpoint.sha256)
    return means_of(checkpoint, model, sample, progress)


def _criterion(
    model: Transformer, means: Means, splits: Splits, target: Target, config: ExtractConfig,
    *, is_pushed: bool,
) -> Criterion:  # fmt: skip
    """The criterion: by the upper bound and the drift, or by the mean loss as in the paper."""
    is_strict = config.schedule != "paper"
    return Criterion(
        model=model,
        values=means.values,
        pushed=(means.pushed(PUSH), means.pushed(-PUSH)) if is_strict and is_pushed else (),
        pairs=splits.select,
        target_loss_nats=target.loss_nats,
        is_strict=is_strict,
    )


def _settle(
    restarts: list[Restart], criterion: Criterion, train: EncodedPairs, config: ExtractConfig,
    within: NodeSet | None, progress: Progress,
) -> Found:  # fmt: skip
    """The best restart, improved by local search, then edge by edge if asked."""
    best = min(restarts, key=lambda restart: restart.size)
    if best.outcome != "target_met" or not config.refine:
        edges = edges_between(criterion.model, best.nodes)
        return Found(restart=best, kept=Kept(nodes=best.nodes, edges=edges))
    met = [restart.nodes for restart in restarts if restart.outcome == "target_met"]
    nodes, *others = explore(met, criterion, train, within=within, progress=progress)
    kept = Kept(nodes=nodes, edges=edges_between(criterion.model, nodes))
    if config.granularity == "edge":
        kept = drop_edges(nodes, criterion, ranked_nodes(best.scores), progress)
    alternatives = tuple(other for other in others if len(other) <= len(nodes))
    return Found(restart=best, kept=kept, alternatives=alternatives)
