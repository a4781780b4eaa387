"""The reference sample: a checkpoint's own, or text of the user's choice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints.checkpoint import Checkpoint
from circuitkit.checkpoints.native import REFERENCE, checked_sample, read_reference
from circuitkit.circuit import Reference
from circuitkit.corpora.text_files import files_below, pieces_of
from circuitkit.errors import CheckpointError, CorpusError, UsageError
from circuitkit.files import as_path, read_text, sha256
from circuitkit.model.tokenise import special_texts

MAX_TOKENS = 1_000_000
_MAX_TEXT_BYTES = 64 * 2**20


def load_reference(
    checkpoint: Checkpoint,
    reference: Int[Tensor, "n length"] | str | Path | None = None,
    n_tokens: int | None = None,
) -> Int[Tensor, "n length"]:
    """The sample that means are measured over.

    Args:
        checkpoint: whose own sample is the default, and whose tokenizer reads text.
        reference: tokens, a ``.safetensors``, a text file or a folder of text instead.
        n_tokens: at most so many tokens.

    Raises:
        CheckpointError: if the checkpoint has no sample, or no tokenizer for text, or tokens are
            not of this model.
        CorpusError: if there is no text, or less than one sequence of it.
        UsageError: if fewer tokens than one sequence are asked for.
    """
    sample = _read(checkpoint, reference)
    if n_tokens is None:
        return sample
    if n_tokens < sample.shape[1]:
        raise UsageError(
            f"{n_tokens} tokens of a reference were asked for, expected at least one sequence of "
            f"it, {sample.shape[1]}."
        )
    return sample[: n_tokens // sample.shape[1]]


def _read(checkpoint: Checkpoint, reference: Tensor | str | Path | None) -> Int[Tensor, "n length"]:
    if reference is None:
        return checkpoint.load_reference()
    if isinstance(reference, Tensor):
        return checked_sample(reference, checkpoint.architecture)
    path = as_path(reference, "reference: tokens, or the path of a text or .safetensors")
    if path.suffix == ".safetensors":
        return read_reference(path, checkpoint.architecture)
    return _tokenise(checkpoint, path)


def reference_notes(
    checkpoint: Checkpoint,
    reference: Int[Tensor, "n length"] | str | Path | None,
    sample: Int[Tensor, "n length"],
) -> tuple[str, ...]:
    """Notes on how a text was read, where nothing is wrong; token ids stand as they are."""
    if not isinstance(reference, str | Path) or Path(reference).suffix == ".safetensors":
        return ()
    assert checkpoint.tokenizer is not None
    text = checkpoint.tokenizer.decode(sample.flatten().tolist())  # special tokens are left out
    is_cut = sample.numel() + sample.shape[1] > MAX_TOKENS
    cut = f"of the reference the first {sample.numel():,} tokens are read, which is the most"
    return (cut,) * is_cut + tuple(
        f"the reference holds {name!r}, the name of a special token: it is read as text, not as "
        "that token; give token ids if the token is meant"
        for name in special_texts(checkpoint.tokenizer)
        if name in text
    )


def describe_reference(checkpoint: Checkpoint, sample: Int[Tensor, "n length"]) -> Reference:
    """The record in ``circuit.json`` of the sample that a circuit was extracted over."""
    digest = sample_sha256(sample)
    has_own = (checkpoint.path / REFERENCE).exists()
    return Reference(
        sha256=digest,
        n_tokens=sample.numel(),
        is_own=has_own and sample_sha256(checkpoint.load_reference()) == digest,
    )


def sample_sha256(sample: Int[Tensor, "n length"]) -> str:
    """The hash of a sample's token ids and its shape, whatever type of integer holds them."""
    ids = sample.to(torch.int32).cpu().contiguous().numpy().tobytes()
    return sha256(f"{len(sample)} x {sample.shape[1]}\n".encode() + ids)


def _tokenise(checkpoint: Checkpoint, path: Path) -> Int[Tensor, "n length"]:
    if checkpoint.tokenizer is None:
        raise CheckpointError(
            f"{checkpoint.path} has no tokenizer to read {path} with. Put it into the folder, or "
            "give token ids as --reference: a .safetensors with one tensor 'tokens' of whole "
            "numbers (n, length)."
        )
    n_ctx = checkpoint.architecture.n_ctx
    tokens = list(islice(_tokens(checkpoint, _documents(path)), MAX_TOKENS))
    rows = len(tokens) // n_ctx
    if not rows:
        raise CorpusError(f"{path} is {len(tokens)} tokens; expected at least {n_ctx}.")
    return torch.tensor(tokens[: rows * n_ctx], dtype=torch.int32).view(rows, n_ctx)


def _documents(path: Path) -> Iterator[str]:
    if path.is_dir():
        yield from chain.from_iterable(map(pieces_of, files_below(path)))
        return
    expected = "a text file, a folder of text or .safetensors"
    text = read_text(path, CorpusError, expected, _MAX_TEXT_BYTES)
    yield text.replace("\r\n", "\n").replace("\r", "\n")  # as files of a folder are read


def _tokens(checkpoint: Checkpoint, documents: Iterator[str]) -> Iterator[int]:
    start = [] if checkpoint.start_token is None else [checkpoint.start_token]
    assert checkpoint.tokenizer is not None
    for text in documents:
        yield from start
        yield from checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
