"""Laws of other people's tokenizers: two files read text as the library they come from does."""

import json

import pytest
import torch
from click.testing import CliRunner
from foreign_folders import ADDED, GPT2, write_gpt2, write_release
from safetensors.torch import save_file
from tiny import tiny_tokenizer, token_task
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from circuitkit.checkpoints import convert_checkpoint, load_checkpoint
from circuitkit.checkpoints.foreign.gao_release import SPLIT
from circuitkit.checkpoints.reference import load_reference, reference_notes
from circuitkit.cli import circuitkit
from circuitkit.errors import CheckpointError, TaskError, UsageError
from circuitkit.extraction import ExtractConfig
from circuitkit.extraction.extraction_inputs import read_inputs
from circuitkit.task import Pair, Prompt, load_task

TEXT = "def f(x):\n    return x + 12345  # ünï\r\n\n\nprint('it''s', f(1)) \n"
SPLITS = {
    "GPT-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "release": pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]),
}  # fmt: skip
N_TOKENS = 300


def trained(split):
    """A byte-level tokenizer of 300 tokens, the last of them ``<|endoftext|>``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = SPLITS[split], decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS - 1, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT * 3, "while x: print(x)\n" * 3], trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def write_pair(folder, tokenizer, names=("vocab.json", "merges.txt"), *, with_end=True):
    """A vocabulary and merges, as the library saves them."""
    model = json.loads(tokenizer.to_str())["model"]
    end = {"<|endoftext|>": N_TOKENS - 1} if with_end else {}
    (folder / names[0]).write_text(json.dumps(model["vocab"] | end))
    merges = "".join(f"{' '.join(pair)}\n" for pair in model["merges"])
    (folder / names[1]).write_text(f"#version: 0.2\n{merges}")


CONFIGS = {"GPT-2": GPT2 | {"vocab_size": N_TOKENS}, "release": ADDED | {"vocab_size": N_TOKENS}}
WRITE = {"GPT-2": write_gpt2, "release": write_release}


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
@pytest.mark.parametrize("kind", SPLITS)
def test_two_files_are_the_tokenizer(tmp_path, kind, names):
    """Each format with its own split pattern, under either pair of names."""
    tokenizer = trained(kind)
    folder = WRITE[kind](tmp_path / "model", CONFIGS[kind])
    write_pair(folder, tokenizer, names)
    found = load_checkpoint(folder).tokenizer
    for text in (TEXT, " a  b\n\n c", "1234567", "x.y(z)[0]"):
        assert found.encode(text).ids == tokenizer.encode(text).ids
        assert found.decode(found.encode(text).ids) == text


def test_the_patterns_differ():
    """A tokenizer read with the other pattern would be another one."""
    text = "x = 12345\n\n"
    assert trained("GPT-2").encode(text).tokens != trained("release").encode(text).tokens


def test_the_end_of_text_is_the_last_token_of_a_release_and_no_text(tmp_path):
    """The vocabulary of the release may lack it; in a prompt it is text."""
    folder = write_release(tmp_path / "model", CONFIGS["release"])
    write_pair(folder, trained("release"), ("encoder.json", "vocab.bpe"), with_end=False)
    found = load_checkpoint(folder).tokenizer
    assert found.token_to_id("<|endoftext|>") == N_TOKENS - 1
    assert N_TOKENS - 1 not in found.encode("a<|endoftext|>b").ids


def test_the_tokenizer_is_converted_and_hashed(tmp_path):
    """The two files decide how a prompt is read."""
    folder = write_release(tmp_path / "model", CONFIGS["release"])
    write_pair(folder, trained("release"), ("encoder.json", "vocab.bpe"))
    before = load_checkpoint(folder)
    native = convert_checkpoint(folder, tmp_path / "ours")
    assert native.tokenizer.encode(TEXT).ids == before.tokenizer.encode(TEXT).ids
    (folder / "vocab.bpe").write_text("#version: 0.2\n")
    assert load_checkpoint(folder).sha256 != before.sha256


def test_prompts_stand_as_they_are(tmp_path):
    """No token is put before them, whatever the config says of one that begins a text."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"] | {"bos_token_id": N_TOKENS - 1})
    write_pair(folder, trained("GPT-2"))
    checkpoint = load_checkpoint(folder)
    pair = Pair(a=Prompt(text="(x", answer=")"), b=Prompt(text="[x", answer="]"), template="t")
    sides = checkpoint.encode([pair]).sides()
    assert next(iter(sides))[0] == tuple(checkpoint.tokenizer.encode("(x").ids)


