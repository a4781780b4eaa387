"""The command line: one file a command, which loads, calls one verb and saves.

Exit codes: 0 done, 1 an honest negative, 2 bad usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from circuitkit.errors import CircuitkitError

COMMANDS = (
    "checkpoints", "inspect", "tasks", "train", "extract", "validate", "report", "compare",
    "plant",
)  # fmt: skip


class _Commands(click.Group):
    """Commands by name, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"circuitkit.cli.{cmd_name}_command"), cmd_name)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="circuitkit")
def circuitkit() -> None:
    """Find the smallest circuit of a transformer that does a task, and how far to trust it.

    \b
    Example:
      circuitkit extract tinypython-nano --task bracket_counting --out out/brackets
      circuitkit validate out/brackets
      circuitkit report out/brackets
    """


def main() -> None:
    """Run the command line; every error a user can cause is one message and exit code 2."""
    try:
        code = circuitkit.main(standalone_mode=False)
    except CircuitkitError as error:
        click.echo(f"circuitkit: {error}", err=True)
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("circuitkit: interrupted; no file is left half-written.", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
