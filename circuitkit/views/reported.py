"""What a report is about: a circuit with all that its folder holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from circuitkit.circuit import Circuit, CircuitFolder, Origin
from circuitkit.circuit.explanation import FILE as EXPLANATION
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.perturbation import Perturbation
from circuitkit.circuit.transfer import Transfer
from circuitkit.errors import MismatchError
from circuitkit.findings import Validation
from circuitkit.views.ladder_section import Rungs, read_rungs
from circuitkit.views.rerun_command import commands


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A circuit to report on, with all that is known of it."""

    circuit: Circuit
    validation: Validation | None = None
    origin: Origin | None = None
    explanation: Explanation | None = None
    rungs: Rungs = ()
    remarks: tuple[str, ...] = ()
    transfer: Transfer | None = None
    parts: dict[str, Circuit] = field(default_factory=dict[str, Circuit])
    perturbation: Perturbation | None = None

    @classmethod
    def of(cls, folder: CircuitFolder, validation: Validation | None = None) -> Reported:
        """What a circuit's folder holds; a validation that is given stands for the folder's.

        Raises:
            CircuitError: if a file in it is wrong.
        """
        explained = (folder.path / EXPLANATION).exists()
        return cls(
            circuit=folder.circuit,
            validation=validation or folder.validation,
            origin=folder.origin,
            explanation=Explanation.load(folder.path) if explained else None,
            rungs=read_rungs(folder.path),
            remarks=folder.remarks,
            transfer=folder.transfer,
            parts={name: part.circuit for name, part in folder.parts.items()},
            perturbation=folder.perturbation,
        )

    @property
    def commands(self) -> list[str]:
        """The lines that make this report again."""
        by = self.transfer.by if self.transfer else None
        return commands(self.circuit, self.validation, self.origin, by=by)

    @property
    def constant(self) -> set[str]:
        """The nodes that are the same in both prompts; none where that is not known."""
        notes = self.explanation.nodes if self.explanation else {}
        return {name for name, note in notes.items() if note.role == "constant"}

    def check_match(self) -> None:
        """Refuse a validation or an explanation of another circuit.

        Raises:
            MismatchError: if the hashes differ; it names both.
        """
        own = self.circuit.sha256
        for name, part in (("validation", self.validation), ("explanation", self.explanation)):
            if part and part.circuit_sha256 != own:
                raise MismatchError(
                    f"the {name} is of circuit {part.circuit_sha256[:16]}…, but the circuit of "
                    f"{self.circuit.task.name} is {own[:16]}…. Run 'circuitkit validate' again."
                )
