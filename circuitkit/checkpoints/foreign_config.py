"""The config of another format, read key by key: each is run, dropped with a reason, or refused.

In: a JSON file. Out: checked values, the keys dropped and renamed; whatever was not asked for is
refused by name and value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from circuitkit.checkpoints.layout import Dropped, Layout, Place, recognised_as
from circuitkit.checkpoints.weight_files import SINGLE_FILES, find_weights
from circuitkit.errors import CheckpointError
from circuitkit.files import read_text
from circuitkit.model import Architecture
from circuitkit.provenance import each_key_once, first_problem
from circuitkit.views.safe_text import prose

T = TypeVar("T")
_MAX_BYTES = 2**20
_MAX_SIZE = 2**20
_ABSENT = object()


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: if the file is missing or too large, no JSON object, or has a key twice.
    """
    text = read_text(path, CheckpointError, "the config of a model", limit=_MAX_BYTES)
    try:
        found = json.loads(text, object_pairs_hook=each_key_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}. Restore it.") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds {type(found).__name__}, expected a JSON object.")
    return found


def peek(path: Path) -> dict[str, Any]:
    """The object of a config, empty where there is none to read: to recognise a folder by."""
    try:
        found = json.loads(read_text(path, CheckpointError, "a config", limit=_MAX_BYTES))
    except (CheckpointError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class ForeignConfig:
    """A config that keeps count of the keys that were asked for.

    Raises:
        CheckpointError: (every method) with what the folder was recognised as, the key and value.
    """

    def __init__(self, path: Path, name: str, evidence: str) -> None:
        self.path, self.name, self.evidence = path, name, evidence
        self.rest = read_object(path)
        self.dropped: list[Dropped] = []
        self.renamed: list[tuple[str, str]] = []

    def refuse(self, why: str) -> CheckpointError:
        """The error to raise, said of this folder."""
        return CheckpointError(
            f"{self.path.parent}: {recognised_as(self.name, self.evidence)}; refused: {why}"
        )

    def rename(self, old: str, new: str) -> None:
        """Read the key ``old`` as ``new``; both may be there if they agree."""
        value = self.rest.pop(old, _ABSENT)
        if value is _ABSENT:
            return
        if self.rest.setdefault(new, value) != value:
            raise self.refuse(f"{old} is {value!r:.80} and {new} {self.rest[new]!r:.80}.")
        self.renamed.append((old, new))

    def size(self, key: str, default: int, *, null_is_default: bool = False) -> int:
        """A whole number from 1 to 2^20."""
        value = self.rest.pop(key, _ABSENT)
        if value is _ABSENT or (value is None and null_is_default):
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_SIZE:
            raise self.refuse(
                f"{key} {value!r:.80}; expected a whole number from 1 to {_MAX_SIZE:,}."
            )
        return value

    def number(self, key: str, default: float | None) -> float | None:
        """A number, or null where that is the default."""
        value = self.rest.pop(key, default)
        if value is None and default is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # JSON has whole numbers that no float holds
                return float(value)
        raise self.refuse(f"{key} {value!r:.80}; expected a number.")

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.rest.pop(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key} {value!r:.80}; expected true or false.")
        return value

    def choice(self, key: str, ours: Mapping[str, T], default: str) -> T:
        """What a word means here."""
        value = self.rest.pop(key, default)
        if not isinstance(value, str) or value not in ours:
            raise self.refuse(f"{key} {value!r:.80} is not one of {', '.join(ours)}.")
        return ours[value]

    def text(self, key: str, default: str) -> str:
        """A text."""
        value = self.rest.pop(key, default)
        if not isinstance(value, str):
            raise self.refuse(f"{key} {value!r:.80}; expected text.")
        return value

    def only(self, expected: Any, keys: Iterable[str], why: str) -> None:
        """Drop keys that have this value; another changes the function. Null is as false."""
        for key in keys:
            value = self.rest.pop(key, _ABSENT)
            if value is _ABSENT:
                continue
            is_off = value is None and not expected
            if not is_off and (type(value), value) != (type(expected), expected):
                raise self.refuse(
                    f"{key} {value!r:.80}: {why}, which is not run; expected "
                    f"{json.dumps(expected)}."
                )
            self.dropped.append(Dropped(f"{key} {json.dumps(value)}", "as the engine runs it"))

    def drop(self, keys: Iterable[str], why: str) -> None:
        """Drop keys that change no logit."""
        for key in keys:
            value = self.rest.pop(key, _ABSENT)
            if value is not _ABSENT:
                self.dropped.append(Dropped(f"{key} {json.dumps(value):.60}", why))

    def refuse_rest(self) -> None:
        """Refuse every key that is left."""
        if self.rest:
            shown = ", ".join(
                f"{prose(key, 60)} {value!r:.60}" for key, value in [*self.rest.items()][:6]
            )
            more = f", … ({len(self.rest) - 6} more)" if len(self.rest) > 6 else ""
            raise self.refuse(
                f"{shown}{more}: not known, and may change what the model computes. If it does "
                f"not, delete it from a copy of {self.path.name}."
            )

    def architecture(self, **values: Any) -> Architecture:
        """The model's shape."""
        try:
            return Architecture(**values)
        except ValidationError as error:
            raise self.refuse(f"{first_problem(error)}.") from None

    def layout(
        self,
        architecture: Architecture,
        place: Place,
        *,
        named: tuple[str, ...] = SINGLE_FILES,
        zeros: frozenset[str] = frozenset(),
        split: str | None = None,
    ) -> Layout:
        """The layout of the config's folder, once every key was asked for."""
        self.refuse_rest()
        return Layout(
            format=self.name,
            evidence=self.evidence,
            config=self.path,
            architecture=architecture,
            weights=tuple(find_weights(self.path.parent, named)),
            place=place,
            named=named,
            zeros=zeros,
            dropped=tuple(self.dropped),
            renamed=tuple(self.renamed),
            split=split,
        )
