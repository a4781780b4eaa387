"""Fold the circuit of a folder, over all prompts of its task, and check it against the model.

Checkpoint, task and ablation values are found where ``extract`` recorded them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from operator import add
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.of_circuit import check_belongs, check_nodes, checkpoint_of
from circuitkit.checkpoints.token_names import token_names
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.folded_circuit import FoldedCircuit
from circuitkit.errors import CircuitError
from circuitkit.exports.fold_circuit import fold_circuit
from circuitkit.extraction import ExtractConfig, Means, cut_model
from circuitkit.extraction.masked_model import gates_of, tapped_differences
from circuitkit.model import EncodedPairs, Transformer, gate_tap
from circuitkit.model.transformer import Norm
from circuitkit.nodes import NodeSet, Site
from circuitkit.task import Split, Task
from circuitkit.validation.validate import check_means

_WITHIN = 1e-6
"""How near the folded circuit has to be to the masked model, in nats and in float64."""


def fold_folder(
    opened: CircuitFolder, circuit: Circuit, given: Checkpoint | str | Path | None = None
) -> FoldedCircuit:
    """The numbers of a program of a circuit in its folder.

    Raises:
        CircuitError: if what the circuit was made from is not there, or it cannot be folded.
        MismatchError: if checkpoint, task or means are not those of the circuit.
    """
    checkpoint, task = checkpoint_of(opened, circuit, given), opened.task
    check_belongs(checkpoint, task, circuit)
    means = Means.load(opened.path, checkpoint.architecture.widths)
    check_means(circuit, means)
    model = checkpoint.load_model()
    check_nodes(circuit, model.arch.widths)
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    cut = cut_model(model, nodes, circuit.edges, means.values)
    test, others = _pairs(checkpoint, task, circuit)
    folded = fold_circuit(
        cut, nodes, means.values, reduce(add, others, test), token_names(checkpoint),
        example=_shown(circuit, test, token_names(checkpoint)),
    )  # fmt: skip
    own = torch.tensor([tried.difference for tried in folded.tried]).view(2, -1)[:, : len(test)]
    error = float((own.flatten() - exact_differences(cut, test, nodes, means.values)).abs().max())
    if error > _WITHIN:
        raise CircuitError(
            f"the folded circuit is {error:.1e} nats away from the masked model on the test pairs, "
            f"expected at most {_WITHIN:g}: no program is written. Please report this circuit."
        )
    return folded


def _pairs(
    checkpoint: Checkpoint, task: Task, circuit: Circuit
) -> tuple[EncodedPairs, list[EncodedPairs]]:
    """The test pairs, and those of the other splits, as many as the search had."""
    config, search = ExtractConfig(), circuit.search
    n_train = (search and search.n_train) or config.n_train
    n_select = (search and search.n_select) or config.n_select
    sizes: dict[Split, int] = {"train": n_train, "select": n_select, "ood": circuit.n_pairs}
    test = checkpoint.ask(task, "test", circuit.n_pairs, circuit.seed)
    return test, [
        checkpoint.ask(task, split, n, circuit.seed, copies=split == "train")
        for split, n in sizes.items()
        if task.templates(split)
    ]


def _shown(circuit: Circuit, test: EncodedPairs, texts: tuple[str, ...]) -> int:
    """Which test pair the circuit's report shows; the first, if it is none of them."""
    if (around := circuit.surroundings) is None:
        return 0
    shown = (around.a.tokens, around.b.tokens)
    sides = [tuple(texts[t] for t in tokens) for tokens, _ in test.sides()]
    n = len(test)
    return next((i for i in range(n) if (sides[i], sides[i + n]) == shown), 0)


def exact_differences(
    model: Transformer, pairs: EncodedPairs, nodes: NodeSet, values: Mapping[Site, Tensor]
) -> Float[Tensor, " rows"]:
    """The logit differences of the masked model in float64, with the epsilons of float32."""
    exact = deepcopy(model).double()
    for module in exact.modules():
        if isinstance(module, Norm) and module.eps is None:
            module.eps = torch.finfo(torch.float32).eps
    gates = {site: gate.double() for site, gate in gates_of(nodes, model.arch.widths).items()}
    tap = gate_tap(gates, {site: value.double() for site, value in values.items()})
    return tapped_differences(exact, pairs, tap)
