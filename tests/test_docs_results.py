"""Laws of the pages of results: every table is what its command prints, every command exists."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import cli
from test_readme import test_commands_and_their_options_exist as command_exists

ROOT = Path(__file__).parents[1]
NAMES = ("results", "thorough-runs", "comparison", "commands", "checkpoints", "self-defeating")
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
RESULTS = PAGES["results"]
COMMANDS = [
    (name, line.strip().removeprefix("$ ").partition("  #")[0])
    for name, text in PAGES.items()
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.strip().removeprefix("$ ").startswith(("circuitkit ", "make ", "python "))
]
make_training = runpy.run_path(str(ROOT / "reports" / "make_training.py"))


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_exists(page, line):
    """With its options, targets or script."""
    command_exists(line)


def test_the_tasks_are_those_that_were_measured():
    """Every row of the table, as the script prints it."""
    rows = [*make_training["competence_table"](), *make_training["cost_table"]()]
    missing = [row for row in rows if row not in RESULTS]
    assert missing == []


@pytest.mark.slow
def test_the_circuits_are_those_of_the_gallery():
    """All that ``make_gallery.py --table`` prints: circuits, twins, sums and thorough runs."""
    command = [sys.executable, "reports/make_gallery.py", "--table"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in printed.splitlines() if line and not line.startswith("|---")]
    assert len(lines) > 54
    shown = RESULTS + PAGES["thorough-runs"]
    assert [line for line in lines if f"{line}\n" not in shown] == []


def test_the_sceptic_is_answered_with_printed_numbers():
    """What sparsity costs and buys, to the digit of the tables that commands print."""
    costs, buys = PAGES["self-defeating"].split("\n## ")[1:3]
    for number in re.findall(r"\d+\.\d+", buys):
        assert number in RESULTS, number
    printed = {row.split(" | ")[0].lstrip("| "): row for row in make_training["cost_table"]()}
    found = re.findall(r"`(tinypython-.+?)`: (.+?) \|", costs)
    assert len(found) == 4
    for name, numbers in found:
        assert all(f"| {n} |" in printed[name] for n in re.findall(r"[\d.,]*\d", numbers)), name


def test_every_table_has_a_command_before_it():
    """In the same section of the page."""
    sections = re.split(r"^## ", RESULTS, flags=re.MULTILINE)[1:]
    tables = [section for section in sections if re.search(r"^\|", section, re.MULTILINE)]
    assert len(tables) == len(sections)
    for section in tables:
        assert "```" in section[: section.index("\n|")], section[:40]


def test_the_bundled_checkpoints_are_as_printed():
    """The listing of docs/checkpoints.md, to the byte."""
    assert cli("checkpoints").out in PAGES["checkpoints"]
