"""``truth.json`` of a model in GPT-2's format: what is true of it, and what is not, and why.

In: a planted model with what brute force found. Out: a record, and its file in a folder.
Read back, it is refused beside other weights than those it was written for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from circuitkit.errors import CircuitError, MismatchError
from circuitkit.extraction import edges_between
from circuitkit.files import read_text, regular_file, sha256_files
from circuitkit.model import Transformer
from circuitkit.nodes import NodeSet
from circuitkit.planted.checked_truth import CheckedTruth
from circuitkit.planted.components import components_of
from circuitkit.planted.planted_model import TRUTH, Planted
from circuitkit.planted.wrong_circuits import WHY
from circuitkit.provenance import STRICT, first_problem

FORMAT = "circuitkit.truth-gpt2/1"
HASHED = ("config.json", "model.safetensors", "tokenizer.json", "reference.safetensors", "task.csv")


class CircuitParts(BaseModel):
    """A circuit in nodes, and in heads, MLPs, neurons and the edges between these parts."""

    model_config = STRICT
    nodes: list[str]
    edges: list[tuple[str, str, float]]
    heads: list[tuple[int, int]]
    mlps: list[int]
    neurons: list[tuple[int, int]]
    part_edges: list[tuple[str, str]]


class WrongCircuit(CircuitParts):
    """A circuit that should be refused; ``why`` says what makes it wrong."""

    kind: str
    why: str


class TruthFile(BaseModel):
    """``truth.json``; losses are those of the selection pairs, in nats."""

    model_config = STRICT
    format: Literal["circuitkit.truth-gpt2/1"]
    name: str
    about: str
    seed: int
    width: int
    noise: float
    sha256: dict[str, str]
    is_trap: bool
    target_loss_nats: float
    smallest: list[CircuitParts]
    mechanism: CircuitParts
    wrong: list[WrongCircuit]
    loss_nats: float
    refused_nats: float | None
    drift_nats: float
    n_alive: int
    n_tried: int


def truth_file(planted: Planted, checked: CheckedTruth, folder: Path) -> TruthFile:
    """The record of a model whose other files are in ``folder``."""
    model, options, truth = planted.model, planted.variation, checked.truth
    return TruthFile(
        format=FORMAT,
        name=planted.name,
        about=planted.about,
        seed=options.seed,
        width=options.width,
        noise=options.noise,
        sha256={name: sha256_files(folder / name) for name in HASHED},
        is_trap=planted.is_trap,
        target_loss_nats=truth.target_loss_nats,
        smallest=[CircuitParts(**_parts(model, nodes)) for nodes in truth.circuits],
        mechanism=CircuitParts(**_parts(model, planted.mechanism)),
        wrong=[
            WrongCircuit(kind=w.kind, why=WHY[w.kind], **_parts(model, w.nodes))
            for w in checked.wrong
        ],
        loss_nats=truth.loss_nats,
        refused_nats=truth.refused_nats,
        drift_nats=checked.drift_nats,
        n_alive=truth.n_alive,
        n_tried=truth.n_tried,
    )


def _parts(model: Transformer, nodes: NodeSet) -> dict:
    parts = components_of(model, nodes)
    return {
        "nodes": [str(node) for node in nodes],
        "edges": [(str(e.source), str(e.target), e.weight) for e in edges_between(model, nodes)],
        "heads": list(parts.heads),
        "mlps": list(parts.mlps),
        "neurons": list(parts.neurons),
        "part_edges": list(parts.edges),
    }


def load_truth(folder: str | Path) -> TruthFile:
    """Read ``truth.json`` and check that the files it speaks of are those beside it.

    Raises:
        CircuitError: if it is missing, or is no such file.
        MismatchError: if a file beside it has changed since, or is missing.
    """
    folder = Path(folder)
    path = folder / TRUTH
    text = read_text(path, CircuitError, "the truth of a model planted in GPT-2's format")
    try:
        truth = TruthFile.model_validate_json(text)
    except ValidationError as error:
        raise CircuitError(f"{path}: {first_problem(error)}. Expected {FORMAT}.") from None
    again = (
        f"circuitkit plant {truth.name} --format gpt2 --seed {truth.seed} --width {truth.width} "
        f"--noise {truth.noise:g} --out DIR"
    )
    for name in HASHED:
        file = regular_file(folder / name, MismatchError, "a file of a planted model")
        found = sha256_files(file) if file.exists() else "no file"
        expected = truth.sha256.get(name, "none")
        if found != expected:
            raise MismatchError(
                f"{file} is not the one that {path} was written for (sha256 {found[:12]}, expected "
                f"{expected[:12]}), so the truth may not be true of it. Export it again: {again}"
            )
    return truth


def as_text(truth: TruthFile) -> str:
    """The content of the file."""
    return json.dumps(truth.model_dump(mode="json"), indent=1) + "\n"
