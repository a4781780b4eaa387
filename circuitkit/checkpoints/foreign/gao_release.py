"""The public release of Gao et al. 2025: ``beeg_config.json`` and ``final_model.pt``.

The tensors have the engine's own names. Source: the released configuration and forward pass.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from circuitkit.checkpoints.foreign_config import ForeignConfig
from circuitkit.checkpoints.layout import Dropped, Format, Layout, Placed
from circuitkit.model import Architecture

NAME = "Gao et al. 2025"
_CONFIG, _WEIGHTS = "beeg_config.json", "final_model.pt"
_MASK = re.compile(r"transformer\.h\.\d+\.attn\.bias")

SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How the release's tokenizer cuts text before it merges."""

SITE_KIND = {
    "attn_in": "attn.act_in", "attn_q": "attn.q", "attn_k": "attn.k", "attn_v": "attn.v",
    "attn_out": "attn.resid_delta", "mlp_in": "mlp.act_in", "mlp_neuron": "mlp.post_act",
    "mlp_out": "mlp.resid_delta",
}  # fmt: skip
"""The release's name for each kind of site where top-k may act."""


ZEROS = frozenset({"final_logits_bias"})
"""What an old file lacks."""


def _evidence(folder: Path) -> str | None:
    return _CONFIG if (folder / _CONFIG).exists() else None


def place_released(name: str) -> Placed | Dropped:
    """A name of the release is ours but for the mask that some files hold."""
    if _MASK.fullmatch(name):
        return Dropped(name, "a causal mask, which the engine makes itself")
    return Placed(name)


def _layout(folder: Path, evidence: str) -> Layout:
    config = ForeignConfig(folder / _CONFIG, NAME, evidence)
    arch = read_architecture(config)
    return config.layout(arch, place_released, named=(_WEIGHTS,), zeros=ZEROS, split=SPLIT)


def read_architecture(config: ForeignConfig) -> Architecture:
    """The model's shape; of the release's keys, those that are no part of it are dropped.

    Raises:
        CheckpointError: if a key has a value that is not run.
    """
    config.rename("n_mlp", "d_mlp")
    config.rename("n_embd", "d_model")
    d_model, n_head = config.size("d_model", 768), config.size("n_head", 12)
    d_position = config.size("d_pos_emb", 0, null_is_default=True)
    is_rms = config.flag("rms_norm", default=False)
    values: dict[str, Any] = {
        "vocab_size": config.size("vocab_size", 50304),
        "n_ctx": config.size("block_size", 1024),
        "n_layer": config.size("n_layer", 12),
        "d_model": d_model,
        "n_head": n_head,
        "d_head": config.size("d_head", d_model // n_head, null_is_default=True),
        "d_mlp": config.size("d_mlp", 4 * d_model, null_is_default=True),
        "norm": "rmsnorm" if is_rms else "layernorm",
        "norm_eps": None if is_rms else 1e-5,
        "activation": config.choice("activation_type", {"gelu": "gelu", "relu": "relu"}, "gelu"),
        "bias": config.flag("bias", default=True),
        "positions": "concatenated" if d_position else "learned",
        "d_position": d_position,
        "attention_sink": config.flag("sink", default=False),
        "bigram_table": config.flag("enable_bigram_table", default=False),
        "tied_unembedding": config.flag("tied_unembed", default=True),
        "activation_topk": _topk(config),
    }
    _drop_the_rest(config, is_rms=is_rms)
    return config.architecture(**values)


def _topk(config: ForeignConfig) -> dict[str, float]:
    fraction = config.number("afrac", None)
    named = config.text("afrac_loctypes", "attn_in,attn_out,mlp_in,mlp_out").split(",")
    if fraction is None:
        return {}
    unknown = [name for name in named if name not in SITE_KIND]
    if unknown:
        raise config.refuse(
            f"afrac_loctypes {unknown[0]!r:.80}: top-k there is not run; expected some of "
            f"{', '.join(SITE_KIND)}."
        )
    return {SITE_KIND[name]: fraction for name in named}


def _drop_the_rest(config: ForeignConfig, *, is_rms: bool) -> None:
    config.only("identity", ["residual_activation_type"], "a nonlinearity on the residual stream")
    config.only(False, ["use_tied_aux_matrix"], "a second matrix")
    config.only(None, ["bigram_table_rank"], "a bigram table of low rank")
    config.only(False, ["rtopk", "afrac_approx"], "another top-k")
    if is_rms:
        config.drop(["ln_bias"], "RMSNorm has no bias")
    else:
        config.only(True, ["ln_bias"], "LayerNorm without a bias")
    config.drop(["dropout", "dropout_cat_pos_emb"], "dropout is for training")
    config.drop(
        ["learnable_bigram_table", "sinusoidal_cat_pos_emb"],
        "says how a tensor came about that the file holds",
    )
    config.drop(["tokenizer_name"], "the tokenizer is what lies in the folder")
    config.drop(
        ["expansion_factor", "expansion_factor_mlp", "pfrac", "grad_checkpointing",
         "ignore_dw_grad"], "for training only",
    )  # fmt: skip
    config.drop(
        ["debug_exact_topk", "debug_nans", "enable_sparse_kernels", "flash", "sparse_matmul_impl"],
        "says how it is computed, not what",
    )


FORMAT = Format(
    name=NAME,
    recognised_by=f"{_CONFIG} and {_WEIGHTS}",
    evidence=_evidence,
    layout=_layout,
)
