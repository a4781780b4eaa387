"""Explain: from a circuit to an ``Explanation`` of how it comes to its answer.

In: a checkpoint, a task, a circuit and its ablation values. Out: paths, roles, looks, contexts and
examples, as plain data. Source: ours (docs/reports.md#contributions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.token_names import token_names
from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import (
    MOST_NODES,
    Adds,
    Example,
    Explanation,
    NodeNote,
    Role,
    Run,
)
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.explaining.chosen_pairs import ChosenPair, choose_pairs
from circuitkit.explaining.circuit_flows import Flows, measure_flows, on_no_path, share_out
from circuitkit.explaining.circuit_parts import CircuitParts
from circuitkit.explaining.contexts import find_contexts
from circuitkit.explaining.prompt_run import PromptRun
from circuitkit.explaining.token_paths import Places, Sides, find_paths
from circuitkit.model import (
    EncodedPairs,
    Transformer,
    chain,
    gate_tap,
    gates_of,
    logit_differences,
    pair_losses,
    record_tap,
)
from circuitkit.model.other_prompt import shared_prefix
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.task import Task

N_PAIRS = 24
"""Test pairs over which the roles of nodes are measured."""

_LOOKED_AT = 256
"""Test pairs among which the typical and the worst are found."""

N_DECIMALS = 6
"""What things add is rounded to so many decimals, in nats."""

A_PART = 0.02
"""A node takes part if it moves the logit difference by this share of it."""


def explain(
    checkpoint: Checkpoint,
    model: Transformer,
    task: Task,
    circuit: Circuit,
    values: Mapping[Site, Tensor],
    sample: Int[Tensor, "n length"] | None,
    circuit_model: Transformer | None = None,
) -> Explanation | None:
    """Explain a circuit; None if it has more than ``MOST_NODES`` nodes.

    Args:
        checkpoint: of the model, for its tokens and pairs.
        model: the whole model.
        task: what the circuit does.
        circuit: its nodes.
        values: what ablated nodes are.
        sample: reference tokens, for contexts; None for none.
        circuit_model: the model that the circuit is run on, where edges of it are cut.
    """
    if circuit.n_nodes > MOST_NODES:
        return None
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    explainer = _Explainer(
        model=model, circuit_model=circuit_model or model, nodes=nodes, values=values,
        names=token_names(checkpoint),
    )  # fmt: skip
    test = checkpoint.ask(task, "test", _LOOKED_AT)
    losses = pair_losses(explainer.differences(test, explainer.nodes))
    few, chosen = test[:N_PAIRS], choose_pairs(checkpoint, task, test, losses)
    explained = explainer.explained(sum((each.pair for each in chosen), few))
    contexts = find_contexts(model, sample, nodes, explainer.names, circuit.seed)
    notes = _notes(explained[: len(few)], [str(node) for node in nodes])
    return Explanation(
        circuit_sha256=circuit.sha256,
        n_pairs=len(few),
        nodes={
            name: NodeNote(role=role, adds=adds, **contexts[name]._asdict())
            for name, (role, adds) in notes.items()
        },
        examples=tuple(
            explainer.example(some, each)
            for some, each in zip(explained[len(few) :], chosen, strict=True)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Explainer:
    """What all pairs share."""

    model: Transformer
    circuit_model: Transformer
    nodes: NodeSet
    values: Mapping[Site, Tensor]
    names: Sequence[str]

    @cached_property
    def parts(self) -> CircuitParts:
        """The circuit as small arrays."""
        return CircuitParts(self.circuit_model, self.nodes, self.values)

    @cached_property
    def folded(self) -> FoldedModel:
        """What circuits of this model share."""
        return FoldedModel(self.circuit_model, self.values)

    def differences(self, pairs: EncodedPairs, nodes: NodeSet) -> Tensor:
        """The logit difference of every prompt with some nodes kept."""
        return CompiledCircuit(self.folded, nodes).differences(pairs)

    @torch.no_grad()
    def sides(self, pair: EncodedPairs) -> Sides:
        """The runs of the two prompts of one pair."""
        seen: dict[Site, Tensor] = {}
        gates = gates_of(self.nodes, self.model.arch.widths)
        self.circuit_model.stream(
            pair.tokens, chain(gate_tap(gates, self.values), record_tap(seen))
        )
        a, b = (
            PromptRun(
                parts=self.parts, tokens=pair.tokens[row, : n + 1].tolist(),
                answer=int(pair.answers[row]), foil=int(pair.foils[row]),
                seen={site: x[row, : n + 1] for site, x in seen.items()},
            )
            for row, n in enumerate(pair.last.tolist())
        )  # fmt: skip
        return a, b

    def texts(self, run: PromptRun) -> tuple[str, ...]:
        """The tokens of a prompt by name."""
        return tuple(self.names[token] for token in run.tokens)

    def explained(self, pairs: EncodedPairs) -> list[_Explained]:
        """Every pair with what flows in it; nodes on no path of any have what is lost by them."""
        names, whole = [str(node) for node in self.nodes], self.differences(pairs, self.nodes)
        found = []
        for i, (a, b) in enumerate(zip(*whole.view(2, -1).tolist(), strict=True)):
            sides = self.sides(pairs[i : i + 1])
            flows = [measure_flows(run, self.texts(run)) for run in sides]
            found.append(_Explained(sides=sides, flows=(flows[0], flows[1]), differences=(a, b)))
        alone = on_no_path([flows for each in found for flows in each.flows], names)
        lost = {name: (whole - self._without(pairs, name)).view(2, -1).tolist() for name in alone}
        for i, each in enumerate(found):
            for side, flows in enumerate(each.flows):
                share_out(flows, {name: by_side[side][i] for name, by_side in lost.items()})
        return found

    def _without(self, pairs: EncodedPairs, name: str) -> Tensor:
        node = NodeSet.of([Node.parse(name)], self.nodes.widths)
        return self.differences(pairs, self.nodes - node)

    def example(self, explained: _Explained, chosen: ChosenPair) -> Example:
        """One pair and how the circuit answers it."""
        pair = chosen.pair
        sides, (a, b), own = explained.sides, explained.flows, explained.differences
        texts = (self.texts(sides[0]), self.texts(sides[1]))
        paths = find_paths(sides, Places(texts=texts, n_shared=int(shared_prefix(pair)[0])))
        with torch.no_grad():
            logits = self.model(pair.tokens, None, pair.last)[:, 0]
        whole = logit_differences(logits, pair).tolist()
        listed = [sum(path.adds.a for path in paths), sum(path.adds.b for path in paths)]
        return Example(
            kind=chosen.kind, template=pair.templates[0],
            distractors=tuple(self.names[token] for token in chosen.distractors),
            a=self._run(sides[0], own[0], whole[0]), b=self._run(sides[1], own[1], whole[1]),
            paths=tuple(paths),
            constant=_adds(own[0] - a.total, own[1] - b.total),
            rest=_adds(a.total - listed[0], b.total - listed[1]),
            nodes={name: _both(a.nodes, b.nodes, name) for name in map(str, self.nodes)},
            links={name: _both(a.links, b.links, name) for name in {**a.links, **b.links}},
            by_ablation=tuple(sorted(a.alone)),
        )  # fmt: skip

    def _run(self, run: PromptRun, own: float, whole: float) -> Run:
        return Run(
            tokens=self.texts(run), answer=self.names[run.answer], logit_difference=own,
            activations={
                str(node): _rounded(run.activations[node.site][:, node.channel].tolist())
                for node in self.nodes
            },
            model_logit_difference=whole,
            attention={
                str(part): _rounded(run.pattern(part.layer, part.head)[run.last].tolist())
                for part in self.parts.parts
                if part.head is not None
            },
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Explained:
    """The runs of a pair, what flows in them, the circuit's logit differences."""

    sides: Sides
    flows: tuple[Flows, Flows]
    differences: tuple[float, float]


