"""A circuit folder as commands see it: what it was made from, and its files.

``extract`` leaves in it, beside the nouns, a copy of the task file (unless the
task is built in) and where the checkpoint was, so that ``validate`` needs the
folder alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from torch import Tensor

from circuitkit.checkpoints import Checkpoint, bundled_checkpoints, load_checkpoint
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import FILE as CIRCUIT
from circuitkit.circuit import Circuit
from circuitkit.cli.sources import SOURCES, TASK_FILES, read_sources
from circuitkit.errors import CircuitError, CircuitkitError, UsageError
from circuitkit.extraction import ExtractConfig, Extraction
from circuitkit.extraction.means import FILE as MEANS
from circuitkit.extraction.means import Means, Progress, silent
from circuitkit.extraction.partial import search_key
from circuitkit.files import claim_folder, write_whole
from circuitkit.task import Task, load_task
from circuitkit.validation.statistics import FEWEST
from circuitkit.validation.sufficient import ABOVE_TARGET_NATS
from circuitkit.views.diagram import write_diagram
from circuitkit.views.tables import write_tables

_SHOWN = ("nodes.csv", "edges.csv", "circuit.dot", "circuit.svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What an extraction is given."""

    checkpoint: Checkpoint
    task: Task
    task_copy: tuple[str, bytes] | None
    reference: Tensor
    reference_path: Path | None


def open_inputs(
    checkpoint: str, task: str, reference: Path | None, n_tokens: int | None, device: str
) -> Inputs:
    """Load and check everything before anything is written."""
    _check_device(device)
    loaded = load_checkpoint(checkpoint)
    path = Path(task)
    copy = f"task{path.suffix}"
    return Inputs(
        checkpoint=loaded,
        task=load_task(task),
        task_copy=(copy, path.read_bytes()) if copy in TASK_FILES else None,
        reference=load_reference(loaded, reference, n_tokens),
        reference_path=reference,
    )


def _check_device(device: str) -> None:
    if device != "cpu":
        raise UsageError(
            f"--device {device} cannot be used here: extraction is cpu only so far. Try cpu."
        )


def claim(folder: Path) -> None:
    """Refuse a folder that holds something other than an extraction."""
    claim_folder(folder, (CIRCUIT, MEANS), "a circuit")


def finished(folder: Path, inputs: Inputs, config: ExtractConfig) -> Circuit | None:
    """The circuit of a folder, if it is what this very extraction would find."""
    if not (folder / CIRCUIT).exists():
        return None
    if read_sources(folder).get("search") != _search_key(inputs, config):
        return None
    circuit = Circuit.load(folder)
    if not all((folder / name).exists() for name in _SHOWN):
        show(folder, circuit, silent)
    return circuit


def _search_key(inputs: Inputs, config: ExtractConfig) -> str:
    return search_key(inputs.checkpoint, inputs.task, config, inputs.reference, None)


def write(
    folder: Path, extraction: Extraction, inputs: Inputs, config: ExtractConfig, progress: Progress
) -> None:
    """Write every file of a circuit folder."""
    sources = {
        "checkpoint": _where(inputs.checkpoint),
        "reference": str(inputs.reference_path.resolve()) if inputs.reference_path else None,
        "search": _search_key(inputs, config),
    }
    write_whole(folder / SOURCES, json.dumps(sources, indent=1) + "\n")
    if inputs.task_copy is not None:
        name, data = inputs.task_copy
        write_whole(folder / name, data)
    extraction.save(folder)
    show(folder, extraction.circuit, progress)


def show(folder: Path, circuit: Circuit, progress: Progress) -> None:
    """Write what is drawn from the circuit: its tables, its diagram."""
    write_tables(circuit, folder)
    progress("diagram", 0, 1)
    write_diagram(circuit, folder)
    progress("diagram", 1, 1)


def _where(checkpoint: Checkpoint) -> str:
    bundled = {path: name for name, path in bundled_checkpoints().items()}
    return bundled.get(checkpoint.path, str(checkpoint.path.resolve()))


def checkpoint_of(folder: Path, circuit: Circuit, given: str | None) -> Checkpoint:
    """The checkpoint given, else the one the folder says it was made from.

    Raises:
        CircuitError: if it is not said, or no longer there.
    """
    if given is not None:
        return load_checkpoint(given)
    name = read_sources(folder).get("checkpoint", circuit.checkpoint.name)
    if name not in bundled_checkpoints() and not Path(name).is_dir():
        raise CircuitError(
            f"{folder} was extracted from checkpoint {circuit.checkpoint.name} at {name}, which is "
            "not there; name its folder with --checkpoint."
        )
    return load_checkpoint(name)


def task_of(folder: Path, circuit: Circuit) -> Task:
    """The task copied into the folder, else the built-in one of that name."""
    for name in TASK_FILES:
        if (folder / name).exists():
            return load_task(folder / name)
    return load_task(circuit.task.name)