def write_json(path, value):
    path.write_text(json.dumps(value))


def id_of(folder, token):
    return json.loads((folder / "vocab.json").read_text())[token]


def test_settings_that_agree_with_the_tokenizer_change_nothing(tmp_path):
    """Libraries list special tokens beside the vocabulary that has them."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"])
    write_pair(folder, trained("GPT-2"))
    before = load_checkpoint(folder)
    end = {"content": "<|endoftext|>", "special": True, "normalized": True}
    write_json(folder / "added_tokens.json", {"<|endoftext|>": N_TOKENS - 1})
    write_json(folder / "special_tokens_map.json", {"bos_token": "<|endoftext|>", "eos_token": end})
    decoder = {str(N_TOKENS - 1): end}
    settings = {"add_prefix_space": False, "add_bos_token": True, "pad_token": None}
    write_json(folder / "tokenizer_config.json", settings | {"added_tokens_decoder": decoder})
    assert load_checkpoint(folder) == before


def with_added(tokenizer):
    """The same with a plain token that is found before text is cut."""
    tokenizer.add_tokens(["<new>"])
    return tokenizer


def test_a_tokenizer_of_one_file_has_what_the_settings_beside_it_ask_for(tmp_path):
    """Added tokens and a blank before each text, in the file itself; without them it is refused."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"] | {"vocab_size": N_TOKENS + 1})
    tokenizer = with_added(trained("GPT-2"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    write_json(folder / "added_tokens.json", {"<new>": N_TOKENS})
    write_json(folder / "tokenizer_config.json", {"add_prefix_space": True})
    found = load_checkpoint(folder).tokenizer
    assert N_TOKENS in found.encode("a<new>b").ids
    assert found.encode("x").ids == found.encode(" x").ids
    plain = with_added(trained("GPT-2"))
    (folder / "tokenizer.json").write_text(plain.to_str())
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json asks for a blank before"):
        load_checkpoint(folder)
    write_json(folder / "tokenizer_config.json", {})
    (folder / "tokenizer.json").write_text(trained("GPT-2").to_str())
    with pytest.raises(CheckpointError, match=r"added_tokens\.json has the token '<new>' .*lacks"):
        load_checkpoint(folder)


def test_a_start_token_begins_prompts_and_the_sample(tmp_path):
    """Config and sample of the converted folder agree."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"])
    write_pair(folder, trained("GPT-2"))
    text, end = tmp_path / "text.txt", N_TOKENS - 1
    text.write_text(TEXT * 3)
    native = convert_checkpoint(folder, tmp_path / "a", reference=text, start_token=end)
    assert native.start_token == end
    ids = native.load_reference().flatten().tolist()
    plain = TEXT.replace("\r\n", "\n").replace("\r", "\n")  # as a folder of text is read
    assert ids == [end, *native.tokenizer.encode(plain * 3).ids][: len(ids)]
    again = convert_checkpoint(native, tmp_path / "b")
    assert again.sha256 == native.sha256


def test_the_name_of_a_special_token_in_a_reference_is_text_and_said(tmp_path):
    """By convert, and in the record of an extraction; a start token is none of the text."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"])
    write_pair(folder, trained("GPT-2"))
    checkpoint = load_checkpoint(folder)
    task = load_task(token_task(tmp_path / "task.jsonl", checkpoint.architecture))
    text, said = tmp_path / "text.txt", r"the reference holds '<|endoftext|>', the name of a"
    for written, is_said in ((TEXT * 3, False), (f"{TEXT * 3}<|endoftext|>{TEXT}", True)):
        text.write_text(written)
        arguments = ["convert", folder, "--out", tmp_path / "out", "--reference", text]
        arguments += ["--start-token", N_TOKENS - 1]
        done = CliRunner().invoke(circuitkit, [*map(str, arguments)])
        assert done.exit_code == 0
        assert (said in done.stderr) == is_said
        inputs = read_inputs(checkpoint, task, ExtractConfig(), text, None, None)
        assert any(said in remark for remark in inputs.splits.remarks) == is_said
    assert N_TOKENS - 1 not in load_reference(checkpoint, text)


