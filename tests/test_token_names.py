"""Laws of token names: a text is one token, in the file, in the picture and on the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from example_circuit import example_circuit
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from circuitkit.checkpoints import Checkpoint, bundled_checkpoints, load_checkpoint, save_checkpoint
from circuitkit.checkpoints.token_names import token_names
from circuitkit.extraction import ExtractConfig, run_extraction
from circuitkit.planted import plant
from circuitkit.task import load_task
from circuitkit.views.diagram import diagram
from circuitkit.views.page_text import circuit_text
from circuitkit.views.report_data import ALIKE, page
from circuitkit.views.reported import Reported
from circuitkit.views.svg import render

NANO = load_checkpoint("tinypython-nano")


def with_tokenizer(tokenizer: Tokenizer | None, vocab_size: int) -> Checkpoint:
    """A checkpoint of which only the vocabulary is looked at."""
    return replace(
        NANO,
        tokenizer=tokenizer,
        architecture=NANO.architecture.model_copy(update={"vocab_size": vocab_size}),
    )


def metaspace(pieces: list[str]) -> Tokenizer:
    """A vocabulary in which a word with and without its space decode to the same text."""
    tokenizer = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="?"))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


@pytest.mark.parametrize("name", bundled_checkpoints())
def test_no_two_tokens_of_a_bundled_vocabulary_share_a_name(name):
    """Bytes are written as bytes; what decodes to a text of its own is called that."""
    checkpoint = load_checkpoint(name)
    names = token_names(checkpoint)
    assert len(set(names)) == checkpoint.architecture.vocab_size
    assert not [name for name in names if "\N{REPLACEMENT CHARACTER}" in name]
    tokenizer = checkpoint.tokenizer
    assert tokenizer
    lone = [i for i in range(len(names)) if len(tokenizer.id_to_token(i) or "") == 1]
    assert {f"<0x{byte:02X}>" for byte in range(0xC2, 0xF5)} <= {names[i] for i in lone}
    for word in (" in", " ==", " =", "\n"):
        (token,) = tokenizer.encode(word, add_special_tokens=False).ids
        assert names[token] == word


PIECES = st.lists(
    st.text("▁ona#0123", max_size=5) | st.sampled_from(["<0xE2>", "▁", "on#1", "#1", "\ufffd"]),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip


@given(PIECES, st.integers(0, 3))
def test_no_vocabulary_gives_two_tokens_one_name(pieces, n_unknown):
    """Whatever its pieces are, and for ids that the tokenizer does not know."""
    names = token_names(with_tokenizer(metaspace(pieces), len(pieces) + n_unknown))
    assert len(set(names)) == len(names) == len(pieces) + n_unknown
    assert all(names)


def test_pieces_stand_where_decoded_texts_are_the_same():
    """And only there; parts of characters are shown byte by byte."""
    names = token_names(with_tokenizer(metaspace(["▁on", "on", "▁cat", "▁"]), 5))
    assert names == ("▁on", "on", "cat", "▁", "#4")
    parts = Tokenizer(models.WordLevel({"Ġâ": 0, "âĢ": 1, "a": 2}, unk_token="?"))
    parts.decoder = decoders.ByteLevel()
    assert token_names(with_tokenizer(parts, 3)) == (" <0xE2>", "<0xE2><0x80>", "a")
    assert token_names(with_tokenizer(None, 2)) == ("#0", "#1")


@pytest.fixture(scope="module")
def twins(tmp_path_factory) -> Path:
    """A planted model whose two answers are a word with and without its space."""
    folder = tmp_path_factory.mktemp("twins")
    planted = plant("induction")
    pieces = {i: piece for piece, i in planted.tokenizer.get_vocab().items()}
    red, blue = (planted.tokenizer.token_to_id(word) for word in ("red", "blue"))
    tokenizer = metaspace([{red: "▁on", blue: "on"}.get(i, pieces[i]) for i in sorted(pieces)])
    tokens = planted.tokenizer.get_vocab()
    save_checkpoint(
        folder, planted.model, name="twins", tokenizer=tokenizer, reference=planted.reference
    )
    rows = [json.loads(line) for line in planted.task_lines.splitlines()]
    for side in (row[name] for row in rows for name in "ab"):
        side["prompt"] = [tokens[word] for word in side["prompt"].split()]
        side["answer"] = tokens[side["answer"]]
    (folder / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.slow
def test_answers_that_decode_alike_are_two_tokens_everywhere(twins):
    """Two boxes with an entry each, two answers on the page, and the cue is marked."""
    checkpoint, task = load_checkpoint(twins), load_task(twins / "task.jsonl")
    circuit = run_extraction(checkpoint, task, ExtractConfig(restarts=1, rung="smallest")).circuit
    around = circuit.surroundings
    assert around
    assert {around.a.answer, around.b.answer} == {"▁on", "on"}
    picture = diagram(circuit)
    boxes = re.findall(r'"(answer \d)" \[.*?label="(.*?)\\nto', picture.source)
    assert {label for _, label in boxes} == {"'on'", r"'\\u2581on'"}
    for name, _ in boxes:
        assert len(re.findall(rf'-> "{name}" \[color', picture.source)) == 1
    assert render(picture)
    shown = page(Reported(circuit=circuit))
    for side in shown["pair"]:
        assert side["answer"] != side["foil"]
        assert any(token["cue"] for token in side["tokens"])
    assert any(column["cue"] for column in shown["heat"]["sides"][0])
    assert shown["warning"] == ""


def test_a_file_that_does_not_tell_its_answers_apart_says_so():
    """Files of earlier versions hold decoded text; neither report nor page calls it two answers."""
    reported = Reported(circuit=example_circuit(around={"answers": ("on", "on")}))
    assert page(reported)["warning"] == circuit_text(reported)["warning"] == ALIKE
