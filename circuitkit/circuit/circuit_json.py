"""The circuit: which nodes do a task, through which weights, and how well.

In: a ``circuit.json`` or the result of ``extract``. Out: the same file, byte
for byte, and a networkx graph. No torch: a circuit can be read, compared and
drawn without the checkpoint it came from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from circuitkit.circuit.json_fields import EdgeField, NodesField
from circuitkit.circuit.links import residual_links
from circuitkit.circuit.surroundings import Surroundings
from circuitkit.displays import view
from circuitkit.errors import CircuitError
from circuitkit.files import read_text, sha256, write_whole
from circuitkit.provenance import STRICT, Named, Provenance, first_problem, without_unset

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes

    from circuitkit.findings import Validation

FORMAT = "circuitkit.circuit/1"
FILE = "circuit.json"

Outcome = Literal["target_met", "target_missed", "collapsed"]
Granularity = Literal["node", "edge"]
Ablation = Literal["mean", "zero"]
Rung = Literal["smallest", "trusted"]
SMALLEST = "smallest.json"


class Scores(BaseModel):
    """One number for each of the four models that are scored on the test split."""

    model_config = STRICT
    model: FiniteFloat
    circuit: FiniteFloat
    complement: FiniteFloat
    empty: FiniteFloat


class Minimality(BaseModel):
    """Whether no single node (edge) can go with every rule still met, and where that was tried.

    The first rule is the target: the upper bound of the loss over templates is at most that. The
    second is ``max_drift_nats``: how far the loss may move as the ablation values are pushed
    apart. A node may be kept for this rule alone. None where only the target was a rule.
    """

    model_config = STRICT
    nodes_1_minimal: bool
    edges_1_minimal: bool
    split: str
    n_pairs: PositiveInt
    n_templates: PositiveInt | None = None
    max_drift_nats: FiniteFloat | None = None

    @model_serializer(mode="wrap")
    def _newer_keys_only_if_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(handler(self), ("n_templates", "max_drift_nats"))


class Calibration(BaseModel):
    """The logit difference of the circuit is read as ``scale * d + shift``.

    The shift takes the sign of (answer - foil) as token ids: it favours one token over another.
    ``loss_nats`` is the circuit's loss on the test split so read.
    """

    model_config = STRICT
    scale: Annotated[FiniteFloat, Field(gt=0)]
    shift: FiniteFloat
    loss_nats: FiniteFloat | None = None

    @model_serializer(mode="wrap")
    def _newer_keys_only_if_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(handler(self), ("loss_nats",))


class Reference(BaseModel):
    """The sample that the ablation values were measured over: its ids and their shape, hashed.

    ``is_own``: it is the whole sample of the checkpoint, not one that was given.
    """

    model_config = STRICT
    sha256: str
    n_tokens: PositiveInt
    is_own: bool


class SearchSettings(BaseModel):
    """Settings of the search that differ from the defaults; the others are left out.

    Method, schedule, refining and calibration are in ``method`` and ``calibration``.
    ``pruning`` holds what differs from ``PruningConfig()``, ``n_within`` the number of nodes
    that the circuit could have, if not all.
    """

    model_config = STRICT
    restarts: PositiveInt | None = None
    tune: PositiveInt | None = None
    on_average: bool | None = None
    n_gradient_points: PositiveInt | None = None
    n_train: PositiveInt | None = None
    n_select: PositiveInt | None = None
    n_test: PositiveInt | None = None
    pruning: dict[str, bool | int | FiniteFloat] | None = None
    n_within: NonNegativeInt | None = None
    rung: Rung | None = None
    asks: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _only_what_differs(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Asked(BaseModel):
    """What the search asked of the circuit, and how near it is to the limit.

    ``bound`` is the upper 95 % bound of the measure's mean over the pairs that it was decided
    on: a loss in nats, a share, or a gain.
    """

    model_config = STRICT
    ask: str
    measure: str
    limit: FiniteFloat
    bound: FiniteFloat
    n_pairs: PositiveInt


class Circuit(BaseModel):
    """The nodes and edges that do a task, with their losses on the test split.

    ``n_edges_induced`` counts every nonzero weight between kept nodes; ``edges``
    are those kept, fewer only when ``granularity`` is ``edge``. A circuit whose
    target was raised, because the model's own loss is too near it, holds the one asked for
    in ``requested_target_loss_nats``. ``means_sha256`` binds the ablation values, and
    ``reference`` the sample behind them; files of earlier versions lack it. ``rung`` is how far
    the search climbed to this circuit, ``asks`` what it asked; without them it asked for the
    target alone.

    Examples:
        >>> import circuitkit as ck
        >>> circuit = ck.Circuit.load("out/for_while")
        >>> circuit.task.name, circuit.outcome, circuit.n_edges == len(circuit.edges)
        ('for_while', 'target_met', True)
        >>> circuit.loss_nats.circuit < circuit.target_loss_nats < circuit.loss_nats.complement
        True
    """

    model_config = STRICT
    format: Literal["circuitkit.circuit/1"] = FORMAT
    task: Named
    checkpoint: Named
    means_sha256: str | None = None
    ablation: Ablation
    target_loss_nats: FiniteFloat
    requested_target_loss_nats: FiniteFloat | None = None
    granularity: Granularity
    seed: NonNegativeInt
    outcome: Outcome
    nodes: NodesField
    edges: tuple[EdgeField, ...]
    n_nodes: NonNegativeInt
    n_edges: NonNegativeInt
    n_edges_induced: NonNegativeInt
    alternatives: tuple[NodesField, ...] = ()
    method: str | None = None
    rung: Rung | None = None
    asks: tuple[Asked, ...] = ()
    search: SearchSettings | None = None
    reference: Reference | None = None
    loss_nats: Scores
    accuracy: Scores
    n_pairs: PositiveInt
    minimality: Minimality
    calibration: Calibration | None = None
    surroundings: Surroundings | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _counts_agree(self) -> Circuit:
        if (self.n_nodes, self.n_edges) != (len(self.nodes), len(self.edges)):
            raise ValueError(
                f"n_nodes and n_edges say {self.n_nodes} and {self.n_edges}, "
                f"but the file lists {len(self.nodes)} and {len(self.edges)}"
            )
        if self.n_edges_induced < self.n_edges:
            raise ValueError("n_edges_induced is smaller than n_edges")
        endpoints = [(edge.source, edge.target) for edge in self.edges]
        if len(set(endpoints)) != len(endpoints):
            raise ValueError("an edge is listed twice")
        loose = [node for pair in endpoints for node in pair if node not in self.nodes]
        if loose:
            raise ValueError(f"an edge ends at {loose[0]}, which is not among the nodes")
        return self

    @model_serializer(mode="wrap")
    def _newer_keys_only_if_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        newer = ("alternatives", "method", "rung", "asks", "search", "reference")
        return without_unset(handler(self), newer)

    def __repr__(self) -> str:
        return (
            f"Circuit({self.task.name} on {self.checkpoint.name}: {self.n_nodes} nodes, "
            f"{self.n_edges} edges, {self.loss_nats.circuit:.3f} nats, {self.outcome})"
        )

    @classmethod
    def load(cls, folder: str | Path, name: str = FILE) -> Circuit:
        """Read the circuit of a folder made by ``extract``, or ``smallest.json`` there.

        Raises:
            CircuitError: if the folder holds no such file, or a wrong one.
        """
        path = Path(folder) / name
        text = read_text(path, CircuitError, f"a folder made by 'circuitkit extract' ({name})")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not a circuit: {first_problem(error)}") from None

    def save(self, folder: str | Path, name: str = FILE) -> None:
        """Write ``circuit.json`` into a folder, whole or not at all."""
        write_whole(Path(folder) / name, self.to_json())

    def to_json(self) -> str:
        """The text of ``circuit.json``; the same circuit always gives the same bytes."""
        return self.model_dump_json(indent=1) + "\n"

    @property
    def asked_names(self) -> tuple[str, ...]:
        """What was asked of the circuit, each ask once."""
        return tuple(dict.fromkeys(asked.ask for asked in self.asks))

    @property
    def sha256(self) -> str:
        """The hash of ``circuit.json``, which a validation is bound to."""
        return sha256(self.to_json().encode())

    def _repr_svg_(self) -> str:
        return view("notebook.circuit_svg")(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Every site as a row, from the first read up, in matplotlib.

        Raises:
            ReportError: if matplotlib is not installed.
        """
        return view("plots.plot_circuit")(self, ax)

    def nodes_frame(self, validation: Validation | None = None) -> pd.DataFrame:
        """One row a node, in the order of the forward pass."""
        return view("tables.nodes_frame")(self, validation)

    def edges_frame(self) -> pd.DataFrame:
        """One row an edge, in the order of the forward pass."""
        return view("tables.edges_frame")(self)

    def graph(self) -> nx.DiGraph[str]:
        """The circuit as a directed graph; nodes and edges carry plain values.

        Node ids are those of the file. Besides the counted edges (``kind="weight"``)
        it holds the residual links (``kind="residual"``): a write of a channel to
        each later read of it.
        """
        import networkx as nx

        graph = nx.DiGraph(task=self.task.name, checkpoint=self.checkpoint.name)
        for node in self.nodes:
            graph.add_node(str(node), site=str(node.site), channel=node.channel)
        for edge in self.edges:
            graph.add_edge(str(edge.source), str(edge.target), kind="weight", weight=edge.weight)
        for write, read in residual_links(self.nodes):
            graph.add_edge(str(write), str(read), kind="residual", weight=1.0)
        return graph
