"""A released circuit in our form: its nodes from the file, all else measured or read here.

In: a ``viz_data.pt``, the checkpoint it is of, and a task. Out: a ``Circuit``, and its folder if
asked. Nodes are those of the file, edges the nonzero weights between them, losses measured on
the task's test pairs under means measured over the reference. The losses that the file stores
are kept beside it, halved, as published: nobody outside has reproduced them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.reference import describe_reference, load_reference
from circuitkit.checkpoints.viz_data import VizData, read_viz_data
from circuitkit.circuit import Circuit, CircuitFolder, Minimality
from circuitkit.circuit.published_losses import METHOD, PublishedLosses
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.means import Means, means_of
from circuitkit.extraction.measured_surroundings import describe_surroundings
from circuitkit.extraction.scoring import four_differences
from circuitkit.extraction.target_loss import DEFAULT_TARGET_NATS
from circuitkit.files import sha256_files
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import Edge, NodeSet, Site
from circuitkit.progress import Progress, shown
from circuitkit.provenance import Named, record
from circuitkit.task import Task, load_task
from circuitkit.views.diagram import write_diagram
from circuitkit.views.tables import write_tables

Sample = Int[Tensor, "n length"]


@checked_call
def import_circuit(
    path: str | Path,
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    *,
    reference: Sample | str | Path | None = None,
    reference_tokens: int | None = None,
    target_loss_nats: float = DEFAULT_TARGET_NATS,
    n_test: int = 512,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Circuit:
    """Read a released circuit, and measure it on a task.

    The file holds neither answers nor ablation values, so the task and the reference are yours:
    the losses in the result are of them, not of the release.

    Args:
        path: ``viz_data.pt``, or a folder that holds it.
        checkpoint: the model that the circuit was found in.
        task: what the circuit is to do; it is measured on the task's test pairs.
        reference: the sample to measure means over, as for ``extract``.
        reference_tokens: use at most so many tokens of it; None for all.
        target_loss_nats: the circuit meets its target if its test loss is at most this.
        n_test: at most so many test pairs.
        seed: draws the pairs.
        out: the folder to write for ``validate``, ``compare`` and ``report``; None for none.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        CircuitError: if the file is no released circuit, or not one of this model.
        MismatchError: if the file says that it is of a model of other sizes.
        TaskError: if the task cannot be asked of the checkpoint.
        CheckpointError, CorpusError: if weights or reference are wrong or missing.
        UsageError: if ``out`` holds something else.

    Examples:
        >>> import circuitkit as ck
        >>> circuit = ck.import_circuit(
        ...     "out/release/viz_data.pt", "out/planted", "out/planted/task.jsonl"
        ... )
        >>> circuit.n_nodes > 0
        True
    """
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    released = read_viz_data(path, checkpoint.architecture)
    test = checkpoint.ask(task, "test", n_test, seed)
    sample = load_reference(checkpoint, reference, reference_tokens)
    folder = None if out is None else CircuitFolder.claim(out)
    model = checkpoint.load_model()
    with shown(progress) as report:
        means = means_of(checkpoint, model, sample, report)
        circuit = _measured(
            checkpoint, model, task, released, means, sample, test, target_loss_nats, seed
        )
        if folder:
            _save(folder, circuit, means, published(released, circuit.edges))
            where = str(Path(reference).resolve()) if isinstance(reference, str | Path) else None
            folder.save_sources(task, {"checkpoint": checkpoint.where, "reference": where})
            _draw(folder, circuit, report)
            circuit.save(folder.path)
    return circuit


def published(released: VizData, edges: tuple[Edge, ...]) -> PublishedLosses:
    """The stored losses in our unit: half of what the file holds, which adds both sides."""
    halves = (released.loss, released.intervention_loss)
    loss, intervention = (None if x is None else x / 2 for x in halves)
    nodes = {
        f"{site}:{channel}": value / 2
        for site, losses in released.node_losses.items()
        for channel, value in zip(released.kept[site], losses, strict=True)
        if isfinite(value)
    }
    return PublishedLosses(
        file=Named(name=released.path.name, sha256=sha256_files(released.path)),
        loss_nats=loss,
        intervention_loss_nats=intervention,
        node_loss_nats=nodes,
        edge_loss_change_nats=tuple(_edge_changes(released, edges)),
        samples=released.samples,
    )


def _edge_changes(released: VizData, edges: tuple[Edge, ...]) -> Iterator[tuple[str, str, float]]:
    """Half the stored change of every edge that has one."""
    between: dict[tuple[Site, Site], list[Edge]] = {}
    for edge in edges:
        between.setdefault((edge.source.site, edge.target.site), []).append(edge)
    for part in released.edge_losses:
        rows = {channel: i for i, channel in enumerate(part.sources)}
        columns = {channel: i for i, channel in enumerate(part.targets)}
        for edge in between.get((part.source, part.target), ()):
            row, column = rows.get(edge.source.channel), columns.get(edge.target.channel)
            if row is None or column is None:
                continue
            change = float(part.values[row, column])
            if isfinite(change):
                yield str(edge.source), str(edge.target), change / 2


def _measured(
    checkpoint: Checkpoint, model: Transformer, task: Task, released: VizData, means: Means,
    sample: Tensor, test: EncodedPairs, target_loss_nats: float, seed: int,
) -> Circuit:  # fmt: skip
    """The circuit with its edges and scores; nothing is known of its minimality."""
    nodes = NodeSet(released.kept, model.arch.widths)
    edges = edges_between(model, nodes)
    scored = four_differences(model, test, nodes, means.values)
    loss_nats = scored.losses()
    return Circuit(
        task=Named(name=task.name, sha256=task.sha256),
        checkpoint=Named(name=checkpoint.name, sha256=checkpoint.sha256),
        means_sha256=means.sha256,
        ablation="mean",
        target_loss_nats=target_loss_nats,
        granularity="node",
        method=METHOD,
        seed=seed,
        outcome="target_met" if loss_nats.circuit <= target_loss_nats else "target_missed",
        nodes=nodes,
        edges=edges,
        n_nodes=len(nodes),
        n_edges=len(edges),
        n_edges_induced=len(edges),
        reference=describe_reference(checkpoint, sample),
        loss_nats=loss_nats,
        accuracy=scored.accuracies(),
        n_pairs=len(test),
        minimality=Minimality(
            nodes_1_minimal=False, edges_1_minimal=False, split="test", n_pairs=len(test)
        ),
        surroundings=describe_surroundings(checkpoint, model, task, nodes, means.values),
        provenance=record(
            "circuitkit import_circuit", {"target_loss_nats": target_loss_nats}, seed
        ),
    )


def _save(folder: CircuitFolder, circuit: Circuit, means: Means, losses: PublishedLosses) -> None:
    """All but the circuit itself, which comes last: without it the folder holds none."""
    folder.refuse_other(circuit)
    means.save(folder.path)
    losses.save(folder.path)


def _draw(folder: CircuitFolder, circuit: Circuit, progress: Progress) -> None:
    write_tables(circuit, folder.path)
    progress("diagram", 0, 1)
    write_diagram(circuit, folder.path)
    progress("diagram", 1, 1)
