"""Compile a circuit: the masked model with everything constant folded away.

In: a model, the kept nodes and the ablation values. Out: a program that gives the
masked model's logit differences (to 1e-4 in float32) while computing only what the
kept nodes need: the channels of the stream that kept nodes write or read; at each site
the channels that are kept or compete with them; each distinct place once; and, after
the last attention that matters, only the last position of each prompt. Source: ours
(docs/extraction.md#compiled-circuits).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.circuit import Circuit
from circuitkit.compiled.answer_rows import KeptAnswerRows
from circuitkit.compiled.blocks import CompiledAttention, CompiledMLP, Plan
from circuitkit.compiled.distinct_prompts import Prompts
from circuitkit.compiled.folded_model import FoldedModel
from circuitkit.errors import CircuitError, MismatchError
from circuitkit.model import EncodedPairs, Tap, Transformer
from circuitkit.nodes import FINAL_RESID, NodeSet, Site


class CompiledCircuit:
    """The masked model as a small program; see ``compile_circuit``, or give a folded model."""

    def __init__(self, folded: FoldedModel, nodes: NodeSet) -> None:
        self.folded, self.nodes = folded, nodes
        plan = Plan(folded, nodes)
        self.tracked = plan.tracked
        layers = range(folded.model.arch.n_layer)
        self.attention: list[CompiledAttention] = [
            CompiledAttention(plan, layer) for layer in layers
        ]
        self.mlp: list[CompiledMLP] = [CompiledMLP(plan, layer) for layer in layers]
        self.answer_rows: KeptAnswerRows = KeptAnswerRows(
            folded, plan.tracked, plan.kept[FINAL_RESID]
        )
        self.turn: int = max((layer for layer in layers if self.attention[layer].moves), default=-1)

    def __repr__(self) -> str:
        return f"CompiledCircuit({self.nodes!r})"

    @torch.no_grad()
    def differences(self, prompts: Prompts | EncodedPairs) -> Float[Tensor, " rows"]:
        """The logit difference of every prompt: d = logit[answer] - logit[foil]; on the CPU."""
        return self.run(prompts).cpu()

    def run(
        self, prompts: Prompts | EncodedPairs, tap: Tap | None = None
    ) -> Float[Tensor, " rows"]:
        """As ``differences``, with gradients, and with a tap on the kept channels of each site.

        The result is where the model is.
        """
        if isinstance(prompts, EncodedPairs):
            prompts = self.folded.prepare(prompts)
        return self.answer_rows(self._stream(prompts, tap), prompts, tap)

    def _stream(self, prompts: Prompts, tap: Tap | None) -> Float[Tensor, "batch tracked"]:
        """The tracked channels of the stream at the end of every prompt."""
        rows = prompts.inputs if self.turn >= 0 else prompts.lasts
        x = self.folded.stream(prompts, 0)[:, self.tracked][rows.start]
        for layer, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            delta = None
            if attention.writes:
                out = prompts.lasts if layer >= self.turn else prompts.prefixes
                delta = attention(x, rows, out, prompts, tap)
                x, rows = x.index_select(0, prompts.index(rows, out)), out
            x = attention.write.add(x, delta)
            x = mlp.write.add(x, mlp(x, rows, rows, prompts, tap) if mlp.writes else None)
        return x


def compile_circuit(
    model: Transformer, nodes: NodeSet, ablation_values: Mapping[Site, Tensor]
) -> CompiledCircuit:
    """Compile the circuit of ``nodes``, every other node at its ablation value.

    Equal to running the model under ``gate_tap`` with those nodes kept, to 1e-4 in
    logits. To compile many circuits of one model, make the ``FoldedModel`` once.

    Examples:
        >>> import circuitkit as ck
        >>> import torch
        >>> model = ck.load_checkpoint("tinypython-nano").load_model()
        >>> zeros = {site: torch.zeros(width) for site, width in model.arch.widths.items()}
        >>> compiled = ck.compile_circuit(model, ck.Circuit.load("out/for_while").nodes, zeros)
    """
    return CompiledCircuit(FoldedModel(model, ablation_values), nodes)


@runtime_checkable
class AblationValues(Protocol):
    """Means as measured: ablation values with the hash of their file."""

    @property
    def values(self) -> Mapping[Site, Tensor]: ...

    @property
    def sha256(self) -> str: ...


@checked_call
def compile(model: Transformer, circuit: Circuit, means: AblationValues) -> CompiledCircuit:
    """Compile an extracted circuit under the means it was found with.

    Raises:
        MismatchError: if the circuit was found under other means.
        CircuitError: if it has nodes that the model has not, or edges were dropped from it.

    Examples:
        >>> import circuitkit as ck
        >>> model = ck.load_checkpoint("tinypython-nano").load_model()
        >>> means = ck.Means.load("out/for_while", model.arch.widths)
        >>> compiled = ck.compile(model, ck.Circuit.load("out/for_while"), means)
    """
    if circuit.means_sha256 not in (None, means.sha256):
        raise MismatchError(
            f"the circuit was extracted under means {str(circuit.means_sha256)[:12]}…, got "
            f"{means.sha256[:12]}…; load those of the circuit's own folder."
        )
    if circuit.n_edges < circuit.n_edges_induced:
        raise CircuitError(
            f"the circuit keeps {circuit.n_edges} of its {circuit.n_edges_induced} edges; expected "
            "all of them, for a program runs every weight between kept nodes. Cut the model's "
            "weights first (circuitkit.extraction.cut_model) and compile_circuit that."
        )
    try:
        nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    except ValueError as error:
        raise CircuitError(
            f"the circuit is not one of this model: {error}. Give the checkpoint "
            f"{circuit.checkpoint.name!r} that it was extracted from."
        ) from None
    return compile_circuit(model, nodes, means.values)