def _notes(explained: Sequence[_Explained], names: Sequence[str]) -> dict[str, tuple[Role, Adds]]:
    """Of every node what it adds, the mean over pairs, and its role.

    A part is one of the size of the logit differences, which cancel in a circuit that fails.
    """
    n = len(explained)
    whole = sum(abs(d) for each in explained for d in each.differences) / (2 * n)
    notes = {}
    for name in names:
        a, b = (sum(e.flows[side].nodes.get(name, 0.0) for e in explained) / n for side in (0, 1))
        notes[name] = (_role(a, b, A_PART * whole), _adds(a, b))
    return notes


def _role(a: float, b: float, least: float) -> Role:
    """A node takes part where it moves the logit difference by a share of it."""
    if a + b and abs(a + b) / 2 >= least:
        return "cue"
    return "offset" if a - b and abs(a - b) / 2 >= least else "constant"


def _both(a: Mapping[str, float], b: Mapping[str, float], name: str) -> Adds:
    return _adds(a.get(name, 0.0), b.get(name, 0.0))


def _adds(a: float, b: float) -> Adds:
    return Adds(a=round(a, N_DECIMALS), b=round(b, N_DECIMALS))


def _rounded(x: Sequence[float]) -> tuple[float, ...]:
    """Activations: four digits are more than a picture shows."""
    return tuple(float(f"{value:.4g}") for value in x)
