"""What another format says about a folder, before a number is read: its ``Layout``.

A format is one file in ``foreign/``: it recognises a folder by its config, and turns that into
a ``Layout`` or refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from circuitkit.checkpoints.weight_files import SINGLE_FILES, WeightFiles
from circuitkit.model import Architecture


class Placed(NamedTuple):
    """A tensor of the file is this one of the model, perhaps transposed."""

    name: str
    transposed: bool = False


class Dropped(NamedTuple):
    """A key of the config, or a tensor, that the model is run without, and why that is right."""

    name: str
    why: str


Place = Callable[[str], Placed | Dropped]
"""Where the tensor of a name in the file goes. An unknown name is placed as it is, and refused."""


def recognised_as(name: str, evidence: str) -> str:
    """How messages begin: what a folder is, and by what that is known."""
    return f"recognised as a {name} checkpoint ({evidence})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a folder of another format is read.

    ``evidence`` is what it was recognised by. ``weights`` are all sets of weights in the folder,
    which must agree; the first is read; ``named`` are the names that it may have. ``zeros`` are
    tensors of the model that the format has none for, ``split`` the pattern by which its tokenizer
    cuts text before merging (None: GPT-2's).
    """

    format: str
    evidence: str
    config: Path
    architecture: Architecture
    weights: tuple[WeightFiles, ...]
    place: Place
    named: tuple[str, ...] = SINGLE_FILES
    zeros: frozenset[str] = frozenset()
    dropped: tuple[Dropped, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    split: str | None = None

    @property
    def recognised(self) -> str:
        """What the folder is, and why."""
        return recognised_as(self.format, self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format: ``evidence`` of a folder (None: not of this format), and its ``layout``.

    ``layout`` raises a ``CheckpointError`` that names what cannot be run.
    """

    name: str
    recognised_by: str
    evidence: Callable[[Path], str | None]
    layout: Callable[[Path, str], Layout]
