"""Perturb: what nodes of a circuit do in the dense model that its checkpoint is bridged to.

In: a bridged checkpoint, a task, a circuit, nodes of it. Out: a ``Perturbation``, and in a folder
its files. Intervals are over templates; docs/bridges.md says what each number is.
Source: Gao et al. 2025, section 3.3 and A.4; the controls by number are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.bridges.bridge_file import BridgedPair, dense_checkpoint, load_pair, read_record
from circuitkit.bridges.crossings import crossing_names, crossing_of
from circuitkit.bridges.cue_nodes import cue_nodes
from circuitkit.bridges.perturb_pairs import Perturbed, perturb_pairs
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.of_circuit import check_belongs, check_nodes
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.folder import as_circuit
from circuitkit.circuit.perturbation import (
    FILE,
    PICTURE,
    Perturbation,
    RandomDirections,
    Strength,
)
from circuitkit.circuit.transfer import Bounded
from circuitkit.errors import CircuitError, TaskError, UsageError
from circuitkit.files import claim_folder, write_whole
from circuitkit.model.device import device_named, repeatable
from circuitkit.model.encoded_pairs import EncodedPairs, hits
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.progress import Progress, shown
from circuitkit.provenance import Named
from circuitkit.statistics.intervals import (
    Estimate,
    cluster_mean,
    cluster_ratio,
    monte_carlo_p,
    proportion,
)
from circuitkit.task import Task, load_task
from circuitkit.views.perturbation_plot import draw_perturbation

STRENGTHS = tuple(i / 10 for i in range(11))
N_RANDOM = 100
N_PAIRS = 128
_CUE_PAIRS = 48
_TRAIN_PAIRS = 128


@checked_call
def perturb(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    circuit: Circuit | CircuitFolder | str | Path,
    nodes: Iterable[Node | str] | None = None,
    *,
    dense: Checkpoint | str | Path | None = None,
    strengths: Sequence[float] = STRENGTHS,
    n_pairs: int = N_PAIRS,
    n_random: int = N_RANDOM,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Perturbation:
    """Move nodes of a circuit towards the other prompt, and carry that into the dense model.

    Args:
        checkpoint: the bridged checkpoint that the circuit is of, a bundled name or a folder.
        task: the task of the circuit.
        circuit: the circuit, or its folder.
        nodes: nodes of it, such as ``"1.attn.act_in:40"``, moved together; None for its cue nodes,
            whose interchange alone lowers d by a tenth or more.
        dense: the dense checkpoint, if it is no longer where it was.
        strengths: how far to move them, from 0 to 1; 0 and 1 are added.
        n_pairs: test pairs, at most.
        n_random: random directions to compare with, at least one.
        seed: of the random directions and the intervals; None for that of the circuit.
        out: folder to write the file, its table and its picture to.
        device: where the models compute: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called after each batch; None shows a bar in a terminal or a notebook.

    Raises:
        CheckpointError: if the checkpoint has no bridges, or the dense one is not there.
        CircuitError: if a node is not the circuit's, or has nothing to carry over.
        MismatchError: if circuit, task, checkpoints and bridges do not belong together.
        TaskError: if the dense model answers no prompt rightly.
        UsageError: if a strength is not from 0 to 1, or ``out`` holds something else.
    """
    place, circuit = device_named(device), as_circuit(circuit)
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    strengths = _checked(strengths, n_random)
    check_belongs(checkpoint, task, circuit)
    wanted = None if nodes is None else nodes_of_circuit(circuit, nodes, checkpoint)
    record = read_record(checkpoint)
    target = dense_checkpoint(checkpoint, record, dense)
    if out is not None:
        claim_folder(Path(out), (FILE, "circuit.json"), "what a perturbation does")
    seed = circuit.seed if seed is None else seed
    pairs = checkpoint.ask(task, "test", n_pairs, circuit.seed)
    train = checkpoint.ask(task, "train", _TRAIN_PAIRS, circuit.seed)
    with shown(progress) as report, repeatable(place):
        pair = load_pair(checkpoint, target, place)
        check_nodes(circuit, pair.sparse)
        moved = wanted or cues_of(circuit, pair, train)
        found = perturb_pairs(
            pair, pairs, train, moved, strengths=strengths, n_random=n_random, seed=seed,
            progress=report,
        )  # fmt: skip
    about = {
        "task": Named(name=task.name, sha256=task.sha256),
        "checkpoint": Named(name=checkpoint.name, sha256=checkpoint.sha256),
        "dense": record.dense,
        "circuit_sha256": circuit.sha256,
    }
    made = summary(found, pairs, moved, checkpoint.architecture.n_layer, strengths, seed, about)
    if out is not None:
        made.save(out)
        write_whole(Path(out) / PICTURE, draw_perturbation(made))
    return made


def _checked(strengths: Sequence[float], n_random: int) -> tuple[float, ...]:
    if n_random < 1:
        raise UsageError(f"n_random {n_random}: expected at least 1 random direction.")
    odd = [x for x in strengths if not 0 <= x <= 1]
    if odd:
        raise UsageError(
            f"strength {odd[0]}: expected numbers from 0 (the prompt's own value) to 1 (that on "
            "the other prompt)."
        )
    return tuple(sorted({0.0, *map(float, strengths), 1.0}))


def nodes_of_circuit(
    circuit: Circuit, nodes: Iterable[Node | str], checkpoint: Checkpoint
) -> NodeSet:
    """The nodes asked for, with the model's widths.

    Raises:
        CircuitError: if one is not of the circuit, or reads a position and not the stream.
        UsageError: if a text names no node, or there is none.
    """
    try:
        found = [Node.parse(node) if isinstance(node, str) else node for node in nodes]
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if not found:
        raise UsageError("no node to move: name one of the circuit, or leave nodes out.")
    for node in found:
        if node not in circuit.nodes:
            here = [str(Node(node.site, channel)) for channel in circuit.nodes[node.site]]
            known = ", ".join(here or map(str, circuit.nodes))
            raise CircuitError(
                f"the circuit of {circuit.task.name} has no node {node}; expected one of "
                f"{_some(known)}."
            )
        _check_in_stream(node, checkpoint.architecture.d_model)
    return NodeSet.of(found, checkpoint.architecture.widths)


def _check_in_stream(node: Node, d_model: int) -> None:
    if node.site.place == "act_in" and node.channel >= d_model:
        raise CircuitError(
            f"{node} reads a position, not the residual stream, and both prompts have the same: "
            "there is nothing to carry over. Choose another node."
        )


def _some(names: str) -> str:
    return names if len(names) <= 300 else names[:300].rpartition(",")[0] + ", …"


def cues_of(circuit: Circuit, pair: BridgedPair, train: EncodedPairs) -> NodeSet:
    """The circuit's cue nodes, found on training pairs."""
    arch = pair.sparse.arch
    reads_position = {
        Site(i, block, "act_in"): range(arch.d_model, arch.d_in)
        for i in range(arch.n_layer) for block in ("attn", "mlp")
    }  # fmt: skip
    nodes = NodeSet(circuit.nodes.channels, arch.widths)
    return cue_nodes(pair.sparse, train[:_CUE_PAIRS], nodes - NodeSet(reads_position))


