"""Token shards: a corpus tokenised once into a flat, memory-mapped file.

In: a corpus spec and a tokenizer. Out: ``train.bin`` and ``validation.bin``,
whole or absent, the start token before every document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from circuitkit.corpora import open_corpus
from circuitkit.corpora.tokenizer import START, train_tokenizer
from circuitkit.errors import CorpusError, TrainingError
from circuitkit.files import read_text, regular_file, write_whole
from circuitkit.training.train_config import TrainingConfig

_DOCUMENTS_A_BATCH = 1000
_TOKENIZER_DOCUMENTS = 20_000
_TOKENIZER_CHARS = 16_000_000
_EXPECTED = "a shard of this run"


def build_tokenizer(
    path: Path, config: TrainingConfig, given: Tokenizer | None = None
) -> Tokenizer:
    """Write the tokenizer of a run unless it is there, and read it; None learns one.

    Raises:
        CorpusError: if the corpus cannot be read.
        TrainingError: if what is there is no tokenizer.
    """
    if not path.exists():
        write_whole(path, (given or learn_tokenizer(config)).to_str(pretty=True))
    text = read_text(path, TrainingError, "the tokenizer of this run")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise TrainingError(f"{path} is not a tokenizer: {error}. Choose another --out.") from None
    tokenizer.encode_special_tokens = True  # as a checkpoint's: the start token's name is text
    return tokenizer


def learn_tokenizer(config: TrainingConfig) -> Tokenizer:
    """The tokenizer of a run, learned from the first documents of its training text."""
    documents = open_corpus(config.corpus.source, seed=config.seed)
    return train_tokenizer(_first(documents), config.corpus.vocab_size)


def _first(documents: Iterator[str]) -> Iterator[str]:
    n_chars = 0
    for document in islice(documents, _TOKENIZER_DOCUMENTS):
        yield document
        n_chars += len(document)
        if n_chars >= _TOKENIZER_CHARS:
            return


def build_shard(
    path: Path,
    config: TrainingConfig,
    tokenizer: Tokenizer,
    *,
    validation: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.uint16]:
    """Write a shard unless it is there, and map it.

    A shard is as long as the configuration asks, or as its corpus has text for.

    Args:
        path: where the shard is, or is to be.
        config: which corpus, and how many tokens of it.
        tokenizer: what reads it.
        validation: lay down the held-out text of the corpus, not that to learn from.
        progress: called with the tokens written, and wanted.

    Raises:
        CorpusError: if the corpus cannot be read, or gives less than one sequence.
        TrainingError: if the disk is full, or what is there is no shard of this run.
    """
    corpus = config.corpus
    wanted = corpus.n_validation_tokens if validation else corpus.n_tokens
    if not path.exists():
        documents = open_corpus(corpus.source, seed=config.seed, held_out=validation)
        _write(path, _encode(documents, tokenizer), wanted, progress)
    empty = regular_file(path, TrainingError, _EXPECTED).stat().st_size == 0  # cannot be mapped
    tokens = np.zeros(0, np.uint16) if empty else _mapped(path, config)
    if len(tokens) <= config.architecture.n_ctx:
        key = "n_validation_tokens" if validation else "n_tokens"
        raise CorpusError(
            f"{corpus.source} gives {len(tokens)} tokens of "
            f"{'validation' if validation else 'training'} text; one sequence needs "
            f"{config.architecture.n_ctx + 1}. Add text, or raise corpus.{key} ({wanted})."
        )
    return tokens


def _mapped(path: Path, config: TrainingConfig) -> NDArray[np.uint16]:
    vocab = config.architecture.vocab_size
    whole = path.stat().st_size % 2 == 0
    tokens = np.zeros(1, np.uint16)
    if whole:
        tokens = np.memmap(regular_file(path, TrainingError, _EXPECTED), dtype=np.uint16, mode="r")
    if not whole or tokens.max() >= vocab:
        what = f"token id {tokens.max()}" if whole else "half a token"
        raise TrainingError(
            f"{path} holds {what}, expected 16-bit ids below {vocab}: it is damaged or another "
            "run's. Delete it, then begin again with --resume."
        )
    return tokens


def _encode(documents: Iterator[str], tokenizer: Tokenizer) -> Iterator[NDArray[np.uint16]]:
    start = tokenizer.token_to_id(START)
    while batch := list(islice(documents, _DOCUMENTS_A_BATCH)):
        for encoded in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array([start, *encoded.ids], dtype=np.uint16)


def _write(
    path: Path,
    chunks: Iterator[NDArray[np.uint16]],
    wanted: int,
    progress: Callable[[int, int], None],
) -> None:
    part = path.with_suffix(".part")
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            while written < wanted and (chunk := next(chunks, None)) is not None:
                file.write(chunk[: wanted - written].tobytes())
                written = min(written + len(chunk), wanted)
                progress(written, wanted)
        part.replace(path)
    except OSError as error:
        raise TrainingError(
            f"could not write {path}: {error.strerror}. Make room, then begin again with --resume."
        ) from None
    finally:
        part.unlink(missing_ok=True)


def batch_windows(n_tokens: int, n_ctx: int, batch: int, step: int, seed: int) -> NDArray[np.int64]:
    """Where the sequences of a step start: every window once an epoch, in an order of its own.

    A function of its arguments alone, so that a resumed run reads what the first would have.
    """
    n_windows = (n_tokens - 1) // n_ctx
    places = step * batch + np.arange(batch)
    starts = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(places // n_windows):
        order = np.random.default_rng([seed, int(epoch)]).permutation(n_windows)
        inside = places // n_windows == epoch
        starts[inside] = order[places[inside] % n_windows]
    return starts * n_ctx
