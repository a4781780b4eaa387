"""Findings: the result of testing each claim about a circuit, and the grade.

A ``Finding`` is one claim tested; a ``Validation`` holds all of them, with a grade that is a
conjunction. The suite is ours (docs/validation.md).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FiniteFloat,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from circuitkit.displays import view
from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, first_problem, without_unset

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FORMAT = "circuitkit.validation/1"
FILE = "validation.json"

Grade = Literal["A", "B", "C", "C-redundant", "F"]
Outcome = Literal["pass", "fail", "inconclusive", "not_run"]


class Claim(StrEnum):
    """What can be claimed of a circuit, in the order in which it is tested.

    Examples:
        >>> import circuitkit as ck
        >>> [claim.value for claim in ck.Claim][:3]
        ['integrity', 'competent', 'sufficient']
    """

    INTEGRITY = "integrity"
    COMPETENT = "competent"
    SUFFICIENT = "sufficient"
    FAITHFUL = "faithful"
    NECESSARY = "necessary"
    INTERCHANGE = "interchange"
    BEATS_CONTROLS = "beats_controls"
    ROBUST_TO_ABLATION = "robust_to_ablation"
    STOCHASTIC_RESTORE = "stochastic_restore"
    NO_NORM_LEAK = "no_norm_leak"
    MINIMAL = "minimal"
    GENERALISES = "generalises"
    FOLLOWS_OOD = "follows_ood"
    STANDS_ALONE = "stands_alone"
    ONE_MECHANISM = "one_mechanism"
    SEARCH_NULL = "search_null"
    COMPLETE = "complete"
    ROLES = "roles"
    SPECIFIC = "specific"
    STABLE = "stable"
    WORST_CASE = "worst_case"
    ADVERSARIAL_RESTORE = "adversarial_restore"
    EDGE_SUFFICIENT = "edge_sufficient"
    RESAMPLE_INDEPENDENT = "resample_independent"
    INDEPENDENCE = "independence"
    SIZE_CURVE = "size_curve"
    EXPLAINS_DENSE = "explains_dense"


DEFAULT_CLAIMS = tuple(Claim)[: tuple(Claim).index(Claim.STANDS_ALONE)]
"""The claims of the default suite; the rest belong to ``--thorough``."""


WHERE_BRIDGED = frozenset({Claim.EXPLAINS_DENSE})
"""Claims of the thorough suite that are tested only where the checkpoint has bridges."""


def suite_order(claim: str) -> tuple[int, str]:
    """What findings are sorted by: the documented claims in their order, then others by name."""
    return (tuple(Claim).index(Claim(claim)) if claim in set(Claim) else len(Claim)), claim


def _known(claim: str) -> str:
    """The documented claim of this name, or the name of one that was added."""
    return Claim(claim) if claim in set(Claim) else claim


ClaimId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$"), AfterValidator(_known)]


class Finding(BaseModel):
    """The result of testing one claim.

    ``outcome`` is ``pass`` when the interval lies wholly inside the pass region,
    ``fail`` when wholly outside, ``inconclusive`` between, ``not_run`` when it was
    not tested; ``note`` then says why.

    Examples:
        >>> import circuitkit as ck
        >>> finding = ck.Validation.load("out/for_while")["sufficient"]
        >>> finding.outcome, finding.low < finding.effect < finding.high
        ('pass', True)
    """

    model_config = STRICT
    claim: ClaimId
    outcome: Outcome
    note: str = ""
    effect: FiniteFloat | None = None
    unit: str = ""
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    interval_method: str | None = None
    p_value: FiniteFloat | None = None
    threshold: str = ""
    threshold_source: str = ""
    null: str | None = None
    n_pairs: NonNegativeInt = 0
    n_clusters: NonNegativeInt = 0
    n_draws: NonNegativeInt = 0
    seeds: tuple[int, ...] = ()
    fooled_by: str = ""
    forward_passes: NonNegativeInt = 0
    seconds: FiniteFloat = 0.0

    def _repr_html_(self) -> str:
        return view("notebook.finding_html")(self)

    def __repr__(self) -> str:
        effect = "" if self.effect is None else f" {self.effect:.3f} {self.unit}"
        return f"Finding({self.claim}: {self.outcome}{effect})"


class FormLoss(BaseModel):
    """The circuit's mean loss, in nats, on one form of the task, with its 90 % interval.

    The bounds are None where the form has too few templates for an interval.
    """

    model_config = STRICT
    form: str
    n_pairs: NonNegativeInt
    n_templates: NonNegativeInt
    loss_nats: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None


class NodeUse(BaseModel):
    """A node, and the forms of the task on which leaving it out raises the loss of an ask.

    All nodes and forms are tested together (Benjamini-Hochberg, 0.05); a form of fewer than five
    templates is not tested.
    """

    model_config = STRICT
    node: str
    forms: tuple[str, ...]


class Validation(BaseModel):
    """Every claim's finding, the grade, and the claim that keeps it from a better one.

    ``forms`` holds the circuit's loss by form of the task, where templates have forms, and
    ``uses`` for every node the forms on which it matters.

    Examples:
        >>> import circuitkit as ck
        >>> validation = ck.Validation.load("out/for_while")
        >>> validation.passes, validation["competent"].outcome
        (True, 'pass')
        >>> validation.to_frame()["claim"].is_unique
        True
    """

    model_config = STRICT
    format: Literal["circuitkit.validation/1"] = FORMAT
    grade: Grade
    weakest: ClaimId
    circuit_sha256: str
    findings: tuple[Finding, ...]
    forms: tuple[FormLoss, ...] = ()
    uses: tuple[NodeUse, ...] = ()

    @model_serializer(mode="wrap")
    def _newer_keys_only_if_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(handler(self), ("forms", "uses"))

    @model_validator(mode="after")
    def _claims_in_order(self) -> Validation:
        claims = [finding.claim for finding in self.findings]
        if claims != sorted(set(claims), key=suite_order):
            raise ValueError("findings must hold each claim once, in the order of the suite")
        if self.weakest not in claims:
            raise ValueError(f"weakest names {self.weakest}, which is not among the findings")
        return self

    def __repr__(self) -> str:
        return (
            f"Validation(grade {self.grade}, {len(self.findings)} findings, weakest {self.weakest})"
        )

    def __getitem__(self, claim: Claim | str) -> Finding:
        return {str(finding.claim): finding for finding in self.findings}[claim]

    @property
    def passes(self) -> bool:
        """Whether the grade is A, B or C."""
        return self.grade in ("A", "B", "C")

    @property
    def short_of(self) -> str:
        """What keeps the grade from a better one: a claim, or a suite that was not run."""
        if self.grade == "A":
            return "nothing"
        is_long = {f.claim for f in self.findings} & set(Claim) - set(DEFAULT_CLAIMS)
        if self.grade == "B" and not is_long and self[self.weakest].outcome == "pass":
            return "the thorough suite was not run"
        return self.weakest

    @property
    def tested(self) -> tuple[Finding, ...]:
        """The findings of claims that were run."""
        return tuple(finding for finding in self.findings if finding.outcome != "not_run")

    @classmethod
    def load(cls, folder: str | Path, name: str = FILE) -> Validation:
        """Read the validation of a folder: of its circuit, or ``smallest.validation.json``.

        Raises:
            CircuitError: if the folder holds no such file, or a wrong one.
        """
        path = Path(folder) / name
        text = read_text(path, CircuitError, f"a folder made by 'circuitkit validate' ({name})")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not a validation: {first_problem(error)}") from None

    def save(self, folder: str | Path, name: str = FILE) -> None:
        """Write ``validation.json`` into a folder, whole or not at all."""
        write_whole(Path(folder) / name, self.model_dump_json(indent=1) + "\n")

    def _repr_html_(self) -> str:
        return view("notebook.validation_html")(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The effect of every claim that was measured, with its interval, in matplotlib.

        Raises:
            ReportError: if matplotlib is not installed.
        """
        return view("plots.plot_validation")(self, ax)

    def to_frame(self) -> pd.DataFrame:
        """One row a finding, one column a field, in the order of the suite."""
        import pandas as pd

        rows = [finding.model_dump(mode="json") for finding in self.findings]
        return pd.DataFrame(rows, columns=list(Finding.model_fields))
