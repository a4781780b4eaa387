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

from circuitkit.corpora import VALIDATION_SEED, open_corpus
from circuitkit.corpora.tokenizer import START, train_tokenizer
from circuitkit.errors import CorpusError, TrainingError
from circuitkit.training.config import TrainingConfig

_DOCUMENTS_A_BATCH = 1000
_TOKENIZER_DOCUMENTS = 20_000


def learn_tokenizer(config: TrainingConfig) -> Tokenizer:
    """The tokenizer of a run, learned from the first documents of its corpus."""
    documents = islice(open_corpus(config.corpus.source, seed=config.seed), _TOKENIZER_DOCUMENTS)
    return train_tokenizer(documents, config.corpus.vocab_size)


def build_shard(
    path: Path,
    config: TrainingConfig,
    tokenizer: Tokenizer,
    *,
    validation: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.uint16]:
    """Write a shard unless it is there, and map it.

    Validation text is another seed of a generated corpus; of a folder it is the
    first tokens, which training leaves out.

    Raises:
        CorpusError: if the corpus is too short for one sequence.
        TrainingError: if the disk is full.
    """
    n_held, n_train = config.corpus.n_validation_tokens, config.corpus.n_tokens
    wanted = n_held if validation else n_train
    if not path.exists():
        endless = config.corpus.source == "tinypython"
        seed = config.seed + VALIDATION_SEED * (validation and endless)
        skip = 0 if validation or endless else n_held
        _write(path, _encode(config.corpus.source, seed, tokenizer), skip, wanted, progress)
    empty = path.stat().st_size == 0  # which cannot be mapped
    tokens = np.zeros(0, np.uint16) if empty else np.memmap(path, dtype=np.uint16, mode="r")
    if len(tokens) <= config.architecture.n_ctx:
        raise CorpusError(
            f"{config.corpus.source} gives {len(tokens)} tokens of "
            f"{'validation' if validation else 'training'} text; one sequence needs "
            f"{config.architecture.n_ctx + 1}. Add text, or lower corpus.n_validation_tokens."
        )
    return tokens


def _encode(source: str, seed: int, tokenizer: Tokenizer) -> Iterator[NDArray[np.uint16]]:
    start = tokenizer.token_to_id(START)
    documents = open_corpus(source, seed=seed)
    while batch := list(islice(documents, _DOCUMENTS_A_BATCH)):
        for encoded in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array([start, *encoded.ids], dtype=np.uint16)


def _write(
    path: Path,
    chunks: Iterator[NDArray[np.uint16]],
    skip: int,
    wanted: int,
    progress: Callable[[int, int], None],
) -> None:
    part = path.with_suffix(".part")
    written = -skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for chunk in chunks:
                fresh = chunk[max(0, -written) :][: wanted - max(0, written)]
                file.write(fresh.tobytes())
                written += len(chunk)
                progress(max(0, min(written, wanted)), wanted)
                if written >= wanted:
                    break
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
