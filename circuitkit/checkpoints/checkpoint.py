"""A checkpoint on disk: read strictly, hashed, its weights loaded only when asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints.bundled import bundled_checkpoints, find_checkpoint
from circuitkit.checkpoints.foreign import foreign_layout
from circuitkit.checkpoints.foreign_weights import read_foreign, survey
from circuitkit.checkpoints.layout import Layout
from circuitkit.checkpoints.native import (
    CONFIG,
    REFERENCE,
    TOKENIZER,
    TRAINING,
    WEIGHTS,
    is_native,
    read_config,
    read_reference,
    read_weights,
)
from circuitkit.checkpoints.near_misses import near_miss, of_released_circuit
from circuitkit.checkpoints.tokenizer_file import find_tokenizer, read_tokenizer
from circuitkit.checkpoints.viz_data import FILE as RELEASED
from circuitkit.errors import CheckpointError, PairError
from circuitkit.files import as_path, read_bounded, regular_file, sha256_files
from circuitkit.model import Architecture, EncodedPairs, Transformer, encode_pairs
from circuitkit.model.device import device_named
from circuitkit.model.pair_reader import unusable
from circuitkit.model.repeated_pairs import distinct
from circuitkit.task import Pair, Split, Task
from circuitkit.task.pair_sources import FixedPairs
from circuitkit.views.notebook import panel
from circuitkit.views.safe_text import prose

_MOST_DRAWN = 8192
"""At most so many pairs are drawn to find enough without copies, unless more are asked for."""

_last_usable: dict[str, tuple[FixedPairs, FixedPairs]] = {}
"""The pairs of a file that were asked of a checkpoint last, and those of them that can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A saved model: what it is, and how to load it.

    ``sha256`` covers config, weights and tokenizer: everything that decides what
    the model computes. ``tokenizer`` is None in a folder without one, which then does only
    tasks given as token ids. ``warnings`` list settings of its file that would change prompts
    and are ignored. ``layout`` says how a folder in another format is read; None for our own.

    Examples:
        >>> import circuitkit as ck
        >>> checkpoint = ck.load_checkpoint("tinypython-nano")
        >>> model = checkpoint.load_model()
        >>> checkpoint.name, checkpoint.load_reference().numel()
        ('tinypython-nano', 262144)
    """

    path: Path
    name: str
    architecture: Architecture
    start_token: int | None
    tokenizer: Tokenizer | None = field(compare=False, repr=False)
    sha256: str
    training: dict[str, Any] | None = field(compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)
    layout: Layout | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"Checkpoint({self.name!r}, {self.architecture!r}, {self.sha256[:12]})"

    def _repr_html_(self) -> str:
        arch = self.architecture
        head = ("layers", "d_model", "heads", "d_mlp", "tokens", "context", "sha256")
        row = (arch.n_layer, arch.d_model, f"{arch.n_head} of {arch.d_head}", arch.d_mlp)
        row = (*row, f"{arch.vocab_size:,}", arch.n_ctx, self.sha256[:12])
        return panel(f"Checkpoint {prose(self.name, 80)}", head, [tuple(map(str, row))])

    @property
    def where(self) -> str:
        """How a command names it: the name of a bundled checkpoint, else its folder."""
        bundled = {path: name for name, path in bundled_checkpoints().items()}
        return bundled.get(self.path, str(self.path.resolve()))

    def load_model(self, device: str | torch.device = "cpu") -> Transformer:
        """The model in float32, ready to run, without gradients on its weights.

        Raises:
            CheckpointError: if a tensor is missing, unexpected, misshapen or not finite.
            UsageError: if the device is not there.
        """
        device = device_named(device)
        if self.layout is None:
            weights = read_weights(self.path / WEIGHTS, self.architecture)
        else:
            weights = read_foreign(self.layout)
        with torch.device("meta"):
            model = Transformer(self.architecture)
        model.load_state_dict(weights, strict=True, assign=True)
        if self.architecture.tied_unembedding:
            model.lm_head.weight = model.transformer.wte.weight
        return model.requires_grad_(requires_grad=False).eval().to(device)

    def load_reference(self) -> Int[Tensor, "n length"]:
        """The sample of pretraining text over which means are measured.

        Raises:
            CheckpointError: if the folder has none, or a wrong one.
        """
        return read_reference(self.path / REFERENCE, self.architecture)

    def encode(self, pairs: list[Pair]) -> EncodedPairs:
        """Pairs as this checkpoint reads them, one for one; ``ask`` draws them too.

        Raises:
            TaskError: if a pair cannot be asked as it is written, or two contradict each other.
        """
        return encode_pairs(pairs, self.tokenizer, **self._reading)

    @property
    def _reading(self) -> dict[str, Any]:
        return {
            "start_token": self.start_token,
            "vocab_size": self.architecture.vocab_size,
            "n_ctx": self.architecture.n_ctx,
        }

    def usable(self, task: Task) -> Task:
        """The task without the pairs of its file that this checkpoint cannot be asked.

        ``task.origin.left_out(split)`` says which and why. Templates are left as they are: one
        that cannot be asked is an error when it is.

        Raises:
            TaskError: if the file is text, and there is no tokenizer.
        """
        if not isinstance(task.origin, FixedPairs):
            return task
        known = _last_usable.get(self.sha256)
        if known is None or all(task.origin is not each for each in known):
            faults: dict[Split, dict[int, PairError]] = {
                split: unusable(pairs, self.tokenizer, **self._reading)
                for split, pairs in task.origin.listed.items()
            }
            _last_usable.clear()
            known = _last_usable[self.sha256] = task.origin, task.origin.without(faults)
        return replace(task, origin=known[1])

    def ask(
        self, task: Task, split: Split, n: int, seed: int = 0, *, copies: bool = False
    ) -> EncodedPairs:
        """Up to ``n`` pairs of a split, without copies and mirror images.

        With ``copies``, for learning masks, a pair may come twice; as evidence it is one.
        A longer request begins with the same pairs. Pairs of a file that cannot be asked are
        left out, and a note says so.

        Raises:
            TaskError: if the split is empty, or no pair of it (a template: one pair) can be asked.
        """
        task = self.usable(task)
        asked, wanted = self.encode(task.up_to(split, n, seed)), n
        found = asked if copies else distinct(asked, n)
        while len(found) < n and len(asked) == wanted < _MOST_DRAWN:
            wanted = min(2 * wanted, _MOST_DRAWN)
            asked = self.encode(task.up_to(split, wanted, seed))
            found = distinct(asked, n)
        notes = [task.origin.left_out(split)]
        if merged := task.origin.merged(split):
            notes += [f"{merged} of the file are copies or mirror images of others and count once"]
        return replace(found, notes=(*found.notes, *filter(None, notes)))


@checked_call
def load_checkpoint(name_or_path: str | Path | Checkpoint) -> Checkpoint:
    """Read a bundled checkpoint by name, or a folder; a checkpoint is returned as it is.

    The folder is circuitkit's own, or in another format that is read (docs/formats.md).

    Raises:
        CheckpointError: if it is no whole, consistent checkpoint of a format that is read.

    Examples:
        >>> import circuitkit as ck
        >>> ck.load_checkpoint("tinypython-nano").architecture.vocab_size
        512
    """
    if isinstance(name_or_path, Checkpoint):
        return name_or_path
    path = as_path(name_or_path, "checkpoint: a bundled name or a folder")
    if path.name == RELEASED and path.is_file():
        raise CheckpointError(of_released_circuit(path))
    folder = find_checkpoint(name_or_path)
    if is_native(folder):
        return _load_native(folder)
    if layout := foreign_layout(folder):
        return _load_foreign(folder, layout)
    if message := near_miss(folder):
        raise CheckpointError(message)
    return _load_native(folder)


def _load_native(folder: Path) -> Checkpoint:
    config = read_config(folder / CONFIG)
    tokenizer, warnings, _ = read_tokenizer(folder / TOKENIZER, config.architecture.vocab_size)
    weights = regular_file(folder / WEIGHTS, CheckpointError, "the weights of a model")
    if not weights.exists():
        raise CheckpointError(f"{folder} has no {WEIGHTS}; the checkpoint is incomplete.")
    hashed = [folder / CONFIG, weights, *([folder / TOKENIZER] if tokenizer else [])]
    return Checkpoint(
        path=folder,
        name=config.name,
        architecture=config.architecture,
        start_token=config.start_token,
        tokenizer=tokenizer,
        sha256=sha256_files(*hashed),
        training=_read_training(folder / TRAINING),
        warnings=warnings,
    )


def _load_foreign(folder: Path, layout: Layout) -> Checkpoint:
    weights = survey(layout).weights
    vocab_size = layout.architecture.vocab_size
    tokenizer, warnings, files = find_tokenizer(folder, vocab_size, layout.split)
    return Checkpoint(
        path=folder,
        name=folder.resolve().name,
        architecture=layout.architecture,
        start_token=None,
        tokenizer=tokenizer,
        sha256=sha256_files(layout.config, *weights.hashed, *files),
        training=None,
        warnings=warnings,
        layout=layout,
    )


def _read_training(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = json.loads(read_bounded(path, CheckpointError, "a training record"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}. Restore or delete it.") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{path} holds {type(record).__name__}, expected a JSON object.")
    return record
