"""Laws of docs/formats.md: its table is the formats that there are, its example is one."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import random_tokens, tiny_model

from circuitkit.checkpoints import checkpoint, foreign, load_checkpoint
from circuitkit.errors import CheckpointError

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
LAB = {"width": 8, "heads": 2, "vocabulary": 11, "context": 9, "learning_rate": 0.1}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The example of the page is a format, and a folder of it holds a model."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    made = {}
    exec(compile(code, "formats.md", "exec"), made)
    everyone = (*foreign.foreign_formats(), made["FORMAT"])
    monkeypatch.setattr(foreign, "foreign_formats", lambda: everyone)
    model = tiny_model(d_mlp=32)
    named = {
        f"net.{n}": t.T if n.endswith("c_fc.weight") else t for n, t in model.state_dict().items()
    }
    save_file(
        {n: t.contiguous() for n, t in named.items()} | {"net.step": torch.ones(1)},
        tmp_path / "lab.safetensors",
    )
    (tmp_path / "lab.json").write_text(json.dumps(LAB))
    return tmp_path, model


def test_the_example_reads_its_folder(lab):
    """As the page shows it, in one file."""
    folder, model = lab
    tokens = random_tokens(model.arch, 2, 9)
    assert torch.equal(load_checkpoint(folder).load_model()(tokens), model(tokens))


@pytest.mark.parametrize("key", ["parallel", "colour"])
def test_the_example_refuses_what_it_does_not_run(lab, key):
    """By key and value, as the formats that ship do."""
    folder, _ = lab
    (folder / "lab.json").write_text(json.dumps(LAB | {key: True}))
    with pytest.raises(CheckpointError, match=rf"recognised as a Lab .*refused: {key} True"):
        load_checkpoint(folder)


def test_every_format_has_its_row_and_its_section():
    """Named as messages name it."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| [")]
    assert len(rows) == len(foreign.foreign_formats())
    for row in rows:
        (anchor,) = re.findall(r"\]\(#([\w-]+)\)", row)
        titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]


def test_the_format_of_the_example_is_not_there_without_it(tmp_path):
    """The example adds it, and nothing else does."""
    (tmp_path / "lab.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no such file: .*config"):
        load_checkpoint(tmp_path)
    assert checkpoint.foreign_layout(tmp_path) is None
