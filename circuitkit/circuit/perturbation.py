"""A perturbation: what nodes of a sparse model do in the dense one it is bridged to, as a file.

``perturbation.json`` of a folder made by ``circuitkit bridge``, with a table and a picture of its
curve. No torch. Source: Gao et al. 2025, section 3.3, Figure 9 and section A.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, FiniteFloat, NonNegativeInt, ValidationError

from circuitkit.circuit.transfer import Bounded
from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, Named, first_problem

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "circuitkit.perturbation/1"
FILE = "perturbation.json"
TABLE = "perturbation.csv"
PICTURE = "perturbation.svg"


class Strength(BaseModel):
    """Both models with the nodes moved so far of the way to their values on the other prompt.

    ``d`` is the logit difference, its mean over prompts; ``other_answer`` the probability of the
    other prompt's answer, of the two; ``follows`` the share of the prompts that the dense model
    answers rightly whose answer turns.
    """

    model_config = STRICT
    strength: FiniteFloat
    dense_d: Bounded
    dense_other_answer: Bounded
    dense_follows: Bounded
    sparse_d: Bounded


class RandomDirections(BaseModel):
    """Random directions of the same sizes, at strength 1.

    ``p_value`` counts those that lower the mean logit difference as far as the nodes do.
    """

    model_config = STRICT
    n_draws: NonNegativeInt
    d_per_norm: FiniteFloat
    highest_d_per_norm: FiniteFloat
    follows: FiniteFloat
    p_value: FiniteFloat


class Perturbation(BaseModel):
    """Nodes moved in the sparse model, their effect carried into the dense one, and the controls.

    ``crossings`` are where, by name. ``norm`` is the mean size of the change in the dense stream,
    over all positions of a prompt; ``d_per_norm`` how far the logit difference falls at strength
    1, by that size. ``by_means`` is the same for the dense model's own difference of means, of
    equal size at every position.

    Examples:
        >>> import circuitkit as ck
        >>> nodes = ["final_resid:22"]
        >>> moved = ck.perturb("out/bridged", "for_while", "out/for_while", nodes, n_pairs=8)
        >>> isinstance(moved, ck.Perturbation)
        True
        >>> [step.strength for step in moved.curve][-1]
        1.0
    """

    model_config = STRICT
    format: Literal["circuitkit.perturbation/1"] = FORMAT
    task: Named
    checkpoint: Named
    dense: Named
    circuit_sha256: str
    nodes: tuple[str, ...]
    crossings: tuple[str, ...]
    seed: NonNegativeInt
    n_pairs: NonNegativeInt
    n_templates: NonNegativeInt
    n_right: NonNegativeInt
    curve: tuple[Strength, ...]
    norm: FiniteFloat
    d_per_norm: Bounded
    by_means_d_per_norm: Bounded
    by_means_follows: Bounded
    random: RandomDirections

    def __repr__(self) -> str:
        return (
            f"Perturbation({', '.join(self.nodes)}: the answer of {self.dense.name} follows on "
            f"{self.end.dense_follows} of the prompts)"
        )

    @property
    def end(self) -> Strength:
        """The strongest move, which is strength 1."""
        return self.curve[-1]

    def to_frame(self) -> pd.DataFrame:
        """A row for every strength; bounds are two-sided 90 %."""
        import pandas as pd

        rows = []
        for point in self.curve:
            row: dict[str, float | None] = {"strength": point.strength}
            for name, value in point:
                row |= value.columns(name) if isinstance(value, Bounded) else {}
            rows.append(row)
        return pd.DataFrame(rows)

    @classmethod
    def load(cls, folder: str | Path) -> Perturbation:
        """Read ``perturbation.json`` of a folder.

        Raises:
            CircuitError: if there is none, or a wrong one.
        """
        path = Path(folder) / FILE
        text = read_text(path, CircuitError, "a folder made by 'circuitkit bridge'")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not a perturbation: {first_problem(error)}") from None

    def save(self, folder: str | Path) -> None:
        """Write ``perturbation.csv`` and last ``perturbation.json``, each whole or not at all."""
        table = self.to_frame().to_csv(index=False, lineterminator="\n")
        write_whole(Path(folder) / TABLE, table)
        write_whole(Path(folder) / FILE, self.model_dump_json(indent=1) + "\n")
