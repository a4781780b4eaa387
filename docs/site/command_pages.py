"""The page of the command line: what ``--help`` of every command prints."""

from __future__ import annotations

from collections.abc import Iterator

import click

from circuitkit.cli import circuitkit

WIDTH = 96


def page() -> str:
    """All commands, groups and their parts, in the order of the package."""
    parts = [
        "# Command line",
        "",
        "What `--help` of each command prints. [Commands](commands.md) says more.",
        "",
    ]
    for words, command in commands(circuitkit, ("circuitkit",)):
        parts += [f"## {' '.join(words)}", "", "```text", help_text(words, command), "```", ""]
    return "\n".join(parts)


def commands(
    group: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command, and those inside it."""
    yield words, group
    if isinstance(group, click.Group):
        ctx = click.Context(group, info_name=words[-1])
        for name in group.list_commands(ctx):
            found = group.get_command(ctx, name)
            assert found is not None, name
            yield from commands(found, (*words, name))


def help_text(words: tuple[str, ...], command: click.Command) -> str:
    """As the command line prints it, in a fixed width."""
    ctx = None
    for word in words[:-1]:
        ctx = click.Context(
            circuitkit if ctx is None else click.Group(word), info_name=word, parent=ctx
        )
    ctx = click.Context(command, info_name=words[-1], parent=ctx, terminal_width=WIDTH)
    return command.get_help(ctx).rstrip()
