"""A folder of ``circuitkit plant NAME --format gpt2`` as a peer reads it, and what it writes back.

In: a folder. Out: its prompts as token ids, its truth, and a JSON of scores. Needs torch and
tokenizers alone: it is run in the environment of each peer.

Every pair is asked from both sides. Prompts are padded on the right with token 0, which a causal
model does not see from the last word of a prompt. Parts are named as in truth.json: ``a0.h3`` a
head, ``m0`` an MLP, ``m0.n5`` a neuron; edges as ``source>target``.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

N_DISCOVERY, N_EVALUATION = 16, 96
"""Pairs of the train split to discover with, of the test split to evaluate with; evenly spread."""


@dataclass(frozen=True)
class Prompts:
    """Prompts (n, seq), the other prompt of each pair, and the place of the last word (n,)."""

    tokens: Tensor
    other: Tensor
    last: Tensor
    answer: Tensor
    foil: Tensor

    def difference(self, logits: Tensor) -> Tensor:
        """The mean logit difference between answer and foil after the last word."""
        rows = torch.arange(len(self.last))
        final = logits[rows, self.last]
        return (final[rows, self.answer] - final[rows, self.foil]).mean()

    @property
    def real(self) -> Tensor:
        """Where no padding stands (n, seq)."""
        return torch.arange(self.tokens.shape[1]) <= self.last[:, None]


@dataclass(frozen=True)
class Folder:
    """The prompts and the truth of a planted model, and its size."""

    path: str
    truth: dict
    discovery: Prompts
    evaluation: Prompts
    n_layer: int
    n_head: int
    d_mlp: int

    @classmethod
    def read(cls, path: str) -> Folder:
        """Read a folder; nothing of it is run."""
        config = json.loads((Path(path) / "config.json").read_text())
        return cls(
            path=path, truth=json.loads((Path(path) / "truth.json").read_text()),
            discovery=_prompts(Path(path), "train", N_DISCOVERY),
            evaluation=_prompts(Path(path), "test", N_EVALUATION),
            n_layer=config["n_layer"], n_head=config["n_head"], d_mlp=4 * config["n_embd"],
        )  # fmt: skip

    @property
    def circuits(self) -> list[dict]:
        """The mechanism, then every wrong circuit."""
        return [self.truth["mechanism"], *self.truth["wrong"]]

    def rest(self, circuit: dict) -> list[tuple[list[int], list[int]]]:
        """By layer, the heads and the neurons that a circuit leaves out."""
        heads = {tuple(head) for head in circuit["heads"]}
        neurons = {tuple(neuron) for neuron in circuit["neurons"]}
        return [
            (
                [h for h in range(self.n_head) if (layer, h) not in heads],
                [n for n in range(self.d_mlp) if (layer, n) not in neurons],
            )
            for layer in range(self.n_layer)
        ]

    def faithfulness(self, run: Callable[[dict], float], whole: float) -> list[float]:
        """Of each circuit: 1 the logit difference of the model, 0 that with all parts replaced."""
        none = run({"heads": [], "neurons": [], "part_edges": []})
        return [(run(circuit) - none) / (whole - none) for circuit in self.circuits]


def _prompts(path: Path, split: str, n: int) -> Prompts:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    with (path / "task.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    rows = [rows[i * len(rows) // n] for i in range(n)]

    def ids(column: str) -> list[list[int]]:
        return [tokenizer.encode(row[column].strip()).ids for row in rows]

    clean, corrupt, answer, foil = map(ids, ("clean", "corrupt", "answer", "foil"))
    both, swapped = clean + corrupt, corrupt + clean
    width = max(map(len, both))
    return Prompts(
        tokens=torch.tensor([row + [0] * (width - len(row)) for row in both]),
        other=torch.tensor([row + [0] * (width - len(row)) for row in swapped]),
        last=torch.tensor([len(row) - 1 for row in both]),
        answer=torch.tensor(answer + foil)[:, 0],
        foil=torch.tensor(foil + answer)[:, 0],
    )


def method(
    *,
    parts: Mapping[str, float] | None = None,
    edges: Mapping[str, float] | None = None,
    faithfulness: Sequence[float] | None = None,
    seconds: float,
) -> dict:
    """What one method says of a folder; scores are compared by size. ``seconds`` are of the CPU."""
    found = {"parts": parts, "edges": edges, "faithfulness": faithfulness, "seconds": seconds}
    return {name: value for name, value in found.items() if value is not None}


def main(packages: Sequence[str], run: Callable[[Folder], dict[str, dict]]) -> None:
    """Run a peer on the folder named first on the command line and write the JSON named second."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    began = time.process_time()
    methods = run(Folder.read(sys.argv[1]))
    found = {
        "versions": {name: version(name) for name in packages},
        "seconds": time.process_time() - began,
        "methods": methods,
    }
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1) + "\n")
