"""Laws of docs/families.md: its commands exist, its outcomes and limits are the code's."""

import re
from pathlib import Path

import pytest
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.circuit.transfer import MECHANISMS
from circuitkit.families.clusters import ALIKE as SAME_DIRECTION
from circuitkit.families.clusters import N_NODES, STABLE
from circuitkit.families.name_mechanisms import ALIKE, F_DOES
from circuitkit.planted import plant
from circuitkit.task.family import FEWEST_TEMPLATES, MOST_FAMILIES

TEXT = (Path(__file__).parents[1] / "docs" / "families.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for info, text in BLOCKS if not info for line in text.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_exists(line):
    """With its options."""
    command_exists(line)


def test_the_page_has_every_outcome():
    """In the order of the code."""
    rows = re.findall(r"^\| `(\w+)` \|", TEXT.partition("## Outcomes")[2], re.MULTILINE)
    assert tuple(rows[: len(MECHANISMS)]) == MECHANISMS


def test_the_page_has_the_planted_outcomes():
    """Of every planted model that it lists."""
    table = TEXT.partition("### Planted models")[2].partition("###")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", table, re.MULTILINE)
    assert len(rows) == 6
    assert all(plant(name).outcome == outcome for name, outcome in rows)


@pytest.mark.parametrize(
    "said",
    [
        f"lower bound of $F$ is at least {F_DOES:.2f}",
        f"strength is at least {STABLE:.2f}",
        f"(cosine {SAME_DIRECTION:.2f} or more)",
        f"the {N_NODES} nodes of the largest effect",
        f"more than {MOST_FAMILIES} families",
        "fewer than {train} training, {select} selection or {test} test".format(**FEWEST_TEMPLATES),
    ],
)
def test_the_page_has_the_limits_of_the_code(said):
    """Word for word."""
    assert said in TEXT
    assert ALIKE == 0.5  # "at least half of their nodes"
