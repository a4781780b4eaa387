"""The folder of a circuit: its files, what it was made from, the circuits beside it.

``extract`` leaves in it, beside the nouns, a copy of the task file (unless the task is built
in) and where the checkpoint and the reference were, so that ``validate`` needs the folder alone.
A folder never holds parts of two circuits. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from circuitkit.circuit.circuit_json import FILE as CIRCUIT
from circuitkit.circuit.circuit_json import SMALLEST, Circuit, Rung
from circuitkit.circuit.explanation import FILE as EXPLANATION
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.perturbation import FILE as PERTURBATION
from circuitkit.circuit.perturbation import PICTURE as PERTURBATION_PICTURE
from circuitkit.circuit.perturbation import TABLE as PERTURBATION_TABLE
from circuitkit.circuit.perturbation import Perturbation
from circuitkit.circuit.published_losses import FILE as PUBLISHED
from circuitkit.circuit.transfer import FILE as TRANSFER
from circuitkit.circuit.transfer import PARTS_FOLDER, Transfer
from circuitkit.circuit.transfer import TABLE as TRANSFER_TABLE
from circuitkit.errors import CircuitError, UsageError
from circuitkit.files import as_path, claim_folder, read_bounded, remove, write_whole
from circuitkit.findings import FILE as VALIDATION
from circuitkit.findings import Validation
from circuitkit.task import Task, builtin_tasks, load_task

MEANS = "means.safetensors"
PRUNING = "pruning.json"
REPORT = "report.pdf"
REPORT_HTML = "report.html"
THOROUGH = "thorough.json"
SMALLEST_THOROUGH = "smallest.thorough.json"
SEARCH = "search.json"
LADDER = "ladder.csv"
FAMILIES_SVG = "families.svg"
"""The circuits of families in one picture."""

SMALLEST_VALIDATION = "smallest.validation.json"
_SOURCES = "sources.json"
GIVEN = "REFERENCE"
"""Stands there for a sample that was given as token ids, and in commands for any not known."""

_TASK_COPIES = ("task.toml", "task.jsonl", "task.csv")
_DRAWN = ("nodes.csv", "edges.csv", "circuit.dot", "circuit.svg")
MADE_FROM_CIRCUIT = (
    *(PRUNING, _SOURCES, *_TASK_COPIES, *_DRAWN, VALIDATION, "findings.csv", THOROUGH),
    *(SMALLEST_THOROUGH, REPORT, REPORT_HTML, SMALLEST, SMALLEST_VALIDATION, LADDER),
    *(EXPLANATION, "paths.dot", "paths.svg", PUBLISHED, TRANSFER, TRANSFER_TABLE),
    FAMILIES_SVG,
    *(PERTURBATION, PERTURBATION_TABLE, PERTURBATION_PICTURE),
)


def as_output(path: str | Path, *, replaces: Collection[str] = ()) -> Path:
    """A file to write that is not one of a circuit folder's own, but those that it ``replaces``.

    Raises:
        UsageError: if it is one.
    """
    path = as_path(path, "file: a path")
    own = {CIRCUIT, MEANS, SEARCH, *MADE_FROM_CIRCUIT} - set(replaces)
    if path.name in own and (path.parent / CIRCUIT).exists():
        raise UsageError(
            f"{path} is a file of the circuit in that folder; expected another name or folder to "
            "write to, so that nothing of the circuit is lost."
        )
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a circuit was made from, as a command names it.

    Without a folder that says so (``is_known`` False) there are only the names.
    """

    checkpoint: str
    task: str
    reference: str | None = None
    is_known: bool = True


class Neighbour(NamedTuple):
    """A circuit in a folder next to another."""

    folder: CircuitFolder
    circuit: Circuit