def reference_of(
    folder: Path, checkpoint: Checkpoint, circuit: Circuit, means: Means, given: Path | None
) -> Tensor:
    """As many tokens as the circuit was extracted over, of the same reference or the one given.

    Raises:
        CircuitError: if the folder names a file that is no longer there.
    """
    told = read_sources(folder).get("reference")
    path = given or (Path(told) if told else None)
    if given is None and path is not None and not path.exists():
        raise CircuitError(
            f"{folder} was extracted over the reference {path}, which is not there; name it with "
            "--reference."
        )
    n_tokens = circuit.reference.n_tokens if circuit.reference else means.n_tokens
    return load_reference(checkpoint, path, n_tokens or None)


def beside(folder: Path, circuit: Circuit) -> Iterator[tuple[Path, Circuit]]:
    """Circuits on the same checkpoint in the folders next to this one, with their folders."""
    for path in sorted(folder.resolve().parent.glob(f"*/{CIRCUIT}")):
        if path.parent == folder.resolve():
            continue
        try:
            other = Circuit.load(path.parent)
        except CircuitError:
            continue  # no fault of this circuit
        if other.checkpoint.sha256 == circuit.checkpoint.sha256:
            yield path.parent, other


def others_of(folder: Path, circuit: Circuit) -> tuple[list[Circuit], list[Task]]:
    """Circuits on the same checkpoint in the folders beside this one, and the tasks found there."""
    circuits, tasks = [], []
    for path, other in beside(folder, circuit):
        circuits.append(other)
        with suppress(CircuitkitError):  # a broken task is no fault of this circuit
            tasks.append(task_of(path, other))
    return circuits, tasks


def summary(circuit: Circuit) -> dict[str, Any]:
    """The headline numbers."""
    return {
        "task": circuit.task.name,
        "checkpoint": circuit.checkpoint.name,
        "outcome": circuit.outcome,
        "target_loss_nats": circuit.target_loss_nats,
        "n_nodes": circuit.n_nodes,
        "n_edges": circuit.n_edges,
        "loss_nats": circuit.loss_nats.model_dump(),
        "accuracy": circuit.accuracy.model_dump(),
        "nodes_1_minimal": circuit.minimality.nodes_1_minimal,
        "edges_1_minimal": circuit.minimality.edges_1_minimal,
        "n_alternatives": len(circuit.alternatives),
    }


def in_words(circuit: Circuit, folder: Path) -> str:
    """What ``extract`` prints."""
    loss, accuracy = circuit.loss_nats, circuit.accuracy
    raised = ""
    if circuit.requested_target_loss_nats is not None:
        raised = " (raised: the model itself does not reach the default)"
    calibrated = ""
    if circuit.calibration is not None and circuit.calibration.loss_nats is not None:
        calibrated = f", {circuit.calibration.loss_nats:.3f} calibrated"
    return (
        f"{circuit.task.name} on {circuit.checkpoint.name}: {circuit.outcome.replace('_', ' ')}, "
        f"{_size_in_words(circuit)}\n"
        f"  target     {circuit.target_loss_nats:.3f} nats{raised}\n"
        f"  model      {loss.model:.3f} nats, accuracy {accuracy.model:.3f}\n"
        f"  circuit    {loss.circuit:.3f} nats, accuracy {accuracy.circuit:.3f}{calibrated}\n"
        f"  complement {loss.complement:.3f} nats, accuracy {accuracy.complement:.3f}\n"
        f"  on {circuit.n_pairs} test pairs\n"
        f"{''.join(_reservations(circuit))}"
        f"{_alternatives_in_words(circuit)}"
        f"{folder}\n"
        f"next: circuitkit validate {quote(str(folder))}"
    )


def _size_in_words(circuit: Circuit) -> str:
    induced = circuit.n_edges_induced
    of = f" of {induced}" if circuit.granularity == "edge" else ""
    minimal = ", 1-minimal" if circuit.minimality.nodes_1_minimal else ""
    also = " edge by edge too" if circuit.minimality.edges_1_minimal else ""
    most = circuit.minimality.max_drift_nats
    kept_for = (
        f" (by the target, and by a drift of at most {most} nats)" if minimal and most else ""
    )
    return f"{circuit.n_nodes} nodes, {circuit.n_edges}{of} edges{minimal}{also}{kept_for}"


def _reservations(circuit: Circuit) -> Iterator[str]:
    """What the headline does not say: how little the target being met may mean."""
    tried, test = circuit.minimality, circuit.loss_nats.circuit
    few = tried.n_templates is not None and tried.n_templates < FEWEST
    if circuit.outcome == "target_met" and test > circuit.target_loss_nats + ABOVE_TARGET_NATS:
        yield f"  note: the target is met on the {tried.split} pairs, not on the test pairs\n"
    if few:
        yield f"  note: {tried.n_templates} {tried.split} templates only: add some, for a bound\n"
    strict = not (circuit.method or "").startswith("paper")
    if circuit.ablation == "mean" and strict and tried.n_templates and not tried.max_drift_nats:
        yield (
            "  note: the two halves of the reference hold the same text: how far the circuit "
            "hangs on it is not known; give a longer --reference\n"
        )


def _alternatives_in_words(circuit: Circuit) -> str:
    """A warning that this circuit is not the only one of its size, or nothing."""
    others = circuit.alternatives
    if not others:
        return ""
    n_shared = min(len(circuit.nodes & other) for other in others)
    return (
        f"  not the only one: {len(others)} more of no more nodes; the least alike shares "
        f"{n_shared} of these {circuit.n_nodes} nodes\n"
    )
