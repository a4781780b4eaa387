"""Transfer: what the circuit of each family of prompts does on every other, as a file.

A circuit folder made by family holds ``transfer.json``, and the circuit of each family in a folder
of its own. No torch. Source: ours (docs/families.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, Named, first_problem

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "circuitkit.transfer/1"
FILE = "transfer.json"
TABLE = "transfer.csv"
PARTS_FOLDER = "families"

WHOLE = "whole"
"""The name of the row of the circuit that was found for all families together."""

Mechanisms = Literal["one", "nested", "either", "several", "undecided"]
MECHANISMS: tuple[Mechanisms, ...] = get_args(Mechanisms)


class Bounded(BaseModel):
    """An effect with its two-sided 90 % interval; None for a bound that is unknown."""

    model_config = STRICT
    effect: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.effect:z.2f}"
        return f"{self.effect:z.2f} [{self.low:z.2f}, {self.high:z.2f}]"

    def columns(self, name: str) -> dict[str, float | None]:
        """The effect and its bounds as columns of a table."""
        return {name: self.effect, f"{name}_low": self.low, f"{name}_high": self.high}


class FamilyCircuit(BaseModel):
    """A family and the circuit found for it alone; ``folder`` is None where it was not kept."""

    model_config = STRICT
    name: str
    folder: str | None
    n_pairs: NonNegativeInt
    n_templates: NonNegativeInt
    model_loss_nats: FiniteFloat
    target_loss_nats: FiniteFloat
    n_nodes: NonNegativeInt
    n_edges: NonNegativeInt
    circuit_sha256: str


class Cell(BaseModel):
    """A circuit on the test pairs of a family.

    ``f`` is F with the rest at its ablation value, ``f_x`` with the rest as on the other prompt.
    """

    model_config = STRICT
    circuit: str
    family: str
    loss_nats: FiniteFloat
    f: Bounded
    f_x: Bounded


class Overlap(BaseModel):
    """How many nodes the circuits of two families share, of those that either has."""

    model_config = STRICT
    first: str
    second: str
    n_shared: NonNegativeInt
    n_either: NonNegativeInt

    @property
    def jaccard(self) -> float:
        """The share of what either has that both have; 1 for two empty circuits."""
        return self.n_shared / self.n_either if self.n_either else 1.0


class Transfer(BaseModel):
    """The transfer matrix of a task, and what it says of its mechanisms.

    ``outcome`` is ``one`` (any family's circuit does every family), ``nested`` (some family's
    does, others' do not), ``either`` (all do, with little overlap), ``several`` (none does) or
    ``undecided``; ``reason`` says it in a sentence. ``groups`` are families whose circuits do
    each other. ``circuit_sha256`` is of the circuit of the whole task, where there is one.
    """

    model_config = STRICT
    format: Literal["circuitkit.transfer/1"] = FORMAT
    task: Named
    checkpoint: Named
    circuit_sha256: str | None
    by: str
    rung: str
    f_limit: FiniteFloat
    families: tuple[FamilyCircuit, ...]
    cells: tuple[Cell, ...]
    overlaps: tuple[Overlap, ...]
    outcome: Mechanisms
    reason: str
    groups: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_a_matrix(self) -> Transfer:
        known = [(row, name) for row in self.rows for name in self.names]
        found = [(cell.circuit, cell.family) for cell in self.cells]
        if sorted(found) != sorted(known) or not {*self.rows} <= {*self.names, WHOLE}:
            raise ValueError("its cells are not one for every circuit and family")
        if not {n for o in self.overlaps for n in (o.first, o.second)} <= {*self.names}:
            raise ValueError("it compares the nodes of a family that it does not list")
        return self

    def __repr__(self) -> str:
        return f"Transfer({self.task.name} by {self.by}: {self.outcome}, {self.reason})"

    @property
    def names(self) -> tuple[str, ...]:
        """The families with a circuit of their own, in order."""
        return tuple(family.name for family in self.families)

    @property
    def rows(self) -> tuple[str, ...]:
        """The circuits that were measured: each family's, and that of the whole task."""
        return tuple(dict.fromkeys(cell.circuit for cell in self.cells))

    def cell(self, circuit: str, family: str) -> Cell:
        """One circuit on one family."""
        return next(c for c in self.cells if (c.circuit, c.family) == (circuit, family))

    def to_frame(self) -> pd.DataFrame:
        """A row for every circuit and family."""
        import pandas as pd

        rows = [
            {
                "circuit": cell.circuit, "family": cell.family, "loss_nats": cell.loss_nats,
                **cell.f.columns("f"), **cell.f_x.columns("f_x"),
            }
            for cell in self.cells
        ]  # fmt: skip
        bounded = [f"{name}{bound}" for name in ("f", "f_x") for bound in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=pd.Index(["circuit", "family", "loss_nats", *bounded]))

    @classmethod
    def load(cls, folder: str | Path) -> Transfer:
        """Read ``transfer.json`` of a folder.

        Raises:
            CircuitError: if there is none, or a wrong one.
        """
        path = Path(folder) / FILE
        text = read_text(path, CircuitError, "a folder made by 'circuitkit extract --by-family'")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not a transfer: {first_problem(error)}") from None

    def save(self, folder: str | Path) -> None:
        """Write ``transfer.csv`` and last ``transfer.json``, each whole or not at all."""
        table = self.to_frame().to_csv(index=False, lineterminator="\n")
        write_whole(Path(folder) / TABLE, table)
        write_whole(Path(folder) / FILE, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of ``transfer.json``."""
        return (self.model_dump_json(indent=1) + "\n").encode()
