"""What a shell offers for a name: bundled checkpoints, built-in tasks, what else ships.

No torch: names come from the folders that ship, before any of them is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

_PACKAGE = Path(__file__).parents[1]


def checkpoint_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Bundled checkpoints, and folders."""
    found = (_PACKAGE / "checkpoints" / "bundled").glob("*/config.json")
    return _with_names("dir", (path.parent.name for path in found), incomplete)


def task_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Built-in tasks, and files."""
    from circuitkit.task import builtin_tasks

    return _with_names("file", builtin_tasks(), incomplete)


def config_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shipped training configurations, and files."""
    found = (_PACKAGE / "training" / "configs").glob("*.toml")
    return _with_names("file", (path.stem for path in found), incomplete)


def study_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shipped studies, and files."""
    found = (_PACKAGE / "studies" / "shipped").glob("*.toml")
    return _with_names("file", (path.stem for path in found), incomplete)


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders only."""
    return [CompletionItem(incomplete, type="dir")]


def _with_names(kind: str, names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Paths first: in bash they take what was offered before them away."""
    begun = sorted(name for name in names if name.startswith(incomplete))
    return [CompletionItem(incomplete, type=kind), *map(CompletionItem, begun)]
