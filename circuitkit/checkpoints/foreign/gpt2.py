"""GPT-2 as ``transformers`` writes it: ``config.json`` with ``model_type`` gpt2.

Weights are in one file or in shards with an index, safetensors or torch's own, with or without
``transformer.`` before their names. The linear layers are stored transposed (Conv1D).
"""

from __future__ import annotations

import re
from pathlib import Path

from circuitkit.checkpoints.foreign_config import ForeignConfig, peek
from circuitkit.checkpoints.layout import Dropped, Format, Layout, Placed, recognised_as
from circuitkit.checkpoints.transformers_keys import drop_transformers_keys
from circuitkit.checkpoints.weight_files import find_weights
from circuitkit.model import Architecture

NAME = "GPT-2"
_CONFIG = "config.json"
_PREFIX = "transformer."
_MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_TRANSPOSED = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "relu": "relu",
}


def _evidence(folder: Path) -> str | None:
    kind = peek(folder / _CONFIG).get("model_type")
    return f"{_CONFIG}: model_type gpt2" if kind == "gpt2" else None


def _place(name: str) -> Placed | Dropped:
    bare = name.removeprefix(_PREFIX)
    if _MASK.fullmatch(bare):
        return Dropped(name, "a causal mask, which the engine makes itself")
    if bare == "lm_head.weight":
        return Placed(bare)
    return Placed(f"{_PREFIX}{bare}", transposed=bool(_TRANSPOSED.fullmatch(bare)))


def _layout(folder: Path, evidence: str) -> Layout:
    config = ForeignConfig(folder / _CONFIG, recognised_as(NAME, evidence))
    arch = _architecture(config)
    return Layout(
        format=NAME,
        evidence=evidence,
        config=config.path,
        architecture=arch,
        weights=tuple(find_weights(folder)),
        place=_place,
        zeros=frozenset({"final_logits_bias"}),
        dropped=tuple(config.dropped),
        renamed=tuple(config.renamed),
    )


def _architecture(config: ForeignConfig) -> Architecture:
    for old, new in (
        ("n_ctx", "n_positions"), ("max_position_embeddings", "n_positions"),
        ("hidden_size", "n_embd"), ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ):  # fmt: skip
        config.rename(old, new)
    width, n_head = config.size("n_embd", 768), config.size("n_head", 12)
    if width % n_head:
        raise config.refuse(f"n_embd {width} is no multiple of n_head {n_head}.")
    values = {
        "vocab_size": config.size("vocab_size", 50257),
        "n_ctx": config.size("n_positions", 1024),
        "n_layer": config.size("n_layer", 12),
        "d_model": width,
        "n_head": n_head,
        "d_head": width // n_head,
        "d_mlp": config.size("n_inner", 4 * width),
        "norm": "layernorm",
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "activation": config.choice("activation_function", _ACTIVATIONS, "gelu_new"),
        "positions": "learned",
        "tied_unembedding": config.flag("tie_word_embeddings", default=True),
    }
    _drop_the_rest(config)
    return config.architecture(**values)


def _drop_the_rest(config: ForeignConfig) -> None:
    config.only(True, ["scale_attn_weights"], "attention without its scale")
    config.only(False, ["scale_attn_by_inverse_layer_idx"], "attention scaled by the layer")
    config.only(None, ["auto_map"], "code beside the weights")
    config.drop(["reorder_and_upcast_attn"], "changes the rounding of half precision only")
    config.drop(
        ["resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout"],
        "dropout is for training",
    )
    summary = ("activation", "proj_to_labels", "type", "use_proj")
    config.drop([f"summary_{key}" for key in summary], "of a head that classifies")
    drop_transformers_keys(config)
    config.refuse_rest()


FORMAT = Format(
    name=NAME,
    recognised_by=f"{_CONFIG} with model_type gpt2",
    evidence=_evidence,
    layout=_layout,
)
