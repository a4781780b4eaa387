"""The files of a folder that hold weights: one, or several with an index.

In: a folder. Out: every complete set of weights there is, and its tensors by name, mapped to the
files so that they take no memory until they are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from circuitkit.checkpoints.torch_file import read_torch_file, refuse_pointer, tensors_of
from circuitkit.errors import CheckpointError
from circuitkit.files import read_text, regular_file

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_MOST_SHARDS = 1000
_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """One complete set of weights: ``path`` names it, ``files`` hold its tensors.

    ``shard_of`` is the file of each tensor as an index says, None without one.
    """

    path: Path
    files: tuple[Path, ...]
    shard_of: dict[str, str] | None = None

    @property
    def hashed(self) -> tuple[Path, ...]:
        """Every file that decides what the weights are."""
        return self.files if self.shard_of is None else (self.path, *self.files)


def find_weights(folder: Path, names: Sequence[str] = SINGLE_FILES) -> list[WeightFiles]:
    """Every set of weights in a folder, safetensors first.

    Raises:
        CheckpointError: if an index is wrong, a file that it names is missing, or an adapter lies
            beside the weights.
    """
    _refuse_adapter(folder)
    single = [folder / name for name in names if (folder / name).exists()]
    indices = [path for name in names if (path := folder / f"{name}.index.json").exists()]
    found = [WeightFiles(path=path, files=(path,)) for path in single]
    found += [_indexed(path) for path in indices]
    return sorted(found, key=lambda weights: "safetensors" not in weights.path.name)


def _refuse_adapter(folder: Path) -> None:
    """Libraries add an adapter to the model beside it, and would compute something else."""
    if name := next((name for name in _ADAPTER if (folder / name).exists()), None):
        raise CheckpointError(
            f"{folder / name} is of an adapter, which changes what the model beside it computes "
            "and is not run. Merge the two (in peft: merge_and_unload) and save the whole model, "
            "or move the adapter's files away."
        )


def _indexed(path: Path) -> WeightFiles:
    shard_of = _read_index(path)
    names = sorted(set(shard_of.values()))
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise CheckpointError(
            f"{path} names the file {wrong[0]!r:.80}, expected names of files in its own folder; "
            "no path is followed."
        )
    missing = [name for name in names if not (path.parent / name).exists()]
    if missing:
        raise CheckpointError(
            f"{path} names {len(names)} files; missing: "
            f"{', '.join(missing[:6])}{', …' if len(missing) > 6 else ''}. Download or copy them."
        )
    files = tuple(path.parent / name for name in names)
    return WeightFiles(path=path, files=files, shard_of=shard_of)


def _read_index(path: Path) -> dict[str, str]:
    text = read_text(path, CheckpointError, "an index of weights", limit=64 * 2**20)
    try:
        index: Any = json.loads(text)
        shard_of = index["weight_map"]
        well_formed = shard_of and all(isinstance(file, str) for file in shard_of.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no index of weights: {error!r:.200}; expected a weight_map from tensors to "
            "files."
        ) from None
    if not well_formed or len(set(shard_of.values())) > _MOST_SHARDS:
        raise CheckpointError(
            f"{path}: expected a weight_map from names of tensors to names of files, at most "
            f"{_MOST_SHARDS} of them."
        )
    return shard_of


def mapped_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file by name; no number is read yet.

    Raises:
        CheckpointError: if the file is missing or damaged, or holds anything else.
    """
    if path.suffix != ".safetensors":
        return tensors_of(path, read_torch_file(path))
    try:
        with safe_open(regular_file(path, CheckpointError, "weights"), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}; the checkpoint is incomplete.") from None
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        refuse_pointer(path)
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}. Was the save or copy interrupted?"
        ) from None


def check_index(weights: WeightFiles, held: dict[str, Path]) -> None:
    """Compare what the index says with what the files hold: each name once, in its file.

    Raises:
        CheckpointError: if they differ, with the first names.
    """
    if weights.shard_of is None:
        return
    said, found = weights.shard_of, {name: path.name for name, path in held.items()}
    wrong = sorted(n for n in said.keys() | found.keys() if said.get(n) != found.get(n))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{weights.path} and the files beside it differ in {len(wrong)} tensors: {name:.80} is "
            f"in {said.get(name)} by the index, in {found.get(name)} by the files. Are the files "
            "of two saves mixed? Download or save them again."
        )