def summary(
    found: Perturbed, pairs: EncodedPairs, nodes: NodeSet, n_layer: int,
    strengths: Sequence[float], seed: int, about: dict,
) -> Perturbation:  # fmt: skip
    """The numbers of a perturbation, with intervals over templates.

    Raises:
        CircuitError: if the nodes have nothing to carry over.
        TaskError: if the dense model answers no prompt rightly.
    """
    own, names = found.dense[0], crossing_names(n_layer)
    crossings = {crossing_of(site, n_layer) for site in nodes.channels}
    if not float(hits(own).sum()):
        raise TaskError(
            f"dense checkpoint {about['dense'].name} answers no prompt of {about['task'].name} "
            "rightly: there is no answer to turn. Choose a task that it does."
        )
    if not float(found.norm.sum()):
        raise CircuitError(
            f"{', '.join(map(str, nodes))}: the same on both prompts of every pair, or nothing "
            "reads it: there is nothing to carry over. Choose another node."
        )
    clusters = pairs.templates

    def per_norm(d: Tensor) -> Bounded:
        return _bounded(cluster_ratio(_pairs(own - d), _pairs(found.norm), clusters, seed))

    def follows(d: Tensor) -> Bounded:
        return _bounded(turned(own, d, clusters, seed))

    def mean(values: Tensor) -> Bounded:
        return _bounded(cluster_mean(_pairs(values), clusters, seed))

    falls = (own - found.random).double().mean(1)
    by_norm = falls / found.norm.double().mean()
    reaches = int((falls >= (own - found.dense[-1]).double().mean()).sum())
    return Perturbation(
        **about,
        nodes=tuple(map(str, nodes)),
        crossings=tuple(names[i] for i in sorted(crossings)),
        seed=seed,
        n_pairs=len(pairs),
        n_templates=len(set(clusters)),
        n_right=int((own > 0).sum()),
        curve=tuple(
            Strength(
                strength=strength,
                dense_d=mean(dense),
                dense_other_answer=mean(torch.sigmoid(-dense)),
                dense_follows=follows(dense),
                sparse_d=mean(sparse),
            )
            for strength, dense, sparse in zip(strengths, found.dense, found.sparse, strict=True)
        ),
        norm=float(found.norm.double().mean()),
        d_per_norm=per_norm(found.dense[-1]),
        by_means_d_per_norm=per_norm(found.by_means),
        by_means_follows=follows(found.by_means),
        random=RandomDirections(
            n_draws=len(found.random),
            d_per_norm=float(by_norm.mean()),
            highest_d_per_norm=float(by_norm.max()),
            follows=float(np.mean([turned(own, d, clusters, seed).effect for d in found.random])),
            p_value=monte_carlo_p(reaches, len(found.random)),
        ),
    )


def turned(own: Tensor, moved: Tensor, clusters: Sequence[str], seed: int) -> Estimate:
    """Of the prompts answered rightly, the share whose answer is the other one when moved."""
    right = (own > 0).double()
    both = _pairs(right * (moved < 0)) * 2
    n_right = _pairs(right) * 2
    if n_right.min() == 2:
        return proportion(both / 2, clusters, seed)
    return cluster_ratio(both, n_right, clusters, seed)


def _pairs(rows: Tensor) -> NDArray[np.float64]:
    """The mean of a pair's two prompts."""
    return rows.double().view(2, -1).mean(0).numpy()


def _bounded(estimate: Estimate) -> Bounded:
    low, high = estimate.bounds
    return Bounded(effect=estimate.effect, low=low, high=high)
