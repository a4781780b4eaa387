"""A planted model as a folder that transformers, and every tool on top of it, loads.

In: a planted model of GPT-2's architecture. Out: config.json, model.safetensors with the names
of ``save_pretrained``, the tokenizer, the task as task.csv and as task.jsonl, the reference
sample, README.md and truth.json. Nothing is written of a model whose truth LayerNorm breaks.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.checkpoints.native import REFERENCE
from circuitkit.errors import UsageError
from circuitkit.extraction import Means, measure_means
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.files import write_whole
from circuitkit.model import Architecture, EncodedPairs, Transformer, encode_pairs, pair_losses
from circuitkit.nodes import NodeSet
from circuitkit.planted.drift import measure_drift
from circuitkit.planted.gpt2_readme import readme
from circuitkit.planted.gpt2_wiring import BEGINNING, EPS, UNKNOWN
from circuitkit.planted.planted_model import TARGET_NATS, TASK, TRUTH, Planted
from circuitkit.planted.truth import Truth, find_truth
from circuitkit.planted.truth_json import TruthFile, as_text, truth_file
from circuitkit.planted.wrong_circuits import wrong_circuits
from circuitkit.task import Pair, Prompt

TABLE = "task.csv"
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
_COLUMNS = ("clean", "corrupt", "answer", "foil", "template", "split")


def save_gpt2(planted: Planted, folder: str | Path) -> TruthFile:
    """Search the truth of a model, check it against what was wired, and write the folder.

    Raises:
        UsageError: if brute force finds other circuits than those wired, or the folder cannot
            be written to.
    """
    folder, lines = Path(folder), [_spaced(line) for line in planted.task_lines.splitlines()]
    trial = _Trial(planted, lines)
    truth = trial.find_truth()
    _check(planted, truth)
    wrong = list(wrong_circuits(planted, lambda nodes: trial.loss(nodes) <= TARGET_NATS))
    drift_nats = trial.measure_drift(truth, [w.nodes for w in wrong if w.kind == "less one part"])
    _check_drift(planted, truth, drift_nats)
    files = {
        "config.json": _json(_config(planted.model.arch)),
        "model.safetensors": save(_weights(planted.model), metadata={"format": "pt"}),
        "tokenizer.json": planted.tokenizer.to_str(pretty=True),
        "tokenizer_config.json": _json(_tokenizer_config(planted.model.arch)),
        TABLE: _table(lines),
        TASK: "".join(json.dumps(line) + "\n" for line in lines),
        REFERENCE: save({"tokens": planted.reference.int()}),
        "README.md": readme(planted, len(lines)),
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    record = truth_file(planted, truth, wrong, drift_nats, folder)
    write_whole(folder / TRUTH, as_text(record))
    return record


class _Trial:
    """A model with its selection pairs and means: the loss of sets of nodes."""

    def __init__(self, planted: Planted, lines: Sequence[dict]) -> None:
        self.planted, self.model = planted, planted.model
        self.pairs = _selection_pairs(lines, planted.tokenizer, planted.model.arch)
        self.means: Means = measure_means(self.model, planted.reference)

    def find_truth(self) -> Truth:
        """By brute force."""
        return find_truth(self.model, self.pairs, self.means, TARGET_NATS, inert=self.planted.inert)

    def loss(self, nodes: NodeSet) -> float:
        """By the definition, the masked model, in nats."""
        differences = masked_differences(self.model, self.pairs, nodes, self.means.values)
        return float(pair_losses(differences).mean())

    def measure_drift(self, truth: Truth, refused: Iterable[NodeSet]) -> float:
        """Of some smallest circuits, of the mechanism, and of sets that miss the target."""
        widths = self.model.arch.widths
        bases = [*truth.circuits[:2], self.planted.mechanism, *refused, NodeSet({}, widths)]
        wired = self.planted.mechanism | NodeSet.of(truth.alive)
        return measure_drift(
            self.loss, bases, NodeSet.full(widths) - wired, self.planted.variation.seed
        )


def _selection_pairs(
    lines: Iterable[dict], tokenizer: Tokenizer, arch: Architecture
) -> EncodedPairs:
    pairs = [
        Pair(
            a=Prompt(text=line["a"]["prompt"], answer=line["a"]["answer"]),
            b=Prompt(text=line["b"]["prompt"], answer=line["b"]["answer"]),
            template=line["template"],
        )
        for line in lines
        if line["split"] == "select"
    ]
    return encode_pairs(
        pairs, tokenizer, start_token=None, vocab_size=arch.vocab_size, n_ctx=arch.n_ctx
    )


def _check(planted: Planted, truth: Truth) -> None:
    if set(truth.circuits) == set(planted.wired):
        return
    other = next((c for c in truth.circuits if c not in planted.wired), truth.circuits[0])
    raise UsageError(
        f"LayerNorm breaks the truth of {planted.name}: brute force finds {len(truth.circuits)} "
        f"smallest circuits of {len(truth.circuits[0])} nodes, expected the "
        f"{len(planted.wired)} wired of {len(planted.wired[0])}; one that is not among both is "
        f"{', '.join(map(str, other))}. Nothing was written. Wire it with smaller writes, or "
        "plant it without --format gpt2."
    )


def _check_drift(planted: Planted, truth: Truth, drift_nats: float) -> None:
    above = TARGET_NATS - truth.loss_nats
    below = (truth.refused_nats or 2 * TARGET_NATS) - TARGET_NATS
    if drift_nats < min(above, below):
        return
    raise UsageError(
        f"LayerNorm breaks the truth of {planted.name}: nodes that reach no answer change a loss "
        f"by {drift_nats:.3f} nats through its mean and variance, and the nearest circuits lie "
        f"{min(above, below):.3f} nats from the target. Nothing was written. Wire it with smaller "
        "writes or less noise, or plant it without --format gpt2."
    )


def _spaced(line: str) -> dict:
    """A line of the task with the space before the answer, as users of GPT-2 write it."""
    pair = json.loads(line)
    sides = {
        name: {"prompt": pair[name]["prompt"].strip(), "answer": f" {pair[name]['answer']}"}
        for name in "ab"
    }
    return {**sides, "template": pair["template"], "split": pair["split"]}


def _table(lines: Iterable[dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        a, b = line["a"], line["b"]
        writer.writerow(
            (a["prompt"], b["prompt"], a["answer"], b["answer"], line["template"], line["split"])
        )
    return text.getvalue()


def _weights(model: Transformer) -> dict[str, Tensor]:
    """The tensors as ``save_pretrained`` names them: linear layers transposed, the head tied."""
    assert not model.final_logits_bias.any()
    found = model.state_dict()
    return {
        name: (weight.T if name.endswith(_TRANSPOSED) else weight).contiguous()
        for name, weight in sorted(found.items())
        if name.startswith("transformer.")
    }


def _config(arch: Architecture) -> dict:
    beginning = arch.vocab_size - 1
    return {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "dtype": "float32",
        "vocab_size": arch.vocab_size, "n_positions": arch.n_ctx, "n_embd": arch.d_model,
        "n_layer": arch.n_layer, "n_head": arch.n_head, "n_inner": None,
        "activation_function": "gelu_new", "layer_norm_epsilon": EPS,
        "scale_attn_weights": True, "tie_word_embeddings": True,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        "bos_token_id": beginning, "eos_token_id": beginning,
    }  # fmt: skip


def _tokenizer_config(arch: Architecture) -> dict:
    """Names the class: by ``model_type`` alone, transformers would expect merges of bytes."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": arch.n_ctx,
        "bos_token": BEGINNING, "eos_token": BEGINNING, "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip


def _json(content: dict) -> str:
    return json.dumps(content, indent=2) + "\n"
