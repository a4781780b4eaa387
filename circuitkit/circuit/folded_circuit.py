"""A circuit with everything constant folded: the numbers that a small program of it needs.

In: what ``exports`` folds out of a model, its ablation values and the prompts of a task. Out: data
that a view writes as a program. Every step gives a value a name, one number for each position of a
prompt; a step uses only what came before it. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from circuitkit.nodes import Node

Row = tuple[float, ...]
Key = tuple[int, ...]
"""A token; where positions are learned, a token and a position."""

_PREFIX = {
    "attn.act_in": "a{}_", "attn.q": "q{}_", "attn.k": "k{}_", "attn.v": "v{}_",
    "attn.resid_delta": "aw{}_", "mlp.act_in": "m{}_", "mlp.post_act": "n{}_",
    "mlp.resid_delta": "mw{}_", "final_resid": "f{}_",
}  # fmt: skip


def variable(node: Node) -> str:
    """The name of a node in the program: ``1.attn.q:83`` is ``q1_83``."""
    return _PREFIX[node.site.kind].format(node.site.layer).replace("-1", "") + str(node.channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A weight times a value; with a ``look``, times what that head sees of the value.

    A look without a value is the share of attention that goes to positions, not to the sink.
    """

    weight: float
    value: str | None = None
    look: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel of the stream from here on: what it was, kept writes, ablated ones as a number."""

    name: str
    writes: tuple[str, ...]
    constant: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a norm divides by: the root of the mean square.

    ``squares`` is the sum over the channels that no kept node has written, a number or a column;
    ``total`` likewise their sum, where the norm takes the mean away.
    """

    name: str
    channels: tuple[str, ...]
    squares: str | float
    total: str | float | None
    width: int
    eps: float

    @property
    def mean(self) -> str | None:
        """The name of the mean, where it is taken away."""
        return None if self.total is None else f"{self.name}_mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A kept channel as a block reads it: ``gain * (channel - mean) / size + shift``.

    ``limit`` is the smallest magnitude that survives activation top-k; None: every one does.
    """

    name: str
    channel: str
    gain: float = 1.0
    shift: float = 0.0
    size: str | None = None
    mean: str | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A kept node after a linear map: the base, the terms, then the activation function."""

    name: str
    base: str | float
    terms: tuple[Term, ...]
    activation: str | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The attention of a head: from every position, to itself and those before it.

    The score is ``(constant + queries + keys + products) / sqrt(d_head)``; ``sink`` None: none.
    """

    name: str
    layer: int
    head: int
    constant: float
    queries: tuple[Term, ...]
    keys: tuple[Term, ...]
    products: tuple[tuple[str, str], ...]
    d_head: int
    sink: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SumRivals:
    """The smallest magnitude that activation top-k keeps among all channels of a site.

    It is the ``n``-th largest of ``own`` (the kept nodes) and the rivals: a row of ``weights``
    each, a constant and a number for every term.
    """

    name: str
    n: int
    own: tuple[str, ...]
    weights: tuple[Row, ...]
    terms: tuple[Term, ...]
    activation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRivals:
    """The same where the stream is read, all magnitudes before the size.

    ``still`` is a table by token: the magnitudes that no kept node has moved, where they matter.
    ``moving`` has the other channels that kept nodes have written, with their gain, ``positions``
    the columns of position channels.
    """

    name: str
    n: int
    own: tuple[str, ...]
    still: str
    moving: tuple[tuple[str, float], ...]
    positions: tuple[str, ...]
    size: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """A node that is 0 where it is smaller than a computed limit."""

    name: str
    limit: str


Step = Channel | Size | Read | Sum | Look | SumRivals | ReadRivals | Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The end: what every answer weighs the channels by, at the last position.

    A row of ``rows`` has a weight for each of ``channels``, then what is constant before the
    division by ``size``, then (where the norm takes it away) the weight of the mean, then what is
    added after the division. ``bigrams`` has a row for each last token, a number for each answer.
    """

    channels: tuple[str, ...]
    size: str | None
    mean: str | None
    rows: Mapping[int, Row]
    bigrams: Mapping[int, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A prompt that was tried, with its answers, and the circuit's own logit difference."""

    tokens: tuple[int, ...]
    answer: int
    foil: int
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedCircuit:
    """The steps of a circuit, its tables, and the prompts that it was tried on.

    ``tokens`` has a row for every token that the prompts use, in the order of ``token_columns``;
    ``positions`` a row a position, ``still`` the tables of rivals. ``texts`` names the tokens.
    ``constant`` are nodes that never move, ``observed`` those whose survival of activation top-k
    was taken from the prompts, ``compared`` those for which it is computed. ``float32_error`` is
    how far the circuit in float32 is from this one, ``examples`` are places in ``tried``.
    """

    token_columns: tuple[str, ...]
    tokens: Mapping[Key, Row]
    position_columns: tuple[str, ...]
    positions: tuple[Row, ...]
    still: Mapping[str, Mapping[Key, Row]]
    steps: tuple[Step, ...]
    answers: Answers
    texts: Mapping[int, str]
    tried: tuple[Tried, ...]
    examples: tuple[int, ...]
    constant: tuple[str, ...]
    observed: tuple[str, ...]
    compared: tuple[str, ...]
    float32_error: float

    def __repr__(self) -> str:
        return f"FoldedCircuit({len(self.steps)} steps, {len(self.tried)} prompts tried)"


def uses(step: Step) -> Iterator[str]:
    """The names that a step computes with."""
    match step:
        case Channel():
            yield from (step.name, *step.writes)
        case Size():
            yield from (*step.channels, *_names(step.squares, step.total))
        case Read():
            yield from (step.channel, *_names(step.size, step.mean))
        case Sum():
            yield from (*_names(step.base), *_of_terms(step.terms))
        case Look():
            yield from _of_terms((*step.queries, *step.keys))
            yield from (name for pair in step.products for name in pair)
        case SumRivals():
            yield from (*step.own, *_of_terms(step.terms))
        case ReadRivals():
            yield from (*step.own, step.still, *step.positions, *_names(step.size))
            yield from (name for name, _ in step.moving)
        case Keep():
            yield from (step.name, step.limit)


def needed(steps: Sequence[Step], wanted: Iterable[str]) -> tuple[tuple[Step, ...], set[str]]:
    """The steps that what is wanted depends on, and all the names that they use."""
    names, found = set(wanted), []
    for step in reversed(steps):
        if step.name in names or (isinstance(step, Size) and step.mean in names):
            found.append(step)
            names.update(uses(step))
    return tuple(reversed(found)), names


def _of_terms(terms: tuple[Term, ...]) -> Iterator[str]:
    return _names(*(name for term in terms for name in (term.value, term.look)))


def _names(*values: str | float | None) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))
