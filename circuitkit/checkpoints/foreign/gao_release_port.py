"""The port of that release for ``transformers``: ``config.json`` and ``circuit_model.`` tensors.

The config has the release's keys and those that ``transformers`` adds. The code that comes with
such a folder is not run: the model is the same.
"""

from __future__ import annotations

from pathlib import Path

from circuitkit.checkpoints.foreign.gao_release import (
    SPLIT,
    ZEROS,
    place_released,
    read_architecture,
)
from circuitkit.checkpoints.foreign_config import ForeignConfig, peek
from circuitkit.checkpoints.layout import Dropped, Format, Layout, Placed, recognised_as
from circuitkit.checkpoints.transformers_keys import drop_transformers_keys
from circuitkit.checkpoints.weight_files import find_weights

NAME = "Gao et al. 2025 (Hugging Face port)"
_CONFIG = "config.json"
_PREFIX = "circuit_model."
_KEYS = ("block_size", "afrac_loctypes")


def _evidence(folder: Path) -> str | None:
    config = peek(folder / _CONFIG)
    return f"{_CONFIG}: {' and '.join(_KEYS)}" if all(key in config for key in _KEYS) else None


def _place(name: str) -> Placed | Dropped:
    place = place_released(name.removeprefix(_PREFIX))
    return place if isinstance(place, Placed) else Dropped(name, place.why)


def _layout(folder: Path, evidence: str) -> Layout:
    config = ForeignConfig(folder / _CONFIG, recognised_as(NAME, evidence))
    for old, new in (
        ("hidden_size", "d_model"), ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"), ("max_position_embeddings", "block_size"),
        ("intermediate_size", "d_mlp"), ("tie_word_embeddings", "tied_unembed"),
    ):  # fmt: skip
        config.rename(old, new)
    arch = read_architecture(config)
    _drop_the_rest(config)
    return Layout(
        format=NAME,
        evidence=evidence,
        config=config.path,
        architecture=arch,
        weights=tuple(find_weights(folder)),
        place=_place,
        zeros=ZEROS,
        dropped=tuple(config.dropped),
        renamed=tuple(config.renamed),
        split=SPLIT,
    )


def _drop_the_rest(config: ForeignConfig) -> None:
    config.only(None, ["unembed_rank"], "an unembedding of low rank")
    config.only(False, ["enable_fp8_linear"], "8-bit products")
    config.only(False, ["scale_invariance"], "another norm")
    is_scaled = config.rest.get("mup", False)
    config.only(False, ["mup"], "scaled outputs")
    config.drop([] if is_scaled else ["mup_width_multiplier"], "of mup, which is off")
    config.drop(["afrac_ste", "afrac_ste_only_non_neurons"], "of gradients through top-k")
    config.drop(["auto_map"], "the code beside the weights is not run")
    drop_transformers_keys(config)
    config.refuse_rest()


FORMAT = Format(
    name=NAME,
    recognised_by=f"{_CONFIG} with {' and '.join(_KEYS)}",
    evidence=_evidence,
    layout=_layout,
)
