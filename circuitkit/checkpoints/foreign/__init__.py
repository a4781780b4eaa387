"""The formats of others, one file each: a folder in, its ``Layout`` out.

Every module here has a ``FORMAT``; that is all it takes to add one (docs/formats.md).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from circuitkit.checkpoints.layout import Format, Layout
from circuitkit.errors import CheckpointError


@cache
def foreign_formats() -> tuple[Format, ...]:
    """Every format, in the order of their files."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").FORMAT for name in names)


def foreign_layout(folder: Path) -> Layout | None:
    """The layout of a folder; None if no format recognises it.

    Raises:
        CheckpointError: if it is recognised and cannot be run, or is of two formats.
    """
    found = [(f, evidence) for f in foreign_formats() if (evidence := f.evidence(folder))]
    if len(found) > 1:
        shown = " and ".join(f"a {f.name} checkpoint ({evidence})" for f, evidence in found)
        raise CheckpointError(f"{folder} is {shown}; expected one. Part them into two folders.")
    return found[0][0].layout(folder, found[0][1]) if found else None
