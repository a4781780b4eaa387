"""What to say of a folder that no format recognises: what it holds, and the nearest fix.

In: a folder. Out: a message, or None where the reader of our own format says what is wrong.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from shlex import quote

from circuitkit.checkpoints.foreign import foreign_formats
from circuitkit.checkpoints.foreign_config import peek
from circuitkit.checkpoints.native import CONFIG, is_native
from circuitkit.checkpoints.viz_data import FILE as RELEASED
from circuitkit.checkpoints.weight_files import mapped_tensors
from circuitkit.errors import CheckpointError
from circuitkit.views.safe_text import prose

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_OTHERS = {
    ".gguf": "GGUF, for llama.cpp",
    ".onnx": "ONNX",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".index": "TensorFlow",
}
_MOST_ENTRIES = 1000
_OURS = "circuitkit's own (config.json with format circuitkit.checkpoint/1)"


def near_miss(folder: Path) -> str | None:
    """Why this folder is no checkpoint that is read, and what would be one."""
    if (folder / CONFIG).exists():
        return _of_config(folder, peek(folder / CONFIG))
    if (folder / RELEASED).exists():
        return of_released_circuit(folder / RELEASED)
    return _without_config(folder)


def _without_config(folder: Path) -> str:
    missing = f"no such file: {folder / CONFIG}; expected a checkpoint folder. "
    if (folder / "adapter_config.json").exists():
        return (
            f"{missing}It holds an adapter (adapter_config.json) without the model that it adapts. "
            "Merge the two (in peft: merge_and_unload) and save the whole model."
        )
    if below := [path for path in _folders(folder) if _is_recognised(path)]:
        shown = ", ".join(map(str, below[:3]))
        return f"{missing}There is a checkpoint one level down: {shown}. Give that folder."
    if weights := sorted(path for path in _entries(folder) if path.suffix in _WEIGHTS):
        return f"{missing}{_of_weights(weights)}"
    others = [path for path in _entries(folder) if path.suffix in _OTHERS]
    if others:
        kind = _OTHERS[others[0].suffix]
        return (
            f"{missing}{others[0].name} is a model for another program ({kind}), which is not "
            "read. Save the model from transformers with save_pretrained."
        )
    return f"{missing}It holds {_listed(folder)}. {_expected()}"


def of_released_circuit(path: Path) -> str:
    """What to do with a released circuit that is given as a checkpoint."""
    return (
        f"{path} is a released circuit, not a checkpoint. Make a circuit folder of it: circuitkit "
        f"convert {quote(str(path))} --checkpoint MODEL --task TASK --out OUT, with the model that "
        "it was found in."
    )


def _of_config(folder: Path, config: dict) -> str | None:
    if not config or "format" in config:
        return None
    kind = config.get("model_type")
    if isinstance(kind, str):
        kind = prose(kind, 60)
        return (
            f"{folder}: recognised as a {kind} model ({CONFIG}: model_type {kind}), which is not "
            f"run. {_expected()}"
        )
    keys = ", ".join(prose(key, 40) for key in [*config][:6])
    return (
        f"{folder}: {CONFIG} names neither a model_type nor a format; its keys are {keys}"
        f"{', …' if len(config) > 6 else ''}. {_expected()} If it is a GPT-2, add "
        '"model_type": "gpt2".'
    )


def _of_weights(weights: list[Path]) -> str:
    """What the names of the first file's tensors look like."""
    path = weights[0]
    named = f"{path.name} holds weights alone"
    try:
        names = [*mapped_tensors(path)]
    except CheckpointError as error:
        return f"{named}, without the config that says how to run them, and: {error}"
    if any(name.startswith("blocks.") or name == "embed.W_E" for name in names):
        return (
            f"{path.name} holds the tensors of a TransformerLens model, renamed and folded, which "
            "are not read. Save the model that it was made from: in transformers save_pretrained."
        )
    if any("lora_" in name for name in names):
        return f"{path.name} holds an adapter alone. Merge it into its model, and save that."
    if any(name.removeprefix("transformer.").startswith("h.0.") for name in names):
        return (
            f"{named}, named as in GPT-2 or in the release of Gao et al. Put its config beside "
            "it: config.json (GPT-2), or beeg_config.json with the weights as final_model.pt."
        )
    shown = ", ".join(f"{name:.60}" for name in names[:3])
    return f"{named} ({shown}, …). Put the config of the model beside them. {_expected()}"


def _is_recognised(folder: Path) -> bool:
    return is_native(folder) or any(f.evidence(folder) for f in foreign_formats())


def _entries(folder: Path) -> list[Path]:
    try:
        return list(islice(folder.iterdir(), _MOST_ENTRIES))
    except OSError:  # one may not look into it: it is as if empty
        return []


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if path.is_dir())


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in _entries(folder))
    return f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else "no file"


def _expected() -> str:
    known = "; ".join(f"{f.name} ({f.recognised_by})" for f in foreign_formats())
    return f"Formats that are read: {_OURS}; {known}."
