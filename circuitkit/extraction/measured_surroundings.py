"""The context of a circuit, measured: an example pair, embeddings, biases, means.

In: a checkpoint, a task, a circuit's nodes. Out: plain numbers and strings, so
that a report needs neither the checkpoint nor torch. None of it counts in the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.token_names import token_names
from circuitkit.circuit import Side, Surroundings
from circuitkit.explaining.chosen_pairs import shown_pair
from circuitkit.extraction.induced_edges import n_edges
from circuitkit.extraction.masked_model import gates_of
from circuitkit.model import (
    EncodedPairs,
    Transformer,
    chain,
    gate_tap,
    logit_differences,
    record_tap,
)
from circuitkit.nodes import FINAL_RESID, Node, NodeSet, Site
from circuitkit.task import Task

_BIAS = {
    "attn.q": ("attn.c_attn", 0), "attn.k": ("attn.c_attn", 1), "attn.v": ("attn.c_attn", 2),
    "attn.resid_delta": ("attn.c_proj", 0), "mlp.post_act": ("mlp.c_fc", 0),
    "mlp.resid_delta": ("mlp.c_proj", 0),
}  # fmt: skip


def describe_surroundings(
    checkpoint: Checkpoint,
    model: Transformer,
    task: Task,
    nodes: NodeSet,
    values: Mapping[Site, Tensor],
    circuit_model: Transformer | None = None,
) -> Surroundings:
    """Everything that is shown with a circuit and not counted in it.

    ``circuit_model`` is the model that the circuit is run on, where edges of it are cut.
    """
    pair, names = shown_pair(checkpoint, task), token_names(checkpoint)
    a, b = _sides(names, circuit_model or model, pair, nodes, values)
    return Surroundings(
        question=task.question,
        source=task.source,
        d_head=model.arch.d_head,
        n_nodes_model=sum(model.arch.widths.values()),
        n_edges_model=n_edges(model),
        a=a,
        b=b,
        embedding=_embedding(names, model, pair, nodes),
        unembedding=_unembedding(model, pair, nodes, (a.answer, b.answer)),
        biases=_biases(model, nodes),
        means={str(node): float(values[node.site][node.channel]) for node in nodes},
    )


def _sides(
    names: Sequence[str], model: Transformer, pair: EncodedPairs, nodes: NodeSet,
    values: Mapping[Site, Tensor],
) -> tuple[Side, Side]:  # fmt: skip
    seen: dict[Site, Tensor] = {}
    tap = chain(gate_tap(gates_of(nodes, model.arch.widths), values), record_tap(seen))
    with torch.no_grad():
        logits = model(pair.tokens, tap)
    rows = torch.arange(2)
    differences = logit_differences(logits[rows, pair.last], pair)
    sides = [
        Side(
            tokens=tuple(names[int(token)] for token in pair.tokens[row, : n + 1]),
            answer=names[int(pair.answers[row])],
            logit_difference=float(differences[row]),
            activations={
                str(node): tuple(seen[node.site][row, : n + 1, node.channel].tolist())
                for node in nodes
            },
        )
        for row, n in enumerate(pair.last.tolist())
    ]
    return sides[0], sides[1]


def _embedding(
    names: Sequence[str], model: Transformer, pair: EncodedPairs, nodes: NodeSet
) -> tuple[tuple[str, str, float], ...]:
    weight = model.transformer.wte.weight
    tokens = {int(t) for row, n in zip(pair.tokens, pair.last, strict=True) for t in row[: n + 1]}
    reads = [n for n in nodes if n.site.place in ("act_in", "final_resid")]
    return tuple(
        (names[token], str(node), float(weight[token, node.channel]))
        for token in sorted(tokens)
        for node in reads
        if node.channel < model.arch.d_model and weight[token, node.channel] != 0
    )


def _unembedding(
    model: Transformer, pair: EncodedPairs, nodes: NodeSet, answers: tuple[str, str]
) -> tuple[tuple[str, str, float], ...]:
    return tuple(
        (str(Node(FINAL_RESID, channel)), answer, float(model.lm_head.weight[token, channel]))
        for token, answer in zip(pair.answers.tolist(), answers, strict=True)
        for channel in nodes[FINAL_RESID]
        if model.lm_head.weight[token, channel] != 0
    )


def _biases(model: Transformer, nodes: NodeSet) -> dict[str, float]:
    biases = {}
    for node in nodes:
        if not model.arch.bias or node.site.kind not in _BIAS:
            continue
        path, part = _BIAS[node.site.kind]
        bias = model.get_parameter(f"transformer.h.{node.site.layer}.{path}.bias")
        value = float(bias[part * model.arch.d_attn + node.channel])
        if value:
            biases[str(node)] = value
    return biases
