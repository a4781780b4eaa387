"""The explanation: how a circuit comes to its answer, as data that every view reads.

In: an ``explanation.json``, made from the circuit and its model. Out: paths from token to answer
with what each adds to the logit difference, the role of every node, where heads look, the contexts
in which nodes are active, examples. No torch. What is exact in it, what is frozen and what is
measured by ablation: docs/reports.md#contributions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError

from circuitkit.circuit.surroundings import Side
from circuitkit.displays import view
from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.provenance import STRICT, first_problem

FORMAT = "circuitkit.explanation/1"
FILE = "explanation.json"

MOST_NODES = 500
"""Circuits of more nodes are not explained: nobody can follow their paths."""

Role = Literal["cue", "offset", "constant"]
"""``cue``: it turns with the answer. ``offset``: it favours the same token in both prompts.
``constant``: neither."""

ExampleKind = Literal["shown", "typical", "distractor", "out_of_distribution", "worst"]


class Adds(BaseModel):
    """What something adds to the logit difference of each prompt of a pair, in nats.

    The logit difference is answer less foil: positive speaks for the right answer of the prompt.
    """

    model_config = STRICT
    a: FiniteFloat
    b: FiniteFloat

    @property
    def both(self) -> float:
        """The mean of the two: what favours the same token in both prompts cancels."""
        return (self.a + self.b) / 2


class TokenSource(BaseModel):
    """Where a path begins: a token, or a position where the model has positions.

    ``a`` and ``b`` are the text in each prompt at the same aligned place (None: the prompt has
    none there), ``a_at`` and ``b_at`` its positions: several, where the same texts stand at
    several places.
    """

    model_config = STRICT
    kind: Literal["token", "position"]
    a: str | None
    b: str | None
    a_at: tuple[NonNegativeInt, ...]
    b_at: tuple[NonNegativeInt, ...]


class Look(BaseModel):
    """Where a head looks most along a path, in one prompt: from a position, at a position."""

    model_config = STRICT
    prompt: Literal["a", "b"]
    at: NonNegativeInt
    looks_at: NonNegativeInt
    attention: FiniteFloat


class Hop(BaseModel):
    """A part of the model that a path goes through.

    ``part`` is a head (``head 0.3``: layer, head), neurons (``neurons 1``: layer) or
    ``bigram table``; ``nodes`` are its nodes that carry most of the path in either prompt, in
    order of flow: of a head values and writes, of neurons the neurons and writes. ``looks`` says
    where a head looks, first in the prompt in which the path adds more.
    """

    model_config = STRICT
    part: str
    nodes: tuple[str, ...]
    looks: tuple[Look, ...] = ()


class TokenPath(BaseModel):
    """A way from a token to the answer, summed over the channels that it goes through.

    No hops: the token is read where the answer is. ``channels`` are the nodes of
    ``final_resid`` that it ends in in either prompt, the one that adds most first.
    """

    model_config = STRICT
    source: TokenSource
    hops: tuple[Hop, ...]
    channels: tuple[str, ...]
    adds: Adds


class Run(Side):
    """One prompt as the circuit runs it.

    ``model_logit_difference`` is that of the whole model. ``attention`` has for every head with a
    kept value or key a weight a token, from the last token; what is missing to 1 goes to the sink.
    """

    model_logit_difference: FiniteFloat
    attention: dict[str, tuple[FiniteFloat, ...]]


class Example(BaseModel):
    """A pair of prompts and how the circuit answers it.

    ``paths`` come strongest first (by ``abs(adds.both)``). They, ``constant`` (what does not
    depend on the tokens) and ``rest`` (paths too weak to be listed) add up to the two logit
    differences. ``links`` has what flows through every edge, as ``"SOURCE>TARGET"``: an edge
    between nodes, ``token:TEXT>NODE``, a head's ``V>WRITE``, a write and a later read of its
    channel, and ``NODE>answer``. ``nodes`` has what flows through every node. A query or key
    has what is lost without it: ``by_ablation`` names those, and a link to one has a share of that
    and is no part of the sum. ``distractors`` are tokens that both
    prompts share and that are the cue of other pairs; they are named in the example chosen for
    them.
    """

    model_config = STRICT
    kind: ExampleKind
    template: str
    a: Run
    b: Run
    paths: tuple[TokenPath, ...]
    constant: Adds
    rest: Adds
    nodes: dict[str, Adds]
    links: dict[str, Adds]
    by_ablation: tuple[str, ...]
    distractors: tuple[str, ...] = ()

    def explained(self, n_paths: int) -> float:
        """How much of the mean logit difference the first paths and what is constant add up to.

        1 is all of it, 0 nothing.
        """
        whole = (self.a.logit_difference + self.b.logit_difference) / 2
        listed = sum(path.adds.both for path in self.paths[:n_paths]) + self.constant.both
        return max(0.0, 1 - abs((whole - listed) / whole)) if whole else 0.0


class Context(BaseModel):
    """A place of the reference text and the activation of a node there, in the whole model.

    ``tokens[at]`` is the token at which the node is so active.
    """

    model_config = STRICT
    tokens: tuple[str, ...]
    at: NonNegativeInt
    activation: FiniteFloat


class NodeNote(BaseModel):
    """What is known of a node: its role, and contexts in which it is high, low, or at random.

    ``adds`` is its mean over ``n_pairs`` pairs.
    """

    model_config = STRICT
    role: Role
    adds: Adds
    highest: tuple[Context, ...]
    lowest: tuple[Context, ...]
    random: tuple[Context, ...]


class Explanation(BaseModel):
    """How a circuit comes to its answer; the first example is the pair that a report shows."""

    model_config = STRICT
    format: Literal["circuitkit.explanation/1"] = FORMAT
    circuit_sha256: str
    n_pairs: PositiveInt
    nodes: dict[str, NodeNote]
    examples: tuple[Example, ...]

    def _repr_html_(self) -> str:
        return view("notebook.explanation_html")(self)

    def __repr__(self) -> str:
        if not self.examples:
            return f"Explanation({len(self.nodes)} nodes, no example)"
        shown = self.examples[0]
        return (
            f"Explanation({len(self.nodes)} nodes, {len(shown.paths)} paths, "
            f"the first five {shown.explained(5):.0%} of the logit difference)"
        )

    @classmethod
    def load(cls, folder: str | Path) -> Explanation:
        """Read the explanation in a circuit's folder.

        Raises:
            CircuitError: if it holds none, or a wrong one.
        """
        path = Path(folder) / FILE
        text = read_text(path, CircuitError, f"a folder made by 'circuitkit extract' ({FILE})")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CircuitError(f"{path} is not an explanation: {first_problem(error)}") from None

    def save(self, folder: str | Path) -> None:
        """Write ``explanation.json`` into a folder, whole or not at all."""
        write_whole(Path(folder) / FILE, self.to_json())

    def to_json(self) -> str:
        """The text of ``explanation.json``; the same explanation always gives the same bytes."""
        return self.model_dump_json() + "\n"
