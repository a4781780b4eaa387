"""Laws of the README: its code is of this package, its commands and paths exist."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import circuitkit
from circuitkit.cli import COMMANDS
from circuitkit.cli import circuitkit as command_line
from circuitkit.task import builtin_tasks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PYTHON = [code for language, code in BLOCKS if language in ("python", "py")]
SHELL = [code for language, code in BLOCKS if language in ("", "sh", "bash", "console", "shell")]
COMMAND_LINES = [
    line.strip().removeprefix("$ ").partition("  #")[0].strip()
    for code in SHELL
    for line in code.replace("\\\n", " ").splitlines()
    if line.strip().removeprefix("$ ").startswith(("circuitkit ", "make "))
]


def names_used(code):
    """What is read off ``circuitkit``, under whatever name it was imported."""
    tree = ast.parse(code)
    aliases, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {a.asname or a.name for a in node.names if a.name == "circuitkit"}
        if isinstance(node, ast.ImportFrom) and node.module == "circuitkit":
            used |= {a.name for a in node.names}
    return used | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in aliases
    }


def test_there_is_a_python_example():
    """The flow in five lines, each verb of it in the package."""
    flow = {"load_checkpoint", "load_task", "extract", "validate", "write_report"}
    assert any(flow <= names_used(code) for code in PYTHON)


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_compile_and_use_public_names(code):
    """Nothing that ``circuitkit.__all__`` does not promise."""
    compile(code, "README.md", "exec")
    assert names_used(code) <= set(circuitkit.__all__)
    assert all(hasattr(circuitkit, name) for name in names_used(code))


@pytest.mark.parametrize("code", PYTHON)
def test_checkpoints_and_tasks_in_python_blocks_are_bundled(code):
    """An example a reader can run as it stands."""
    from circuitkit.checkpoints import bundled_checkpoints

    known = {"load_checkpoint": bundled_checkpoints(), "load_task": builtin_tasks()}
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in known and isinstance(call.args[0], ast.Constant):
            assert call.args[0].value in known[call.func.attr]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_and_their_options_exist(line):
    """Make targets are in the Makefile, commands and options in the command line."""
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words if "=" not in word} <= set(targets)
        return
    if words[0].startswith("-"):
        return
    command = command_line.get_command(click.Context(command_line), words[0])
    assert command is not None, words[0]
    if isinstance(command, click.Group):
        words = [word for word in words if not word.startswith("[")]
        command = command.commands[words[1]] if len(words) > 1 and "|" not in line else command
    options = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}
    given = {
        word.strip("[]").partition("=")[0] for word in words if word.lstrip("[").startswith("--")
    }
    if not isinstance(command, click.Group):
        assert given <= options


def test_every_command_is_in_the_readme():
    """``circuitkit NAME`` somewhere in its code."""
    missing = [name for name in COMMANDS if not re.search(rf"circuitkit {name}\b", README)]
    assert missing == []


def test_every_command_of_make_exists():
    """Those that are promised: demo and test among them."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    assert {"demo", "test", "lint", "types", "bench"} <= set(phony)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in phony)


LINKS = [
    target
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", README)
    if not target.startswith(("http:", "https:", "#", "mailto:"))
]


@pytest.mark.parametrize("target", LINKS)
def test_every_link_and_picture_is_there(target):
    """A path from the root of the repository."""
    assert (ROOT / target.partition("#")[0]).exists()


def test_every_path_in_prose_exists():
    """``like/this``, if it begins with a folder of the repository."""
    prose = BLOCK.sub("", README)
    folders = ("circuitkit/", "tasks/", "reports/", "tests/", ".github/")
    named = [p for p in re.findall(r"`([^`\s]+)`", prose) if p.startswith(folders)]
    missing = [p for p in named if not any(c in p for c in "*<{") and not (ROOT / p).exists()]
    assert missing == []


def test_the_project_file_points_at_what_exists():
    """README, licence and the entry point."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / project["readme"]).exists()
    assert all((ROOT / file).exists() for file in project["license-files"])
    assert project["scripts"] == {"circuitkit": "circuitkit.cli:main"}
    assert project["version"] == circuitkit.__version__
