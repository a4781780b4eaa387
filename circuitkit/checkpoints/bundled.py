"""The checkpoints that ship with the package, each a native folder."""

from __future__ import annotations

import difflib
from pathlib import Path

from circuitkit.errors import CheckpointError

_FOLDER = Path(__file__).parent / "bundled"
_CONFIGS = Path(__file__).parents[1] / "training" / "configs"


def bundled_checkpoints() -> dict[str, Path]:
    """Name and folder of every bundled checkpoint."""
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/config.json"))}


def recorded_checkpoint(where: str) -> Path:
    """The folder that a file names: a bundled one by its name, whatever lies in this folder."""
    return bundled_checkpoints().get(where, Path(where))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a bundled name, or the folder itself.

    A bare string is a name first; ``./NAME``, ``NAME/`` and a ``Path`` are the folder of that name.

    Raises:
        CheckpointError: if it is neither, or both.
    """
    bundled, folder = bundled_checkpoints(), Path(name_or_path)
    is_bare = isinstance(name_or_path, str) or not folder.is_dir()
    if is_bare and str(name_or_path) in bundled:
        found = bundled[str(name_or_path)]
        if (folder / "config.json").exists() and folder.resolve() != found.resolve():
            raise CheckpointError(
                f"{name_or_path} is a bundled checkpoint, and a folder here holds another of that "
                f"name. Give {folder.resolve()} for the folder; rename it to mean the bundled one."
            )
        return found
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError(
            f"no such checkpoint: {folder} is a file; give its folder, {folder.parent}."
        )
    if str(name_or_path) in {path.stem for path in _CONFIGS.glob("*.toml")}:
        raise CheckpointError(
            f"no such checkpoint: {name_or_path} is not part of this installation. The repository "
            "has it, and 'circuitkit train' makes one from the configuration of that name. Give "
            "its folder."
        )
    near = difflib.get_close_matches(str(name_or_path), bundled, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise CheckpointError(
        f"no such checkpoint: {name_or_path}; expected a folder or one of "
        f"{', '.join(bundled) or '(none bundled)'}.{meant}"
    )
