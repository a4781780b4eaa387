"""A checkpoint of any format, written in circuitkit's own.

In: a folder. Out: another, that loads to the same logits.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from circuitkit.arguments import checked_call
from circuitkit.checkpoints.checkpoint import Checkpoint, load_checkpoint
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.checkpoints.native import (
    BRIDGES,
    CONFIG,
    REFERENCE,
    RUN,
    WEIGHTS,
    is_native,
    save_checkpoint,
    weights_bytes,
)
from circuitkit.checkpoints.reference import load_reference
from circuitkit.errors import CheckpointError, UsageError
from circuitkit.files import (
    MAX_TENSORS_BYTES,
    as_path,
    claim_folder,
    read_bounded,
    sha256,
    sha256_file,
)
from circuitkit.model import Transformer


@checked_call
def convert_checkpoint(
    checkpoint: str | Path | Checkpoint,
    out: str | Path,
    *,
    reference: str | Path | None = None,
    start_token: int | None = None,
) -> Checkpoint:
    """Write a checkpoint in our own format: float32 weights, tokenizer, sample of text.

    Of one that is in it already, bridges and the table of tasks come along, as far as they hold.

    Args:
        checkpoint: a folder of any format that is read.
        out: a new or empty folder, or one with a checkpoint of ours, which is replaced.
        reference: the sample for means: text, a folder of text, or token ids in a .safetensors;
            by default the one in the folder, if it has one.
        start_token: the id of a token to put before every prompt and every text of the sample; by
            default the checkpoint's own, which only our own format has.

    Raises:
        CheckpointError: if the checkpoint cannot be read.
        UsageError: if ``out`` holds something else, or is the checkpoint's own folder, or if the
            start token is not in the vocabulary, or in a sample of token ids.
    """
    found, folder = load_checkpoint(checkpoint), as_path(out)
    if start_token is not None:
        found = _starting_with(found, start_token)
    if folder.resolve() == found.path.resolve():
        raise UsageError(f"{folder} is the checkpoint itself; expected another folder as --out.")
    claim_folder(folder, CONFIG, "a checkpoint")
    if (folder / CONFIG).exists() and not is_native(folder):
        raise UsageError(
            f"{folder} holds a checkpoint of another format, which is not replaced. Choose another "
            "--out."
        )
    if (folder / RUN).exists():
        raise UsageError(
            f"{folder} holds a training run, which is not replaced. Choose another --out."
        )
    has_sample = reference is not None or (found.path / REFERENCE).exists()
    sample = load_reference(found, reference) if has_sample else None
    if sample is not None and start_token is not None and not (sample == start_token).any():
        raise UsageError(
            f"start_token {start_token} is nowhere in the sample of token ids; put it where a text "
            "begins, or give a text as --reference."
        )
    model = found.load_model()
    save_checkpoint(
        folder,
        model,
        name=found.name,
        tokenizer=found.tokenizer,
        start_token=found.start_token,
        reference=sample,
        training=found.training,
        bridges=_bridges(found, model),
    )
    written = load_checkpoint(folder)
    with suppress(CheckpointError):  # a damaged table is no part of the model
        measured = Competence.load(found.path)
        if measured is not None and measured.sha256 == written.sha256:
            measured.save(folder)
    return written


def _bridges(checkpoint: Checkpoint, model: Transformer) -> bytes | None:
    """The bridges of a checkpoint, which are bound to the bytes of its weights."""
    path = checkpoint.path / BRIDGES
    if not path.exists() or sha256_file(checkpoint.path / WEIGHTS) != sha256(weights_bytes(model)):
        return None
    return read_bounded(path, CheckpointError, "bridges", MAX_TENSORS_BYTES)


def _starting_with(checkpoint: Checkpoint, start_token: int) -> Checkpoint:
    n_tokens = checkpoint.architecture.vocab_size
    if not 0 <= start_token < n_tokens:
        raise UsageError(
            f"start_token = {start_token}, expected the id of a token, from 0 to {n_tokens - 1}."
        )
    return replace(checkpoint, start_token=start_token)