@dataclass(frozen=True, slots=True)
class CircuitFolder:
    """A folder that holds a circuit, or is about to.

    Examples:
        >>> import circuitkit as ck
        >>> folder = ck.CircuitFolder.open("out/for_while")
        >>> folder.circuit.n_edges > folder.smallest.n_edges  # the price of trust
        True
        >>> folder.task.name, folder.validation.passes
        ('for_while', True)
    """

    path: Path

    @classmethod
    def open(cls, folder: str | Path | CircuitFolder) -> CircuitFolder:
        """The folder of an existing circuit.

        Raises:
            CircuitError: if it holds no circuit.
        """
        opened = folder if isinstance(folder, cls) else cls(as_path(folder))
        if not opened.holds_one:
            _ = opened.circuit  # says what is missing
        return opened

    @classmethod
    def claim(cls, folder: str | Path | CircuitFolder, purpose: str = "a circuit") -> CircuitFolder:
        """A folder to write a circuit to: new, empty, or that of a circuit.

        Raises:
            UsageError: if it holds something else, or cannot be written to.
        """
        path = folder.path if isinstance(folder, cls) else as_path(folder)
        claim_folder(path, (CIRCUIT, MEANS), purpose)
        return cls(path)

    def __repr__(self) -> str:
        return f"CircuitFolder({str(self.path)!r})"

    @property
    def circuit(self) -> Circuit:
        """The circuit, read from disk at each use."""
        return Circuit.load(self.path)

    @property
    def is_part(self) -> bool:
        """Whether it lies in the folder of a whole task's circuit, as one of a family."""
        families = self.path.resolve().parent
        return families.name == PARTS_FOLDER and (families.parent / CIRCUIT).exists()

    @property
    def holds_one(self) -> bool:
        """Whether there is a circuit in it."""
        return (self.path / CIRCUIT).exists()

    def at(self, rung: Rung | None) -> Circuit:
        """The circuit of a rung; None for the highest that was reached.

        Raises:
            CircuitError: if the search did not reach it.
        """
        circuit = self.circuit
        if rung is None or rung == (circuit.rung or "smallest"):
            return circuit
        if rung == "smallest" and (smallest := self.smallest):
            return smallest
        raise CircuitError(
            f"{self.path} holds no circuit of the rung {rung!r}, got one of "
            f"{circuit.rung or 'smallest'!r}. Extract it with 'circuitkit extract --rung {rung}', "
            "or leave --rung out."
        )

    @property
    def smallest(self) -> Circuit | None:
        """The first rung's circuit, where the folder's own is of a higher one."""
        return Circuit.load(self.path, SMALLEST) if (self.path / SMALLEST).exists() else None

    @property
    def validation(self) -> Validation | None:
        """The validation; None before there is one."""
        return Validation.load(self.path) if (self.path / VALIDATION).exists() else None

    @property
    def explanation(self) -> Explanation | None:
        """How the circuit comes to its answer; None before that is known."""
        if not (self.path / EXPLANATION).exists():
            return None
        explanation = Explanation.load(self.path)
        return explanation if explanation.circuit_sha256 == self.circuit.sha256 else None

    @property
    def transfer(self) -> Transfer | None:
        """What the circuits of the task's families do on each other; None before that is known."""
        if not (self.path / TRANSFER).exists():
            return None
        transfer = Transfer.load(self.path)
        return transfer if transfer.circuit_sha256 == self.circuit.sha256 else None

    @property
    def perturbation(self) -> Perturbation | None:
        """What nodes of it do in the dense model; None before that is known."""
        if not (self.path / PERTURBATION).exists():
            return None
        made = Perturbation.load(self.path)
        return made if made.circuit_sha256 == self.circuit.sha256 else None

    @property
    def parts(self) -> dict[str, CircuitFolder]:
        """The folders of the families' own circuits, by family; of those that were kept."""
        families = self.transfer.families if self.transfer else ()
        folders = {f: CircuitFolder(self.path / f.folder) for f in families if f.folder}
        return {f.name: part for f, part in folders.items() if part._holds_sha256(f.circuit_sha256)}

    @property
    def task(self) -> Task:
        """The task copied into the folder, else the built-in one, by the circuit's name for it."""
        copies = (self.path / name for name in _TASK_COPIES)
        found = next((copy for copy in copies if copy.exists()), None)
        name = self.circuit.task.name
        if found is None and name not in builtin_tasks():
            raise CircuitError(
                f"{self.path} lacks its copy of the task {name!r}: expected "
                f"{' or '.join(_TASK_COPIES)} beside the circuit, as extract writes it. Put it "
                "back, or extract again."
            )
        return replace(load_task(found or name), name=name)

    @property
    def sources(self) -> dict[str, Any]:
        """Where the circuit's sources were; nothing if ``extract`` did not make the folder."""
        return self._record(_SOURCES) or {}

    @property
    def pruning(self) -> dict[str, Any] | None:
        """The record of the search; None if there is none."""
        return self._record(PRUNING)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the search found unusual about the pairs, such as those it left out."""
        found = (self.pruning or {}).get("remarks", [])
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def _record(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            record = json.loads(read_bounded(path, CircuitError, "a record of an extraction"))
        except ValueError as error:
            raise CircuitError(f"{path} is not JSON: {error}. Extract the circuit again.") from None
        return record if isinstance(record, dict) else {}

    @property
    def origin(self) -> Origin | None:
        """How a command names what the circuit was made from; None if the folder does not say."""
        if not (sources := self.sources):
            return None
        circuit = self.circuit
        copies = (f"DIR/{name}" for name in _TASK_COPIES if (self.path / name).exists())
        return Origin(
            checkpoint=sources.get("checkpoint", circuit.checkpoint.name),
            task=next(copies, circuit.task.name),
            reference=sources.get("reference"),
        )

    @property
    def is_drawn(self) -> bool:
        """Whether tables and diagram are there."""
        return all((self.path / name).exists() for name in _DRAWN)

    def beside(self) -> Iterator[Neighbour]:
        """Circuits of the same checkpoint in the folders next to this one.

        Next to the circuit of a family are those of its task's other families, and no other tasks'.
        """
        if self.is_part:
            return
        checkpoint = self.circuit.checkpoint.sha256
        for path in sorted(self.path.resolve().parent.glob(f"*/{CIRCUIT}")):
            if path.parent == self.path.resolve():
                continue
            folder = CircuitFolder(path.parent)
            with suppress(CircuitError):  # no fault of this circuit
                circuit = folder.circuit
                if circuit.checkpoint.sha256 == checkpoint:
                    yield Neighbour(folder, circuit)

    def save_sources(self, task: Task, sources: dict[str, Any]) -> None:
        """Write where the sources are, and the task's file if it is not built in."""
        write_whole(self.path / _SOURCES, json.dumps(sources, indent=1) + "\n")
        if task.file is not None:
            write_whole(self.path / f"task{task.file.suffix}", task.file.data)

    def save_validation(self, validation: Validation) -> None:
        """Write the verdict on the circuit; a report of another one before it goes.

        One on the smallest circuit beside it goes into ``smallest.validation.json``.
        """
        file = self.validation_file(validation.circuit_sha256)
        with suppress(CircuitError):  # none before it, or a damaged one
            if Validation.load(self.path, file.name) == validation:
                return
        for report in (REPORT, REPORT_HTML) if file.name == VALIDATION else ():
            remove(self.path / report)
        validation.save(self.path, file.name)

    def validation_file(self, circuit_sha256: str) -> Path:
        """Where the verdict on its circuit is, or that on the smallest one beside it."""
        is_own = circuit_sha256 == self.circuit.sha256
        return self.path / (VALIDATION if is_own else SMALLEST_VALIDATION)

    def thorough_file(self, circuit_sha256: str) -> Path:
        """Where finished claims of the thorough suite are kept until all are, by rung."""
        is_own = circuit_sha256 == self.circuit.sha256
        return self.path / (THOROUGH if is_own else SMALLEST_THOROUGH)

    def forget_circuit(self) -> None:
        """Remove the circuit, then all that was made from it but its ablation values.

        The circuits of its families go too.
        """
        for name in (CIRCUIT, *MADE_FROM_CIRCUIT):
            remove(self.path / name)
        self.forget_parts()

    def forget_parts(self, keep: Collection[str] = ()) -> None:
        """Remove the circuits of families, but those in the folders of these names.

        What they do on each other goes in any case.
        """
        for name in (TRANSFER, TRANSFER_TABLE, FAMILIES_SVG):
            remove(self.path / name)
        folder = self.path / PARTS_FOLDER
        for path in sorted(folder.glob(f"*/{MEANS}")):
            if path.parent.name not in keep:
                CircuitFolder(path.parent).forget_circuit()
                for name in (MEANS, SEARCH):
                    remove(path.parent / name)
                with suppress(OSError):  # something else is in it
                    path.parent.rmdir()
        if not keep:
            remove(folder / SEARCH)
        with suppress(OSError):
            folder.rmdir()

    def holds(self, circuit: Circuit) -> bool:
        """Whether this very circuit is in it."""
        return self._holds_sha256(circuit.sha256)

    def _holds_sha256(self, sha256: str) -> bool:
        try:
            return self.holds_one and self.circuit.sha256 == sha256
        except CircuitError:
            return False

    def forget_other(self, circuit: Circuit) -> None:
        """Remove all that the folder holds of another circuit than this one."""
        if self.holds_one and not self.holds(circuit):
            self.forget_circuit()
            remove(self.path / MEANS)

    def refuse_other(self, circuit: Circuit) -> None:
        """Refuse to write a circuit where another one is, with all that was made from it.

        Raises:
            UsageError: if the folder holds another circuit, or the finished parts of a search.
        """
        if self.holds_one and not self.holds(circuit):
            what = "another circuit, or a damaged one, and what was found of it"
        elif not self.holds_one and (self.path / SEARCH).exists():
            what = "the finished parts of a search"
        else:
            return
        raise UsageError(f"{self.path} holds {what}; that is not replaced. Choose another folder.")


def as_circuit(given: Circuit | CircuitFolder | str | Path) -> Circuit:
    """A circuit, or that of a folder.

    Raises:
        CircuitError: if the folder holds none.
    """
    return given if isinstance(given, Circuit) else CircuitFolder.open(given).circuit
