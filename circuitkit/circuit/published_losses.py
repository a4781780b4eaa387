"""The losses that a released circuit came with, as published: not measured here.

In: ``published.json`` in the folder of an imported circuit. The file of a release stores twice
the pair loss (it adds both sides); what stands here is halved. Nobody outside its authors has
reproduced the stored losses: they are on samples and means of their own. ``circuit.json`` beside
it has what was measured on import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, FiniteFloat, NonNegativeInt, ValidationError

from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, Named, first_problem

FORMAT = "circuitkit.published/1"
FILE = "published.json"

METHOD = "released"
"""What ``Circuit.method`` says of a circuit that was imported and not searched for."""

AS_PUBLISHED = (
    "as published, halved to the loss of a pair; on the samples and means of the release, and not "
    "reproduced by others"
)

Tokens = tuple[NonNegativeInt, ...]


class PublishedLosses(BaseModel):
    """What a file of a release says of its circuit, in nats of a pair.

    ``loss_nats`` is the circuit's, ``intervention_loss_nats`` the one stored beside it,
    ``node_loss_nats`` has one a node, ``edge_loss_change_nats`` [source, target, change] for the
    edges. None or absent where the file has none, or no finite number. ``samples`` are pairs of
    prompts as token ids, without their answers, which the file does not hold.
    """

    model_config = STRICT
    format: Literal["circuitkit.published/1"] = FORMAT
    about: str = AS_PUBLISHED
    file: Named
    loss_nats: FiniteFloat | None
    intervention_loss_nats: FiniteFloat | None
    node_loss_nats: dict[str, FiniteFloat]
    edge_loss_change_nats: tuple[tuple[str, str, FiniteFloat], ...]
    samples: tuple[tuple[Tokens, Tokens], ...]

    def __repr__(self) -> str:
        loss = "no loss" if self.loss_nats is None else f"{self.loss_nats:.3f} nats"
        return f"PublishedLosses({self.file.name}: {loss} as published)"

    @classmethod
    def load(cls, folder: str | Path) -> PublishedLosses:
        """Read the published losses in the folder of an imported circuit.

        Raises:
            CircuitError: if it holds none, or a wrong file.
        """
        path = Path(folder) / FILE
        text = read_text(path, CircuitError, f"the folder of an imported circuit ({FILE})")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not as imported: {first_problem(error)}") from None

    def save(self, folder: str | Path) -> None:
        """Write ``published.json`` into a folder, whole or not at all."""
        write_whole(Path(folder) / FILE, self.model_dump_json(indent=1) + "\n")
