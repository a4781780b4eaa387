"""Perturb: what nodes of a circuit do in the dense model that its checkpoint is bridged to.

In: a bridged checkpoint, a task, a circuit, nodes of it. Out: a ``Perturbation``, and in a folder
its files. Intervals are over templates; docs/bridges.md says what each number is.
Source: Gao et al. 2025, section 3.3 and A.4; the controls by number are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from circuitkit.arguments import checked_call
from circuitkit.bridges.bridge_file import dense_checkpoint, load_pair, read_record
from circuitkit.bridges.cue_nodes import cues_of, nodes_of_circuit
from circuitkit.bridges.perturb_pairs import perturb_pairs
from circuitkit.bridges.perturbation_numbers import summary
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.of_circuit import check_belongs, check_nodes
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.folder import CIRCUIT, as_circuit
from circuitkit.circuit.perturbation import (
    FILE,
    PICTURE,
    Perturbation,
)
from circuitkit.errors import UsageError
from circuitkit.files import claim_folder, write_whole
from circuitkit.model.device import device_named, repeatable
from circuitkit.nodes import Node
from circuitkit.progress import Progress, shown
from circuitkit.provenance import Named, check_seed
from circuitkit.task import Task, load_task
from circuitkit.views.perturbation_plot import draw_perturbation

STRENGTHS = tuple(i / 10 for i in range(11))
N_RANDOM = 100
N_PAIRS = 128
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
        nodes: nodes of it, such as ``"1.attn.act_in:40"``, moved together, or ``["all"]``; None
            for its cue nodes, whose interchange alone lowers d by a tenth or more.
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

    Examples:
        >>> import circuitkit as ck
        >>> nodes = ["final_resid:22"]
        >>> ck.perturb("out/bridged", "for_while", "out/for_while", nodes, n_pairs=8).crossings
        ('final_resid',)
    """
    place, circuit = device_named(device), as_circuit(circuit)
    seed = circuit.seed if seed is None else seed
    check_seed(seed)
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    strengths = _checked(strengths, n_random)
    check_belongs(checkpoint, task, circuit)
    wanted = None if nodes is None else nodes_of_circuit(circuit, nodes, checkpoint)
    record = read_record(checkpoint)
    target = dense_checkpoint(checkpoint, record, dense)
    if out is not None:
        _claim(Path(out), circuit)
    pairs = checkpoint.ask(task, "test", n_pairs, circuit.seed)
    train = checkpoint.ask(task, "train", _TRAIN_PAIRS, circuit.seed)
    with shown(progress) as report, repeatable(place):
        pair = load_pair(checkpoint, target, place)
        check_nodes(circuit, pair.sparse.arch.widths)
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
        picture = draw_perturbation(made)
        made.save(out)
        write_whole(Path(out) / PICTURE, picture)
    return made


def _claim(out: Path, circuit: Circuit) -> None:
    """The folder of the circuit, or one of its own: another circuit's keeps what it has."""
    claim_folder(out, (FILE, CIRCUIT), "what a perturbation does")
    folder = CircuitFolder(out)
    if folder.holds_one and folder.circuit.sha256 != circuit.sha256:
        raise UsageError(
            f"{out} holds another circuit than the one whose nodes are moved; expected its own "
            "folder, or one without a circuit. Choose another --out."
        )


def _checked(strengths: Sequence[float], n_random: int) -> tuple[float, ...]:
    if n_random < 1:
        raise UsageError(f"n_random {n_random}: expected at least 1 random direction.")
    try:
        odd = [x for x in strengths if not 0 <= x <= 1]
    except TypeError:
        raise UsageError(
            f"strengths {strengths!r:.60}: expected a list of numbers from 0 to 1."
        ) from None
    if odd:
        raise UsageError(
            f"strength {odd[0]}: expected numbers from 0 (the prompt's own value) to 1 (that on "
            "the other prompt)."
        )
    return tuple(sorted({0.0, *map(float, strengths), 1.0}))
