"""Laws of token shards: whole or absent, held-out text apart, every window read once an epoch."""

import errno
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from circuitkit.corpora import open_corpus
from circuitkit.corpora.tokenizer import START
from circuitkit.errors import CorpusError, TrainingError
from circuitkit.training import shards
from circuitkit.training.shards import batch_windows, build_shard, learn_tokenizer
from circuitkit.training.train_config import TrainingConfig

N_CTX = 16


def config_of(source, **corpus):
    """A configuration that reads ``source``; its model is never made."""
    corpus = {"n_tokens": 2000, "vocab_size": 280, "n_validation_tokens": 200, **corpus}
    sizes = {"n_ctx": N_CTX, "n_layer": 1, "d_model": 16, "n_head": 2, "d_head": 8, "d_mlp": 32}
    return TrainingConfig.model_validate(
        {
            "format": "circuitkit.training/1",
            "name": "tiny",
            "seed": 3,
            "corpus": {"source": source, **corpus},
            "architecture": {**sizes, "vocab_size": corpus["vocab_size"]},
            "optimizer": {"lr": 0.01},
            "run": {"n_tokens": 384},
        }
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of sixty short files, three of them held out."""
    folder = tmp_path_factory.mktemp("text")
    for i in range(60):
        lines = [f"value_{j} = [{i}, {j}, 'x{i * j % 7}']\n" for j in range(12)]
        (folder / f"{i:02}.py").write_text("".join(lines))
    return f"folder:{folder}"


@pytest.fixture(scope="module")
def tokenizer(source):
    return learn_tokenizer(config_of(source))


def encoded(tokenizer, documents):
    start = tokenizer.token_to_id(START)
    return [token for text in documents for token in (start, *tokenizer.encode(text).ids)]


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_shard_is_the_first_tokens_of_its_split(source, tokenizer, tmp_path, validation, mixed):
    """The start token before every document, and as many tokens as the configuration asks."""
    corpus = f"0.5*tinypython + 0.5*{source}" if mixed else source
    shard = build_shard(tmp_path / "s.bin", config_of(corpus), tokenizer, validation=validation)
    documents = islice(open_corpus(corpus, seed=3, held_out=validation), 60)
    assert len(shard) == (200 if validation else 2000)
    assert list(shard) == encoded(tokenizer, documents)[: len(shard)]


@pytest.mark.parametrize("validation", [False, True])
def test_a_corpus_that_ends_gives_what_it_has(source, tokenizer, tmp_path, validation):
    """No less and nothing twice; asking for more validation text leaves training its own."""
    config = config_of(source, n_tokens=10**6, n_validation_tokens=10**6)
    shard = build_shard(tmp_path / "s.bin", config, tokenizer, validation=validation)
    documents = open_corpus(source, seed=3, held_out=validation)
    assert list(shard) == encoded(tokenizer, documents)


def test_training_text_leaves_out_the_validation_text(source, tokenizer, tmp_path):
    """No document of one is in the other, and together they are the folder."""
    config = config_of(source, n_tokens=10**6, n_validation_tokens=10**6)
    found = [
        build_shard(tmp_path / f"{validation}.bin", config, tokenizer, validation=validation)
        for validation in (False, True)
    ]
    texts = [path.read_text() for path in sorted(Path(source.removeprefix("folder:")).iterdir())]
    assert sum(map(len, found)) == len(encoded(tokenizer, texts))
    assert list(found[1]) == encoded(tokenizer, texts[1::20])


def test_the_tokenizer_is_learned_from_training_text_alone(tmp_path):
    """What is held out has no say in it."""
    folder = tmp_path / "text"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02}").write_text("unheard " * 50 if i % 20 == 1 else f"value = {i}\n")
    tokenizer = learn_tokenizer(config_of(f"folder:{folder}", vocab_size=400))
    assert "Ġunheard" not in tokenizer.get_vocab()
    assert len(tokenizer.encode("value").ids) == 1


def test_the_tokenizer_reads_a_bounded_part_of_a_long_corpus(monkeypatch):
    """Of long documents fewer than of short ones."""
    monkeypatch.setattr(shards, "_TOKENIZER_CHARS", 100)
    assert list(shards._first(iter(["x" * 60] * 9))) == ["x" * 60] * 2
    monkeypatch.setattr(shards, "_TOKENIZER_DOCUMENTS", 1)
    assert list(shards._first(iter(["x" * 60] * 9))) == ["x" * 60]


def test_a_shard_that_is_there_is_read_and_not_written_again(tokenizer, tmp_path):
    """Whatever became of the corpus."""
    tokens = np.arange(50, dtype=np.uint16)
    (tmp_path / "s.bin").write_bytes(tokens.tobytes())
    shard = build_shard(
        tmp_path / "s.bin", config_of("folder:nowhere"), tokenizer, validation=False
    )
    assert list(shard) == list(tokens)


@pytest.mark.parametrize(
    ("data", "held"),
    [(b"\0" * 99, "half a token"), (np.array([1] * 40 + [280], np.uint16).tobytes(), "id 280")],
)
def test_a_file_that_is_no_shard_of_the_run_is_refused(tokenizer, tmp_path, data, held):
    """An embedding has no row for such an id."""
    (tmp_path / "s.bin").write_bytes(data)
    with pytest.raises(
        TrainingError, match=rf"s\.bin holds .*{held}, expected 16-bit ids below 280"
    ):
        build_shard(tmp_path / "s.bin", config_of("tinypython"), tokenizer, validation=False)


def test_progress_counts_up_to_what_is_wanted(source, tokenizer, tmp_path):
    """In tokens written, never beyond."""
    seen = []
    config = config_of(source)
    build_shard(
        tmp_path / "s.bin",
        config,
        tokenizer,
        validation=False,
        progress=lambda *at: seen.append(at),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (2000, 2000)


@pytest.mark.parametrize(("validation", "split"), [(False, "training"), (True, "validation")])
def test_text_for_less_than_a_sequence_is_refused(tokenizer, tmp_path, validation, split):
    """Because the corpus is short, or the configuration asks for less."""
    for name in ("a", "b"):
        (tmp_path / name).write_text("a")
    n = {"n_tokens": 1, "n_validation_tokens": 1}
    for config in (config_of(f"folder:{tmp_path}"), config_of("tinypython", **n)):
        message = rf"gives [12] tokens of {split} text; .* needs 17\. Add text, or raise corpus\.n_"
        with pytest.raises(CorpusError, match=message):
            build_shard(tmp_path / "out" / "s.bin", config, tokenizer, validation=validation)
        (tmp_path / "out" / "s.bin").unlink()


def test_an_empty_shard_is_refused(tokenizer, tmp_path):
    """Though it cannot be mapped."""
    (tmp_path / "s.bin").touch()
    with pytest.raises(CorpusError, match=r"gives 0 tokens of training text"):
        build_shard(tmp_path / "s.bin", config_of("tinypython"), tokenizer, validation=False)


def test_a_full_disk_leaves_no_half_shard(source, tokenizer, tmp_path, monkeypatch):
    """Whole or absent, and the message says what to do."""

    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(TrainingError, match=r"could not write .*s\.bin: No space left .*Make"):
            build_shard(tmp_path / "s.bin", config_of(source), tokenizer, validation=False)
    assert not list(tmp_path.iterdir())


def test_a_corpus_that_fails_midway_leaves_no_half_shard(source, tokenizer, tmp_path, monkeypatch):
    """The error of the corpus comes through."""

    def failing(spec, **options):
        yield "value = 1\n" * 500
        raise CorpusError("changed while it was read")

    monkeypatch.setattr(shards, "_DOCUMENTS_A_BATCH", 1)
    monkeypatch.setattr(shards, "open_corpus", failing)
    config = config_of(source, n_tokens=10**6)
    with pytest.raises(CorpusError, match="changed while it was read"):
        build_shard(tmp_path / "s.bin", config, tokenizer, validation=False)
    assert not list(tmp_path.iterdir())


def test_an_epoch_reads_every_window_once():
    """In an order of its own; batches may run over its end."""
    starts = np.concatenate([batch_windows(161, 16, 4, step, seed=5) for step in range(5)])
    first, second = starts[:10], starts[10:]
    assert sorted(first) == sorted(second) == [16 * i for i in range(10)]
    assert list(first) != list(second)
    assert list(batch_windows(161, 16, 25, 0, seed=5)[:20]) == list(starts)
