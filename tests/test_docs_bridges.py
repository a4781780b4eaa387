"""Laws of docs/bridges.md: its commands exist, its choices and limits are the code's."""

import re
from pathlib import Path

import pytest
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.bridges import cue_nodes, perturb
from circuitkit.bridges.bridge_maps import Bridges
from circuitkit.bridges.crossings import crossing_names
from circuitkit.circuit.perturbation import FILE, PICTURE, TABLE
from circuitkit.training import load_config
from circuitkit.training.train_config import BridgeConfig
from circuitkit.validation.claims import explains_dense

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "bridges.md").read_text(encoding="utf-8")
CLAIM = (
    (ROOT / "docs" / "validation.md").read_text(encoding="utf-8").partition("explains_dense\n")[2]
)
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for info, text in BLOCKS
    if not info
    for line in text.splitlines()
    if line.removeprefix("$ ").startswith("circuitkit ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_exists(line):
    """With its options."""
    command_exists(line)


def test_the_page_has_the_defaults_of_every_weight():
    """And the shipped configuration has the same."""
    chosen = BridgeConfig()
    rows = dict(re.findall(r"\| `bridge\.(\w+)` \| ([\d.]+) \|", TEXT))
    assert {name: float(value) for name, value in rows.items()} == {
        name: getattr(chosen, name) for name in ("nmse", "kl_to_sparse", "kl_to_dense")
    }
    assert load_config("tinypython-bridged").bridge == chosen
    assert chosen.topk == 0.25
    assert "keeps a quarter of the channels" in TEXT


def test_the_shipped_configurations_are_one_model_with_and_without():
    """The bridged one is the nano but for its bridges; the dense one but for all sparsity."""
    nano, bridged = load_config("tinypython-nano"), load_config("tinypython-bridged")
    dense = load_config("tinypython-nano-dense")
    assert bridged.model_copy(update={"bridge": None, "name": nano.name}) == nano
    plain = nano.architecture.model_copy(update={"activation_topk": {}})
    assert (dense.architecture, dense.sparsity.l0_fraction) == (plain, 1.0)
    assert (dense.corpus, dense.seed, dense.run) == (nano.corpus, nano.seed, nano.run)


def test_the_page_has_the_limits_of_the_code():
    """Of cue nodes, random directions and the claim; and the names of the files."""
    assert cue_nodes.SHARE == 0.10
    assert "by a tenth or more" in TEXT
    assert "by a tenth or more" in CLAIM
    assert f"{perturb.N_RANDOM} of them" in TEXT
    assert f"none of {perturb.N_RANDOM} random directions" in CLAIM
    assert f"at least {explains_dense.FOLLOWS} (lower bound)" in CLAIM
    assert f"(p ≤ {explains_dense.P})" in CLAIM
    assert all(f"`{name}`" in TEXT for name in (FILE, TABLE, PICTURE))


def test_the_page_names_crossings_and_tensors_as_the_file_does():
    """Those of the file, for any depth."""
    assert all(f"(`{name}`)" in TEXT for name in ("0.attn", "0.mlp", "final_resid"))
    assert crossing_names(1) == ("0.attn", "0.mlp", "final_resid")
    parts = [name for name, _ in Bridges(1, 2, 2, 1.0)[0].named_parameters()]
    assert all(f".{part}`" in TEXT for part in parts)
