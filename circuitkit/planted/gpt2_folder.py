"""A planted model as a folder that transformers, and every tool on top of it, loads.

In: a planted model of GPT-2's architecture. Out: config.json, model.safetensors with the names
of ``save_pretrained``, the tokenizer, the task as task.csv, the reference sample, README.md and
truth.json. Nothing is written of a model whose truth LayerNorm breaks.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.checkpoints.native import REFERENCE
from circuitkit.errors import UsageError
from circuitkit.files import write_whole
from circuitkit.model import Architecture, EncodedPairs, Transformer, encode_pairs
from circuitkit.planted.checked_truth import check_truth
from circuitkit.planted.gpt2_readme import readme
from circuitkit.planted.gpt2_wiring import BEGINNING, EPS, UNKNOWN, GPT2Variation
from circuitkit.planted.planted_model import TABLE, TRUTH, Planted
from circuitkit.planted.truth_json import TruthFile, as_text, truth_file
from circuitkit.task import Pair, Prompt

_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
_COLUMNS = ("clean", "corrupt", "answer", "foil", "template", "split")


def save_gpt2(planted: Planted, folder: str | Path) -> TruthFile:
    """Search the truth of a model, check it against what was wired, and write the folder.

    Raises:
        UsageError: if the model is of another architecture, brute force finds other circuits
            than those wired, or the folder cannot be written to.
    """
    if not isinstance(planted.variation, GPT2Variation):
        raise UsageError(
            f"{planted.name} is wired in circuitkit's own architecture; expected "
            f"plant({planted.name!r}, format='gpt2')."
        )
    folder, lines = Path(folder), [_spaced(line) for line in planted.task_lines.splitlines()]
    checked = check_truth(planted, _selection_pairs(lines, planted.tokenizer, planted.model.arch))
    files = {
        TABLE: _table(lines),
        "config.json": _json(_config(planted.model.arch)),
        "model.safetensors": save(_weights(planted.model), metadata={"format": "pt"}),
        "tokenizer.json": planted.tokenizer.to_str(pretty=True),
        "tokenizer_config.json": _json(_tokenizer_config(planted.model.arch)),
        REFERENCE: save({"tokens": planted.reference.int()}),
        "README.md": readme(planted, len(lines)),
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    record = truth_file(planted, checked, folder)
    write_whole(folder / TRUTH, as_text(record))
    return record


def _selection_pairs(
    lines: Iterable[dict], tokenizer: Tokenizer, arch: Architecture
) -> EncodedPairs:
    pairs = [
        Pair(a=_prompt(line["a"]), b=_prompt(line["b"]), template=line["template"])
        for line in lines
        if line["split"] == "select"
    ]
    return encode_pairs(
        pairs, tokenizer, start_token=None, vocab_size=arch.vocab_size, n_ctx=arch.n_ctx
    )


def _prompt(side: dict[str, str]) -> Prompt:
    return Prompt(text=side["prompt"], answer=side["answer"])


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
