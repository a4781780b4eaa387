"""The command line: one file a command, which loads, calls one verb and saves.

Exit codes: 0 done, 1 an honest negative, 2 bad usage or bad input, 130 and 143 interrupted.
"""

from __future__ import annotations

import os
import sys
from errno import ENAMETOOLONG
from importlib import import_module
from pathlib import Path

import click

from circuitkit.cli.command_group import CommandGroup
from circuitkit.cli.sigterm import sigterm_as_ctrl_c
from circuitkit.distribution import DISTRIBUTION, NEEDS_TORCH, installed_version
from circuitkit.errors import CircuitkitError

COMMANDS = {
    "checkpoints": "List the bundled checkpoints, or measure what one does.",
    "inspect": "Show what a checkpoint is made of, and anything odd.",
    "tasks": "List the built-in tasks, show one, or check one.",
    "families": "Sort the prompts of a task into families.",
    "train": "Train a weight-sparse checkpoint from a configuration.",
    "extract": "Find a small circuit of CHECKPOINT that does a task.",
    "validate": "Test every claim about a circuit, and grade it.",
    "report": "Write a PDF or a page about circuits and their findings.",
    "compare": "Show the nodes and edges that circuits share.",
    "export": "Write a circuit in a format that others read.",
    "plant": "Write a checkpoint and a task whose circuit is known.",
    "convert": "Write a checkpoint of another format in circuitkit's own.",
    "study": "Ask one question of many circuits, all in one table.",
    "bridge": "Move a node of a circuit, and carry that into the dense model.",
}


class _Commands(CommandGroup):
    """Commands by name, each imported when it is run: a summary of all imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"circuitkit.cli.{cmd_name}_command"), cmd_name)

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        return COMMANDS


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(installed_version(), message=f"{DISTRIBUTION}, version %(version)s")
def circuitkit() -> None:
    """Find a small circuit of a transformer that does a task, and how far to trust it.

    \b
    Example:
      circuitkit extract tinypython-nano --task bracket_counting --out out/brackets
      circuitkit validate out/brackets
      circuitkit report out/brackets

    \b
    Exit codes:
      0    done; for validate: the verdict passes
      1    an honest negative: target missed, verdict fails, a task has
           problems, a trained model is worse than a uniform guess
      2    bad usage or bad input; one message says what to do
      130  interrupted by Ctrl-C; extract, train and study go on with --resume,
           validate --thorough when run again
      143  interrupted by SIGTERM; the same
    """


def _color() -> bool | None:
    """None lets click decide: colours on a terminal, none in a pipe or a file."""
    is_unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if is_unwanted else None


def _is_started_by_another() -> bool:
    """Whether this process serves one device of several: the first process says what happened."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def main() -> None:
    """Run the command line; every error a user can cause is one message and exit code 2."""
    try:
        with sigterm_as_ctrl_c() as sigterm:
            code = circuitkit.main(standalone_mode=False, color=_color())
    except CircuitkitError as error:
        click.echo(f"circuitkit: {error}", err=True)
        code = 2
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        click.echo(f"circuitkit: {NEEDS_TORCH}", err=True)
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        name = max(Path(str(error.filename)).parts, key=len)
        click.echo(
            f"circuitkit: got a name of {len(name):,} characters, {name[:40]}…, expected one that "
            "a file can have: at most 255 bytes.",
            err=True,
        )
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        how, code = ("terminated", 143) if sigterm.is_set() else ("interrupted", 130)
        if not (sigterm.is_set() and _is_started_by_another()):
            click.echo(f"circuitkit: {how}; no file is left half-written.", err=True)
    sys.exit(code if isinstance(code, int) else 0)
