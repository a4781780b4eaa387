"""Find a circuit: the steps of the search in their order, from inputs to an ``Extraction``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import describe_reference
from circuitkit.errors import MismatchError
from circuitkit.explaining import explain
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.candidates import find_candidates, nodes_to_learn
from circuitkit.extraction.circuit_record import (
    Extraction,
    Found,
    asked_of,
    climb_record,
    describe,
    search_record,
    settings_of,
)
from circuitkit.extraction.climb import Climb, Climbed, pairs_to_decide
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edge_pruning import Kept, cut_model, drop_edges
from circuitkit.extraction.equals import equals
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


def find_circuit(
    inputs: ExtractionInputs, saved: SavedSearch, progress: Progress, device: torch.device
) -> Extraction:
    """The steps of the search, one call each.

    Raises:
        TaskError: if the checkpoint does not do the task and no target was asked for.
        CheckpointError: if its weights are wrong.
    """
    checkpoint, task, config = inputs.checkpoint, inputs.task, inputs.config
    sample, splits = inputs.sample, inputs.splits
    model = checkpoint.load_model(device)
    about = f"{task.name} on {checkpoint.name}"
    target = choose_target(model, splits.select, config.target_loss_nats, about)
    means = saved.means(model.arch.widths)
    if means is None:
        means = _known_means(inputs) or _means(checkpoint, model, config, sample, progress)
        saved.keep_means(means)
    is_pushed = config.ablation == "mean" and sample is not None and halves_differ(sample)
    criterion = _criterion(model, means, splits, target, config, is_pushed=is_pushed)
    if criterion.is_strict and not config.on_average:
        limits = _maker(inputs, criterion, criterion.pairs).form_limits
        criterion = replace(criterion, limits=limits)
    with single_threaded(device) as n_workers:
        search = _search(inputs, criterion, saved, progress, n_workers)
        return _describe(inputs, criterion, means, target, search)


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """What the search found: the smallest circuit, and what came of the climb from it, if any."""

    restarts: list[Restart]
    found: Found
    climb: Climb | None = None
    climbed: Climbed | None = None


def _search(
    inputs: ExtractionInputs, criterion: Criterion, saved: SavedSearch, progress: Progress,
    n_workers: int,
) -> _Searched:  # fmt: skip
    """The smallest circuit, then the climb to one that is to be trusted."""
    train, config, within = inputs.splits.train, inputs.config, inputs.within
    if within is None:
        within = find_candidates(train, criterion, progress=progress)
    learned = nodes_to_learn(train, criterion, config, within, progress)
    restarts = run_restarts(
        train, criterion, config, learned, saved, progress, n_workers, inputs.begun
    )
    found = _settle(restarts, criterion, train, config, within, progress)
    if not (config.climbs and found.is_minimal):
        return _Searched(restarts=restarts, found=found)
    known = [found.kept.nodes, *found.alternatives]
    climb = _climb(inputs, criterion, known, within, saved, progress)
    return _Searched(restarts=restarts, found=found, climb=climb, climbed=climb.run())


def _describe(
    inputs: ExtractionInputs, criterion: Criterion, means: Means, target: Target, search: _Searched
) -> Extraction:
    """Score every rung on the test split; the circuit is that of the highest one reached."""
    test, sample, config = inputs.splits.test, inputs.sample, inputs.config
    common = {
        "search": settings_of(config, None if inputs.within is None else len(inputs.within)),
        "reference": None if sample is None else describe_reference(inputs.checkpoint, sample),
    }
    about = (inputs.checkpoint, inputs.task, config)
    smallest = describe(*about, criterion, means, test, search.found, target, "select")
    smallest = smallest.model_copy(update={**common, "rung": "smallest"})
    cut = cut_model(criterion.model, smallest.nodes, smallest.edges, criterion.values)
    few = replace(_maker(inputs, criterion, test[:N_PAIRS]), cut=cut)
    ladder = [] if inputs.brief else [measure_step(smallest, few, "smallest")]
    record = search_record(config, search.restarts, search.found, inputs.splits.remarks)
    circuit = smallest
    if search.climb and search.climbed:
        asked, climbed = search.climb.criterion, search.climbed
        found, split = climbed.found(asked.model), "select and train"
        trusted = describe(*about, asked, means, test, found, target, split)
        more = {"rung": "trusted", "asks": asked_of(asked, climbed.nodes)}
        trusted = trusted.model_copy(update={**common, **more})
        if not inputs.brief:
            ladder.append(measure_step(trusted, few, "trusted", climbed.excesses))
        record["climb"] = climb_record(climbed)
        circuit = trusted if climbed.is_met else smallest
    return Extraction(
        circuit=circuit, smallest=None if circuit is smallest else smallest, means=means,
        pruning=record, remarks=inputs.splits.remarks, ladder=tuple(ladder),
        restarts=tuple(search.restarts),
        explanation=None if inputs.brief else explain(
            inputs.checkpoint, criterion.model, inputs.task, circuit, criterion.values, sample,
            cut_model(criterion.model, circuit.nodes, circuit.edges, criterion.values),
        ),
    )  # fmt: skip


def _maker(inputs: ExtractionInputs, criterion: Criterion, pairs: EncodedPairs) -> AskMaker:
    return AskMaker(
        model=criterion.model, values=criterion.values, sample=inputs.sample, pairs=pairs,
        target_loss_nats=criterion.target_loss_nats, seed=inputs.config.seed,
    )  # fmt: skip


def _climb(
    inputs: ExtractionInputs, criterion: Criterion, known: Sequence[NodeSet],
    within: NodeSet | None, saved: SavedSearch, progress: Progress,
) -> Climb:  # fmt: skip
    """The climb from these circuits; it is decided on selection and training pairs."""
    train, config = inputs.splits.train, inputs.config
    maker = _maker(inputs, criterion, pairs_to_decide(train, inputs.splits.select))
    asked = replace(
        criterion,
        pairs=maker.pairs,
        asks=maker.criteria(maker.known(config.asks)),
        limits=maker.mean_limits,
    )
    return Climb(
        known=known, train=train, criterion=asked, maker=maker, config=config, within=within,
        saved=saved, progress=progress,
    )  # fmt: skip


def _known_means(inputs: ExtractionInputs) -> Means | None:
    """The ablation values that were given, if checkpoint, ablation and size of the sample fit.

    Raises:
        MismatchError: if not.
    """
    means, config, checkpoint = inputs.means, inputs.config, inputs.checkpoint
    if means is None:
        return None
    n_tokens = 0 if config.ablation == "zero" or inputs.sample is None else inputs.sample.numel()
    widths = {site: len(value) for site, value in means.values.items()}
    given = (means.checkpoint_sha256, means.ablation, means.n_tokens)
    if given != (checkpoint.sha256, config.ablation, n_tokens) or (
        widths != checkpoint.architecture.widths
    ):
        whose = f"checkpoint {means.checkpoint_sha256[:12]}…"
        if not means.checkpoint_sha256:
            whose = "no checkpoint (measure_means was not given its checkpoint_sha256)"
        raise MismatchError(
            f"means of ablation {means.ablation!r} over {means.n_tokens:,} tokens of {whose} were "
            f"given, expected {config.ablation!r} over {n_tokens:,} tokens of "
            f"{checkpoint.sha256[:12]}…. Leave them out to measure them."
        )
    return means


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
    others = dict.fromkeys([*equals(nodes, criterion), *others])
    kept = Kept(nodes=nodes, edges=edges_between(criterion.model, nodes))
    if config.granularity == "edge":
        kept = drop_edges(nodes, criterion, ranked_nodes(best.scores), progress)
    alternatives = tuple(other for other in others if len(other) <= len(nodes))
    return Found(restart=best, kept=kept, alternatives=alternatives)
