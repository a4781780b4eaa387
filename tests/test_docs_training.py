"""Laws of docs/training.md: its configuration trains, its commands run, its keys exist."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel
from test_cli import cli
from test_readme import test_commands_and_their_options_exist as command_exists

from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.training import load_config, shipped_configs
from circuitkit.training.train_config import TrainingConfig

ROOT = Path(__file__).parents[1]
make_training = runpy.run_path(str(ROOT / "reports" / "make_training.py"))
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
FILES = {info.split()[1]: text for info, text in BLOCKS if info.startswith("toml ")}
COMMANDS = [line for info, text in BLOCKS if not info for line in text.splitlines()]
LONG = "--out out/sweep"
"""Commands that take minutes: only their form is checked."""


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Its configuration trains, resumes and is inspected by the commands below it."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    short = [line for line in COMMANDS if LONG not in line]
    assert len(short) >= 3
    for line in short:
        ran = cli(*shlex.split(line)[1:])
        assert ran.code == 0, ran.err


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line):
    """With its options."""
    command_exists(line)


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`([a-z]+\.[a-z0-9_]+)(?:=[^`]*)?`", TEXT))))
def test_every_key_of_the_page_is_one(key):
    """``section.key``, as ``--set`` takes it."""
    if key.endswith((".md", ".py", ".toml", ".json", ".jsonl")):
        return
    section, name = key.split(".")
    model = TrainingConfig.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    assert name in model.model_fields


def test_the_curves_are_drawn_from_the_metrics_that_ship():
    """Byte for byte."""
    assert make_training["CURVES"].read_text(encoding="utf-8") == make_training["curves"]()


@pytest.mark.parametrize("name", bundled_checkpoints())
def test_a_bundled_checkpoint_is_what_its_configuration_makes(name):
    """Its record holds that very configuration, but for the product that was measured."""
    record = load_checkpoint(name).training
    assert record is not None
    shipped, ran = json.loads(load_config(name).model_dump_json()), record["config"]
    ran["run"].setdefault("stop_at_loss_nats", None)  # a key younger than the nano
    for each in (shipped, ran):
        each.get("bridge", {}).pop("dense", None)  # which --bridge-to names
    assert {shipped["run"].pop("matmul"), ran["run"].pop("matmul")} <= {"auto", "bfloat16"}
    assert ran == shipped


def test_every_bundled_checkpoint_has_a_configuration():
    """So that anyone can make it again."""
    assert set(bundled_checkpoints()) <= set(shipped_configs())
