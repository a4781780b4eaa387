"""Which nodes are moved: those that were asked for, all, or the circuit's cue nodes.

In: a circuit, and node names or pairs. Out: nodes of the circuit. Cue nodes by themselves carry
which of the two prompts it is: those whose interchange alone, with the other prompt of the pair,
lowers the mean logit difference by at least a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from circuitkit.bridges.bridge_file import BridgedPair
from circuitkit.bridges.carry import end_differences
from circuitkit.bridges.crossings import streams
from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import Circuit
from circuitkit.errors import CircuitError, UsageError
from circuitkit.model import Architecture, EncodedPairs, Transformer, record_tap
from circuitkit.model.other_prompt import swapped
from circuitkit.nodes import Node, NodeSet, Site

ALL = "all"
_CUE_PAIRS = 48
SHARE = 0.10
"""An interchange that lowers the mean logit difference by less of it says little."""


@torch.no_grad()
def cue_nodes(sparse: Transformer, pairs: EncodedPairs, nodes: NodeSet) -> NodeSet:
    """The nodes whose interchange alone lowers d by a tenth or more; all of them if none does."""
    batch = pairs.to(sparse.device)
    seen: dict[Site, Tensor] = {}
    stream = streams(sparse, batch.tokens, record_tap(seen))
    own = float(end_differences(sparse, batch, stream[-1]).mean())
    other = swapped(batch, {site: seen[site] for site in nodes.channels})

    def falls(node: Node) -> float:
        def tap(site: Site, x: Tensor) -> Tensor:
            if site != node.site:
                return x
            moved = x.clone()
            moved[..., node.channel] = other[site][..., node.channel]
            return moved

        end = streams(sparse, batch.tokens, tap)[-1]
        return own - float(end_differences(sparse, batch, end).mean())

    found = [node for node in nodes if falls(node) >= SHARE * own]
    return NodeSet.of(found or nodes, nodes.widths)


def nodes_of_circuit(
    circuit: Circuit, nodes: Iterable[Node | str], checkpoint: Checkpoint
) -> NodeSet:
    """The nodes asked for, with the model's widths; for ``all``, those with something to carry.

    Raises:
        CircuitError: if one is not of the circuit, or reads a position and not the stream.
        UsageError: if one is no node or names none, or there is none.
    """
    nodes = [nodes] if isinstance(nodes, str) else list(nodes)
    if strange := [node for node in nodes if not isinstance(node, str | Node)]:
        raise UsageError(
            f"nodes: got {strange[0]!r:.60}, expected names such as '1.attn.act_in:40'."
        )
    if nodes == [ALL]:
        return _movable(circuit, checkpoint.architecture)
    try:
        found = [Node.parse(node) if isinstance(node, str) else node for node in nodes]
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if not found:
        raise UsageError("no node to move: name one of the circuit, or leave nodes out.")
    for node in found:
        if node not in circuit.nodes:
            here = [str(Node(node.site, channel)) for channel in circuit.nodes[node.site]]
            known = ", ".join(here or map(str, circuit.nodes))
            raise CircuitError(
                f"the circuit of {circuit.task.name} has no node {node}; expected one of "
                f"{_some(known)}."
            )
        _check_in_stream(node, checkpoint.architecture.d_model)
    return NodeSet.of(found, checkpoint.architecture.widths)


def _check_in_stream(node: Node, d_model: int) -> None:
    if node.site.place == "act_in" and node.channel >= d_model:
        raise CircuitError(
            f"{node} reads a position, not the residual stream, and both prompts have the same: "
            "there is nothing to carry over. Choose another node."
        )


def _some(names: str) -> str:
    return names if len(names) <= 300 else names[:300].rpartition(",")[0] + ", …"


def cues_of(circuit: Circuit, pair: BridgedPair, train: EncodedPairs) -> NodeSet:
    """The circuit's cue nodes, found on training pairs."""
    return cue_nodes(pair.sparse, train[:_CUE_PAIRS], _movable(circuit, pair.sparse.arch))


def _movable(circuit: Circuit, arch: Architecture) -> NodeSet:
    """The circuit's nodes but those that read a position."""
    reads_position = {
        Site(i, block, "act_in"): range(arch.d_model, arch.d_in)
        for i in range(arch.n_layer) for block in ("attn", "mlp")
    }  # fmt: skip
    return NodeSet(circuit.nodes.channels, arch.widths) - NodeSet(reads_position)
