"""Laws of ``tokenizer.json``: nothing in the file changes a prompt unseen."""

import json
from shutil import copytree

import pytest
import torch
from tiny import tiny_checkpoint, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, models, processors

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.checkpoints.bundled import bundled_checkpoints
from circuitkit.checkpoints.inspection import inspect_checkpoint
from circuitkit.checkpoints.reference import load_reference
from circuitkit.errors import PairError
from circuitkit.task import Pair, Prompt, builtin_tasks, load_task

START = "<|endoftext|>"


def merging(dropout=None):
    """Twelve tokens of pairs, and the letters that they are made of."""
    letters = "abcdefgh"
    merges = [(letters[i], letters[i + 1]) for i in range(0, 8, 2)]
    vocab = {token: i for i, token in enumerate([*letters, *("".join(m) for m in merges)])}
    return Tokenizer(models.BPE(vocab=vocab, merges=merges, dropout=dropout))


def saved(folder, tokenizer, vocab_size=16):
    """A checkpoint whose tokenizer is this one."""
    tiny_checkpoint(folder, text=True, vocab_size=vocab_size)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return load_checkpoint(folder)


def cut(tokenizer):
    tokenizer.enable_truncation(3)
    return tokenizer


def padded(tokenizer):
    tokenizer.enable_padding(length=12)
    return tokenizer


def framed(tokenizer):
    tokenizer.post_processor = processors.TemplateProcessing(
        single="a $A", special_tokens=[("a", 0)]
    )
    return tokenizer


ASKED_FOR = {
    "truncation": (lambda: cut(merging()), "asks to cut every text to 3 tokens"),
    "padding": (lambda: padded(merging()), "asks to pad every text"),
    "dropout": (lambda: merging(dropout=0.5), "asks to leave out merges at random (dropout 0.5)"),
    "special tokens": (lambda: framed(merging()), "asks to put 1 special token around every text"),
}


@pytest.mark.parametrize("wish", ASKED_FOR)
def test_what_the_file_asks_for_changes_no_prompt_and_is_said(tmp_path, wish):
    """The ids are those of the plain tokenizer, every time; inspect says what was asked."""
    make, told = ASKED_FOR[wish]
    checkpoint = saved(tmp_path / "m", make())
    text = "abcdefghabcdefgh"
    plain = merging().encode(text).ids
    read = {
        tuple(checkpoint.tokenizer.encode(text, add_special_tokens=False).ids) for _ in range(50)
    }
    assert read == {tuple(plain)}
    (warning, *_) = inspect_checkpoint(checkpoint)["warnings"]
    assert warning.startswith(f"tokenizer.json: {told}")


def test_a_plain_file_has_no_warning(tmp_path):
    """Nothing was switched off, nothing is said."""
    assert saved(tmp_path / "m", tiny_tokenizer()).warnings == ()
    assert all(load_checkpoint(name).warnings == () for name in bundled_checkpoints())


def test_the_hash_is_of_the_file_as_it_is(tmp_path):
    """What is switched off when it is read stays in the file."""
    folder = tmp_path / "m"
    checkpoint = saved(folder, cut(merging()))
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"]["max_length"] == 3
    assert load_checkpoint(folder).sha256 == checkpoint.sha256


def test_the_reference_is_read_like_prompts(tmp_path):
    """Whole, without dropout, and a special token's name as text."""
    folder = tmp_path / "m"
    copytree(bundled_checkpoints()["tinypython-nano"], folder)
    plain = load_checkpoint(folder)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["truncation"] = {
        "max_length": 3, "stride": 0, "strategy": "LongestFirst", "direction": "Right",
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(data))
    text = tmp_path / "text.txt"
    text.write_text("while True:\n    name = 1\n" * 200 + START)
    read = load_reference(load_checkpoint(folder), text)
    assert read.tolist() == load_reference(plain, text).tolist()
    assert (read == plain.start_token).sum() == 1


def test_the_name_of_a_special_token_is_text(tmp_path):
    """Its id is for token ids to give; it is said that it was read as text."""
    checkpoint = load_checkpoint("tinypython-nano")
    sides = [
        {"prompt": f"{word} {START} x", "answer": a} for word, a in (("if", " =="), ("x", " ="))
    ]
    path = tmp_path / "mine.jsonl"
    line = {"a": sides[0], "b": sides[1], "template": "t", "split": "test"}
    path.write_text(json.dumps(line) + "\n")
    asked = checkpoint.ask(load_task(path), "test", 1)
    for (prompt, _), side in zip(asked.sides(), sides, strict=True):
        assert prompt[0] == checkpoint.start_token not in prompt[1:]
        assert checkpoint.tokenizer.decode(prompt[1:]) == side["prompt"]
    assert f"2 prompts hold '{START}', the name of a special token" in asked.notes[0]


@pytest.mark.parametrize("name", builtin_tasks())
def test_bundled_tokenizers_read_as_they_always_did(name):
    """The file's own tokenizer, nothing switched off, gives the same ids."""
    checkpoint = load_checkpoint("tinypython-nano")
    raw = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    pairs = load_task(name).up_to("test", 64)
    expected = [
        (checkpoint.start_token, *raw.encode(side.text, add_special_tokens=False).ids)
        for side in (*(pair.a for pair in pairs), *(pair.b for pair in pairs))
    ]
    assert [prompt for prompt, _ in checkpoint.encode(pairs).sides()] == expected


def test_a_prompt_that_is_no_token_is_refused_behind_a_start_token_too(tmp_path):
    """The start token alone would be asked, on whatever side was written."""
    alphabet = Tokenizer(models.BPE({"a": 1, "b": 2, "c": 3, "[S]": 0}, []))
    save_checkpoint(
        tmp_path / "m", tiny_model(), name="m", tokenizer=alphabet, start_token=0,
        reference=torch.ones(4, 9, dtype=torch.int32),
    )  # fmt: skip
    pair = Pair(
        a=Prompt(text="é", answer="a"), b=Prompt(text="c", answer="b"), template="t"
    )  # fmt: skip
    with pytest.raises(PairError, match="the prompt 'é' is no token at all"):
        load_checkpoint(tmp_path / "m").encode([pair])
