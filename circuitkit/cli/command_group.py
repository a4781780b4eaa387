"""A group of commands: whole summaries in its help, the nearest name for a misspelt one."""

from __future__ import annotations

from difflib import get_close_matches

import click

_WHOLE = 10_000


class CommandGroup(click.Group):
    """A group that cuts no summary, and suggests a command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_word = not ctx.resilient_parsing and not name.startswith("-")
        if is_word and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            near = get_close_matches(name, known, n=1)
            meant = f"Did you mean {near[0]!r}?" if near else f"Expected one of {', '.join(known)}."
            raise click.UsageError(f"No such command {name!r}. {meant}", ctx)
        return super().resolve_command(ctx, args)

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        """What each command does, in the order of the help."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return {name: c.get_short_help_str(_WHOLE) for name, c in found.items() if c}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries(ctx).items()))
