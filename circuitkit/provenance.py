"""What made a file: versions, the seed and the hash of the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from circuitkit.distribution import installed_version
from circuitkit.errors import UsageError
from circuitkit.files import sha256

STRICT = ConfigDict(frozen=True, strict=True, extra="forbid")
"""How every file from outside is read: unknown keys refused, nothing coerced."""


MAX_SEED = 2**32 - 1
"""The largest seed that every random generator takes."""


class Named(BaseModel):
    """Something a file was made from: its name, and the hash that pins its bytes."""

    model_config = STRICT
    name: str
    sha256: str


class Provenance(BaseModel):
    """What made a file; the same seed, machine and versions make the same bytes."""

    model_config = STRICT
    circuitkit_version: str
    created_with: str
    torch_version: str
    seed: int
    config_sha256: str


def check_seed(seed: int) -> None:
    """Refuse a seed that not every generator takes.

    Raises:
        UsageError: if it is not from 0 to ``MAX_SEED``.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed {seed}: expected a whole number from 0 to {MAX_SEED:,}.")


def record(created_with: str, config: Mapping[str, Any], seed: int) -> Provenance:
    """The provenance of something made just now with ``config``, a JSON-able mapping."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return Provenance(
        circuitkit_version=installed_version(),
        created_with=created_with,
        torch_version=version("torch"),
        seed=seed,
        config_sha256=sha256(canonical.encode()),
    )


def without_unset(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Leave out keys that are not set, so that a file from before them keeps its bytes."""
    return {
        name: value
        for name, value in values.items()
        if name not in names or value not in (None, (), [])
    }


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ, as ``object_pairs_hook``: JSON itself keeps the last.

    Raises:
        ValueError: if a key is there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:60]!r} is there twice")
    return found


def first_problem(error: ValidationError) -> str:
    """The first problem of a file: where, what was got, what was expected."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where}: {problem['msg']}; got {shown(problem['input'])}"


def shown(value: object) -> str:
    """What was got, for a message: its first 80 characters."""
    try:
        got = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return got if len(got) <= 80 else got[:77] + "..."
