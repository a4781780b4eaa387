"""The checkpoint that a circuit is of: where it is, and whether one given is that one.

In: a circuit folder, or a circuit with a checkpoint and a task. Out: the checkpoint, or an error
that names both hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from circuitkit.checkpoints.bundled import recorded_checkpoint
from circuitkit.checkpoints.checkpoint import Checkpoint, load_checkpoint
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.errors import CircuitError, MismatchError
from circuitkit.nodes import NodeSet, Site
from circuitkit.provenance import Named
from circuitkit.task import Task


def checkpoint_of(
    folder: CircuitFolder, circuit: Circuit, given: Checkpoint | str | Path | None = None
) -> Checkpoint:
    """The checkpoint given, else the one the folder says it was made from.

    Raises:
        CircuitError: if it is not recorded, or no longer there.
        MismatchError: if it is another than the circuit was extracted with.
    """
    found = _recorded(folder, circuit) if given is None else load_checkpoint(given)
    _check_is("checkpoint", found, circuit.checkpoint)
    return found


def _recorded(folder: CircuitFolder, circuit: Circuit) -> Checkpoint:
    name = folder.sources.get("checkpoint", circuit.checkpoint.name)
    where = recorded_checkpoint(name)
    if not where.is_dir():
        raise CircuitError(
            f"{folder.path} was extracted from checkpoint {circuit.checkpoint.name} at {name}, "
            "which is not there; name its folder with --checkpoint."
        )
    return load_checkpoint(where)


def check_belongs(checkpoint: Checkpoint, task: Task, circuit: Circuit) -> None:
    """A circuit goes with the checkpoint and the task that it was extracted with.

    Raises:
        MismatchError: if one of them is another.
    """
    _check_is("checkpoint", checkpoint, circuit.checkpoint)
    _check_is("task", task, circuit.task)


def _check_is(kind: str, found: Checkpoint | Task, was: Named) -> None:
    if found.sha256 != was.sha256:
        raise MismatchError(
            f"the circuit was extracted with {kind} {was.name} ({was.sha256[:12]}…), but the "
            f"one given is {found.name} ({found.sha256[:12]}…). Give the {kind} it was "
            "extracted with, or extract again."
        )


def check_nodes(circuit: Circuit, widths: Mapping[Site, int]) -> None:
    """A model of these widths has the nodes of its circuit.

    Raises:
        CircuitError: if it lacks one.
    """
    try:
        NodeSet(circuit.nodes.channels, widths)
    except ValueError as error:
        raise CircuitError(f"the circuit does not fit the checkpoint: {error}.") from None
