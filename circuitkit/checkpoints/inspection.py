"""What a checkpoint is made of: a ``Checkpoint`` in, the object that ``inspect --json`` prints out.

The last keys describe the activations over the first tokens of the checkpoint's own reference
sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from circuitkit.checkpoints.checkpoint import Checkpoint
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.checkpoints.foreign_weights import Survey, survey
from circuitkit.checkpoints.native import FORMAT, REFERENCE, TOKENIZER, WEIGHTS, stored_types
from circuitkit.model.activation_statistics import Activity, measure_activity
from circuitkit.model.transformer import Layer, Transformer

SAMPLE_TOKENS = 16_384
"""Activations are counted over so many tokens at most: whole sequences, one at least."""


def summarise_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Sizes, losses and tasks done, as ``checkpoints --json`` prints them for each bundled one.

    The tasks are None unless they were measured on these very weights.

    Raises:
        CheckpointError: if the weights or the table of tasks are wrong.
    """
    parameters = list(checkpoint.load_model().parameters())
    training = checkpoint.training or {}
    found = Competence.load(checkpoint.path)
    current = found if found is not None and found.sha256 == checkpoint.sha256 else None
    return {
        "name": checkpoint.where,
        "n_layer": checkpoint.architecture.n_layer,
        "d_model": checkpoint.architecture.d_model,
        "n_parameters": sum(p.numel() for p in parameters),
        "n_nonzero": sum(int(p.count_nonzero()) for p in parameters),
        "l0_fraction": training.get("l0_fraction"),
        "n_tokens": training.get("n_tokens"),
        "validation_loss_nats": training.get("validation_loss_nats"),
        "sha256": checkpoint.sha256,
        "tasks_done": current and current.done,
        "tasks_not_done": current and current.not_done,
        "tasks_not_known": current and current.not_known,
    }


def inspect_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Format, architecture, nonzeros of each matrix, dead neurons, activations, warnings.

    Of a folder in another format, ``renamed`` and ``dropped`` list every tensor, and key of the
    config, whose name is another or that is not used; a tensor that its files lack, and that is
    zeros, is no matrix and not counted. ``layers`` has two counts of dead neurons:
    ``n_unwired`` have no nonzero weight to read by or none to write by, ``n_silent`` are 0 after
    top-k on every token of the sample. Without a reference sample ``n_silent``,
    ``nonzero_activations`` and ``residual_kurtosis`` are None.

    Raises:
        CheckpointError: if the weights or the reference sample are wrong.
    """
    layout = checkpoint.layout
    found = None if layout is None else survey(layout)
    model = checkpoint.load_model()
    activity = _activity(checkpoint, model)
    matrices = [
        _matrix(name, parameter)
        for name, parameter in model.named_parameters()
        if found is None or name not in found.filled
    ]
    sites = {str(site): width for site, width in checkpoint.architecture.widths.items()}
    return {
        "format": FORMAT if layout is None else f"{layout.format}, {layout.evidence}",
        "name": checkpoint.name,
        "architecture": checkpoint.architecture.model_dump(mode="json"),
        "n_parameters": sum(prod(matrix["shape"]) for matrix in matrices),
        "n_nonzero": sum(matrix["nonzero"] for matrix in matrices),
        "n_nodes": sum(sites.values()),
        "sites": sites,
        "matrices": matrices,
        "renamed": _renamed(checkpoint, found),
        "dropped": _dropped(checkpoint, found),
        "warnings": _warnings(checkpoint, activity, found),
        "layers": _layers(model, activity),
        "n_sample_tokens": activity and activity.n_tokens,
        "nonzero_activations": activity and dict(activity.nonzero),
        "residual_kurtosis": activity and list(activity.residual_kurtosis),
    }


def _renamed(checkpoint: Checkpoint, found: Survey | None) -> list[dict[str, str]]:
    if checkpoint.layout is None or found is None:
        return []
    pairs = [*checkpoint.layout.renamed, *found.renamed]
    return [{"from": old, "to": new} for old, new in pairs]


def _dropped(checkpoint: Checkpoint, found: Survey | None) -> list[dict[str, str]]:
    if checkpoint.layout is None or found is None:
        return []
    return [item._asdict() for item in (*checkpoint.layout.dropped, *found.dropped)]


def _activity(checkpoint: Checkpoint, model: Transformer) -> Activity | None:
    if not (checkpoint.path / REFERENCE).exists():
        return None
    sample = checkpoint.load_reference()
    return measure_activity(model, sample[: max(1, SAMPLE_TOKENS // sample.shape[1])])


def _matrix(name: str, parameter) -> dict[str, Any]:
    nonzero = int(parameter.count_nonzero())
    return {
        "name": name,
        "shape": list(parameter.shape),
        "nonzero": nonzero,
        "l0_fraction": nonzero / parameter.numel(),
    }


def _layers(model: Transformer, activity: Activity | None) -> list[dict[str, int | None]]:
    return [
        {
            "layer": i,
            "n_neurons": model.arch.d_mlp,
            "n_unwired": _n_unwired(layer),
            "n_silent": activity and activity.n_silent[i],
        }
        for i, layer in enumerate(model.layers)
    ]


def _n_unwired(layer: Layer) -> int:
    """Neurons that read nothing (a bias is no reading), or write nothing."""
    reads = (layer.mlp.c_fc.weight != 0).any(1)  # (d_mlp, d_in): a row is a neuron
    writes = (layer.mlp.c_proj.weight != 0).any(0)  # (d_model, d_mlp): a column is a neuron
    return int((~(reads & writes)).sum())


def _warnings(checkpoint: Checkpoint, activity: Activity | None, found: Survey | None) -> list[str]:
    no_text = f"no {TOKENIZER}: only token-level tasks work"
    no_sample = f"no {REFERENCE}: silent neurons, nonzero activations and kurtosis are not measured"
    types = stored_types(checkpoint.path / WEIGHTS) if found is None else found.types
    return [
        *checkpoint.warnings,
        *([] if checkpoint.tokenizer else [no_text]),
        *([] if activity else [no_sample]),
        *(found.remarks if found else ()),
        *_casts(types),
    ]


_CAST = {
    "F16": "float16, read as float32: exact",
    "BF16": "bfloat16, read as float32: exact",
    "F64": "float64, read as float32: rounded, and below 1e-45 to zero",
}


def _casts(types: Mapping[str, int]) -> list[str]:
    """One line for each type that is not the one that models run in."""
    n = sum(types.values())
    return [f"{types[t]} of {n} tensors are stored as {_CAST[t]}" for t in _CAST if t in types]
