"""A checkpoint of any format, written in circuitkit's own.

In: a folder. Out: another, that loads to the same logits.
"""

from __future__ import annotations

from pathlib import Path

from circuitkit.arguments import checked_call
from circuitkit.checkpoints.checkpoint import Checkpoint, load_checkpoint
from circuitkit.checkpoints.native import CONFIG, REFERENCE, is_native, save_checkpoint
from circuitkit.checkpoints.reference import load_reference
from circuitkit.errors import UsageError
from circuitkit.files import as_path, claim_folder


@checked_call
def convert_checkpoint(
    checkpoint: str | Path | Checkpoint,
    out: str | Path,
    *,
    reference: str | Path | None = None,
) -> Checkpoint:
    """Write a checkpoint in our own format: float32 weights, tokenizer, sample of text.

    Args:
        checkpoint: a folder of any format that is read.
        out: a new or empty folder, or one with a checkpoint of ours, which is replaced.
        reference: the sample for means: text, a folder of text, or token ids in a .safetensors;
            by default the one in the folder, if it has one.

    Raises:
        CheckpointError: if the checkpoint cannot be read.
        UsageError: if ``out`` holds something else, or is the checkpoint's own folder.
    """
    found, folder = load_checkpoint(checkpoint), as_path(out)
    if folder.resolve() == found.path.resolve():
        raise UsageError(f"{folder} is the checkpoint itself; expected another folder as --out.")
    claim_folder(folder, CONFIG, "a checkpoint")
    if (folder / CONFIG).exists() and not is_native(folder):
        raise UsageError(
            f"{folder} holds a checkpoint of another format, which is not replaced. Choose another "
            "--out."
        )
    has_sample = reference is not None or (found.path / REFERENCE).exists()
    save_checkpoint(
        folder,
        found.load_model(),
        name=found.name,
        tokenizer=found.tokenizer,
        start_token=found.start_token,
        reference=load_reference(found, reference) if has_sample else None,
        training=found.training,
    )
    return load_checkpoint(folder)