def test_a_start_token_that_does_not_fit_is_refused(tmp_path):
    """Outside the vocabulary, missing in a sample of ids, or of a released circuit."""
    folder, out = write_gpt2(tmp_path / "model"), tmp_path / "out"
    for wrong in (-1, 11):
        with pytest.raises(UsageError, match=rf"start_token = {wrong}, expected .*from 0 to 10"):
            convert_checkpoint(folder, out, start_token=wrong)
    sample = tmp_path / "sample.safetensors"
    save_file({"tokens": torch.ones(2, 9, dtype=torch.int32)}, sample)
    with pytest.raises(UsageError, match="start_token 3 is nowhere in the sample of token ids"):
        convert_checkpoint(folder, out, reference=sample, start_token=3)
    arguments = ["convert", "viz_data.pt", "--out", str(out), "--start-token", "3"]
    with pytest.raises(UsageError, match=r"--start-token is for a checkpoint, .*Leave it out"):
        CliRunner().invoke(circuitkit, arguments, catch_exceptions=False)


# What is refused

BROKEN = {
    "half of it": (
        lambda f: (f / "merges.txt").unlink(),
        r"vocab\.json is half of a tokenizer, and merges\.txt is missing",
    ),
    "merges of another": (
        lambda f: (f / "merges.txt").write_text("#version: 0.2\nqqq zzz\n"),
        r"vocab\.json and merges\.txt are no tokenizer: .*Are they of two models",
    ),
    "a merge of three": (
        lambda f: (f / "merges.txt").write_text("#version: 0.2\na b c\n"),
        r"merges\.txt:2: got 'a b c', expected two tokens",
    ),
    "no JSON": (lambda f: (f / "vocab.json").write_text("{"), r"vocab\.json is not JSON"),
    "an id twice": (
        lambda f: (f / "vocab.json").write_text('{"a": 0, "b": 0}'),
        r"an id of its own, a whole number",
    ),
    "an id below zero": (
        lambda f: (f / "vocab.json").write_text('{"a": -1}'),
        r"an id of its own, a whole number",
    ),
    "too many": (
        lambda f: (f / "vocab.json").write_text(
            json.dumps(json.loads((f / "vocab.json").read_text()) | {"extra": 300})
        ),
        r"has token id 300, but config\.json says vocab_size = 300",
    ),
    "a blank before": (
        lambda f: (f / "tokenizer_config.json").write_text('{"add_prefix_space": true}'),
        r"tokenizer_config\.json asks for a blank before every text",
    ),
    "a token in added_tokens.json": (
        lambda f: write_json(f / "added_tokens.json", {"<new>": N_TOKENS}),
        r"added_tokens\.json has the token '<new>' \(id 300\), which the tokenizer lacks; .*Auto",
    ),
    "a token in tokenizer_config.json": (
        lambda f: write_json(
            f / "tokenizer_config.json",
            {"added_tokens_decoder": {"300": {"content": "<new>", "special": False}}},
        ),
        r"tokenizer_config\.json has the token '<new>' \(id 300\), which the tokenizer lacks",
    ),
    "a token that is merged otherwise": (
        lambda f: write_json(f / "added_tokens.json", {"print": id_of(f, "print")}),
        r"'print' \(id \d+\), which the tokenizer would merge from its parts",
    ),
    "a token of another id": (
        lambda f: write_json(f / "added_tokens.json", {"<|endoftext|>": 3}),
        r"'<\|endoftext\|>' \(id 3\), which is 299 there",
    ),
    "a special token": (
        lambda f: write_json(f / "special_tokens_map.json", {"sep_token": {"content": "[SEP]"}}),
        r"special_tokens_map\.json has the token '\[SEP\]', which the tokenizer lacks",
    ),
    "more special tokens": (
        lambda f: write_json(f / "tokenizer_config.json", {"extra_special_tokens": ["[A]"]}),
        r"tokenizer_config\.json has the token '\[A\]', which the tokenizer lacks",
    ),
    "damaged settings": (
        lambda f: (f / "added_tokens.json").write_text("{"),
        r"added_tokens\.json is not JSON",
    ),
    "of another vocabulary": (
        lambda f: (f / "tokenizer.json").write_text(tiny_tokenizer().to_str()),
        r"tokenizer\.json has 11 tokens, and the model 300; .*Is it another model's tokenizer",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_tokenizer_is_refused(tmp_path, fault):
    """By file, and by line where there is one."""
    change, match = BROKEN[fault]
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"])
    write_pair(folder, trained("GPT-2"))
    change(folder)
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(folder)


def test_a_padded_vocabulary_is_read_and_said(tmp_path):
    """Models round it up."""
    folder = write_gpt2(tmp_path / "model", GPT2 | {"vocab_size": 320})
    write_pair(folder, trained("GPT-2"))
    found = load_checkpoint(folder).warnings
    assert found == ("vocab.json: has 300 tokens; the model's other 20 cannot be written as text",)


def test_text_without_a_tokenizer_is_refused_with_what_to_do(tmp_path):
    """A task of text, and a reference of text; token ids are read."""
    checkpoint = load_checkpoint(write_gpt2(tmp_path / "model"))
    pair = Pair(a=Prompt(text="a", answer="b"), b=Prompt(text="c", answer="d"), template="t")
    with pytest.raises(TaskError, match=r"no tokenizer\.json .*docs/formats\.md.*token ids"):
        checkpoint.encode([pair])
    (tmp_path / "text.txt").write_text(TEXT)
    with pytest.raises(CheckpointError, match=r"has no tokenizer to read .*text\.txt .*token ids"):
        load_reference(checkpoint, tmp_path / "text.txt")
    with pytest.raises(CheckpointError, match=r"no reference sample of text.*--reference"):
        load_reference(checkpoint)
    ids = Pair(a=Prompt(tokens=(1,), answer=2), b=Prompt(tokens=(3,), answer=4), template="t")
    assert len(checkpoint.encode([ids])) == 1


@pytest.mark.parametrize("key", ["add_bos_token", "add_eos_token"])
def test_a_token_that_transformers_would_put_around_texts_is_told(tmp_path, key):
    """Beside a vocabulary and merges; beside a tokenizer.json transformers leaves it out too."""
    folder = write_gpt2(tmp_path / "model", CONFIGS["GPT-2"])
    write_pair(folder, trained("GPT-2"))
    settings = folder / "tokenizer_config.json"
    for asked in (True, False):
        settings.write_text(json.dumps({key: asked}))
        assert any(key in warning for warning in load_checkpoint(folder).warnings) == asked


def test_a_reference_that_is_not_read_to_its_end_is_told(tmp_path, monkeypatch):
    """How many tokens are read; nothing where all are."""
    monkeypatch.setattr("circuitkit.checkpoints.reference.MAX_TOKENS", 1000)
    checkpoint = load_checkpoint("tinypython-nano")
    text = tmp_path / "text.txt"
    for times, cut in ((20, False), (2000, True)):
        text.write_text("while True:\n    name = 1\n" * times)
        notes = reference_notes(checkpoint, text, load_reference(checkpoint, text))
        assert notes == (
            ("of the reference the first 896 tokens are read, which is the most",) * cut
        )


def test_line_ends_of_a_reference_are_those_of_a_folder(tmp_path):
    """A file of Windows reads as the same file in a folder does."""
    checkpoint = load_checkpoint("tinypython-nano")
    (tmp_path / "ref").mkdir()
    path = tmp_path / "ref" / "a.txt"
    path.write_bytes(b"while True:\r\n    name = 1\r\n" * 100)
    found = load_reference(checkpoint, path)
    assert torch.equal(found, load_reference(checkpoint, path.parent))
    assert "\r" not in checkpoint.tokenizer.decode(found.flatten().tolist())
