"""Laws of docs/extraction.md: its numbers are the code's, its options exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.checkpoints.competence_json import MAX_LOSS_NATS, MIN_ACCURACY
from circuitkit.extraction import (
    ask_maker,
    asks,
    candidates,
    climb,
    criterion,
    ladder,
    local_search,
    target_loss,
    upper_bound,
)
from circuitkit.extraction.circuit_record import MOST_ALTERNATIVES
from circuitkit.extraction.extract_config import DEFAULT
from circuitkit.extraction.mask_learning import PAPER, PruningConfig
from circuitkit.extraction.search import _FAR
from circuitkit.nodes import SITE_KINDS, transformer_sites
from circuitkit.validation.claims.interchange import F_LOW, FOLLOWS
from circuitkit.validation.claims.no_norm_leak import GAIN
from circuitkit.validation.claims.robust_to_ablation import KEEPS_SIGN

MOST_NATS = target_loss.DEFAULT_TARGET_NATS - target_loss._ROOM_NATS
LEVEL = 100 * upper_bound._LEVEL

TEXT = (Path(__file__).parents[1] / "docs" / "extraction.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
discretise = import_module("circuitkit.extraction.discretise")  # the verb has its name
OURS = PruningConfig()
LEARNING = SECTIONS["Mask learning"]
ROWS = {
    cells[0]: cells[1:]
    for cells in (line.strip("| ").split(" | ") for line in LEARNING.splitlines())
    if len(cells) == 3
}


def test_every_site_is_named():
    """Eight of a layer, and one at the end."""
    for kind in SITE_KINDS:
        assert f"`l.{kind}`" in SECTIONS["Circuit"]
    assert "`8 * n_layer + 1` sites" in SECTIONS["Circuit"]
    assert len(transformer_sites(3)) == 8 * 3 + 1


@pytest.mark.parametrize("line", re.findall(r"`(--[^`]+)`", TEXT))
def test_every_option_is_of_extract(line):
    """By the command line itself."""
    command_exists(f"circuitkit extract NAME {line}")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("Target", f"The target loss is {target_loss.DEFAULT_TARGET_NATS} nats"),
        (
            "Target",
            f"at most {MOST_NATS:.2f}: the target stays",
        ),
        ("Target", f"the model's loss + {target_loss.RAISED_BY_NATS}"),
        ("Target", f"above {MAX_LOSS_NATS}, or accuracy below {MIN_ACCURACY:.2f}"),
        ("Target", f"({DEFAULT.n_select} by default"),
        (
            "Target",
            f"$q = {upper_bound._UPPER:.3f}$, the one-sided {LEVEL:.0f} % quantile",
        ),
        ("Target", f"fewer than {upper_bound._FEW_TEMPLATES} templates"),
        ("Target", rf"v \pm {criterion.PUSH:.0f} (e - v)"),
        ("Target", f"at most {criterion.DRIFT_NATS} nats"),
        ("Target", f"about {criterion._DRIFT_PAIRS} of the selection pairs"),
        ("Candidates", f"over the first {candidates.LEARNED_AT_FIRST} nodes"),
        ("Candidates", f"more than {candidates.SMALL_MODEL:,} nodes"),
        ("Candidates", f"first {candidates.FIRST_CANDIDATES:,} nodes only"),
        ("Candidates", "open by 1, 0.5 and 0.25"),
        ("Mask learning", f"multiplied by {OURS.pressure_factor} if"),
        ("Mask learning", f"below {OURS.comfort} × target"),
        ("Mask learning", f"falls to −{OURS.given_up}"),
        ("Mask learning", f"{OURS.gentler:.0f} times lower"),
        ("Discretisation", f"At most {discretise._MOST_ADDED} nodes"),
        ("Search", f"at most {local_search._MOST_NODES} nodes"),
        ("Ladder", f"The {climb.N_CANDIDATES} nodes of largest effect"),
        ("Ladder", f"plus {ask_maker.ABOVE_MODEL_NATS} nats counts"),
        ("Ladder", f"on {ladder.N_PAIRS} test pairs"),
        ("Asks", f"$F \\ge {ask_maker.F_ASKED:.2f}$; at most {ask_maker.WRONG_ASKED}"),
        ("Asks", f"the target + {ask_maker.RESTORE_NATS} nats"),
        ("Asks", f"amplifies at most {asks.GAIN_ASKED} times"),
        ("Asks", f"{F_LOW:.2f}, {1 - FOLLOWS:.2f}, {1 - KEEPS_SIGN:.2f}, and {GAIN:.0f}"),
        ("Scoring", f"up to {DEFAULT.n_test} pairs of the test split"),
    ],
)
def test_numbers_are_those_of_the_code(section, said):
    """As each section has them."""
    assert said in SECTIONS[section]


@pytest.mark.parametrize(
    ("row", "ours", "paper"),
    [
        ("steps, pairs per batch", *(f"{c.n_steps:,}, {c.batch_pairs}" for c in (OURS, PAPER))),
        ("learning rate, linear decay to 0", f"{OURS.lr}", f"{PAPER.lr}"),
        ("weight decay", f"{OURS.weight_decay:.0f}", f"{PAPER.weight_decay}"),
        ("temperature $T$", *(f"{c.temperature:.0f}" for c in (OURS, PAPER))),
        ("optimiser", rf"\beta = (0.9, {OURS.beta2})", rf"\beta = (0.9, {PAPER.beta2})"),
        ("first scores", f"{OURS.init_low} to {OURS.init_high}", f"{PAPER.init_low}, plus"),
        ("first scores", f"spread {OURS.init_std}", f"spread {PAPER.init_std}"),
        ("size pressure $\\lambda$, nats per node",
         f"{OURS.pressure_start} or {OURS.pressure_start / OURS.gentler:.4f}, then adapts",
         f"{PAPER.pressure_start:.4f}, fixed"),
    ],
)  # fmt: skip
def test_settings_of_mask_learning_are_those_of_the_code(row, ours, paper):
    """The default, and the paper's."""
    assert ours in ROWS[row][0]
    assert paper in ROWS[row][1]


def test_words_of_the_page_are_numbers_of_the_code():
    """Where the page writes a number as a word."""
    assert (PAPER.pressure_start, PAPER.pressure_factor) == (1e-4, 1)
    assert OURS.averaged == 0.2  # the last fifth
    assert _FAR == 4
    assert (discretise._TRIED_EXACTLY, discretise._BISECTIONS, discretise._SHARE_ADDED) == (
        8,
        6,
        0.2,
    )
    assert discretise._SMALLEST_AROUND == 8
    assert discretise._GRID[0] == 0.25
    assert discretise._GRID[-1] == 64
    assert (local_search._TRIED_IN, local_search._TRIED_OUT, local_search._ROUNDS) == (4, 6, 4)
    assert (DEFAULT.restarts, MOST_ALTERNATIVES) == (4, 8)
    assert candidates.OPENNESS == (1.0, 0.5, 0.25)
