"""Laws of the command line for someone new: help, suggestions, completion, colours."""

import contextlib
import io
import os
import pty
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import click
import pytest
from test_cli import NANO, cli

from circuitkit.checkpoints import bundled_checkpoints
from circuitkit.circuit import Circuit
from circuitkit.circuit.circuit_json import Outcome as ExtractOutcome
from circuitkit.cli import COMMANDS, circuitkit, main
from circuitkit.cli.circuit_text import in_words
from circuitkit.cli.console import coloured
from circuitkit.findings import Grade, Outcome, Validation
from circuitkit.task import builtin_tasks
from circuitkit.training import shipped_configs

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / NANO / "for_while"
TASKS = ("list", "show", "check")
ALL = [(name,) for name in COMMANDS] + [("tasks", name) for name in TASKS]
ENDS = [words for words in ALL if words != ("tasks",)]


def command(words):
    """A command by the words that name it, and a context to look at it in."""
    ctx, found = click.Context(circuitkit), circuitkit
    for word in words:
        found = found.get_command(ctx, word)
    return found


# Help


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_an_example_of_its_own(words):
    """That begins with the command itself."""
    help_ = cli(*words, "--help").out
    assert re.search(rf"Example:\n +circuitkit {' '.join(words)}\b", help_)


@pytest.mark.parametrize("words", ENDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-q", "--quiet", "--json"])
def test_every_command_knows_quiet_and_json(words, option):
    """Also where there is no progress: one habit for all of them."""
    options = [name for param in command(words).params for name in param.opts]
    assert option in options


@pytest.mark.parametrize(
    "words",
    [("inspect", NANO), ("tasks", "list"), ("tasks", "show", "if_equals"),
     ("compare", GALLERY, GALLERY)],
)  # fmt: skip
def test_quiet_changes_no_result(words):
    """It is about progress alone."""
    assert cli(*words, "-q") == cli(*words)


@pytest.mark.parametrize("columns", [80, 50])
@pytest.mark.parametrize("group", [(), ("tasks",)])
def test_no_summary_is_cut(monkeypatch, group, columns):
    """It fits in one line of 80 columns, and wraps in fewer."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = cli(*group, "--help").out.partition("Commands:")[2]
    assert "..." not in text
    for name in TASKS if group else COMMANDS:
        summary = command((*group, name)).help.partition("\n\n")[0]
        shown = text if columns == 80 else re.sub(r"\s+", " ", text)
        assert re.search(rf"{name} +{re.escape(summary)}", shown)


def test_the_top_help_says_what_exit_codes_mean():
    """Every one of them."""
    text = cli("--help").out.partition("Exit codes:")[2]
    assert re.findall(r"^    (\d+) +\w", text, re.MULTILINE) == ["0", "1", "2", "130", "143"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["exract"], "Did you mean 'extract'?"), (["tasks", "shw"], "Did you mean 'show'?"),
     (["xyzzy"], f"Expected one of {', '.join(COMMANDS)}."), (["extract", "--tsk"], "'--task'"),
     (["tasks", "xyzzy"], "Expected one of check, list, show.")],
)  # fmt: skip
def test_the_nearest_name_is_suggested(words, meant):
    """For a command and for an option, with exit code 2."""
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert meant in ran.err


def test_a_misspelt_option_is_not_taken_for_a_command():
    """Nor the other way round."""
    assert "No such option '--vresion'" in cli("--vresion").err


# Completion


def completed(*words):
    """What the shell is offered for the last word, without the paths."""
    line = " ".join(["circuitkit", *words])
    told = {"COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    code = (
        "import sys; sys.argv = ['circuitkit']\nfrom circuitkit.cli import main\ntry: main()\n"
        "finally: print('torch' if 'torch' in sys.modules else '', end='', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True,
        env=os.environ | told | {"_CIRCUITKIT_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert done.stderr == "", "completion imports torch, or says something"
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "kind", "names"),
    [
        (["inspect", ""], "dir", list(bundled_checkpoints())),
        (["extract", "tinypython-n"], "dir", [NANO, f"{NANO}-dense"]),
        (["checkpoints", "tiny"], "dir", list(bundled_checkpoints())),
        (["tasks", "check", "if_equals", "--checkpoint", ""], "dir", list(bundled_checkpoints())),
        (["validate", "out", "--checkpoint", ""], "dir", list(bundled_checkpoints())),
        (["extract", NANO, "--task", ""], "file", list(builtin_tasks())),
        (["tasks", "show", "if_"], "file", [n for n in builtin_tasks() if n.startswith("if_")]),
        (["tasks", "check", ""], "file", list(builtin_tasks())),
        (["train", ""], "file", sorted(shipped_configs())),
        (["validate", ""], "dir", []),
        (["report", "a", ""], "dir", []),
        (["compare", "a", ""], "dir", []),
        (["extract", NANO, "--out", ""], "dir", []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_names_are_completed_beside_paths(words, kind, names):
    """Those that there are, without torch; paths first, for bash forgets what came before them."""
    found = completed(*words)
    assert found == [(kind, words[-1]), *(("plain", name) for name in names)]


def test_commands_are_completed():
    """At the top and in a group."""
    assert completed("") == [("plain", name) for name in COMMANDS]
    assert completed("tasks", "") == [("plain", name) for name in sorted(TASKS)]


PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
SCRIPTS = {
    "bash": "complete -o nosort -F _circuitkit_completion circuitkit",
    "zsh": "compdef _circuitkit_completion circuitkit",
    "fish": "complete --no-files --command circuitkit",
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_line_of_the_page_makes_the_script_of_the_shell(shell):
    """For bash, zsh and fish; where bash is there, it reads its own."""
    block = re.search(rf"```{shell}\n(.+)\n```", PAGE.read_text())
    assert block
    name, value = re.search(r"(_CIRCUITKIT_COMPLETE)=(\w+) circuitkit", block[1]).groups()
    code = "import sys; sys.argv = ['circuitkit']; from circuitkit.cli import main; main()"
    script = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env=os.environ | {name: value},
    ).stdout  # fmt: skip
    assert SCRIPTS[shell] in script
    if shell == "bash" and shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=script, check=True, text=True)


# Colours

GREEN, RED, YELLOW, DIM = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m"


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("pass", GREEN), ("target_met", GREEN), ("A", GREEN), ("B", GREEN), ("C", GREEN),
     ("fail", RED), ("target_missed", RED), ("collapsed", RED), ("F", RED),
     ("inconclusive", YELLOW), ("C-redundant", YELLOW), ("not_run", DIM)],
)  # fmt: skip
def test_every_outcome_and_grade_has_its_colour(outcome, code):
    """Good is green, bad is red, what is between is yellow, what was not asked is dim."""
    assert coloured(outcome).startswith(code)
    assert click.unstyle(coloured(outcome, "text")) == "text"


def test_no_outcome_is_forgotten():
    """A new one is given a colour above, with thought."""
    for outcome in (*get_args(Outcome), *get_args(ExtractOutcome), *get_args(Grade)):
        assert "\x1b[3" in coloured(outcome) or coloured(outcome).startswith(DIM)


@pytest.fixture
def long_note():
    """As the claim ``specific`` has one, with a row for each of twenty circuits."""
    return "knockout of a circuit: 1.00; the others: 0.00 | " * 30


@pytest.fixture
def validated(monkeypatch, tmp_path, long_note):
    """A circuit folder that validate is quick with: its verdict is there."""
    folder = shutil.copytree(GALLERY, tmp_path / "circuit")
    found = Validation.load(folder)
    last = found.findings[-1].model_copy(update={"note": long_note})
    found = found.model_copy(update={"findings": (*found.findings[:-1], last)})
    module = import_module("circuitkit.validation.validate_folder")
    monkeypatch.setattr(module, "validate_folder", lambda *_, **__: found)
    return folder


def shown(stream, *words, monkeypatch, **environment):
    """What a command prints on such a stream."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["circuitkit", *map(str, words)])
    with contextlib.redirect_stdout(stream), pytest.raises(SystemExit):
        main()
    return stream.getvalue()


def test_outcomes_are_coloured_on_a_terminal_only(validated, monkeypatch):
    """Not in a pipe, not under NO_COLOR, not where the terminal is dumb; the words are the same."""
    words = ("validate", validated, "-q")
    colourful = shown(Terminal(), *words, monkeypatch=monkeypatch)
    assert f"{GREEN}pass" in colourful
    assert re.search(r"grade \x1b\[\d+m", colourful)
    plain = shown(io.StringIO(), *words, monkeypatch=monkeypatch)
    assert "\x1b" not in plain
    assert click.unstyle(colourful) == plain
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert shown(Terminal(), *words, monkeypatch=monkeypatch, **environment) == plain
    assert shown(Terminal(), *words, monkeypatch=monkeypatch, NO_COLOR="") == colourful


def test_a_long_note_is_cut_and_says_where_the_rest_is(validated, long_note, monkeypatch):
    """Not in the JSON."""
    said = shown(io.StringIO(), "validate", validated, "-q", monkeypatch=monkeypatch)
    line = next(line for line in said.splitlines() if "knockout" in line)
    assert len(line) < 600
    assert line.endswith("… (whole with --json)")
    whole = shown(io.StringIO(), "validate", validated, "-q", "--json", monkeypatch=monkeypatch)
    assert long_note in whole


def test_the_outcome_of_an_extraction_is_coloured():
    """In the one place that says it."""
    assert f"{GREEN}target met\x1b[0m" in in_words(Circuit.load(GALLERY), GALLERY)


@pytest.mark.slow
@pytest.mark.parametrize(("no_color", "is_colourful"), [("", True), ("1", False)])
def test_a_real_terminal_is_one(no_color, is_colourful):
    """As the system says, not only our stand-in."""
    ours, theirs = pty.openpty()
    code = "from circuitkit.cli import main; main()"
    environment = os.environ | {"NO_COLOR": no_color, "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", code, "tasks", "list"], stdout=theirs, env=environment
    ) as running:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the other end is gone
            while part := os.read(ours, 65536):
                said += part
        os.close(ours)
        assert running.wait() == 0
    assert (b"\x1b[" in said) == is_colourful
